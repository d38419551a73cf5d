"""Plans that did a task wholly, kept for the same task again.

A plan whose subtasks are lines of the task, word for word, also serves a task that differs from it in numbers
and dates alone, except in lines that work on results, where a number may name one. Any other plan serves the
same words only; and if the planner put words of its own into it, only with the same beginnings of documents,
which it had seen.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore

from stellwerk.document import Document
from stellwerk.errors import PlanError
from stellwerk.nodes.lines import lines_of
from stellwerk.nodes.planning_prompt import outline
from stellwerk.nodes.state import PlanSource
from stellwerk.nodes.step import Work
from stellwerk.nodes.store_call import StoreCall
from stellwerk.plan import Plan, Subtask
from stellwerk.worker import Worker

_log = logging.getLogger(__name__)
_NOT_STORED = "a plan cannot be stored"
# Not where it names a line or a result.
_NUMBER = re.compile(r"(?<![#\w])\d+(?:[.,:/-]\d+)*")


class Known(NamedTuple):
    """A plan that is used again, and where it is from."""

    plan: Plan
    source: PlanSource


@dataclass(frozen=True)
class KnownPlans:
    """Plans in a store, for one set of workers; where the store fails, there are none.

    Args:
        store: keeps them.
        workers: with another prompt, schema or description of one of them, no plan of before is used.
    """

    store: BaseStore
    workers: Mapping[str, Worker]

    @property
    def namespace(self) -> tuple[str, ...]:
        """Where they are in the store."""
        told = sorted((worker.name, worker.version, worker.description) for worker in self.workers.values())
        return ("stellwerk", "plans", _digest(json.dumps(told)))

    def find(self, task: str, documents: Sequence[Document]) -> Generator[Work, Any, Known | None]:
        """The plan that is known for a task."""
        lines = [_plain(line) for line in lines_of(task)]
        for key in (_key(lines, masked=False), _key(lines, masked=True)):
            item = yield StoreCall(self.store, "get", (self.namespace, key), "stored plans cannot be read")
            if item is None or (plan := self._fitting(item.value, lines_of(task), documents)) is None:
                continue
            return Known(plan, PlanSource(kind="stored", key=key, kept=str(item.value.get("kept"))))
        return None

    def keep(self, task: str, documents: Sequence[Document], plan: Plan) -> Work:
        """Keep a plan that did a task wholly."""
        lines = lines_of(task)
        rows = [_row(subtask, lines) for subtask in plan.subtasks]
        own = [row["instruction"] for row in rows if "instruction" in row]
        value: dict[str, Any] = {"lines": lines, "subtasks": rows, "kept": datetime.now(UTC).isoformat()}
        if not all(_plain(words) in _plain(task) for words in own):
            value["outline"] = _seen(documents)
        key = _key([_plain(line) for line in lines], masked=not own)
        return StoreCall(self.store, "put", (self.namespace, key, value), _NOT_STORED, {"index": False})

    def forget(self, source: PlanSource) -> Work:
        """Forget a plan that did not do its task again."""
        return StoreCall(self.store, "delete", (self.namespace, source["key"]), _NOT_STORED)

    def _fitting(
        self, value: Mapping[str, Any], lines: Sequence[str], documents: Sequence[Document]
    ) -> Plan | None:
        try:
            if value.get("outline") not in (None, _seen(documents)):
                return None
            rows = []
            for row in value["subtasks"]:
                if "line" in row:
                    number, needed = row["line"], row["depends_on"]
                    if needed and _plain(value["lines"][number]) != _plain(lines[number]):
                        return None
                    row = {**row, "instruction": lines[number]}
                    del row["line"]
                rows.append(row)
            plan = Plan.parse(rows)
            plan.check_workers(self.workers)
        except (PlanError, LookupError, TypeError, AttributeError):
            _log.warning("a stored plan cannot be used, and is made anew", exc_info=True)
            return None
        return plan


def _row(subtask: Subtask, lines: Sequence[str]) -> dict[str, Any]:
    row = subtask.model_dump(mode="json")
    if lines.count(subtask.instruction) == 1:  # two that are equal may differ in another task
        row["line"] = lines.index(row.pop("instruction"))
    return row


def _key(lines: Sequence[str], *, masked: bool) -> str:
    said = [_NUMBER.sub("0", line) for line in lines] if masked else list(lines)
    return _digest(json.dumps([masked, said], ensure_ascii=False))


def _seen(documents: Sequence[Document]) -> str:
    return _digest(outline(documents))


def _plain(text: str) -> str:
    return " ".join(text.split())


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
