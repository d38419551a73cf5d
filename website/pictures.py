"""Makes the pictures of the documentation, from real commands on real models: `make pictures`.

It takes a minute. The two models of the example have to be there (`stellwerk models pull smollm2-135m
qwen2.5-coder-0.5b`), and Chromium; for a diagram that is new, npm as well.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, FloatRect

from website.browser import chromium
from website.diagrams import ROOT, SCHEMES
from website.draw import draw_diagrams
from website.terminal import left_on_screen, picture_of, run_in_terminal

PICTURES = ROOT / "docs" / "pictures"


@dataclass(frozen=True)
class Shot:
    """A command, the name of its picture, and how wide the terminal is."""

    name: str
    command: str
    columns: int


SHOTS = (
    Shot("run", 'stellwerk run "$(cat letters.txt)" --thread orders', 110),
    Shot("traces", "stellwerk traces list --limit 6", 84),
    Shot("tiers", "stellwerk tiers list", 98),
    Shot("report", "stellwerk report", 112),
)


def draw_terminal(folder: Path) -> None:
    """Run the commands, and draw what each leaves on the screen.

    Raises:
        SystemExit: if one fails.
    """
    for shot in SHOTS:
        code, written = _run(shot.command, folder, shot.columns)
        screen = left_on_screen(written)
        if code:
            raise SystemExit(f"{shot.command} ended with {code}:\n{screen}")
        screen = f"\x1b[1;32m$\x1b[0m {shot.command}\n{screen}"
        svg = picture_of(screen, title="stellwerk", columns=shot.columns, name=f"stellwerk-{shot.name}")
        (PICTURES / f"{shot.name}.svg").write_text(svg, encoding="utf-8")
        print(f"drew docs/pictures/{shot.name}.svg")


def draw_page(folder: Path, browser: Browser) -> None:
    """Make the report page of those runs, and take a picture of it in each scheme."""
    code, written = _run("stellwerk report --html report.html", folder)
    if code:
        raise SystemExit(written)
    for scheme in SCHEMES:
        page = browser.new_page(
            viewport={"width": 1100, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
        )
        page.goto((folder / "report.html").as_uri())
        # To the end of the first plan; the attempts below it are closed.
        end = page.locator(".legend").last.bounding_box()
        assert end is not None
        clip: FloatRect = {"x": 0, "y": 0, "width": 1100, "height": end["y"] + end["height"] + 6}
        page.screenshot(path=PICTURES / f"page-{scheme}.png", clip=clip, full_page=True)
        page.close()
        print(f"drew docs/pictures/page-{scheme}.png")


def _run(command: str, folder: Path, columns: int = 100) -> tuple[int, str]:
    """In an environment in which nothing but the folder's own settings counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLWERK_")}
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
    environment = {**kept, "PATH": path, "PYTHONPATH": f".:{ROOT}"}
    return run_in_terminal(command, columns=columns, folder=folder, environment=environment)


def main() -> None:
    """All of them."""
    with chromium() as browser, TemporaryDirectory() as place:
        draw_diagrams(browser)
        folder = Path(place) / "orders"
        shutil.copytree(ROOT / "examples" / "orders", folder)
        draw_terminal(folder)
        draw_page(folder, browser)


if __name__ == "__main__":
    main()
