"""Draws diagrams with Mermaid (MIT) in a browser. Its script comes from the package registry of npm."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser

from website.diagrams import ROOT, SCHEMES, all_diagrams, picture

_VERSION = "12.3.0"
_SHA256 = "336df803d87a38b70a01e736e666c8f7601d2ce42f5e47c8fafe5d721074b9a3"
# The theme, the colour of the page, which is behind labels of lines, and that of what holds other boxes.
_THEMES = {"light": ("neutral", "#ffffff", "#ffffff"), "dark": ("dark", "#1e2129", "#1e2129")}
_DRAW = """async ([text, theme, edgeLabelBackground, clusterBkg]) => {
    mermaid.initialize({
        startOnLoad: false, securityLevel: "strict", deterministicIds: true, look: "classic",
        fontFamily: "system-ui, sans-serif", theme, themeVariables: {edgeLabelBackground, clusterBkg},
        themeCSS: ".edgeLabel p, .edgeLabel rect, .labelBkg {opacity: 1 !important}",
        flowchart: {useMaxWidth: false}, state: {useMaxWidth: false},
    });
    document.body.innerHTML = (await mermaid.render("diagram", text)).svg;
    return new XMLSerializer().serializeToString(document.querySelector("svg"));
}"""


def mermaid(folder: Path) -> str:
    """The script of Mermaid.

    Raises:
        SystemExit: if it cannot be fetched, or is not the one that is expected.
    """
    if shutil.which("npm") is None:
        raise SystemExit("there is no npm, which fetches Mermaid; on Debian and Ubuntu: apt-get install npm")
    fetch = ["npm", "pack", "--silent", f"mermaid@{_VERSION}"]
    subprocess.run(fetch, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(folder / f"mermaid-{_VERSION}.tgz") as package:
        member = package.extractfile("package/dist/mermaid.min.js")
        assert member is not None
        script = member.read()
    if (found := hashlib.sha256(script).hexdigest()) != _SHA256:
        raise SystemExit(f"mermaid {_VERSION} has the SHA-256 {found}; expected is {_SHA256}")
    return script.decode()


def draw_diagrams(browser: Browser) -> None:
    """Draw those that have no picture, and delete pictures of those that are gone."""
    docs = ROOT / "docs"
    wanted = {docs / picture(text, scheme): (text, scheme) for text in all_diagrams() for scheme in SCHEMES}
    for path in (docs / "pictures" / "diagrams").glob("*.svg"):
        if path not in wanted:
            path.unlink()
    missing = [path for path in wanted if not path.exists()]
    if not missing:
        return
    with TemporaryDirectory() as folder:
        script = mermaid(Path(folder))
    page = browser.new_page(offline=True)
    page.set_content("<!doctype html><body></body>")
    page.add_script_tag(content=script)
    for path in missing:
        text, scheme = wanted[path]
        drawn: str = page.evaluate(_DRAW, [text, *_THEMES[scheme]])
        path.parent.mkdir(exist_ok=True)
        path.write_text(drawn + "\n", encoding="utf-8")
        print(f"drew {path.relative_to(ROOT)}")
    page.close()
