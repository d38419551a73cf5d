"""Jobs: one run of the orchestrator each, with a ready plan and a known answer to every subtask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stellwerk.document import Document
from stellwerk.plan import Subtask
from stellwerk.routing_context import RoutingContext, routing_context
from stellwerk.worker import Brief, Worker

Part = Literal["held-out", "every", "explored"]
"""`held-out` is what is reported, and no router sees it before. The rest is to learn from: `every` is run on
every tier, so that any policy can be replayed on it, and `explored` by a router that draws lots."""

PARTS: tuple[Part, ...] = ("held-out", "every", "explored")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One subtask.

    Args:
        key: names the row of the data, such as `banking77/12`.
        worker: who does it.
        instruction: what is to be done.
        right: how right a value is, from 0 to 1; it gets what the worker made, never None.
        group: items that must not stand on two sides of a split share it.
    """

    key: str
    worker: str
    instruction: str
    right: Callable[[Any], float]
    group: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """Some subtasks that are run together.

    Args:
        name: of the job; the same for the same rows.
        track: the data set.
        part: what it is for.
        unit: jobs and items of a unit share the beginning of their prompts, which a tier reads once.
        workers: those that the items need.
        items: in the order of the plan.
        documents: that they are about.
    """

    name: str
    track: str
    part: Part
    unit: str
    workers: Sequence[Worker]
    items: Sequence[Item]
    documents: Sequence[Document] = field(default=())

    def plan(self) -> dict[str, Any]:
        """The plan, as the orchestrator takes it: subtasks `s0`, `s1`, ..."""
        return {"subtasks": [subtask.model_dump(mode="json") for subtask in self._subtasks()]}

    def item(self, subtask: str) -> Item:
        """The item behind a subtask of the plan."""
        return self.items[int(subtask.removeprefix("s"))]

    def contexts(self) -> Mapping[str, RoutingContext]:
        """What a router knows of each item beforehand, by its key."""
        workers = {worker.name: worker for worker in self.workers}
        found = {}
        for place, (subtask, item) in enumerate(zip(self._subtasks(), self.items, strict=True)):
            brief = Brief(
                instruction=item.instruction,
                documents=self.documents,
                position=place,
                size=len(self.items),
            )
            found[item.key] = routing_context(subtask, workers[item.worker], brief)
        return found

    def _subtasks(self) -> list[Subtask]:
        return [
            Subtask(id=f"s{place}", worker=item.worker, instruction=item.instruction)
            for place, item in enumerate(self.items)
        ]
