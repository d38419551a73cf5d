"""Writes of a run that holds its thread by a lease: refused once that is another's, or has ended."""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig
from sqlalchemy import select

from stellwerk.errors import LeaseError
from stellwerk.persistence.checkpoint_codec import thread_key
from stellwerk.persistence.executor import Executor, FastWrite
from stellwerk.persistence.lease import Fence
from stellwerk.persistence.run_units import FENCE, THREAD
from stellwerk.persistence.schema.columns import text
from stellwerk.persistence.schema.runs import leases

_HOLDER = select(leases.c.token, leases.c.holder, leases.c.run).where(THREAD)


def fenced(config: RunnableConfig, write: FastWrite) -> FastWrite:
    """The write, behind the fence of the config's lease where it has one."""
    fence = Fence.of(config)
    return write if fence is None else _Fenced(fence, write)


class _Fenced:
    def __init__(self, fence: Fence, write: FastWrite) -> None:
        self._fence, self._write = fence, write

    def __call__(self, executor: Executor) -> None:
        thread = thread_key(self._fence.thread_id)
        if not executor.fetch(FENCE, {"thread_": thread, "token_": self._fence.token}):
            raise LeaseError(self._lost(executor, thread))
        self._write(executor)

    def one_statement(self, dialect: str) -> bool:
        return False

    def _lost(self, executor: Executor, thread: bytes) -> str:
        name, token = repr(self._fence.thread_id), self._fence.token
        found = executor.fetch(_HOLDER, {"thread_": thread})
        if not found:
            return f"thread {name} has no lease in this database; claim it where its checkpoints are"
        current, holder, run = found[0]
        if current == token:
            return (
                f"the lease of thread {name} was released, or ended without being renewed (token {token}); "
                "nothing more is written here; claim it again to go on"
            )
        by = "since" if run is None else f"by {holder}, run {text(run)}"
        return (
            f"thread {name} was taken over {by} (token {current}, this one has {token}); "
            "nothing more is written here; claim it again to go on"
        )
