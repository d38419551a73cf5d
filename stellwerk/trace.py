"""The trace: what is kept of each attempt and each run, once it has ended.

Graphs tell a `TraceSink` of both; storage implements it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, get_args

from langchain_core.messages import BaseMessage
from typing_extensions import TypedDict

from stellwerk.ledger import LedgerRecord
from stellwerk.outcome import Call, DecisionRecord, ToolUse, Verdict

if TYPE_CHECKING:  # which imports the worker, and that this module
    from stellwerk.routing_context import RoutingContext

RunOutcome = Literal["running", "ok", "failed", "interrupted"]
"""A process that is killed leaves its run `running`; one that waits for a person is `interrupted`."""

FeedbackSource = Literal["gold", "person", "judge"]
"""Who judged an answer: a known answer that it was compared with, a person, or a judging model."""

FEEDBACK_SOURCES: tuple[FeedbackSource, ...] = get_args(FeedbackSource)


@dataclass(slots=True)
class Exchange:
    """Travels beside the state of a subtask: where it belongs, and the last words with a model.

    In state, the documents would be checkpointed with every attempt. `place` is LangGraph's namespace of
    the step that runs the plan, which a resumed run shares with the one before.
    """

    run_id: str = ""
    place: str = ""
    messages: Sequence[BaseMessage] = ()
    answer: str | None = None

    def take(self) -> tuple[Sequence[BaseMessage], str | None]:
        """The last words, which are then forgotten: the next attempt has its own."""
        taken = self.messages, self.answer
        self.messages, self.answer = (), None
        return taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Whom a trace comes from, besides its thread, and whether it may be kept.

    Args:
        user: of the program, or empty; never stored but as a keyed hash.
        private: whether the thread's id is to be stored as a keyed hash too, where there is a key.
        consent: what the program says of it; None where it says nothing, and what is stored counts.
    """

    user: str = ""
    private: bool = False
    consent: bool | None = None


NOBODY = Origin()

CONSENT = "stellwerk_consent"
"""Key of a run's metadata: whether it may be kept, `True` or `False`."""

TRACED = "stellwerk_traced"
"""Key of the metadata of a model's call: true where who makes it tells a sink of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptTrace:
    """An attempt that has ended.

    Args:
        trace_id: 32 hexadecimal digits; the same whenever the same attempt is told again; see `trace_id`.
        run_id: of the run, or empty.
        thread_id: of the thread, or empty.
        subtask: its id, or empty for a worker that ran alone.
        worker: its name.
        worker_version: of its wording; see `Worker.version`.
        tier: where the attempt ran.
        model: the name of the tier's model.
        number: of the attempt in its subtask, from 1.
        decision: why this tier; None where no router decided.
        verdict: what came of it.
        calls: of the model, with their tool calls.
        value: the worker's output as JSON, or None.
        messages: the prompt of the last call.
        answer: the model's last text; None if there is none.
        checks: which checks held; one that was not reached is not there.
        usd: what the calls cost; None on a tier without a price.
        logprobs: summary of the log-probabilities of the last answer, where its tier gives them.
        context: the subtask as a router saw it before the first attempt.
        episode: 32 hexadecimal digits that all attempts at the same subtask share; empty if unknown.
        created_at: when the attempt ended.
        origin: whom it comes from.
        offered: definitions of the tools that the model could call, as the model's API takes them.
    """

    trace_id: str
    run_id: str
    thread_id: str
    subtask: str
    worker: str
    worker_version: str
    tier: str
    model: str
    number: int
    decision: DecisionRecord | None
    verdict: Verdict
    calls: Sequence[Call]
    value: Any
    messages: Sequence[BaseMessage]
    answer: str | None
    checks: Mapping[str, bool]
    usd: float | None
    logprobs: Mapping[str, float] | None = None
    context: RoutingContext | None = None
    episode: str = ""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    origin: Origin = NOBODY
    offered: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTrace:
    """Where a run stands. Told when it begins, or goes on, and when it ends; the last word counts.

    Args:
        run_id: of the run.
        thread_id: of the thread, or empty.
        task: what the user asked.
        outcome: how it ended, or `running`.
        detail: what is missing, or what went wrong.
        ledger: what it cost, once it has ended.
        versions: of Stellwerk, LangGraph and the workers.
        started_at: when the task arrived.
        updated_at: when this was told.
        origin: whom it comes from.
    """

    run_id: str
    thread_id: str
    task: str
    outcome: RunOutcome
    detail: str | None = None
    ledger: LedgerRecord | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    origin: Origin = NOBODY


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedbackTrace:
    """What somebody said of an attempt or a run somewhere else.

    Args:
        feedback_id: 32 hexadecimal digits; the same whenever the same is told again.
        trace_id: of the attempt; None where it is about the run.
        run_id: of the run, or of that of the attempt.
        thread_id: of the thread, or empty.
        score: the higher the better; None if there is none.
        label: such as `right` or `wrong`.
        comment: in words.
        who: said so.
        source: a known answer, a person, or a judging model.
        created_at: when.
        origin: whom the attempt or the run comes from.
    """

    feedback_id: str
    trace_id: str | None = None
    run_id: str
    thread_id: str = ""
    score: float | None = None
    label: str | None = None
    comment: str | None = None
    who: str | None = None
    source: FeedbackSource
    created_at: datetime
    origin: Origin = NOBODY


class TraceSink(Protocol):
    """Takes traces. It must return at once: the run waits for it."""

    def attempt(self, trace: AttemptTrace, /) -> None:
        """An attempt has ended."""
        ...

    def run(self, trace: RunTrace, /) -> None:
        """A run has begun, goes on, or has ended."""
        ...


class BareAttempt(TypedDict):
    """What a router learns from: a trace as it is read back, without what was said.

    `value_hash` is there for every value that is known, and the same for equal ones. `context`, `episode`,
    `origin` and `offered` are None for attempts that an older version stored. `origin` stands for the person
    and the thread that it came from, and `offered` for the definitions of the tools that the model could
    call, both as hexadecimal digits.
    """

    trace_id: str
    run_id: str
    thread_id: str
    subtask: str
    worker: str
    worker_version: str
    tier: str
    model: str
    number: int
    decision: DecisionRecord | None
    accepted: bool
    reason: str | None
    value_hash: str | None
    calls: list[dict[str, Any]]
    input: int
    cached: int
    output: int
    usd: float | None
    seconds: float
    logprobs: dict[str, float] | None
    context: RoutingContext | None
    episode: str | None
    origin: NotRequired[str | None]
    offered: NotRequired[str | None]
    created_at: datetime


class StoredAttempt(BareAttempt):
    """A trace as it is read back. `prompt` is in the form of the OpenAI chat API.

    `prompt_hash` and `answer_hash` are there, in hexadecimal, where only hashes are kept.
    """

    detail: str | None
    checks: dict[str, bool]
    content: Literal["full", "hash", "none"]
    prompt: list[dict[str, Any]] | None
    answer: str | None
    prompt_hash: str | None
    answer_hash: str | None
    value: Any
    tools: list[dict[str, Any]]


class StoredRun(TypedDict):
    """A run as it is read back."""

    run_id: str
    thread_id: str
    task: str | None
    task_hash: str | None
    outcome: RunOutcome
    detail: str | None
    ledger: LedgerRecord | None
    wall_seconds: float | None
    versions: dict[str, str]
    started_at: datetime
    updated_at: datetime


class StoredFeedback(TypedDict):
    """What somebody said of an attempt, or of a run; the other id is None."""

    trace_id: str | None
    run_id: str | None
    thread_id: str
    score: float | None
    label: str | None
    comment: str | None
    who: str | None
    source: FeedbackSource
    created_at: datetime


class TraceReader(Protocol):
    """Where traces are read from; a `TraceStore` is one."""

    def bare_attempts(
        self, *, newest_first: bool = True, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BareAttempt]:
        """Attempts in order of time; `until` is not included."""
        ...

    def feedback(self, *, newest_first: bool = True) -> Iterator[StoredFeedback]:
        """What was said of attempts and runs, in order of time."""
        ...


def origin_in(metadata: Mapping[str, Any], configurable: Mapping[str, Any], *, private: bool) -> Origin:
    """Whom a run comes from: `user_id` of its metadata or its config, else who is signed in at its server.

    Args:
        metadata: of the run.
        configurable: of its config.
        private: see `Origin`.
    """
    user = metadata.get("user_id", configurable.get("user_id", configurable.get("langgraph_auth_user_id")))
    consent = metadata.get(CONSENT)
    return Origin(
        user="" if user is None else str(user),
        private=private,
        consent=None if consent is None else bool(consent) and consent != "denied",
    )


def trace_id(thread_id: str, run_id: str, place: str, subtask: str, number: int) -> str:
    """The id of an attempt: the same for one that a resumed run comes upon again.

    Args:
        thread_id: of the thread.
        run_id: of the run.
        place: see `Exchange`.
        subtask: its id.
        number: of the attempt in its subtask.
    """
    parts = "".join(f"{len(part)}:{part}" for part in (thread_id, run_id, place, subtask, str(number)))
    return hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def tool_uses(calls: Sequence[Call]) -> list[ToolUse]:
    """The tool calls of an attempt."""
    return [use for call in calls for use in call.get("tools", ())]
