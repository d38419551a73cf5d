"""Chromium, for what only a browser can draw."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_REMEDY = "there is no chromium on the PATH; on Debian and Ubuntu: apt-get install chromium fonts-dejavu-core"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that opens what is on this machine, and nothing else.

    Raises:
        SystemExit: if there is none.
    """
    if (path := shutil.which("chromium")) is None:
        raise SystemExit(_REMEDY)
    with sync_playwright() as playwright:
        # Root has no sandbox in containers; only pages of our own are opened.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
