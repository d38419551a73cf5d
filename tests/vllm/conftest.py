import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.vllm.server import Server, executable, missing, model_folder

SHARED = (
    "--enable-lora",
    "--max-lora-rank=16",
    "--max-loras=4",
    "--enable-auto-tool-choice",
    "--tool-call-parser=hermes",
    "--enable-prompt-tokens-details",
    "--scheduling-policy=priority",
    # A small model may write white space without end where it is allowed any.
    '--structured-outputs-config={"backend": "xgrammar", "disable_any_whitespace": true}',
)


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("vllm")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and (why := missing()):
        report.longrepr = (__file__, 1, f"Skipped: {why}")  # one line for all of them
    return report


@pytest.fixture(scope="session", autouse=True)
def _there_is_a_vllm() -> None:
    if why := missing():
        pytest.skip(why)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most tests share."""
    started = Server(tmp_path_factory.mktemp("vllm") / "server.log", SHARED)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the adapters `first` and `second`, and `large`, whose rank is above the server's."""
    program, folder = executable(), model_folder()
    assert program is not None
    python = program.parent / "python"
    if subprocess.run([python, "-c", "import peft"], capture_output=True, check=False).returncode:
        pytest.skip(f"{python} has no PEFT, which makes the adapters of these tests")
    target = tmp_path_factory.mktemp("adapters")
    script = Path(__file__).with_name("make_adapters.py")
    made = subprocess.run(
        [python, script, str(folder), str(target)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return target
