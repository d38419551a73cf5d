"""What a page says, read as a browser would."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, and texts with the elements that they stand in."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of this kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All that can be read, without styles."""
        return " ".join(" ".join(said.split()) for tag, said in self.texts if tag != "style")

    def check(self, *, scripts: bool) -> None:
        """Nothing that a strict policy refuses, ids once each, and links within that lead somewhere."""
        for tag, attributes in self.elements:
            refused = [name for name in attributes if name == "style" or name.startswith("on")]
            assert not refused, f"<{tag}> has {refused}"
            for name in ("href", "src"):
                value = attributes.get(name, "")
                assert not value.startswith(("http:", "https:", "//", "javascript:")), value
        assert bool(self.all("script")) is scripts
        assert all(script.get("src") for script in self.all("script"))
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for link in self.all("a"):
            if link["href"].startswith("#"):
                assert link["href"][1:] in ids
