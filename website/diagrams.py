"""Diagrams: Mermaid in the documents, as Git hosts draw it, and pictures on the site.

The site could draw them too, with three megabytes of script from another host in each reader's browser.
`make pictures` draws them once instead, in a light and a dark form. A picture is named after a digest of its
text.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = "pictures/diagrams"
SCHEMES = ("light", "dark")
_FENCE = re.compile(r"^```mermaid\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def diagrams(markdown: str) -> list[str]:
    """The texts of the diagrams of a document."""
    return _FENCE.findall(markdown)


def all_diagrams() -> Iterator[str]:
    """Those of all documents."""
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        yield from diagrams(path.read_text(encoding="utf-8"))


def picture(diagram: str, scheme: str) -> str:
    """Path under docs/ of the picture of a diagram."""
    return f"{FOLDER}/{hashlib.sha256(diagram.encode()).hexdigest()[:12]}-{scheme}.svg"


def drawn(markdown: str, page: str) -> str:
    """The text with pictures in the place of diagrams.

    Raises:
        LookupError: if there is no picture of a diagram.
    """

    def show(found: re.Match[str]) -> str:
        headings = _HEADING.findall(markdown[: found.start()])
        pictures = []
        for scheme in SCHEMES:
            path = picture(found[1], scheme)
            if not (ROOT / "docs" / path).exists():
                raise LookupError(f"{page} has a diagram without a picture; run `make pictures`")
            place = posixpath.relpath(path, posixpath.dirname(page) or ".")
            pictures.append(f"![Diagram: {headings[-1]}]({place}#only-{scheme})")
        return "\n".join(pictures)

    return _FENCE.sub(show, markdown)
