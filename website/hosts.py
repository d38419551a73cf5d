"""Finds what a built site would load from another host. Links that a reader follows are no such thing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_ELSEWHERE = re.compile(r"(?:[a-z][a-z+.-]*:)?//", re.IGNORECASE)
_IN_STYLES = re.compile(r"(?:url\(\s*|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
_LOADS = {"src", "srcset", "data", "poster", "action", "background"}
_FOLLOWED = {"canonical", "next", "prev", "alternate", "edit", "license"}


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """As in the standard library."""
        values = {name: value or "" for name, value in attributes}
        loaded = [value for name, value in values.items() if name in _LOADS]
        if tag == "link" and values.get("rel") not in _FOLLOWED:
            loaded.append(values.get("href", ""))
        if tag in {"use", "image"}:
            loaded += [values.get("href", ""), values.get("xlink:href", "")]
        self.found += [url for url in loaded if _ELSEWHERE.match(url.strip())]
        self.found += _IN_STYLES.findall(values.get("style", ""))
        if tag == "pre" and "mermaid" in values.get("class", "").split():
            self.found.append("mermaid, which the theme loads from another host")


def loaded_from_elsewhere(site: Path) -> Iterator[str]:
    """Each as the file and what it loads."""
    for path in sorted(site.rglob("*")):
        if path.suffix in {".html", ".svg"}:
            loads = _Loads()
            text = path.read_text(encoding="utf-8")
            loads.feed(text)
            found = loads.found + [
                url
                for style in re.findall("<style.*?</style>", text, re.DOTALL)
                for url in _IN_STYLES.findall(style)
            ]
        elif path.suffix == ".css":
            found = _IN_STYLES.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        yield from (f"{path.relative_to(site)}: {url}" for url in found)
