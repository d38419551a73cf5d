"""Where the processor's time goes: py-spy looks at the server a hundred times a second, from outside."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_FRAME = re.compile(r"(?P<name>.+) \((?P<file>[^()]+?)(:\d+)?\)$")
_PACKAGE = re.compile(r"site-packages/([^/.]+)")
_OURS = re.compile(r"^stellwerk/([a-z_]+)")
_STANDARD = "Python's library"
_LEFT_OUT = ("<module>", "_run_module_as_main", "_run_code")
_MOST = 25


@dataclass(frozen=True)
class Profile:
    """Shares of all looks at threads that worked.

    Args:
        looks: how many.
        parts: by the package whose code ran, parts of Stellwerk apart.
        own: by the function that ran.
        within: by functions of Stellwerk that ran, or waited for what they had called.
        threads: by thread.
    """

    looks: int
    parts: dict[str, float]
    own: dict[str, float]
    within: dict[str, float]
    threads: dict[str, float]


def profiler() -> str | None:
    """The path of py-spy, if it is installed."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


async def profiled(pid: int, seconds: float, file: Path) -> Profile | None:
    """Look at a process for so long; None where py-spy is not there, or may not."""
    if (program := profiler()) is None:
        return None
    process = await asyncio.create_subprocess_exec(
        *(program, "record", "--pid", str(pid), "--duration", str(max(1, round(seconds)))),
        *("--format", "raw", "--rate", "100", "--threads", "--output", str(file)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if await process.wait() or not file.exists():
        return None
    return profile_of(file.read_text(encoding="utf-8").splitlines())


def profile_of(lines: Iterable[str]) -> Profile:
    """What py-spy wrote: a line for each stack, outermost first, and how often it was seen."""
    parts, own, within, threads = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    looks = 0
    for line in lines:
        stack, _, times = line.rpartition(" ")
        frames, count = stack.split(";"), int(times)
        looks += count
        threads[_thread(frames[0])] += count
        places = [place for frame in frames if (place := _place(frame)) is not None]
        if not places:
            continue
        parts[places[-1][0]] += count
        own[": ".join(places[-1])] += count
        for part, name in {place for place in places if place[0].startswith("stellwerk")}:
            within[f"{part}: {name}"] += count
    return Profile(looks, *(_shares(each, looks) for each in (parts, own, within, threads)))


def _shares(counts: Counter[str], looks: int) -> dict[str, float]:
    return {name: count / looks for name, count in counts.most_common(_MOST)}


def _thread(frame: str) -> str:
    # `thread (0x7F...): stellwerk-sqlite_3`, of which there are several
    return re.sub(r"_\d+$", "", frame.rpartition('): ')[2].strip('"') or frame)


def _place(frame: str) -> tuple[str, str] | None:
    """The part and the function of a frame; None of one that says nothing."""
    found = _FRAME.match(frame)
    if found is None or found["name"] in _LEFT_OUT:
        return None
    file, name = found["file"], found["name"]
    if ours := _OURS.search(file.rpartition("/stellwerk/")[2] and "stellwerk/" + _after(file)):
        return f"stellwerk.{ours[1]}", f"{name} ({_after(file)})"
    package = _PACKAGE.search(file)
    return (package[1] if package else _STANDARD), f"{name} ({Path(file).name})"


def _after(file: str) -> str:
    return file.rpartition("stellwerk/")[2]
