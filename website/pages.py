"""Which files of the repository are pages of the site, beside those of docs/, and what they say there."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXAMPLES = (
    "examples/python_api.py",
    "examples/tools.py",
    "examples/langgraph_node.py",
    "examples/fastapi_app.py",
    "examples/first_steps.ipynb",
    "examples/orders/orders.py",
    "examples/orders/stellwerk.toml",
)
# By the path in the repository; the path of the page is that under docs/.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "license.md",
    "deploy/compose/compose.yaml": "examples/compose.md",
    **{path: f"{path.partition('.')[0]}.md" for path in EXAMPLES},
}
_LANGUAGES = {"toml": "toml", "yaml": "yaml"}


def page_of(path: str) -> str | None:
    """Where a file of the repository is on the site; None if it is not there."""
    return path.removeprefix("docs/") if path.startswith("docs/") else PAGES.get(path)


def file_of(page: str) -> str:
    """Which file of the repository a page is made of."""
    return next((path for path, made in PAGES.items() if made == page), f"docs/{page}")


def page(path: str) -> str:
    """What a file outside of docs/ says on the site, as Markdown."""
    text = (ROOT / path).read_text(encoding="utf-8")
    match path.rpartition(".")[2]:
        case "md":
            return text
        case "py":
            return _program(path, text)
        case "ipynb":
            return _notebook(json.loads(text))
        case kind:
            return f"# {path.rpartition('/')[2]}\n\n{_fenced(text, _LANGUAGES.get(kind, 'text'))}"


def _fenced(text: str, language: str = "text") -> str:
    return f"````{language}\n{text.rstrip()}\n````\n"


def _program(path: str, text: str) -> str:
    said = ast.get_docstring(ast.parse(text)) or ""
    name = path.rpartition("/")[2]
    return f"# {name}\n\n{said}\n\n{_fenced(text, 'python')}"


def _notebook(content: dict[str, Any]) -> str:
    parts = []
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts.append(_fenced(source, "python"))
            parts += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        return f'<div class="output">{"".join(data["text/html"])}</div>'
    return _fenced("".join(output.get("text") or data.get("text/plain", "")))
