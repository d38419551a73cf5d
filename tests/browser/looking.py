"""A page as a person has it before them, and what the browser says of it besides."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server", "--renderer-process-limit=1",
)  # fmt: skip
PHONE: ViewportSize = {"width": 360, "height": 740}
DESK: ViewportSize = {"width": 1280, "height": 900}


@dataclass
class Window:
    """A window of its own, with cookies and passwords of its own."""

    context: BrowserContext
    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def check_quiet(self) -> None:
        """No violation of a policy, no error, and no script of somebody else's has opened a dialog."""
        assert self.said == []

    async def sideways(self) -> int:
        """By how many pixels the page is wider than the window."""
        wide: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide

    async def focus(self) -> str:
        """What has the focus, and whether that can be seen: an outline, or a frame that is drawn thicker."""
        seen: str = await self.page.evaluate(
            """() => {
                const at = document.activeElement;
                const card = at.matches("svg a") ? at.querySelector("rect.card") : null;
                const style = getComputedStyle(card ?? at);
                const wide = parseFloat(card ? style.strokeWidth : style.outlineWidth);
                const drawn = card ? style.stroke : style.outlineStyle;
                const text = card ? at.querySelector("text.id").textContent : at.textContent;
                const name = at.getAttribute("aria-label") ?? text.trim().split("\\n")[0];
                return at.matches(":focus-visible") && wide >= 3 && drawn !== "none" ? name : "";
            }"""
        )
        return seen


async def window(browser: Browser, **options: Any) -> Window:
    """Open one; `options` are those of a context of Playwright's."""
    context = await browser.new_context(**{"viewport": DESK, "locale": "en-GB", **options})
    opened = Window(context, await context.new_page())

    def say(kind: str, text: str) -> None:
        opened.said.append(f"{kind}: {text}")

    page = opened.page
    page.set_default_timeout(10_000)
    page.on("console", lambda told: say(told.type, told.text))
    page.on("pageerror", lambda error: say("error", str(error)))
    page.on("request", lambda request: opened.asked.append(request.url))

    async def dismiss(dialog: Any) -> None:
        say("dialog", dialog.message)
        await dialog.dismiss()

    page.on("dialog", dismiss)
    return opened


async def shoot(page: Page, folder: Path, name: str) -> None:
    """Keep a picture of the whole page for people to look at."""
    await page.screenshot(path=folder / f"{name}.png", full_page=True, animations="disabled")
