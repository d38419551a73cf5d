"""Pictures of commands show what a person would see."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from website.terminal import left_on_screen, picture_of, run_in_terminal


def test_what_a_live_display_has_erased_is_gone() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="truecolor", width=40)
    console.print("before")
    with Live(Text("one\ntwo\nthree"), console=console, auto_refresh=False) as live:
        live.update(Text("one\n2 done", style="green"), refresh=True)
    console.print("after")
    screen = left_on_screen(file.getvalue().replace("\n", "\r\n"))
    assert Text.from_ansi(screen).plain.splitlines() == ["before", "one", "2 done", "after"]


def test_a_sequence_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        left_on_screen("a\x1b[5Bb")


def test_a_command_sees_a_terminal_and_its_picture_needs_no_other_host(tmp_path: Path) -> None:
    command = "test -t 1 && tput cols && exit 3"
    code, written = run_in_terminal(command, columns=77, folder=tmp_path, environment=os.environ)
    screen = left_on_screen(written)
    assert (code, screen) == (3, "77")
    svg = picture_of(screen, title="stellwerk", columns=77, name="t")
    assert ">77</text>" in svg
    assert "url(http" not in svg
