"""What side effects belong to: a run, however often it is resumed, and a subtask of it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import get_runtime

from stellwerk.worker import Brief


@dataclass(frozen=True, slots=True)
class WriteScope:
    """A thread, a run on it, and a subtask; the last is empty for a worker that runs alone."""

    thread_id: str
    run: str
    subtask: str


def origin() -> str:
    """What names the task at hand: the checkpoint in which it arrived.

    Not the run's id, which is another one when the run is resumed; and whoever resumes it from an earlier
    checkpoint, as the later ones were not stored before the process died, plans anew.
    """
    info = get_runtime().execution_info
    return info.checkpoint_id if info is not None else uuid4().hex


def scope_of(config: RunnableConfig) -> WriteScope:
    """Where a call of a tool belongs."""
    configurable = config.get("configurable") or {}
    thread_id = str(configurable.get("thread_id") or "")
    context: object = get_runtime().context
    if isinstance(context, Brief) and context.run:
        return WriteScope(thread_id, context.run, context.subtask)
    # Of a worker that runs alone: what LangGraph calls the node that holds it, or else the step itself, which
    # a resumed run calls the same.
    here = str(configurable.get("checkpoint_ns") or "")
    around, _, _ = here.rpartition("|")
    return WriteScope(thread_id, around or here, "")
