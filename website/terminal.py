"""Pictures of real commands: each runs in a pseudo-terminal, and what it leaves there becomes an SVG."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

_SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")
# That of Rich loads a font from another host.
_FORMAT = """\
<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font: {char_height}px/{line_height}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run_in_terminal(
    command: str, *, columns: int, folder: Path, environment: Mapping[str, str]
) -> tuple[int, str]:
    """The exit code of a shell command, and all that it wrote to a terminal of so many columns."""
    sizes = {"COLUMNS", "LINES"}  # which go before the terminal's own
    kept = {name: value for name, value in environment.items() if name not in sizes}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    with subprocess.Popen(
        ["bash", "-c", command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        written = bytearray()
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not part:
                break
            written += part
        os.close(ours)
    return process.returncode, written.decode()


def left_on_screen(written: str) -> str:
    """The lines that remain, with their colours, after a display that moves up and erases whole lines.

    Raises:
        ValueError: if there is a sequence that Rich does not write.
    """
    lines, row, place = [""], 0, 0
    while place < len(written):
        character = written[place]
        if found := _SEQUENCE.match(written, place):
            place = found.end()
            match found[2]:
                case "m":
                    lines[row] += found.group()
                case "A":
                    row -= int(found[1] or 1)
                case "K":
                    lines[row] = ""
                case "h" | "l":  # shows or hides the cursor
                    pass
                case _:
                    raise ValueError(
                        f"{found.group()!r} cannot be drawn; teach website/terminal.py what it does"
                    )
            continue
        place += 1
        if character == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif character != "\r":
            lines[row] += character
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def picture_of(screen: str, *, title: str, columns: int, name: str) -> str:
    """An SVG of a screen with colours."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen), no_wrap=True, overflow="ignore", crop=False)
    return console.export_svg(title=title, code_format=_FORMAT, unique_id=name)
