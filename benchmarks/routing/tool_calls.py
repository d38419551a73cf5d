"""Single steps of agents: 1,700 function calls of the Berkeley Function-Calling Leaderboard (Patil et al.,
2025).

Rows that share a function stand in one group, also through a third row. Costs of a call are the track's
ratios.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.routing.corpus import Corpus, context
from benchmarks.routing.rows import read_rows
from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routing_context import RoutingContext

SOURCE = (
    "BFCL's prompts are published at https://github.com/ShishirPatil/gorilla (Apache-2.0), its outcomes with"
    " the leaderboard, https://gorilla.cs.berkeley.edu/leaderboard.html"
)
CLAUDE = "claude-3-5-sonnet-20240620"
LLAMAS = {
    "meta-llama_Meta-Llama-3-8B-Instruct": 1.0,
    "meta-llama_Meta-Llama-3-70B-Instruct": 10.0,
    CLAUDE: 55.0,
}
MIXED = {"Salesforce_xLAM-1b-fc-r": 1.0, "gpt-4o-mini-2024-07-18": 5.0, CLAUDE: 90.0}
_NAMES = {
    "meta-llama_Meta-Llama-3-8B-Instruct": "llama-3-8b",
    "meta-llama_Meta-Llama-3-70B-Instruct": "llama-3-70b",
    CLAUDE: "claude-3.5-sonnet",
    "Salesforce_xLAM-1b-fc-r": "xlam-1b",
    "gpt-4o-mini-2024-07-18": "gpt-4o-mini",
}
UNIT = 1e-4  # USD that a call to the cheapest tier costs


def tool_calls(costs: dict[str, float]) -> Corpus:
    """The calls with three tiers, whose costs stand in these ratios."""
    rows = read_rows("bfcl_queries.parquet", SOURCE)
    correct: dict[tuple[str, str], int] = {}
    for row in read_rows("bfcl_outcomes.parquet", SOURCE):
        correct[row["qid"], row["model"]] = row["correct"]
    functions = [json.loads(row["functions_json"]) for row in rows]
    groups = connected([[function["name"] for function in known] for known in functions])
    episodes = tuple(
        Episode(
            id=row["qid"],
            context=_context(row["question"], known, len(row["functions_json"])),
            outcomes=tuple(
                Outcome(
                    tier=_NAMES[model],
                    accepted=True,
                    usd=ratio * UNIT,
                    label=Label(right=float(correct[row["qid"], model]), source="gold"),
                )
                for model, ratio in costs.items()
            ),
            complete=True,
            group=group,
        )
        for row, known, group in zip(rows, functions, groups, strict=True)
    )
    tiers = tuple(_NAMES[model] for model in costs)
    return Corpus("BFCL " + "/".join(tiers), tiers, episodes)


def connected(names: Sequence[Iterable[str]]) -> list[str]:
    """Per row, the group of all rows that share a name with it, directly or through others."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for row in names:
        first, *others = row
        for other in others:
            parent[root(other)] = root(first)
    return [root(next(iter(row))) for row in names]


def _context(question: str, functions: list[dict[str, Any]], characters: int) -> RoutingContext:
    found = context("call_function", question, max_tokens=256)
    shapes = [_shape(function["parameters"]) for function in functions]
    found["tools"] = [function["name"] for function in functions]
    found["prompt"] = characters
    found["fields"] = sum(fields for fields, _, _ in shapes)
    found["choices"] = sum(choices for _, choices, _ in shapes)
    found["depth"] = max(depth for _, _, depth in shapes)
    return found


def _shape(schema: dict[str, Any]) -> tuple[int, int, int]:
    """Values, options and depth of BFCL's dialect of JSON schema."""
    totals: dict[str, int] = defaultdict(int)

    def walk(part: dict[str, Any], level: int) -> None:
        totals["choices"] += len(part.get("enum") or ())
        totals["depth"] = max(totals["depth"], level)
        inner = list((part.get("properties") or {}).values())
        if isinstance(part.get("items"), dict):
            inner.append(part["items"])
        for child in inner:
            if isinstance(child, dict):
                walk(child, level + 1)
        if not inner:
            totals["fields"] += 1

    walk(schema, 0)
    return totals["fields"], totals["choices"], totals["depth"]
