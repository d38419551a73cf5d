"""The notebook runs from top to bottom, and what is stored in it is what came out."""

from typing import Any

import nbformat
import pytest

from website.notebook import FIRST_STEPS, executed


def text(cell: Any) -> str:
    """What a cell printed or gave, as plain text."""
    return "".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
    )


def outputs(notebook: Any) -> list[str]:
    return [text(cell) for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.model
@pytest.mark.slow
def test_it_runs_on_the_smallest_model_alone() -> None:
    found = outputs(executed(FIRST_STEPS, parameters='MODELS = ["smollm2-135m"]'))
    assert "'product': 'desks', 'pieces': 40" in found[1]
    assert "the product is not in the letter" in found[2]
    assert "none: product_is_in_the_letter" in found[4]
    assert "smollm2-135m" in found[5]
    assert "accepted: {'smollm2-135m': 4}" in found[6]
    assert "missing: {'letter-4'" in found[6]


def test_it_is_stored_with_what_came_out_of_the_cells_as_they_are() -> None:
    notebook = nbformat.read(FIRST_STEPS, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    found = outputs(notebook)
    assert "smollm2-135m → qwen2.5-coder-0.5b" in found[4]
    assert found[6].endswith("missing: nothing\n")
