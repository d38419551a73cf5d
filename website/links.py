"""Links that work on a Git host and on the site: written as between files, and rewritten as between pages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from website.pages import file_of, page_of

_FENCE = re.compile(r"(^(?P<fence>`{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)(?P<name>[^)\s#]+)(?P<heading>#[^)\s]*)?(?=\))")


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """The text with what stands outside of fences changed."""
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def between_pages(markdown: str, page: str) -> str:
    """The text with its links to files made links to pages.

    Args:
        markdown: what the page's file says.
        page: path of the page under docs/.

    Raises:
        LookupError: if a file is no page.
    """
    folder = posixpath.dirname(file_of(page))

    def link(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found["name"]))
        if (other := page_of(path)) is None:
            raise LookupError(
                f"{file_of(page)} links to {path}, which is no page; add it in website/pages.py"
            )
        return posixpath.relpath(other, posixpath.dirname(page) or ".") + (found["heading"] or "")

    return outside_code(markdown, lambda text: _LINK.sub(link, text))
