"""A database of runs on two tiers: real graphs, whose models are scripted."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage

from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.traces import TraceStore
from tests.fakes import Reply, ladder, text_of, worker

WORKERS = ("look_up", "extract", "calculate", "write")
# How often a tier's answer is in form, by worker.
ABLE = {
    "small": {"look_up": 0.97, "extract": 0.85, "calculate": 0.7, "write": 0.35},
    "large": {"look_up": 1.0, "extract": 0.99, "calculate": 0.98, "write": 0.96},
}
SHAPES: tuple[Sequence[tuple[str, str, str]], ...] = (
    (("revenue_2024", "look_up", ""), ("revenue_2023", "look_up", ""),
     ("growth", "calculate", "revenue_2024 revenue_2023"), ("outlook", "extract", ""),
     ("summary", "write", "growth outlook")),
    (("party", "extract", ""), ("amount", "extract", ""), ("due", "look_up", ""),
     ("total", "calculate", "amount"), ("letter", "write", "party due total")),
    (("price", "look_up", ""), ("answer", "write", "price")),
    (("margins", "extract", ""), ("peers", "look_up", ""), ("mean", "calculate", "peers"),
     ("gap", "calculate", "margins mean"), ("risks", "extract", ""), ("why", "write", "risks gap"),
     ("note", "write", "why gap"), ("title", "write", "note")),
)  # fmt: skip
TASKS = (
    "How did revenue develop, and what is expected?",
    "Write the reminder for this invoice.",
    "What does the desk cost?",
    "Why is our margin below that of our peers?",
)


def model(tier: str, draw: random.Random) -> Reply:
    def reply(messages: Sequence[BaseMessage]) -> str:
        said = text_of(messages)
        name = next((name for name in WORKERS if f"Do {name}." in said), "write")
        if draw.random() < ABLE[tier][name]:
            return json.dumps({"text": f"{name} is done " + "in a few words " * draw.randrange(1, 9)})
        return draw.choice(["I would say that it depends.", '{"words": 3}', ""])

    return reply


def fill(path: Path | str, runs: int, *, seed: int = 0, prefix: str = "", checkpoints: bool = True) -> None:
    """Run so many tasks; a few of them have a budget that ends them."""
    draw = random.Random(seed)
    tiers = ladder(model("small", draw), model("large", draw))
    with TraceStore.from_url(path) as traces:
        graph = create_orchestrator(
            [worker(name, repairs=0) for name in WORKERS], tiers, synthesizer="join", traces=traces
        ).compile(checkpointer=SQLAlchemySaver(traces.database) if checkpoints else None)
        for number in range(runs):
            kind = draw.choices(range(len(SHAPES)), (5, 4, 6, 2))[0]
            plan = [
                {
                    "id": name,
                    "worker": by,
                    "instruction": f"{name} of case {number}",
                    "depends_on": needs.split(),
                }
                for name, by, needs in SHAPES[kind]
            ]
            given: dict[str, Any] = {"task": TASKS[kind], "plan": {"subtasks": plan}}
            if draw.random() < 0.03:
                given["budget"] = {"calls": 2}
            thread = f"{prefix}{('finance', 'billing', 'shop', 'finance')[kind]}-{number:04d}"
            graph.invoke(
                given,
                {
                    "configurable": {"thread_id": thread},
                    "metadata": {"run_id": f"{seed:02x}{number:06x}-run"},
                },
            )
        assert traces.flush()
        assert traces.dropped == 0
