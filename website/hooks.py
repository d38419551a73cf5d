"""What MkDocs is told while it builds the site. An error here ends `make docs`."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from website.diagrams import drawn
from website.hosts import loaded_from_elsewhere
from website.links import between_pages
from website.pages import PAGES, page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Files outside of docs/ are pages too."""
    for path, name in PAGES.items():
        files.append(File.generated(config, name, content=page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead to pages, and diagrams are pictures."""
    try:
        return drawn(between_pages(markdown, page.file.src_uri), page.file.src_uri)
    except LookupError as error:
        raise PluginError(str(error)) from error


def on_post_build(config: MkDocsConfig) -> None:
    """Nothing is loaded from another host."""
    if found := list(loaded_from_elsewhere(Path(config.site_dir))):
        raise PluginError("the site would load from other hosts:\n" + "\n".join(found))
