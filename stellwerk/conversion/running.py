"""Runs on their way, as callbacks tell of them: whose parts are they, and where do these stand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import var_child_runnable_config

from stellwerk.conversion.call_site import named, nodes_of
from stellwerk.conversion.foreign_call import ForeignCall
from stellwerk.trace import Origin, origin_in

_MOST_ROOTS = 10_000  # that never end, as a stream that was given up; the oldest are forgotten
_TASK = 20_000  # characters kept of what the user asked


@dataclass(slots=True)
class Waiting:
    """A call whose tools are still to be called."""

    call: ForeignCall
    left: set[str]


@dataclass(slots=True)
class Root:
    """A run of a whole program.

    Args:
        run_id: of it.
        thread_id: of its thread, or empty.
        origin: whom it comes from.
        task: what the user asked.
        told: whether a sink knows of it.
        interrupted: whether a part of it waits for a person.
        waiting: calls that wait for their tools, by the ids of the tool calls.
        parts: runs inside of it.
    """

    run_id: str
    thread_id: str
    origin: Origin
    task: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    told: bool = False
    interrupted: bool = False
    waiting: dict[str, Waiting] = field(default_factory=dict)
    parts: set[UUID] = field(default_factory=set)


@dataclass(slots=True)
class Part:
    """A chain, a node of a graph, or a tool.

    Args:
        root: the run that it is part of.
        path: of the nodes and tools around it, itself included.
        namespace: LangGraph's, of the step.
        name: of the nearest chain that has one.
        use: id of the tool call that it is, or empty.
        began: by the clock of `perf_counter`.
    """

    root: Root
    path: tuple[str, ...]
    namespace: str
    name: str
    use: str = ""
    began: float = 0.0


class Running:
    """The runs on their way in this process. Its methods may be called in any thread."""

    def __init__(self) -> None:
        self._parts: dict[UUID, Part] = {}
        self._roots: OrderedDict[UUID, Root] = OrderedDict()

    def begin(
        self, run_id: UUID, parent: UUID | None, name: object, metadata: Mapping[str, Any], inputs: object
    ) -> Part:
        """A chain, or a node, has begun."""
        around = self._parts.get(parent) if parent is not None else None
        node, namespace = metadata.get("langgraph_node"), metadata.get("langgraph_checkpoint_ns") or ""
        if around is None:
            root = Root(
                run_id=str(run_id),
                thread_id=thread_of(metadata),
                origin=origin_of(metadata),
                task=task_of(inputs),
            )
            self._roots[run_id] = root
            agent = metadata.get("lc_agent_name")
            path = nodes_of(namespace) or ((agent,) if agent and agent == name else ())
            part = Part(root, path, namespace, named(name))
        else:
            path = around.path
            if node and namespace != around.namespace:
                path = (*path, str(node))
            part = Part(around.root, path, namespace, named(name) or around.name)
        self._keep(run_id, part)
        return part

    def begin_tool(self, run_id: UUID, parent: UUID | None, name: str, use: str, began: float) -> None:
        """A tool has begun; one that no run is known of belongs to nothing."""
        around = self._parts.get(parent) if parent is not None else None
        if around is not None:
            path = (*around.path, name) if name else around.path
            self._keep(run_id, Part(around.root, path, around.namespace, around.name, use, began))

    def part(self, run_id: UUID | None) -> Part | None:
        """The part of that id."""
        return self._parts.get(run_id) if run_id is not None else None

    def end(self, run_id: UUID) -> tuple[Part | None, Root | None]:
        """A part has ended; also the root, where it was the whole run."""
        root = self._roots.pop(run_id, None)
        part = self._parts.pop(run_id, None)
        if root is not None:
            for each in list(root.parts):  # those of which no end was told
                self._parts.pop(each, None)
        elif part is not None:
            part.root.parts.discard(run_id)
        return part, root

    def overdue(self) -> list[Root]:
        """The oldest runs, if there are more than can be; they are forgotten."""
        found = []
        while len(self._roots) > _MOST_ROOTS:
            try:
                run_id = next(iter(self._roots))
            except (StopIteration, RuntimeError):  # another thread did it
                break
            _, root = self.end(run_id)
            found += [root] if root is not None else []
        return found

    def _keep(self, run_id: UUID, part: Part) -> None:
        self._parts[run_id] = part
        part.root.parts.add(run_id)


def thread_of(metadata: Mapping[str, Any]) -> str:
    """The thread that metadata name; empty if none."""
    for key in ("thread_id", "session_id", "conversation_id"):  # as LangSmith takes them for threads
        if (found := metadata.get(key)) is not None:
            return str(found)
    return ""


def origin_of(metadata: Mapping[str, Any], root: Root | None = None) -> Origin:
    """Whom a run, or a call in one, comes from, by its metadata or by the config of the step that runs."""
    config = var_child_runnable_config.get() or {}
    origin = origin_in(metadata, config.get("configurable") or {}, private=True)
    if root is not None:
        if origin.user and not root.origin.user:  # LangGraph does not tell of its config when a run begins
            root.origin = replace(root.origin, user=origin.user)
        told = root.origin.consent if origin.consent is None else origin.consent
        origin = replace(origin, user=origin.user or root.origin.user, consent=told)
    return origin


def task_of(inputs: object) -> str:
    """What the user asked, as far as the inputs of a program tell."""
    if isinstance(inputs, str):
        return inputs[:_TASK]
    if isinstance(inputs, BaseMessage):
        return str(inputs.text)[:_TASK]
    if isinstance(inputs, Mapping):
        if "messages" in inputs:
            return task_of(inputs["messages"])
        found = [value for value in inputs.values() if isinstance(value, str) and value]
        return "\n".join(found)[:_TASK]
    if isinstance(inputs, (list, tuple)) and inputs:
        last = inputs[-1]
        if isinstance(last, Mapping):
            return task_of(last.get("content"))
        return task_of(last[-1] if isinstance(last, tuple) and last else last)
    return ""
