"""From a collection with scripted models to a router at work in the orchestrator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langchain_core.messages import BaseMessage

from benchmarks.routing_local.collect import collect
from benchmarks.routing_local.jobs import Item, Job, Part
from benchmarks.routing_local.live import run_live, spread
from benchmarks.routing_local.records import load_records
from stellwerk.persistence.traces import TraceStore
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from stellwerk.workers import classify_worker
from tests import fakes

WORKER = classify_worker(["cat", "dog"])


def animals(part: Part, numbers: range, track: str = "animals") -> Job:
    """Every third animal meows, and only the large model knows what that means."""

    def item(number: int) -> Item:
        sound, gold = ("meows", "cat") if number % 3 == 0 else ("barks", "dog")
        return Item(
            key=f"{part}/{number}",
            worker="classify",
            instruction=f"number {number} {sound}",
            right=lambda value: float(value["label"] == gold),
            group=f"{part}/{number}",
        )

    return Job(
        name=f"{track}/{part}/{numbers.start}",
        track=track,
        part=part,
        unit="animals",
        workers=[WORKER],
        items=[item(number) for number in numbers],
    )


def dog(messages: Sequence[BaseMessage]) -> str:
    return '{"label": "dog"}'


def cat_or_dog(messages: Sequence[BaseMessage]) -> str:
    return '{"label": "cat"}' if "meows" in fakes.text_of(messages) else '{"label": "dog"}'


def kennel() -> Ladder:
    """A small model to which all animals are dogs, and a large one at ten times its price."""
    models = {"small": fakes.Scripted(reply=dog), "large": fakes.Scripted(reply=cat_or_dog)}
    return Ladder(
        [
            Tier(name=name, model=model, price=Price(input=rate, output=rate))
            for (name, model), rate in zip(models.items(), (1.0, 10.0), strict=True)
        ]
    )


def test_the_router_does_live_what_the_replay_says(tmp_path: Path) -> None:
    blocks = [[animals("every", range(120)), animals("held-out", range(12))]]
    path = tmp_path / "records.jsonl"
    with TraceStore.from_url(tmp_path / "traces.sqlite") as traces:
        list(collect(blocks, kennel(), traces, path))
        held = [job for job in blocks[0] if job.part == "held-out"]

        seen = list(run_live(load_records(path), blocks, kennel(), traces, held))

        assert [one.tiers for one in seen] == [one.expected for one in seen]
        assert all(one.same_answers for one in seen)
        assert sum(one.right for one in seen) > 10  # eight without a router
        routers = {attempt["decision"]["router"] for attempt in traces.attempts() if attempt["decision"]}
        assert routers == {"fixed", "learned"}


def test_a_few_jobs_of_each_track() -> None:
    jobs = [animals("held-out", range(n, n + 1), track) for track in ("a", "b") for n in range(3)]
    assert [job.track for job in spread(jobs, 3)] == ["a", "b", "a"]
    assert spread([], 3) == []
