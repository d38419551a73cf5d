"""Verify: is the answer JSON, does it follow the schema, do the worker's checks hold?"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from langgraph.graph import END
from langgraph.types import Command
from pydantic import BaseModel, ValidationError

from stellwerk.errors import StellwerkError
from stellwerk.flat_schema import UNKNOWN
from stellwerk.nodes.brief import brief_of
from stellwerk.nodes.failures import circle, echoes, is_refusal, refuses
from stellwerk.nodes.given_value import is_unknown
from stellwerk.nodes.observed import end_attempt
from stellwerk.nodes.own_code import own_failure
from stellwerk.nodes.people import ANSWER
from stellwerk.nodes.results_cache import ResultsCache, is_used
from stellwerk.nodes.salvage import salvaged
from stellwerk.nodes.state import Draft, WorkerState
from stellwerk.nodes.step import Step, Working
from stellwerk.nodes.tracing import Tracer
from stellwerk.outcome import Reason, Verdict
from stellwerk.rails import Rails
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Brief, Check, Worker

MAX_ANSWER = 1_000_000  # characters; a longer answer is a runaway, and parsing it is work for nothing
_REPAIRABLE = {Reason.NOT_JSON, Reason.SCHEMA, Reason.CHECK, Reason.EMPTY, Reason.ECHO, Reason.WORKER}


def verify_step(
    worker: Worker,
    ladder: Ladder,
    tracer: Tracer | None = None,
    cache: ResultsCache | None = None,
    *,
    alone: bool = False,
) -> Step:
    """The node that accepts an answer, or says why not; of a worker that runs alone, it ends the attempt."""

    def core(state: WorkerState) -> Working:
        tier = ladder.tier(state["tier"])
        brief = brief_of(state, tier)
        if brief.exchange is not None and not brief.exchange.answer:
            brief.exchange.answer = state["draft"]["text"] or None  # a resumed run has it from its state only
        value, verdict = judge(worker, brief, state["draft"])
        if state["draft"].get("cached"):
            verdict["cached"] = True
        elif verdict["accepted"] and is_used(cache, brief):
            yield cache.keep(worker, tier, brief, state["draft"]["text"])
        repairs = sum(call["step"] == "repair" for call in state["calls"])
        allowed = worker.repairs if worker.rails_for(brief).repair else 0
        again = _is_mendable(verdict, state["draft"]) and repairs < allowed
        if alone and not again:
            ended = {**state, "value": value, "verdict": verdict}
            end_attempt(ended)
            if tracer is not None:
                tracer.attempt(worker, ended, get_config())
        update = {"value": value, "verdict": verdict}
        if alone and not again and is_unknown(worker, update):
            return Command(update=update, goto=ANSWER)
        return Command(update=update, goto="repair" if again else END)

    return Step("verify", core)


def judge(worker: Worker, brief: Brief, draft: Draft) -> tuple[Any, Verdict]:
    """The value of a draft as JSON and the verdict on it; the value is None when it is rejected."""
    if draft["reason"]:
        _, verdict = _rejected(Reason(draft["reason"]), draft["detail"])
        if draft.get("passing"):
            verdict["passing"] = True
        return None, verdict
    text = draft["text"]
    brief = worker.on_its_rails(brief)
    rails = brief.rails
    if draft["finish"] == "length":
        if rails.repetition and (turn := circle(text)):
            return _rejected(
                Reason.REPETITION, f"the answer turns in circles, saying {turn[:60]!r} over and over"
            )
        return _rejected(
            Reason.LENGTH, f"the answer was cut off after {len(text):,} characters; answer more briefly"
        )
    if not text.strip():
        return _rejected(Reason.EMPTY, "the answer is empty")
    if len(text) > MAX_ANSWER:
        return _rejected(
            Reason.LENGTH, f"the answer has {len(text):,} characters; the limit is {MAX_ANSWER:,}"
        )
    try:
        raw = _parsed(text, rails)
    except (ValueError, RecursionError) as error:  # a ValueError also for a number of 4,300 digits
        if rails.refusal and is_refusal(text):
            return _rejected(Reason.REFUSAL, f"the model refused: {text[:200]!r}")
        if rails.repetition and (turn := circle(text)):
            return _rejected(
                Reason.REPETITION, f"the answer turns in circles, saying {turn[:60]!r} over and over"
            )
        return _rejected(Reason.NOT_JSON, f"the answer is not JSON: {error}; it begins {text[:60]!r}")
    if rails.echo and echoes(raw, worker.schema):
        return _rejected(Reason.ECHO, "the answer gives the schema back; fill it in with values")
    try:
        answer = worker.output.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "answer"
        if rails.unknown and first["type"] in ("literal_error", "enum") and first["input"] == UNKNOWN:
            return _rejected(Reason.UNKNOWN, f"{where}: the model does not know")
        return _rejected(Reason.SCHEMA, f"{where}: {first['msg']}")
    except Exception as error:  # of a validator
        return None, own_failure(error, worker.output.__name__)
    if rails.refusal and refuses(raw, f"{brief.source}\n{brief.instruction}"):
        return _rejected(Reason.REFUSAL, f"the model refused: {text[:200]!r}")
    running: Check | None = None
    try:
        result: BaseModel = worker.finish(answer, brief) if worker.finish else answer
        for running in worker.checks:
            if problem := running(result, brief):
                return _rejected(Reason.CHECK, f"{_name(running)}: {problem}")
        running = None
        value = result.model_dump(mode="json")
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()  # or no checkpoint can hold it
        return value, Verdict(accepted=True)
    except GraphBubbleUp:  # a check that asks a person
        raise
    except Exception as error:  # a worker's own code must not take its siblings down
        if running is None and isinstance(
            error, ValueError | StellwerkError
        ):  # how `finish` refuses an answer
            return _rejected(Reason.CHECK, f"{type(error).__name__}: {error}")
        return None, own_failure(error, _name(running or worker.finish))


def _is_mendable(verdict: Verdict, draft: Draft) -> bool:
    """Whether a repair may help: not where no model answered, nor where time alone may."""
    answered = draft["finish"] != "error" and not verdict.get("passing")
    return verdict.get("reason") in _REPAIRABLE and answered


def _name(code: object) -> str:
    return getattr(code, "__name__", type(code).__name__)


def _parsed(text: str, rails: Rails) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if rails.salvage:
            with suppress(ValueError, RecursionError):
                return salvaged(text)
        raise


def _rejected(reason: Reason, detail: str) -> tuple[None, Verdict]:
    return None, Verdict(accepted=False, reason=reason.value, detail=detail[:1000])
