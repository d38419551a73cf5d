"""What a routed reply says of itself, and what a sink of traces is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables.config import var_child_runnable_config
from typing_extensions import TypedDict

from stellwerk.chat.climb import Climb, Served
from stellwerk.chat.subject import Subject
from stellwerk.nodes.tracing import model_name, unharmed, usd_of
from stellwerk.outcome import Attempt, Call, DecisionRecord, Usage, Verdict
from stellwerk.routing_context import routing_context
from stellwerk.tiers.ladder import Ladder
from stellwerk.trace import AttemptTrace, TraceSink, trace_id

KEY = "stellwerk"
"""Under which `response_metadata` holds the record."""


class Routed(TypedDict):
    """How a reply came about; plain JSON.

    `tier` answered, `decision` says why it was asked, and `verdict` what the checks say of the reply. `usd`
    is what all attempts cost, None where a tier without a price was asked. `trace_id` is that of the attempt
    that is served, empty where nothing is traced.
    """

    tier: str
    decision: DecisionRecord
    verdict: Verdict
    attempts: list[Attempt]
    usd: float | None
    trace_id: str


@dataclass(frozen=True, slots=True)
class Telling:
    """Tells a sink of the attempts at one call.

    Args:
        sink: None to tell nobody.
        ladder: the tiers.
        run_id: of the run that the call belongs to.
        thread_id: of its thread, or empty.
    """

    sink: TraceSink | None
    ladder: Ladder
    run_id: str = ""
    thread_id: str = ""
    call_id: str = field(default_factory=lambda: uuid4().hex)
    _waiting: list[Callable[[], None]] = field(default_factory=list, init=False, repr=False)

    def id_of(self, place: int) -> str:
        """The id of an attempt's trace, by its place from 0; empty where nobody is told."""
        if self.sink is None:
            return ""
        return trace_id(self.thread_id, self.run_id or self.call_id, "", self.call_id, place + 1)

    def attempt(
        self,
        subject: Subject,
        attempt: Attempt,
        place: int,
        messages: Sequence[BaseMessage],
        answer: AIMessage | None,
        value: Any,
    ) -> None:
        """An attempt has ended; the sink is told by `flush`."""
        if self.sink is not None:
            told = partial(self._tell, self.sink, subject, attempt, place, messages, answer, value)
            self._waiting.append(told)

    def flush(self) -> None:
        """Tell of the attempts that have ended since."""
        while self._waiting:
            self._waiting.pop(0)()

    def _tell(
        self,
        sink: TraceSink,
        subject: Subject,
        attempt: Attempt,
        place: int,
        messages: Sequence[BaseMessage],
        answer: AIMessage | None,
        value: Any,
    ) -> None:
        with unharmed():
            tier, calls = self.ladder.tier(attempt["tier"]), attempt["calls"]
            sink.attempt(
                AttemptTrace(
                    trace_id=self.id_of(place),
                    run_id=self.run_id or self.call_id,
                    thread_id=self.thread_id,
                    subtask=self.call_id,
                    worker=subject.worker.name,
                    worker_version=subject.worker.version,
                    tier=tier.name,
                    model=model_name(tier),
                    number=place + 1,
                    decision=attempt["decision"],
                    verdict=attempt["verdict"],
                    calls=calls,
                    value=value if attempt["verdict"]["accepted"] else None,
                    messages=messages,
                    answer=str(answer.text) or None if answer is not None else None,
                    checks={},
                    usd=usd_of(tier, calls),
                    logprobs=next((call["logprobs"] for call in reversed(calls) if "logprobs" in call), None),
                    context=routing_context(subject.subtask, subject.worker, subject.brief),
                    episode=self.id_of(-1),
                )
            )


def routed(climb: Climb, served: Served, telling: Telling) -> Routed:
    """The record of a call."""
    attempt = climb.attempts[served.place]
    costs = [usd_of(telling.ladder.tier(each["tier"]), each["calls"]) for each in climb.attempts]
    known = [cost for cost in costs if cost is not None]
    return Routed(
        tier=attempt["tier"],
        decision=attempt["decision"],
        verdict=served.verdict,
        attempts=list(climb.attempts),
        usd=sum(known) if len(known) == len(costs) else None,
        trace_id=telling.id_of(served.place),
    )


def with_record(served: Served, record: Routed, *, is_nested: bool) -> AIMessage:
    """The served reply with its record, and with the tokens of all attempts as its usage.

    Args:
        served: the reply.
        record: of the call.
        is_nested: whether the tier's run stands inside a run of its own, whose id the message gets.
    """
    message = served.message
    others = [
        call["usage"]
        for place, attempt in enumerate(record["attempts"])
        for call in attempt["calls"]
        if place != served.place or "error" in call
    ]
    update: dict[str, Any] = {
        "response_metadata": {**message.response_metadata, KEY: record},
        "usage_metadata": summed(message.usage_metadata, others),
    }
    if is_nested and (message.id or "").startswith("lc_run-"):
        update["id"] = None
    return message.model_copy(update=update)


def summed(own: UsageMetadata | None, others: Sequence[Usage]) -> UsageMetadata | None:
    """A reply's usage, and that of other calls."""
    parts = [usage_metadata(usage) for usage in others if any(usage.values())]
    return reduce(add_usage, parts, own) if parts else own


def usage_metadata(usage: Usage) -> UsageMetadata:
    """The tokens of a call in LangChain's form."""
    return UsageMetadata(
        input_tokens=usage["input"],
        output_tokens=usage["output"],
        total_tokens=usage["input"] + usage["output"],
        input_token_details={"cache_read": usage["cached"]},
    )


def new_call(owner: str, tier: str) -> Call:
    """A call that is about to be made, to be filled in."""
    usage = Usage(input=0, cached=0, output=0)
    return Call(step="generate", owner=owner, tier=tier, usage=usage, seconds=0.0)


@contextmanager
def untold() -> Iterator[None]:
    """Calls of models in here are not told to the callbacks of the graph around them.

    They would count the same tokens, and stream the same text, twice: the caller's run tells of both.
    """
    token = var_child_runnable_config.set({"callbacks": []})
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def thread_and_run() -> tuple[str, str]:
    """The ids of the thread and the run around this call, or empty."""
    config = var_child_runnable_config.get() or {}
    configurable, metadata = config.get("configurable") or {}, config.get("metadata") or {}
    thread = configurable.get("thread_id") or metadata.get("thread_id") or ""
    run = metadata.get("run_id") or configurable.get("run_id") or ""
    return str(thread), str(run)
