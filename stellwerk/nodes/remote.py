"""The node that has an attempt made by a graph on another server.

Where this run is checkpointed, the attempt has a thread of its own there, whose name follows from where it
stands in this run. So a run that is resumed finds what the server has done meanwhile, or whom it asks.

Each of its questions is asked in a step of its own, and the answers are sent in the next one. LangGraph gives
a step that it repeats the answers that were given in it, one after the other: in a step that asked the server
anew what it wants to know, they would go to whatever that is by then.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import httpx
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.graph import END
from langgraph.pregel.remote import RemoteException
from langgraph.types import Command, Interrupt, interrupt
from langgraph_sdk.errors import AuthenticationError, NotFoundError, PermissionDeniedError
from pydantic import TypeAdapter, ValidationError

from stellwerk.errors import TierAccessError, TierError, TierTimeoutError, TierUnavailableError
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.generate import no_draft
from stellwerk.nodes.given_value import given_by_person, is_unknown
from stellwerk.nodes.limited_tool import in_thread
from stellwerk.nodes.observed import end_attempt
from stellwerk.nodes.people import ANSWER
from stellwerk.nodes.state import Draft, Remote, RemoteQuestion, RemoteWorkerState
from stellwerk.nodes.step import Step, Working
from stellwerk.nodes.terms import waiting
from stellwerk.nodes.tracing import Tracer
from stellwerk.nodes.verify import judge
from stellwerk.outcome import Call, PersonDecision, Reason, Verdict
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Brief, Worker

_CALLS = TypeAdapter(list[Call])
_PEOPLE = TypeAdapter(list[PersonDecision])
_REASONS = {reason.value for reason in Reason}
_WORKING = "the graph of worker {name!r} on its server broke off: {error}"


@dataclass(frozen=True, slots=True)
class _Request:
    """One request to the server, with the seconds that it may take."""

    worker: Worker
    sync: Callable[[], Any]
    other: Callable[[], Any]
    seconds: float | None

    def do(self) -> Any:
        """Make it in a thread, which is left to itself when the time is over."""
        try:
            if self.seconds is None:
                return self.sync()
            call = in_thread(self.sync)
            if not wait([call], self.seconds).done:
                raise self._late()
            return call.result()
        except (httpx.HTTPError, RemoteException) as error:
            raise self._failed(error) from error

    async def ado(self) -> Any:
        """Make it; as `do`."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self.other()
        except TimeoutError as error:
            raise self._late() from error
        except (httpx.HTTPError, RemoteException) as error:
            raise self._failed(error) from error

    def _late(self) -> TierTimeoutError:
        return TierTimeoutError(f"the server of worker {self.worker.name!r} gave no answer in time")

    def _failed(self, error: Exception) -> Exception:
        server = f"the server of worker {self.worker.name!r}"
        match error:
            case RemoteException():
                return _BrokeOffError(_WORKING.format(name=self.worker.name, error=str(error)[:500]))
            case AuthenticationError() | PermissionDeniedError():
                return TierAccessError(f"{server} refuses the key; look at that of its RemoteGraph")
            case NotFoundError():
                return _UnknownThreadError(f"{server} knows no such graph or thread")
            case httpx.TimeoutException():
                return self._late()
            case httpx.TransportError():
                return TierUnavailableError(f"{server} cannot be reached: {type(error).__name__}")
            case httpx.HTTPStatusError() if error.response.status_code in (429, 502, 503, 504):
                status = error.response.status_code
                return TierUnavailableError(f"{server} has no place for the call (HTTP {status})")
            case _:
                return TierError(f"{server} answered with an error: {type(error).__name__}")


class _BrokeOffError(TierError):
    """The graph raised."""


class _UnknownThreadError(TierError):
    """There is no such thread, or no such graph."""


def remote_step(worker: Worker, ladder: Ladder, tracer: Tracer | None = None, *, alone: bool = False) -> Step:
    """The one node of a worker that is served elsewhere; of one that runs alone, it ends the attempt.

    It goes to itself for each question that the server has for a person, and with the answers.
    """
    forgets = alone and not worker.asks_people  # what people decided when the thread had another input

    def core(state: RemoteWorkerState) -> Working:
        there = state.get("there")
        if there is not None and (waits := next((a for a in there["asked"] if "answer" not in a), None)):
            answered = {**waits, "answer": interrupt(_shown(waits["value"], brief_of(state)))}
            asked = [answered if each is waits else each for each in there["asked"]]
            return Command(update={"there": {**there, "asked": asked}}, goto="remote")
        before = [] if forgets and there is None else state.get("people") or []
        state = {**state, "people": before}
        tier = ladder.tier(state.get("tier") or ladder.smallest.name)
        brief = brief_of(state, tier)
        deadline = waiting(state, tier, [], brief, worker.errors).get("deadline")
        calls: list[Call] = []
        people: list[PersonDecision] = []
        try:
            given = {
                "instruction": brief.instruction,
                "documents": list(brief.documents),
                "inputs": dict(brief.inputs),
                "tier": tier.name,
            }
            values = yield from _run(worker, given, deadline, there)
            if isinstance(values, _Asking):
                return Command(update={"there": values.there, "people": before}, goto="remote")
            value, verdict, calls, people = _read(worker, brief, values)
        except TierError as error:
            value, verdict = None, _rejected(error)
        calls = [{**call, "tier": tier.name, "owner": worker.name} for call in calls]
        update = {"tier": tier.name, "value": value, "verdict": verdict, "calls": calls}
        update["people"] = [*before, *people]
        if alone:
            end_attempt({**state, **update})
            if tracer is not None:
                tracer.attempt(worker, {**state, **update}, get_config())
            return Command(update=update, goto=ANSWER if is_unknown(worker, update) else END)
        return Command(update=update, goto=END)

    return Step("remote", core)


@dataclass(frozen=True, slots=True)
class _Asking:
    """The graph wants something answered before it goes on."""

    there: Remote


def _run(
    worker: Worker, given: Mapping[str, Any], deadline: float | None, stands: Remote | None
) -> Generator[_Request, Any, Any]:
    """What the graph gave, or what it asks a person; `stands` has the answers to what it asked before."""
    thread, graph = stands["thread"] if stands is not None else _thread(), worker.remote
    began = time.monotonic()

    def request(name: str, *arguments: Any, **options: Any) -> _Request:
        limits = [began + worker.remote_timeout] if worker.remote_timeout is not None else []
        ends = min([*limits, deadline] if deadline is not None else limits, default=None)
        left = None if ends is None else max(ends - time.monotonic(), 0.001)
        call, other = getattr(graph, name), getattr(graph, "a" + name)
        return _Request(
            worker, partial(call, *arguments, **options), partial(other, *arguments, **options), left
        )

    if thread is None:
        return (yield request("invoke", given, on_disconnect="cancel"))
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    try:
        there = yield request("get_state", config)
    except _UnknownThreadError:
        there = None
    if there is None or (not there.next and not there.values):
        yield request("invoke", given, config)
        there = yield request("get_state", config)
    elif there.next and not there.interrupts:  # it goes on, or broke off
        yield request("invoke", None, config, multitask_strategy="enqueue")
        there = yield request("get_state", config)
    elif answers := _answers(there.interrupts, stands):
        yield request("invoke", Command(resume=answers), config)
        there = yield request("get_state", config)
    if there.interrupts:
        asked = [RemoteQuestion(id=each.id, value=each.value) for each in there.interrupts]
        return _Asking(Remote(thread=thread, asked=asked))
    return there.values


def _answers(open_there: Iterable[Interrupt], stands: Remote | None) -> dict[str, Any]:
    """The answers, each to the question that it was given to: a node's next one has the id of its last."""
    given = {(each["id"], _text(each["value"])): each for each in stands["asked"]} if stands else {}
    keys = {each.id: (each.id, _text(each.value)) for each in open_there}
    return {name: given[key]["answer"] for name, key in keys.items() if key in given}


def _text(question: Any) -> str:
    return json.dumps(question, sort_keys=True, default=str)


def _shown(question: Any, brief: Brief) -> Any:
    """The question, with the subtask that it is about here: the server knows of none."""
    if isinstance(question, Mapping) and question.get("subtask") == "":
        return {**question, "subtask": brief.subtask}
    return question


def _thread() -> str | None:
    configurable = get_config().get("configurable") or {}
    if (thread := configurable.get("thread_id")) is None:
        return None
    place = json.dumps([str(thread), str(configurable.get("checkpoint_ns") or "")])
    return str(uuid5(NAMESPACE_OID, place))


def _read(worker: Worker, brief: Brief, values: Any) -> tuple[Any, Verdict, list[Call], list[PersonDecision]]:
    """What came back, checked: as little as a model is trusted, but for what people decided."""
    said = values.get("verdict") if isinstance(values, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(said.get("accepted"), bool):
        raise _BrokeOffError(_WORKING.format(name=worker.name, error="it gave no verdict"))
    try:
        calls = _CALLS.validate_python(values.get("calls") or [])
        people = _PEOPLE.validate_python(values.get("people") or [])
    except ValidationError as error:
        raise _BrokeOffError(_WORKING.format(name=worker.name, error=str(error)[:300])) from error
    by_person = said.get("by") == "person"
    if not said["accepted"]:
        reason = str(said.get("reason"))
        reason = reason if reason in _REASONS else Reason.WORKER.value
        verdict = Verdict(accepted=False, reason=reason, detail=str(said.get("detail"))[:1000])
        if by_person:
            verdict["by"] = "person"
        return None, verdict, calls, people
    if by_person:  # the checks are for models
        try:
            value = given_by_person(worker, brief, values.get("value"))
        except ValueError as error:
            detail = f"what a person gave does not fit: {error}"[:1000]
            return None, Verdict(accepted=False, reason=Reason.SCHEMA.value, detail=detail), calls, people
        return value, Verdict(accepted=True, by="person"), calls, people
    text = json.dumps(values.get("value"), ensure_ascii=False)
    return *judge(worker, brief, Draft(text=text, finish="stop", reason="", detail="")), calls, people


def _rejected(error: TierError) -> Verdict:
    reason = Reason.WORKER.value if isinstance(error, _BrokeOffError) else no_draft(error)["reason"]
    return Verdict(accepted=False, reason=reason, detail=str(error)[:1000])
