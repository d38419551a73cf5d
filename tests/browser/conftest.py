"""One browser for all tests: Chromium of the machine, as Playwright's own is not fetched."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.looking import FLAGS, Window, window
from tests.browser.review import review
from tests.report.runs import fill
from tests.serving.served import Site, site

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        said = f"there is no browser here; install one of {', '.join(NAMES)}"
        if "STELLWERK_REQUIRE_BROWSER" in os.environ:
            pytest.fail(said)
        pytest.skip(said)
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield made
        await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def look(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Window]]]:
    """Opens windows, which are closed after the test."""
    opened: list[Window] = []

    async def look(**options: Any) -> Window:
        opened.append(await window(browser, **options))
        return opened[-1]

    yield look
    for each in opened:
        await each.context.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    folder = Path(os.environ.get("STELLWERK_SCREENSHOTS", ROOT / "build" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of runs: some as they come, and the newest as the tests know it."""
    folder = tmp_path_factory.mktemp("browser")
    fill(folder / "runs.sqlite", 10)
    review(folder / "runs.sqlite")
    return folder


@pytest.fixture(scope="session")
def alone(filled: Path) -> Iterator[Site]:
    """A server without keys, on those runs."""
    with site(filled) as found:
        yield found
