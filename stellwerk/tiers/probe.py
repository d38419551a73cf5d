"""Probe: find out what a tier's server really does, by asking it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from stellwerk.capabilities import AsyncCapabilityStore, Capabilities, CapabilityStore, FoundCapabilities
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.probe_drive import Batches, Tell, adrive, asettle, drive, settle
from stellwerk.tiers.probe_exchange import Finding, Findings, Question
from stellwerk.tiers.probe_form import Form, forms
from stellwerk.tiers.probe_questions import plain, questions, too_many_tokens
from stellwerk.tiers.probe_reach import AsyncHttpReach, Endpoint, HttpReach, ModelReach
from stellwerk.tiers.probe_server import identity, paths
from stellwerk.tiers.tier import Tier

VERSION = 1  # of what is asked, and of how answers are judged
LIMIT = 60.0  # seconds
GOOD_FOR = timedelta(days=7)  # a server may be started with other options, and say nothing of it
AGAIN = timedelta(minutes=10)
IN_PROCESS = "in this process"
_AT_ONCE = 4


def probe(
    tier: Tier,
    store: CapabilityStore | None = None,
    *,
    refresh: bool = False,
    limit: float = LIMIT,
    tell: Tell = lambda field: None,
    starting: Callable[[], None] = lambda: None,
) -> FoundCapabilities:
    """What the tier's server does, as the store knows it, or else found by some fifteen short requests.

    Each asks for what only the capability in question brings about, at 64 tokens of output at most, so that
    a server that accepts a parameter and ignores it is found out. What is not answered, as the server is
    busy, slow or broken, stays unknown, and is asked again by a probe ten minutes later or more. What is
    stored is good for a week, and for the version of the server of which it was found.

    Args:
        tier: a model at an OpenAI-compatible server, or one of llama.cpp in this process. Of others nothing
            is known.
        store: where it is kept; what is found of a server that answers no plain request is not.
        refresh: whether to ask again in any case.
        limit: seconds for all of it; what was not asked by then stays unknown.
        tell: called with the name of a field that was asked for, from any thread.
        starting: called before the questions, where there are any to be asked.

    Raises:
        DatabaseError: if the store fails.
    """
    deadline = time.monotonic() + limit
    endpoint = Endpoint.of(tier.model)
    if endpoint is None:
        return _without_server(tier, refresh, deadline, tell)
    with HttpReach(endpoint) as reach:
        seen = settle(reach, deadline, identity(endpoint.model))
        known = None
        if store and not refresh:
            known = _usable(store.find(endpoint.shown, endpoint.model, _version(seen)), seen)
        wanted = _wanted(known)
        if known is not None and not wanted:
            return known
        starting()
        batches = _batches(endpoint.model, seen, wanted)
        asked = drive(batches, partial(settle, reach, deadline), _at_once(tier), tell)
    found = _found(endpoint, asked, known)
    if store is not None and found.capabilities.chat:
        store.save(found)
    return found


async def aprobe(
    tier: Tier,
    store: AsyncCapabilityStore | None = None,
    *,
    refresh: bool = False,
    limit: float = LIMIT,
    tell: Tell = lambda field: None,
    starting: Callable[[], None] = lambda: None,
) -> FoundCapabilities:
    """As `probe`, for async code."""
    deadline = time.monotonic() + limit
    endpoint = Endpoint.of(tier.model)
    if endpoint is None:
        return await asyncio.to_thread(_without_server, tier, refresh, deadline, tell)
    async with AsyncHttpReach(endpoint) as reach:
        seen = await asettle(reach, deadline, identity(endpoint.model))
        known = None
        if store and not refresh:
            known = _usable(await store.find(endpoint.shown, endpoint.model, _version(seen)), seen)
        wanted = _wanted(known)
        if known is not None and not wanted:
            return known
        starting()
        batches = _batches(endpoint.model, seen, wanted)
        asked = await adrive(batches, partial(asettle, reach, deadline), _at_once(tier), tell)
    found = _found(endpoint, asked, known)
    if store is not None and found.capabilities.chat:
        await store.save(found)
    return found


def _without_server(tier: Tier, refresh: bool, deadline: float, tell: Tell) -> FoundCapabilities:
    model = tier.model
    name = str(getattr(model, "model_name", ""))
    found = tier.capabilities
    if isinstance(model, ChatLlamaCpp) and (found is None or refresh):
        reach = ModelReach(model, version=_xllamacpp(), context_window=model.context_window)
        seen = settle(reach, deadline, identity(name))
        asked = drive(_batches(name, seen, None), partial(settle, reach, deadline), 1, tell)
        found = _capabilities(asked)
    if found is None:
        why = f"a model of the class {type(model).__name__} is not probed"
        found = Capabilities(details={"chat": why})
    return FoundCapabilities(url=IN_PROCESS, model=name, capabilities=found, probed_at=datetime.now(UTC))


def _xllamacpp() -> str:
    try:
        return version("xllamacpp")
    except PackageNotFoundError:  # which the first call tells in better words
        return ""


def _usable(known: FoundCapabilities | None, seen: Findings) -> FoundCapabilities | None:
    """What is known, unless it has to be found anew, or the server cannot be reached."""
    if known is None or "chat" in seen or known.capabilities.probe != VERSION:
        return None
    return known if datetime.now(UTC) - known.probed_at <= GOOD_FOR else None


def _wanted(known: FoundCapabilities | None) -> Collection[str] | None:
    """The fields to ask for; None for all of them."""
    if known is None:
        return None
    return known.capabilities.unanswered if datetime.now(UTC) - known.probed_at > AGAIN else ()


def _batches(model: str, seen: Findings, wanted: Collection[str] | None) -> Batches:
    """The questions, those together that may be asked at once."""
    findings = {**seen}
    if "chat" in findings:  # the server was not reached
        return {**_unasked(findings["chat"]), **findings}
    form = Form(model)
    for form in forms(model):
        (heard,) = yield [Question(("chat",), partial(plain, form))]
        findings |= heard
        if findings["chat"].value is not False:
            break
    answers = findings["chat"].value is True
    batch = [*(questions(form) if answers else ()), *paths(model)]
    if wanted is not None:
        batch = [question for question in batch if any(field in wanted for field in question.fields)]
    for heard in (yield batch):
        findings |= heard
    if not answers:
        return {**_unasked(findings["chat"]), **findings}
    if "context_window" not in findings:
        (heard,) = yield [Question(("context_window",), partial(too_many_tokens, form))]
        findings |= heard
    return findings


def _unasked(reason: Finding) -> Findings:
    missing = Finding(None, f"not asked, as a plain request had {reason.detail}", answered=False)
    return {field: missing for question in questions(Form("")) for field in question.fields}


def _version(seen: Findings) -> str:
    return str(seen["version"].value) if "version" in seen else ""


def _at_once(tier: Tier) -> int:
    return min(_AT_ONCE, tier.max_concurrency or _AT_ONCE)


def _found(endpoint: Endpoint, asked: Findings, known: FoundCapabilities | None) -> FoundCapabilities:
    capabilities, now = _capabilities(asked), datetime.now(UTC)
    if known is not None:  # which keeps its date: older findings are no better for those that are added
        capabilities, now = known.capabilities.filled_by(capabilities), known.probed_at
    return FoundCapabilities(
        url=endpoint.shown, model=endpoint.model, capabilities=capabilities, probed_at=now
    )


def _capabilities(findings: Findings) -> Capabilities:
    values = {field: finding.value for field, finding in findings.items() if finding.value is not None}
    details = {field: finding.detail for field, finding in findings.items()}
    unanswered = tuple(field for field, finding in findings.items() if not finding.answered)
    return Capabilities(**values, details=details, unanswered=unanswered, probe=VERSION)
