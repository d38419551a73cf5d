"""Runs the notebook of the examples, and stores it with what came out: `python -m website.notebook`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
FIRST_STEPS = ROOT / "examples" / "first_steps.ipynb"


def executed(path: Path, *, parameters: str | None = None) -> Any:
    """The notebook with its outputs.

    Args:
        path: of the notebook.
        parameters: what stands in the place of the cell with the tag `parameters`; that cell itself if None.

    Raises:
        CellExecutionError: if a cell does.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if parameters is not None and "parameters" in cell.metadata.get("tags", ()):
            cell.source = parameters
    with TemporaryDirectory() as folder:
        # Sockets in a folder of our own: the default is TCP ports that any user of the machine can reach.
        sockets = Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})
        # When cells ran is of no interest, and would make each run another file.
        client = NotebookClient(notebook, config=sockets, timeout=300, record_timing=False)
        client.execute(cwd=str(path.parent))
    return notebook


def main() -> None:
    """Run it, and write it back."""
    notebook = executed(FIRST_STEPS)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, FIRST_STEPS)
    print(f"ran {FIRST_STEPS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
