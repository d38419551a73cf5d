"""All runs, as people see them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import expect

from tests.browser.looking import PHONE, Window, shoot
from tests.serving.served import Site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
Look = Callable[..., Awaitable[Window]]
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")


async def test_it_fits_the_window_in_light_and_dark(look: Look, alone: Site, screenshots: Path) -> None:
    shown = await look()
    page = shown.page
    await page.goto(f"{alone.url}/report/")
    await expect(page.get_by_role("heading", name="Workers")).to_be_visible()
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        ground, ink = await page.evaluate(
            "(({ backgroundColor, color }) => [backgroundColor, color])(getComputedStyle(document.body))"
        )
        assert (light(ground) < light(ink)) is (scheme == "dark")
        assert await shown.sideways() == 0
        await shoot(page, screenshots, f"overview-{scheme}")
    await page.set_viewport_size(PHONE)
    assert await shown.sideways() == 0
    await shoot(page, screenshots, "overview-phone")
    shown.check_quiet()


def light(colour: str) -> int:
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


async def test_a_run_is_reached_from_it_and_it_from_a_run(look: Look, alone: Site) -> None:
    shown = await look()
    await shown.page.goto(f"{alone.url}/report")
    await shown.page.get_by_role("link", name="30 days").click()
    await expect(shown.page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "page")
    await shown.page.locator("table a").first.click()
    await expect(shown.page.get_by_role("heading", name="Run ")).to_be_visible()
    await shown.page.get_by_role("link", name="All runs").click()
    await expect(shown.page.get_by_role("heading", name="Workers")).to_be_visible()
    assert all(address.startswith((alone.url, "data:")) for address in shown.asked)
    shown.check_quiet()
