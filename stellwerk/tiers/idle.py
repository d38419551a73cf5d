"""An answer that is given up when nothing comes for too long, however long it takes in all."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk

from stellwerk.tiers.drive import in_time
from stellwerk.tiers.streams import as_chunk, whole


def heard(
    open_stream: Callable[[], Iterator[AIMessage]], idle: float, seconds: float | None = None
) -> AIMessage:
    """The answer that a stream adds up to; it is listened to in a thread of its own, which nobody waits for.

    Args:
        open_stream: begins it.
        idle: seconds that may pass without a chunk, the first one included.
        seconds: that it may take in all; None for no limit.

    Raises:
        TimeoutError: if more pass.
    """
    pieces: SimpleQueue[AIMessageChunk | BaseException | None] = SimpleQueue()
    given_up = threading.Event()

    def listen() -> None:
        try:
            with closing(cast("Any", open_stream())) as stream:
                for piece in stream:
                    pieces.put(as_chunk(piece))
                    if given_up.is_set():
                        return
        except BaseException as error:
            pieces.put(error)
        else:
            pieces.put(None)

    # A daemon, as it must not keep a process from ending.
    context = copy_context()
    threading.Thread(target=context.run, args=(listen,), name="stellwerk stream", daemon=True).start()
    chunks: list[AIMessageChunk] = []
    until = None if seconds is None else time.monotonic() + seconds
    try:
        while True:
            left = idle if until is None else min(idle, until - time.monotonic())
            match pieces.get(timeout=max(left, 0.0)):
                case None:
                    return whole(chunks)
                case BaseException() as error:
                    raise error
                case piece:
                    chunks.append(piece)
    except Empty:
        if left < idle:
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        raise _silent(idle, chunks) from None
    finally:
        given_up.set()


async def aheard(stream: AsyncIterator[AIMessage], idle: float) -> AIMessage:
    """The answer that a stream adds up to; as `heard`."""
    chunks: list[AIMessageChunk] = []
    async with aclosing(cast("Any", stream)):
        while True:
            try:
                chunks.append(as_chunk(await in_time(anext(stream), idle)))
            except StopAsyncIteration:
                return whole(chunks)
            except TimeoutError:
                raise _silent(idle, chunks) from None


def _silent(idle: float, chunks: list[AIMessageChunk]) -> TimeoutError:
    so_far = f" after {len(chunks)} chunks" if chunks else ""
    return TimeoutError(f"nothing came for {idle:g} s{so_far}")
