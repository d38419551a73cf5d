"""A lease: the right to advance a thread, and the token that proves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from langchain_core.runnables import RunnableConfig

from stellwerk.errors import InputError

# Two underscores in front keep it out of checkpoints and traces; LangGraph hands it on to subgraphs.
LEASE_KEY = "__stellwerk_lease__"


@dataclass(frozen=True, slots=True)
class Lease:
    """A thread that is held for a run, as of when it was claimed or last renewed.

    Args:
        thread_id: the thread.
        run_id: the run, a UUID.
        token: the fencing token; that of a later holder is larger.
        holder: host and process id of the holder.
        ttl: seconds for which a renewal is good.
        started_at: when it was claimed, by the database's clock.
        expires_at: when it ends unless it is renewed, by the database's clock.
        cancel_requested: whether somebody asked for the run to be cancelled.
    """

    thread_id: str
    run_id: str
    token: int
    holder: str
    ttl: float
    started_at: datetime
    expires_at: datetime
    cancel_requested: bool = False

    @property
    def config(self) -> RunnableConfig:
        """The config under which a graph writes as this lease's holder."""
        return self.bind({})

    def bind(self, config: RunnableConfig) -> RunnableConfig:
        """A config with the lease and its thread added.

        The run's id becomes the checkpoints' as well, unless the config has one.

        Raises:
            InputError: if the config names another thread.
        """
        configurable = dict(config.get("configurable") or {})
        named = configurable.setdefault("thread_id", self.thread_id)
        if str(named) != self.thread_id:
            raise InputError(f"the lease is of thread {self.thread_id!r}, and the config names {named!r}")
        configurable.setdefault("run_id", self.run_id)
        configurable[LEASE_KEY] = {"thread_id": self.thread_id, "token": self.token}
        return {**config, "configurable": configurable}


@dataclass(frozen=True, slots=True)
class Fence:
    """What a write has to prove: that a thread's lease still has this token."""

    thread_id: str
    token: int

    @classmethod
    def of(cls, config: RunnableConfig) -> Self | None:
        """The fence of a config's lease, or None where it has no lease.

        Raises:
            InputError: if what stands in the lease's place is no lease.
        """
        found: Any = (config.get("configurable") or {}).get(LEASE_KEY)
        if found is None:
            return None
        if isinstance(found, Mapping):
            thread_id, token = found.get("thread_id"), found.get("token")
            if isinstance(thread_id, str) and type(token) is int:
                return cls(thread_id, token)
        raise InputError(f"{LEASE_KEY} in the config is no lease; use the config that a lease gives")
