"""Write down what calls took, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Sequence

from stellwerk.errors import TierError
from stellwerk.outcome import Call, Usage
from stellwerk.tiers.dispatch import FailedTry
from stellwerk.tiers.tier import Reply, Request


def bill(calls: list[Call], reply: Reply, request: Request) -> None:
    """Fill in the last of the calls from its reply, after the tries that failed before it."""
    call = calls[-1]
    call["usage"], call["seconds"] = reply.usage, reply.seconds
    if reply.estimated:
        call["estimated"] = True
    if reply.waited:
        call["waited"] = reply.waited
    if reply.replica:
        call["replica"] = reply.replica
    if reply.logprobs is not None:
        call["logprobs"] = reply.logprobs
    calls[-1:-1] = _lost(call, reply.tries, request)


def bill_error(calls: list[Call], error: TierError, request: Request) -> None:
    """Fill in the last of the calls from the error that it came to; its last try is that call."""
    call = calls[-1]
    lost = _lost(call, error.tries, request)
    call["error"] = str(error)
    if error.waited:
        call["waited"] = error.waited
    if lost:
        last = lost.pop()
        call["usage"], call["seconds"] = last["usage"], last["seconds"]
        if "replica" in last:
            call["replica"] = last["replica"]
    calls[-1:-1] = lost


def _lost(call: Call, tries: Sequence[object], request: Request) -> list[Call]:
    lost = []
    for each in tries:
        assert isinstance(each, FailedTry)
        # A server that broke off, or was given up, has read the prompt, and bills for it. What it wrote
        # nobody knows, so the prompt, as far as its length tells, is the least that was lost.
        tokens = request.expected_input if each.billed else 0
        usage = Usage(input=tokens, cached=0, output=0)
        made = Call(
            step=call["step"], owner=call["owner"], tier=call["tier"], usage=usage, seconds=each.seconds
        )
        made["error"] = each.error
        if each.replica:
            made["replica"] = each.replica
        lost.append(made)
    return lost
