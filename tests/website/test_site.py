"""The site has every page and every public name, and what it is made of can be made."""

import re
from pathlib import Path

import pytest

import stellwerk
from website.diagrams import SCHEMES, all_diagrams, picture
from website.hosts import loaded_from_elsewhere
from website.links import between_pages
from website.pages import PAGES, ROOT, page

DOCS = ROOT / "docs"
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
REFERENCE = re.compile(r"^::: stellwerk\.(\w+)$", re.MULTILINE)


def test_each_page_is_in_the_navigation_once() -> None:
    named = re.findall(r"([\w/-]+\.md)$", NAVIGATION, re.MULTILINE)
    pages = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert sorted(named) == sorted([*pages, *PAGES.values()])


def test_each_public_name_is_in_the_reference_once() -> None:
    pages = (DOCS / "reference").glob("*.md")
    named = [name for path in pages for name in REFERENCE.findall(path.read_text(encoding="utf-8"))]
    assert sorted([*named, "__version__"]) == stellwerk.__all__  # a version has no docstring


def test_each_diagram_has_its_pictures_and_no_other_is_kept() -> None:
    wanted = {picture(text, scheme) for text in all_diagrams() for scheme in SCHEMES}
    kept = {str(path.relative_to(DOCS)) for path in (DOCS / "pictures" / "diagrams").iterdir()}
    assert kept == wanted, "run `make pictures`"


@pytest.mark.parametrize("path", sorted((DOCS / "pictures").rglob("*.*")), ids=lambda path: path.name)
def test_pictures_are_small_and_shown(path: Path) -> None:
    assert path.stat().st_size < 200_000
    if path.parent.name != "diagrams" and path.suffix == ".svg":
        documents = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
        assert any(f"pictures/{path.stem}." in each.read_text(encoding="utf-8") for each in documents)


def test_links_between_files_become_links_between_pages() -> None:
    text = "[a](docs/tiers.md#rails-by-tier) [b](LICENSE) [c](#x) [d](https://example.org/a.md)\n"
    assert between_pages(text, "index.md") == (
        "[a](tiers.md#rails-by-tier) [b](license.md) [c](#x) [d](https://example.org/a.md)\n"
    )
    assert between_pages("[a](../../README.md#try-it)", "howto/vllm.md") == "[a](../index.md#try-it)"
    assert between_pages("![a](../pictures/run.svg)", "howto/vllm.md") == "![a](../pictures/run.svg)"
    code = "```python\nx = y[0](docs)\n```\n"
    assert between_pages(code, "index.md") == code


def test_a_link_to_what_is_no_page_is_refused() -> None:
    with pytest.raises(LookupError, match=r"README\.md links to Makefile, which is no page"):
        between_pages("[a](Makefile)", "index.md")


@pytest.mark.parametrize("path", PAGES)
def test_files_outside_of_docs_are_pages_with_a_title(path: str) -> None:
    assert re.match(r"# \S", page(path))


def test_the_notebook_is_shown_with_what_came_out_of_it() -> None:
    text = page("examples/first_steps.ipynb")
    assert "missing: nothing" in text
    assert '<div class="output"><pre' in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", "<script src='https://cdn.example/x.js'></script>"),
        ("a.html", "<link rel=stylesheet href=//fonts.example/css>"),
        ("a.html", "<img srcset='HTTPS://img.example/a.png 2x'>"),
        ("a.html", "<p style='background: url(https://img.example/a.png)'>"),
        ("a.html", "<style>@import 'https://fonts.example/a.css';</style>"),
        ("a.html", "<pre class='mermaid'>graph</pre>"),
        ("a.css", "@font-face { src: url('//fonts.example/a.woff2') }"),
        ("a.svg", "<svg><image xlink:href='http://img.example/a.png'/></svg>"),
    ],
)
def test_what_would_be_loaded_from_another_host_is_found(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert len(list(loaded_from_elsewhere(tmp_path))) == 1


def test_links_that_a_reader_follows_are_no_such_thing(tmp_path: Path) -> None:
    content = (
        "<a href='https://example.org'>x</a><img src='a.png'><link rel=canonical href='https://a.example'>"
    )
    (tmp_path / "a.html").write_text(content)
    assert list(loaded_from_elsewhere(tmp_path)) == []
