"""Calls that have ended, until what came of their tools is known."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from stellwerk.conversion.foreign_call import ForeignCall
from stellwerk.conversion.running import Root, Waiting
from stellwerk.trace import RunOutcome, RunTrace, TraceSink


class Pending:
    """Tells a sink of calls, each once; its methods may be called in any thread.

    Args:
        sink: is told.
    """

    def __init__(self, sink: TraceSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        versions()  # reads files, for which an event loop must not wait later

    def add(self, call: ForeignCall, root: Root | None, *, waits: bool) -> None:
        """A call has ended; one that waits is told once its tools have been called, or the run ends."""
        left = {use["id"] for use in call.uses if use["id"]} if waits and root is not None else set()
        if root is None or not left:
            self._sink.attempt(call.attempt())
            return
        waiting, before = Waiting(call, left), list[Waiting]()
        with self._lock:
            for use in left:
                if (other := root.waiting.get(use)) is not None:  # of a model that gives an id twice
                    before += self._given_up(other)
                root.waiting[use] = waiting
        for other in before:
            self._sink.attempt(other.call.attempt())

    def begin(self, root: Root) -> None:
        """A run has calls that are told of."""
        if not root.told:
            root.told = True
            self._sink.run(_run(root, "running"))

    def came(
        self,
        root: Root,
        use_id: str,
        output: str,
        *,
        failed: bool,
        seconds: float | None = None,
        last: bool = True,
    ) -> None:
        """A tool has ended. Where that is not the `last` word on it, its call waits on."""
        with self._lock:
            waiting = root.waiting.get(use_id)
            if waiting is None:
                return
            for use in waiting.call.uses:
                if use["id"] == use_id:
                    use["output"], use["failed"] = output, failed
                    if seconds is not None:
                        use["seconds"] = seconds
            if last:
                del root.waiting[use_id]
                waiting.left.discard(use_id)
            done = last and not waiting.left
        if done:
            self._sink.attempt(waiting.call.attempt())

    def read(self, root: Root, prompt: Sequence[BaseMessage]) -> None:
        """Look in the prompt of a later call for what tools gave; a program may call them itself."""
        for message in reversed(prompt):
            if isinstance(message, ToolMessage):
                failed = message.status == "error"
                self.came(root, message.tool_call_id, str(message.text), failed=failed)
            elif isinstance(message, AIMessage):
                return

    def end(self, root: Root, outcome: RunOutcome, detail: str | None = None) -> None:
        """A run has ended, and whatever waits is told as it is."""
        with self._lock:
            left = [one for waiting in root.waiting.values() for one in self._given_up(waiting)]
            root.waiting.clear()
        for waiting in left:
            self._sink.attempt(waiting.call.attempt())
        if root.told:
            self._sink.run(_run(root, outcome, detail))

    def _given_up(self, waiting: Waiting) -> list[Waiting]:
        """The call, the first time that it is asked for."""
        first = bool(waiting.left)
        waiting.left.clear()
        return [waiting] if first else []


def _run(root: Root, outcome: RunOutcome, detail: str | None = None) -> RunTrace:
    return RunTrace(
        run_id=root.run_id,
        thread_id=root.thread_id,
        task=root.task,
        outcome=outcome,
        detail=detail,
        versions=versions(),
        started_at=root.started_at,
        origin=root.origin,
    )


@cache
def versions() -> dict[str, str]:
    """Versions of what a recorded program runs on."""
    found = {}
    for name in ("stellwerk", "langgraph", "langchain-core", "langchain"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
