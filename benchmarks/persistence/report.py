"""The table of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_MEASURES = ("put", "get_tuple", "list", "bytes")


def markdown(cells: Sequence[dict[str, Any]]) -> str:
    """One row for each thread; in each cell Stellwerk's figure, the peer's, and the ratio."""
    lines = [
        "| database | state | checkpoints | save a step, ms | get_tuple, ms | list of 20, ms | on disk, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    rows: dict[tuple[str, str, str, int], dict[str, dict[str, Any]]] = {}
    for cell in cells:
        where = (cell["backend"], cell["mode"], cell["state"], cell["checkpoints"])
        rows.setdefault(where, {})[cell["measure"]] = cell
    for (backend, mode, state, length), measured in rows.items():
        figures = " | ".join(_figure(measured[name]) for name in _MEASURES)
        lines.append(f"| {backend}, {mode} | {state} | {length:,} | {figures} |")
    return "\n".join(lines)


def growth(cells: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str, str], float]:
    """How much slower each measure is in the longest thread than in the shortest."""
    grown: dict[tuple[str, str, str, str], list[tuple[int, float]]] = {}
    for cell in cells:
        if cell["measure"] != "bytes":
            where = (cell["backend"], cell["mode"], cell["state"], cell["measure"])
            grown.setdefault(where, []).append((cell["checkpoints"], cell["stellwerk"]))
    return {where: max(found)[1] / min(found)[1] for where, found in grown.items() if len(found) > 1}


def _figure(cell: dict[str, Any]) -> str:
    scale = 1e-6 if cell["measure"] == "bytes" else 1e3
    sign = "÷" if cell["measure"] == "bytes" else "×"
    ratio = cell["ratio"] if sign == "×" else 1 / cell["ratio"]
    return f"{cell['stellwerk'] * scale:.2f} / {cell['peer'] * scale:.2f} ({sign} {ratio:.2f})"
