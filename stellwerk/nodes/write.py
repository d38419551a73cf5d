"""A call of a tool that writes, made once.

What is intended is in the journal before the call, and what came of it after; a call that stands there
already is not made. Where nobody knows what came of it, the tool is asked, or else a person, in a step of
its own: LangGraph tells the questions of a step apart by their order, and a tool may ask some of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from pydantic import ValidationError

from stellwerk.deadline import OVER, Deadline, TimeOverError, earlier
from stellwerk.effects import (
    UNDECLARED,
    Claim,
    EffectJournal,
    Intent,
    Outcome,
    canonical,
    effect_key,
    reconciled,
)
from stellwerk.errors import ConfigurationError, DatabaseError, OutcomeUnknownError
from stellwerk.nodes.call_args import arguments
from stellwerk.nodes.decided import decisions_of, record_of
from stellwerk.nodes.limited_tool import ToolOutputError, ToolTimeoutError, ain_time, as_message, in_time
from stellwerk.nodes.outage import JournalError
from stellwerk.nodes.people import Question, as_text, ask, can_ask
from stellwerk.nodes.state import Known
from stellwerk.nodes.step import Both, Pause, Work, drive
from stellwerk.nodes.tools import as_output, failed, given_output
from stellwerk.nodes.write_scope import scope_of
from stellwerk.outcome import PersonDecision, ToolProblem, ToolUse
from stellwerk.worker import Worker

Failed = Callable[[ToolCall, Exception, float], ToolUse]
Used = Callable[[ToolCall, Any, float], ToolUse]


@dataclass(frozen=True, slots=True)
class Again:
    """The call is to be made again in a step of its own, with this known of it."""

    known: Known


Guarded = Generator[Work, Any, ToolUse | Again]

_log = logging.getLogger(__name__)

# Calls that were given up and go on in a thread here, by key and claim; done when the journal knows.
_UNDER_WAY: dict[tuple[str, str], Future[None]] = {}
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between looks at a write that another is making
_TOLD = ("output", "failed", "problem", "characters", "by")


class Write:
    """A call that writes.

    Args:
        worker: whose tool it is.
        tool: the tool.
        call: as the model asked for it.
        known: what is known of it.
        config: of the step.
        ends: when the call has to end, and all that is waited for.
    """

    def __init__(
        self,
        worker: Worker,
        tool: BaseTool,
        call: ToolCall,
        known: Known,
        config: RunnableConfig,
        ends: Deadline | None = None,
    ) -> None:
        self._worker = worker
        self._tool = tool
        self._effect = worker.effect_of(tool.name)
        self._call = call
        self._known = known
        self._config = config
        self._ends = ends
        self._scope = scope_of(config)
        self.decided: list[PersonDecision] = []
        """What a person decided meanwhile."""

    def once(self, journal: EffectJournal, making: Work, failing: Failed, using: Used) -> Guarded:
        """Make the call, unless it was made.

        Args:
            journal: knows.
            making: the call.
            failing: the record of a call that raised.
            using: the record of a call that gave something.

        Raises:
            TimeOverError: if another was making it until the time was over.
        """
        try:
            intent = self._intent()
        except ValidationError:  # which the tool says itself, in words for the model
            intent = None
        except _KeyError as error:
            return failed(self._call, str(error), ToolProblem.ARGUMENTS)
        if intent is None:
            started = time.perf_counter()
            try:
                given = yield making
            except Exception as error:
                return failing(self._call, error, time.perf_counter() - started)
            return using(self._call, given, time.perf_counter() - started)
        if self._is_late and self._known.get("settle"):
            return self._unsettled()
        claim = yield from _claimed(journal, intent, self._known.get("again"), self._ends)
        if claim.state == "unknown":
            if self._is_late or not self._can_settle or self._was_left:
                return self._unsettled()
            if not self._known.get("settle"):
                return self._to_settle(intent.key)
            settled = yield from self._settled(journal, intent, claim)
            if not isinstance(settled, Claim):
                return settled
            claim = settled
        if claim.state == "done":
            return self._replayed(claim.outcome or {})
        return (yield from self._made(journal, intent, claim, making, failing, using))

    def _made(
        self,
        journal: EffectJournal,
        intent: Intent,
        claim: Claim,
        making: Work,
        failing: Failed,
        using: Used,
    ) -> Guarded:
        own, started = (intent.key, claim.id), time.perf_counter()
        try:
            given = yield making
        except (ToolTimeoutError, OutcomeUnknownError, TimeoutError) as error:
            if isinstance(error, ToolTimeoutError) and error.under_way is not None:
                self._hear_of(error.under_way, journal, intent, claim)
            yield from _noted(partial(journal.doubt, *own), partial(journal.adoubt, *own))
            if self._can_settle and not self._is_late:
                return self._to_settle(intent.key)
            return failing(self._call, error, time.perf_counter() - started)
        except ToolOutputError as error:  # done, though what it gave is of no use
            use = failing(self._call, error, time.perf_counter() - started)
        except Exception as error:
            # It says that it failed, or did not begin, or begins anew when a person has answered it.
            yield from _noted(partial(journal.undo, *own), partial(journal.aundo, *own))
            return failing(self._call, error, time.perf_counter() - started)
        except BaseException:
            yield from _noted(partial(journal.doubt, *own), partial(journal.adoubt, *own))
            raise
        else:
            use = using(self._call, given, time.perf_counter() - started)
            if use["failed"]:
                yield from _noted(partial(journal.undo, *own), partial(journal.aundo, *own))
                return use
        yield from _kept(journal, intent, claim, use)
        return use

    def _hear_of(self, call: Future[Any], journal: EffectJournal, intent: Intent, claim: Claim) -> None:
        """Tell the journal how a call ends that goes on in its thread, though nobody waits for it now."""
        own, told = (intent.key, claim.id), Future[None]()
        _UNDER_WAY[own] = told

        def ended(call: Future[Any]) -> None:
            undo = _noted(partial(journal.undo, *own), partial(journal.aundo, *own))
            try:
                message = as_message(call.result())
            except (OutcomeUnknownError, TimeoutError, ToolOutputError):
                pass  # as it is in the journal by now
            except BaseException:
                drive(undo)
            else:
                use = as_output(self._call, message, self._worker.max_tool_output, 0.0)
                drive(undo if use["failed"] else _kept(journal, intent, claim, use))
            finally:
                _UNDER_WAY.pop(own, None)
                told.set_result(None)

        call.add_done_callback(ended)

    def _over(self, intent: Intent, claim: Claim) -> Generator[Work, Any, bool]:
        """Whether the call is not under way in this process: it would be made again beside itself."""
        if (told := _UNDER_WAY.get((intent.key, claim.id))) is None:
            return True
        ends = self._limit()

        async def await_it() -> None:
            await asyncio.wait([asyncio.wrap_future(told)], timeout=None if ends is None else ends.left)

        yield Both(lambda: wait([told], None if ends is None else ends.left), await_it)
        return told.done()

    def _limit(self) -> Deadline | None:
        limit = self._worker.tool_timeout
        return earlier(None if limit is None else Deadline.after(limit, "tool"), self._ends)

    def _settled(
        self, journal: EffectJournal, intent: Intent, claim: Claim
    ) -> Generator[Work, Any, ToolUse | Again | Claim]:
        """What came of a call of which nobody knew; or a claim, where another made it, or is to be made."""
        error: Exception | None = None
        if (reconcile := self._effect.reconcile) is not None:
            looking = partial(reconciled, reconcile, intent.args)
            try:
                ends = self._limit()
                found = yield Both(partial(in_time, looking, ends), partial(ain_time, looking, ends))
            except GraphBubbleUp:
                raise
            except Exception as caught:
                error = caught
            else:
                if found is None:
                    if not (yield from self._over(intent, claim)):
                        return self._unsettled("it is still under way")
                    return (yield from _claimed(journal, intent, claim.id, self._ends))
                use = self._given(found)
                use["by"] = "reconcile"
                yield from _kept(journal, intent, claim, use)
                return use
        if self._is_late or not can_ask(self._config):
            return self._unsettled()
        question = self._question(intent, claim, error)
        decision = ask(question, self._config)
        self.decided.append(record_of(question, decision))
        match decision["type"]:
            case "respond":
                use = self._given(decision["value"])
                use["by"] = "person"
                yield from _kept(journal, intent, claim, use)
                return use
            case "approve":
                if not (yield from self._over(intent, claim)):
                    return self._unsettled("it is still under way")
                return self._to_make(intent.key, claim)
        use = self._unsettled(decision.get("message", ""))
        use["by"] = "person"
        return use

    @property
    def _is_late(self) -> bool:
        return self._ends is not None and self._ends.is_over

    @property
    def _can_settle(self) -> bool:
        return self._effect.reconcile is not None or can_ask(self._config)

    @property
    def _was_left(self) -> bool:
        """Whether a person was asked, and did not want it settled."""
        return any(
            record["kind"] == "unknown_outcome" and record["type"] == "reject"
            for record in decisions_of(self._known)
        )

    def _to_settle(self, key: str) -> Again:
        return Again(Known(**{**self._known, "key": key, "settle": True}))

    def _to_make(self, key: str, claim: Claim) -> Again:
        known = Known(**{**self._known, "key": key, "again": claim.id})
        known.pop("settle", None)
        return Again(known)

    def _intent(self) -> Intent:
        args = arguments(self._tool, self._call["args"])
        return Intent(
            key=self._known.get("key") or self._key(args),
            thread_id=self._scope.thread_id,
            subtask=self._scope.subtask,
            tool=self._tool.name,
            args=args,
        )

    def _key(self, args: Mapping[str, Any]) -> str:
        name, scope = self._tool.name, self._scope
        if (own := self._effect.idempotency_key) is None:
            turn = self._known.get("turn", 0)
            return effect_key(scope.thread_id, scope.run, scope.subtask, name, canonical(args), str(turn))
        try:
            key = own(args)
        except Exception as error:
            raise _KeyError(
                f"{name} cannot tell these arguments from others ({type(error).__name__}: {error}); "
                "change them"
            ) from error
        if not isinstance(key, str) or not key:
            raise ConfigurationError(
                f"tool {name!r}: its idempotency_key gave {key!r}; it has to give a text that is not empty"
            )
        return effect_key("own", name, key)

    def _replayed(self, outcome: Outcome) -> ToolUse:
        use = self._given("")
        use.update({name: outcome[name] for name in _TOLD if name in outcome})  # type: ignore[typeddict-item]  # names of its fields
        use["replayed"] = True
        return use

    def _given(self, output: Any) -> ToolUse:
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, default=str)
        return given_output(self._call, text, self._worker.max_tool_output)

    def _unsettled(self, why: str = "") -> ToolUse:
        if not why and self._is_late:
            assert self._ends is not None
            why = OVER[self._ends.of]
        said = f" ({why})" if why else ""
        return failed(
            self._call,
            f"it is not known whether {self._tool.name} was done with these arguments{said}, "
            "so it is not done again; go on without it",
            ToolProblem.OUTCOME,
        )

    def _question(self, intent: Intent, claim: Claim, error: Exception | None) -> Question:
        name = self._tool.name
        said = f" Its reconcile function failed ({type(error).__name__}: {error})." if error else ""
        if self._effect is UNDECLARED:
            said += f" If {name} only reads, declare it: effect('read')."
        return Question(
            kind="unknown_outcome",
            question=f"{name} was begun on {claim.begun_at:%Y-%m-%d at %H:%M:%S} UTC, "
            f"and nobody knows whether it was done. Was it?{said}",
            worker=self._worker.name,
            subtask=self._scope.subtask,
            instruction=self._known.get("instruction", ""),
            tool=name,
            args=intent.args,
            meanings={
                "respond": "it was done; the value is its output",
                "approve": "it was not done; do it",
                "reject": "leave it; the model is told that it is not known",
            },
            check=as_text,
        )


class _KeyError(Exception):
    """The tool's own function made no key of the arguments."""


def _claimed(
    journal: EffectJournal, intent: Intent, again: str | None, ends: Deadline | None
) -> Generator[Work, Any, Claim]:
    """The claim, once nobody else is making the same write.

    Raises:
        TimeOverError: if the time is over before that.
        JournalError: if the journal's database fails.
    """
    looks = 0
    while True:
        beginning = partial(journal.begin, intent, again=again)
        try:
            claim: Claim = yield Both(beginning, partial(journal.abegin, intent, again=again))
        except DatabaseError as error:
            raise JournalError(
                f"{intent.tool} was not called, as the journal of writes failed: {error}"
            ) from error
        if claim.state != "busy":
            return claim
        if ends is not None and ends.is_over:
            raise TimeOverError(ends, "while another makes the same write")
        pause = _PAUSES[min(looks, len(_PAUSES) - 1)]
        looks += 1
        yield Pause(pause if ends is None else min(pause, ends.left))


def _kept(journal: EffectJournal, intent: Intent, claim: Claim, use: ToolUse) -> Generator[Work, Any, None]:
    """Keep what came of it. What cannot be kept is unknown to whoever comes next, and no reason to fail."""
    outcome = {name: use[name] for name in _TOLD if name in use}  # type: ignore[literal-required]  # as above
    ending = partial(journal.end, intent.key, claim.id, outcome)
    try:
        kept = yield Both(ending, partial(journal.aend, intent.key, claim.id, outcome))
    except DatabaseError as error:
        _log.warning("what %s gave could not be written down: %s", intent.tool, error)
    else:
        if not kept:
            _log.warning("%s was claimed by another before it ended here", intent.tool)


def _noted(sync: Callable[[], None], own: Callable[[], Awaitable[None]]) -> Generator[Work, Any, None]:
    """Tell the journal what its lease would tell later."""
    try:
        yield Both(sync, own)
    except DatabaseError as error:
        _log.warning("how a call of a tool ended could not be written down: %s", error)
