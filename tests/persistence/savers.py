"""Both checkpointers under one set of names, and graphs to run on them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, empty_checkpoint

from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver

Saver = SQLAlchemySaver | AsyncSQLAlchemySaver


@asynccontextmanager
async def opened(url: str, sync: bool, **options: Any) -> AsyncIterator[Saver]:
    """A checkpointer to await; the async methods of the sync one call its sync ones in a thread."""
    if sync:
        with SQLAlchemySaver.from_url(url, **options) as saver:
            yield saver
    else:
        async with AsyncSQLAlchemySaver.from_url(url, **options) as asaver:
            yield asaver


def at(thread: Any, ns: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    """The config of a checkpoint, or of the latest."""
    named = {"thread_id": thread, "checkpoint_ns": ns}
    return {"configurable": named | ({} if checkpoint_id is None else {"checkpoint_id": checkpoint_id})}


def checkpoint(identity: Any = None, versions: Any = None, **values: Any) -> Checkpoint:
    """A checkpoint of these values, each at version 1 unless said otherwise."""
    made = empty_checkpoint()
    made["id"] = identity or made["id"]
    made["channel_values"] = dict(values)
    made["channel_versions"] = versions or dict.fromkeys(values, "1")
    return made


async def put(
    saver: Saver,
    config: RunnableConfig,
    made: Checkpoint | None = None,
    metadata: Any = None,
) -> RunnableConfig:
    """Save a checkpoint whose values are all new."""
    made = made or checkpoint(value=uuid4().hex)
    kept: Any = metadata or {}
    return await saver.aput(config, made, kept, made["channel_versions"])


async def listed(saver: Saver, config: RunnableConfig | None, **options: Any) -> list[CheckpointTuple]:
    return [found async for found in saver.alist(config, **options)]


def ids(found: list[CheckpointTuple]) -> list[str]:
    return [item.checkpoint["id"] for item in found]
