"""The two drivers of a probe, sync and async; what is asked and concluded is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

from stellwerk.tiers.probe_exchange import Findings, Question
from stellwerk.tiers.probe_reach import AsyncHttpReach, Reach

Tell = Callable[[str], None]
Batches = Generator[Sequence[Question], Sequence[Findings], Findings]
"""Gives the questions, those together that may be asked at once, and gets what was found."""


def drive(batches: Batches, settled: Callable[[Question], Findings], at_once: int, tell: Tell) -> Findings:
    """What was found in the end, with so many questions at once."""
    with ThreadPoolExecutor(at_once, thread_name_prefix="stellwerk-probe") as pool:

        def one(question: Question) -> Findings:
            findings = settled(question)
            tell(question.fields[0])
            return findings

        try:
            batch = next(batches)
            while True:
                batch = batches.send(list(pool.map(one, batch)))
        except StopIteration as done:
            return _findings(done)


async def adrive(
    batches: Batches, settled: Callable[[Question], Awaitable[Findings]], at_once: int, tell: Tell
) -> Findings:
    """As `drive`."""
    places = asyncio.Semaphore(at_once)

    async def one(question: Question) -> Findings:
        async with places:
            findings = await settled(question)
        tell(question.fields[0])
        return findings

    try:
        batch = next(batches)
        while True:
            batch = batches.send(await asyncio.gather(*map(one, batch)))
    except StopIteration as done:
        return _findings(done)


def settle(reach: Reach, deadline: float, question: Question) -> Findings:
    """What was found by one question."""
    talk = question.talk()
    try:
        ask = next(talk)
        while True:
            ask = talk.send(reach.ask(ask, deadline))
    except StopIteration as done:
        return _findings(done)


async def asettle(reach: AsyncHttpReach, deadline: float, question: Question) -> Findings:
    """As `settle`."""
    talk = question.talk()
    try:
        ask = next(talk)
        while True:
            ask = talk.send(await reach.aask(ask, deadline))
    except StopIteration as done:
        return _findings(done)


def _findings(done: StopIteration) -> Findings:
    findings: Findings = done.value
    return findings
