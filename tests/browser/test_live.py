"""The page of a run, while it runs."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.looking import Window, shoot
from tests.fake_openai import Body, job_of
from tests.serving.served import RUN, Models, new_thread, site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
Look = Callable[..., Awaitable[Window]]
SALES, RENT, TEXT = "What were sales?", "What was rent?", "Say both"


@dataclass
class Slow(Models):
    """Answer each job once it is let go; the small one has none about the rent."""

    let_go: dict[str, threading.Event] = field(
        default_factory=lambda: {job: threading.Event() for job in (SALES, RENT, TEXT)}
    )

    asked_large: threading.Event = field(default_factory=threading.Event)

    def answer(self, body: Body) -> object:
        if (job := job_of(body)) == RENT and body["model"] == "small-model":
            return "I cannot say"
        if job in self.let_go:
            if body["model"] == "large-model":
                self.asked_large.set()
            assert self.let_go[job].wait(20)
        return super().answer(body)


async def until(page: Page, **expected: str) -> None:
    """The page's own clock goes on until it shows subtasks in these states."""
    for _ in range(200):
        found = await page.eval_on_selector_all(
            "svg.plan .node",
            "all => all.map(one => [one.querySelector('.id').textContent, one.classList[1]])",
        )
        if dict(found) == expected:
            return
        await page.clock.run_for(2_000)
    raise AssertionError(f"{found} is not {expected}")


async def test_it_shows_what_changes_without_being_loaded_again(
    look: Look, tmp_path: Path, screenshots: Path
) -> None:
    models = Slow()
    with site(tmp_path, models=models) as place, place.client() as client:
        thread = new_thread(client)
        running = asyncio.create_task(asyncio.to_thread(client.post, f"/threads/{thread}/runs", json=RUN))
        assert await asyncio.to_thread(models.asked_large.wait, 20)
        shown = await look()
        page = shown.page
        await page.clock.install()
        await page.goto(f"{place.url}/report/")
        await expect(page.locator("tbody .outcome")).to_have_text("▶ running")
        await page.get_by_role("table").get_by_role("link").click()
        await until(page, sales="running", rent="running", text="waiting")
        await expect(page.get_by_role("status")).to_have_text("A run is on its way; this page renews itself.")
        await page.evaluate("window.same = true")

        await page.locator("svg.plan a", has_text="rent").focus()
        await page.keyboard.press("Enter")
        rejected = page.locator("details[open]")
        await expect(rejected).to_contain_text("✗ not json")
        await shoot(page, screenshots, "run-live")

        models.let_go[SALES].set()
        await until(page, sales="accepted", rent="running", text="waiting")
        models.let_go[RENT].set()
        await until(page, sales="accepted", rent="accepted", text="running")
        # What was open and chosen still is.
        await expect(rejected).to_contain_text("small was rejected")
        assert "small was rejected" in await page.evaluate("document.activeElement.textContent")
        models.let_go[TEXT].set()
        await until(page, sales="accepted", rent="accepted", text="accepted")
        assert (await running).json()["status"] == "done"
        await expect(page.get_by_role("status")).to_have_text("Nothing runs any more.")
        await expect(page.get_by_label("Answer")).to_contain_text(
            "Sales were 100 dollars and rent 20 dollars."
        )
        assert await page.evaluate("window.same")
        await shoot(page, screenshots, "run-live-ended")
        shown.check_quiet()
