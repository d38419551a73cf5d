"""Where a server's time goes: py-spy looks a hundred times a second at who holds Python's lock."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.place import ROOT

_FRAME = re.compile(r"(?P<name>.+) \((?P<file>[^()]+?)(?::\d+)?\)$")
_PACKAGE = re.compile(r"site-packages/([^/.]+)")
_NUMBER = re.compile(r"_\d+$")  # of one of several threads of a pool
_OURS = "stellwerk"
_STANDARD = "Python's library"
_MOST = 25
_WIDE = 100.0  # looks a second


@dataclass(frozen=True)
class Profile:
    """Shares of the looks at which a thread held the lock.

    Args:
        held: share of all looks at which one did.
        parts: by the package whose code ran, parts of Stellwerk apart.
        own: by the function that ran.
        within: by the functions of Stellwerk that ran, or had called what ran.
        threads: by thread.
    """

    held: float
    parts: dict[str, float]
    own: dict[str, float]
    within: dict[str, float]
    threads: dict[str, float]


def profiler() -> str | None:
    """The path of py-spy, if it is installed."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


async def profiled(pid: int, seconds: float, file: Path) -> Profile | None:
    """Look at a process for so long; None where py-spy is not there, or is not allowed to."""
    if (program := profiler()) is None:
        return None
    duration = max(1, round(seconds))
    process = await asyncio.create_subprocess_exec(
        *(program, "record", "--pid", str(pid), "--duration", str(duration), "--rate", f"{_WIDE:.0f}"),
        *("--gil", "--threads", "--full-filenames", "--format", "raw", "--output", str(file)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return None if await process.wait() else _read(file, round(duration * _WIDE))


def _read(file: Path, looks: int) -> Profile:
    return profile_of(file.read_text(encoding="utf-8").splitlines(), looks)


def profile_of(lines: Iterable[str], looks: int) -> Profile:
    """From what py-spy wrote: a line for each stack, outermost first, and how often it was seen."""
    parts, own, within, threads = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for line in lines:
        stack, _, times = line.rpartition(" ")
        thread, *frames = stack.split(";")
        count = int(times)
        threads[_NUMBER.sub("", thread.rpartition("): ")[2].rpartition(": ")[2])] += count
        places = [place for frame in frames if (place := _place(frame)) is not None]
        if places:
            parts[places[-1][0]] += count
            own[" ".join(places[-1])] += count
            # once for each stack, however often a function is in it
            within.update({" ".join(each): count for each in places if each[0].startswith(_OURS)})
    held = sum(threads.values())
    return Profile(held / looks, *(_shares(each, held) for each in (parts, own, within, threads)))


def _shares(counts: Counter[str], total: int) -> dict[str, float]:
    return {name: count / total for name, count in counts.most_common(_MOST)}


def _place(frame: str) -> tuple[str, str] | None:
    """The part and the function of a frame."""
    if (found := _FRAME.match(frame)) is None:
        return None
    file, name = found["file"], found["name"]
    if file.startswith(f"{ROOT}/{_OURS}/"):
        inside = Path(file).relative_to(ROOT / _OURS)
        return f"{_OURS}.{inside.parts[0].removesuffix('.py')}", f"{name} ({inside})"
    package = _PACKAGE.search(file)
    return (package[1] if package else _STANDARD), f"{name} ({Path(file).name})"
