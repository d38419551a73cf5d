"""The page of one run."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.looking import PHONE, Window, shoot
from tests.browser.review import HARD, TASK
from tests.serving.served import Site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
Look = Callable[..., Awaitable[Window]]


async def open_review(page: Page, site: Site) -> None:
    await page.goto(f"{site.url}/report/")
    await page.locator("tr", has_text=TASK).get_by_role("link").click()
    await expect(page.get_by_text(TASK)).to_be_visible()


async def test_the_plan_has_its_tiers_in_colours_and_what_each_subtask_took(
    look: Look, alone: Site, screenshots: Path
) -> None:
    shown = await look()
    page = shown.page
    await open_review(page, alone)
    colours = await page.eval_on_selector_all(
        "svg.plan .node",
        "all => all.map(one => [one.querySelectorAll('.by')[1].textContent,"
        " getComputedStyle(one.querySelector('.stripe')).fill])",
    )
    by_tier = {tier: {fill for name, fill in colours if name == tier} for tier in ("small", "large")}
    assert all(len(fills) == 1 for fills in by_tier.values())
    assert by_tier["small"] != by_tier["large"]

    details = page.locator("details.subtask", has=page.locator("strong", has_text=HARD)).first
    await expect(details.get_by_role("table")).to_be_hidden()
    await page.locator("svg.plan a", has_text=HARD).first.click()
    rows = details.get_by_role("row")
    await expect(rows).to_have_count(3)  # with that of the headings
    await expect(rows.nth(1)).to_contain_text("✗")
    await expect(rows.nth(2)).to_contain_text("small was rejected")
    await details.get_by_text("Contents of attempt 1").click()
    await expect(details.get_by_role("heading", name="What was wrong")).to_be_visible()
    await shoot(page, screenshots, "run-light")
    await page.emulate_media(color_scheme="dark")
    await shoot(page, screenshots, "run-dark")
    shown.check_quiet()


async def test_it_fits_a_phone(look: Look, alone: Site, screenshots: Path) -> None:
    shown = await look(viewport=PHONE, has_touch=True, is_mobile=True)
    await open_review(shown.page, alone)
    await shown.page.locator("svg.plan a", has_text=HARD).first.tap()
    await expect(shown.page.locator("details[open]")).to_contain_text("small was rejected")
    await shoot(shown.page, screenshots, "run-phone")
    assert await shown.sideways() == 0
    shown.check_quiet()


async def test_it_can_be_read_with_the_keyboard_alone(look: Look, alone: Site, screenshots: Path) -> None:
    shown = await look()
    page = shown.page
    await open_review(page, alone)
    await page.reload()  # or the focus is where the mouse was
    passed: list[str] = []
    while HARD not in passed:
        assert len(passed) < 20, passed
        await page.keyboard.press("Tab")
        passed.append(await shown.focus())
    assert "" not in passed, "the focus is somewhere, and cannot be seen"
    assert passed[:2] == ["Stellwerk report", "All runs"]
    await shoot(page, screenshots, "run-keyboard")
    await page.keyboard.press("Enter")
    opened = page.locator("details.subtask[open]")
    await expect(opened).to_contain_text("small was rejected")
    while (at := await shown.focus()) != "Contents of attempt 1":
        assert len(passed) < 40, passed
        await page.keyboard.press("Tab")
        passed.append(at)
    await page.keyboard.press("Enter")
    await expect(opened.get_by_role("heading", name="What was wrong")).to_be_visible()
    shown.check_quiet()
