"""The plan: a directed acyclic graph of subtasks, and its checks."""

from __future__ import annotations

import graphlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stellwerk.errors import PlanError

MAX_SUBTASKS = 10_000
MOST_REPLANS = 10  # each is two steps of the graph, of which LangGraph allows 25 unless told otherwise
MAX_INSTRUCTION = 1_000_000  # characters; people paste long texts into a task, and it may become one subtask
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class Subtask(BaseModel):
    """One node of a plan: what to do, who does it, and whose results it needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    worker: str
    instruction: str = Field(min_length=1, max_length=MAX_INSTRUCTION)
    depends_on: tuple[str, ...] = ()

    @field_validator("instruction")
    @classmethod
    def _says_something(cls, instruction: str) -> str:
        if not instruction.strip():
            raise ValueError("is blank")
        return instruction


class Plan(BaseModel):
    """Subtasks in the order in which they were written.

    Structure (unique ids, no self, dangling or circular dependency, size) is checked on
    construction; workers are checked by `check_workers`, as only an orchestrator knows them.

    Raises:
        PlanError: naming the subtask at fault.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subtasks: tuple[Subtask, ...]

    @model_validator(mode="after")
    def _is_a_dag(self) -> Self:
        # PlanError is no ValueError, so pydantic lets it through as it is.
        if not self.subtasks:
            raise PlanError("the plan has no subtask; give it at least one")
        if len(self.subtasks) > MAX_SUBTASKS:
            raise PlanError(f"the plan has {len(self.subtasks)} subtasks; the limit is {MAX_SUBTASKS}")
        known: set[str] = set()
        for subtask in self.subtasks:
            if not _ID.fullmatch(subtask.id):
                raise PlanError(
                    f"subtask id {subtask.id!r} is not usable; start with a letter and use "
                    "at most 64 letters, digits, '_' or '-'"
                )
            if subtask.id in known:
                raise PlanError(f"subtask id {subtask.id!r} is used twice; ids must be unique")
            known.add(subtask.id)
        for subtask in self.subtasks:
            for dependency in subtask.depends_on:
                if dependency == subtask.id:
                    raise PlanError(f"subtask {subtask.id!r} depends on itself")
                if dependency not in known:
                    raise PlanError(
                        f"subtask {subtask.id!r} depends on {dependency!r}, which is not in the plan"
                    )
        self.in_order()
        return self

    @classmethod
    def parse(cls, source: str | Mapping[str, Any] | Iterable[Mapping[str, Any]] | Plan) -> Plan:
        """Read a plan from JSON text, from `{"subtasks": [...]}`, or from a list of subtasks.

        Raises:
            PlanError: naming the field, the value and what is wrong with it.
        """
        if isinstance(source, Plan):
            return source
        if isinstance(source, str):
            try:
                source = json.loads(source)
            except (ValueError, RecursionError) as error:  # a ValueError also for a number of 4,300 digits
                raise PlanError(f"the plan is not JSON: {error}") from error
        value: object = source if isinstance(source, Mapping) else {"subtasks": source}
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise PlanError(_explain(error, value)) from error

    def check_workers(self, workers: Collection[str]) -> None:
        """Check that every subtask names a known worker.

        Raises:
            PlanError: naming the subtask and the nearest known worker.
        """
        for subtask in self.subtasks:
            if subtask.worker not in workers:
                near = get_close_matches(subtask.worker, workers, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise PlanError(
                    f"subtask {subtask.id!r} names the unknown worker {subtask.worker!r}; "
                    f"{hint}known workers: {', '.join(sorted(workers))}"
                )

    def in_order(self) -> tuple[Subtask, ...]:
        """Subtasks in topological order: the same for the same plan, in every process.

        Subtasks that may run side by side stand together by worker, since those of one worker share the
        beginning of their prompts, and a small model's server keeps one prompt at a time.

        Raises:
            PlanError: if the dependencies form a cycle.
        """
        by_id = {subtask.id: subtask for subtask in self.subtasks}
        rank = {worker: place for place, worker in enumerate(dict.fromkeys(s.worker for s in self.subtasks))}
        place = {subtask.id: place for place, subtask in enumerate(self.subtasks)}
        sorter = graphlib.TopologicalSorter({s.id: s.depends_on for s in self.subtasks})
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise PlanError(f"subtasks depend on each other in a circle: {cycle}") from error
        order: list[Subtask] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=lambda name: (rank[by_id[name].worker], place[name]))
            order += (by_id[name] for name in ready)
            sorter.done(*ready)
        return tuple(order)

    def sinks(self) -> tuple[Subtask, ...]:
        """Subtasks on which no other subtask depends."""
        needed = {dependency for subtask in self.subtasks for dependency in subtask.depends_on}
        return tuple(subtask for subtask in self.subtasks if subtask.id not in needed)


def _explain(error: ValidationError, value: object) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "plan"
    match first["loc"], value:
        case ("subtasks", int(index), *rest), {"subtasks": [*subtasks]} if index < len(subtasks):
            subtask = subtasks[index]
            name = subtask.get("id") if isinstance(subtask, Mapping) else None
            field = ".".join(str(part) for part in rest)
            where = f"subtask {name or index + 1!r}" + (f", field {field!r}" if field else "")
    found = repr(first["input"])
    return f"{where}: {first['msg']} (found {found if len(found) <= 80 else found[:77] + '...'})"
