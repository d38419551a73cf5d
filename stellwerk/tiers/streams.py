"""The way of a call whose answer is passed on in chunks, in a thread or in an event loop.

As `drive`, which waits for answers as a whole. Once a chunk was passed on, the call cannot begin anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any, TypeVar, cast

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.tool import tool_call_chunk

from stellwerk.errors import TierError
from stellwerk.tiers.drive import Try, Wait, Way, await_for, in_time, wait_for
from stellwerk.tiers.replica import Replica

Outcome = TypeVar("Outcome")


def gone(
    way: Way[Outcome], open_stream: Callable[[Replica, float | None], Iterator[AIMessage]]
) -> Generator[AIMessageChunk, None, Outcome]:
    """Go the way of a call in this thread, passing on what comes."""
    chunks: list[AIMessageChunk] = []
    try:
        step = next(way)
        while True:
            message = None
            try:
                match step:
                    case Try():
                        with closing(cast("Generator[AIMessage]", open_stream(*_of(step)))) as stream:
                            yield from _passed_on(stream, step.timeout, chunks)
                        message = whole(chunks)
                    case Wait():
                        wait_for(step)
            except BaseException as error:  # also GeneratorExit: the place has to be given back
                step = _thrown(way, error, chunks)
            else:
                step = way.send(message)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome


async def agone(
    way: Way[Outcome], open_stream: Callable[[Replica, float | None], AsyncIterator[AIMessage]]
) -> AsyncGenerator[AIMessageChunk | Outcome, None]:
    """Go the way of a call in this event loop; as `gone`, with what came of it as the last item."""
    chunks: list[AIMessageChunk] = []
    try:
        step = next(way)
        while True:
            message = None
            try:
                match step:
                    case Try():
                        left = step.timeout
                        async with aclosing(cast("Any", open_stream(*_of(step)))) as stream:
                            while True:
                                began = time.monotonic()
                                try:
                                    piece = await in_time(anext(stream), left)
                                except StopAsyncIteration:
                                    break
                                chunks.append(as_chunk(piece))
                                if left is not None:
                                    left = max(left - (time.monotonic() - began), 0.001)
                                yield chunks[-1]
                        message = whole(chunks)
                    case Wait():
                        await await_for(step)
            except BaseException as error:
                step = _thrown(way, error, chunks)
            else:
                step = way.send(message)
    except StopIteration as stop:
        outcome: Outcome = stop.value
    yield outcome


def whole(chunks: list[AIMessageChunk]) -> AIMessage:
    """The message that chunks add up to.

    Raises:
        ValueError: if there is none.
    """
    if not chunks:
        raise ValueError("the stream had no chunk")
    first, *rest = chunks
    message = message_chunk_to_message(first.__add__(rest) if rest else first)
    assert isinstance(message, AIMessage)
    return message


def as_chunk(message: AIMessage) -> AIMessageChunk:
    """A message as the one chunk of a stream; one that is a chunk already stays as it is."""
    if isinstance(message, AIMessageChunk):
        return message
    calls = [
        tool_call_chunk(
            name=call["name"],
            args=json.dumps(call["args"], ensure_ascii=False),
            id=call["id"],
            index=number,
        )
        for number, call in enumerate(message.tool_calls)
    ]
    calls += [
        tool_call_chunk(name=call["name"], args=call["args"], id=call["id"], index=number)
        for number, call in enumerate(message.invalid_tool_calls, len(calls))
    ]
    return AIMessageChunk(
        content=message.content,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        id=message.id,
        name=message.name,
        tool_call_chunks=calls,
    )


def _passed_on(
    stream: Iterator[AIMessage], seconds: float | None, chunks: list[AIMessageChunk]
) -> Iterator[AIMessageChunk]:
    """The chunks; only the time counts in which they are waited for.

    Raises:
        TimeoutError: if that is over.
    """
    waited = 0.0
    while True:
        began = time.monotonic()
        if (piece := next(stream, None)) is None:
            return
        waited += time.monotonic() - began
        chunks.append(as_chunk(piece))
        yield chunks[-1]
        if seconds is not None and waited > seconds:
            raise TimeoutError


def _thrown(way: Way[Outcome], error: BaseException, chunks: list[AIMessageChunk]) -> Wait | Try:
    """The step that follows on an error. After the first chunk none may: that raises."""
    step = way.throw(error)
    if chunks:
        way.throw(TierError(f"the stream broke off after {len(chunks)} chunks; ask again"))
    return step


def _of(step: Try) -> tuple[Replica, float | None]:
    return step.replica, step.timeout
