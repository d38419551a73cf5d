"""A child process, after a fork, reads what is its own."""

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial

import pytest

from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from tests.persistence.savers import at, checkpoint

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
_READS = 300


def forked(work: Callable[[], int]) -> int:
    """The id of a child that exits with what the work returns."""
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        status = work()
    except BaseException as error:
        sys.__stderr__ and print(repr(error), file=sys.__stderr__)
    os._exit(status)


def test_two_children_read_each_its_own_thread(shared_url: str) -> None:
    with SQLAlchemySaver.from_url(shared_url) as saver:
        for thread in ("0", "1", "parent"):
            made = checkpoint(value=thread)
            saver.put(at(thread), made, {}, made["channel_versions"])

        def wrong(thread: str) -> int:
            found = [saver.get_tuple(at(thread)) for _ in range(_READS)]
            return (
                sum(one is None or one.checkpoint["channel_values"] != {"value": thread} for one in found) > 0
            )

        children = [forked(partial(wrong, thread)) for thread in ("0", "1")]
        assert wrong("parent") == 0
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
        assert wrong("parent") == 0


def test_a_child_goes_on_with_an_async_saver(shared_url: str) -> None:
    saver = AsyncSQLAlchemySaver.from_url(shared_url)

    async def save(thread: str) -> int:
        made = checkpoint(value=thread)
        await saver.aput(at(thread), made, {}, made["channel_versions"])
        await saver.aput_writes(at(thread, checkpoint_id=made["id"]), [("a", thread)], "task")
        for _ in range(20):
            found = await saver.aget_tuple(at(thread))
            if found is None or found.checkpoint["channel_values"] != {"value": thread}:
                return 1
        return 0

    def run(thread: str) -> int:
        return asyncio.run(asyncio.wait_for(save(thread), 30))

    async def parent() -> None:
        assert await save("parent") == 0

    loop = asyncio.new_event_loop()
    loop.run_until_complete(parent())
    children = [forked(partial(run, thread)) for thread in "01"]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    loop.run_until_complete(parent())
    loop.run_until_complete(saver.close())
    loop.close()
