"""A database of traces: what runs on two tiers leave behind, of which the small one can do the easy half."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from langchain_core.messages import BaseMessage

from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.traces import TraceStore
from stellwerk.routers.exploring import Exploring
from stellwerk.routers.router import Router
from stellwerk.routers.smallest_first import SmallestFirst
from stellwerk.trace import FeedbackSource
from tests.fakes import Reply, ladder, text_of, worker

EASY = ("Copy the figure of {} from the table", "Name the currency of {}")
HARD = ("Explain why the margin of {} fell against its peers", "Weigh the risks that {} names for next year")
FIRMS = ("Arla", "Bosch", "Cargill", "Danone", "Essity", "Ferrero", "Givaudan", "Henkel", "Ikea", "Jysk")


def model(name: str, able: float, easy: float, draw: random.Random) -> Reply:
    """Right about easy and hard jobs as often as it is able to. What it says tells whether it was."""

    def reply(messages: Sequence[BaseMessage]) -> str:
        job = text_of(messages).rpartition("Job: ")[2]
        hard = any(job.startswith(kind.partition("{}")[0]) for kind in HARD)
        right = draw.random() < (able if hard else easy)
        return json.dumps({"text": f"{name} {'right' if right else 'wrong'}"})

    return reply


def fill(
    path: Path,
    runs: int,
    *,
    seed: int = 0,
    small: float = 0.3,
    large: float = 0.985,
    easy: float = 0.985,
    explore: float = 0.3,
    labelled: float = 1.0,
    source: FeedbackSource = "gold",
    router: Router | None = None,
) -> None:
    """Run so many tasks of five subtasks, and say of the answers whether they are right."""
    draw = random.Random(seed)
    tiers = ladder(model("small", small, easy, draw), model("large", large, easy, draw))
    with TraceStore.from_url(path) as store:
        before = {one["trace_id"] for one in store.bare_attempts()}
        graph = create_orchestrator(
            [worker("answer")],
            tiers,
            router=router or Exploring(SmallestFirst(), explore, seed=seed),
            synthesizer="join",
            traces=store,
        ).compile()
        for number in range(runs):
            plan = []
            for place in range(5):
                job = draw.choice(EASY + HARD).format(draw.choice(FIRMS)) + f" ({number}.{place})"
                name, needs = f"s{place}", [f"s{place - 1}"] if place else []
                plan.append({"id": name, "worker": "answer", "instruction": job, "depends_on": needs})
            graph.invoke(
                {"task": "Do it", "plan": {"subtasks": plan}}, {"metadata": {"run_id": f"{seed}-{number}"}}
            )
        for attempt in list(store.attempts(accepted=True)):
            if attempt["trace_id"] not in before and draw.random() < labelled:
                label = str(attempt["value"]["text"]).partition(" ")[2]
                store.add_feedback(attempt["trace_id"], label=label, source=source)
        assert store.dropped == 0
