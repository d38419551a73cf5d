"""What observers are told of while a run goes on: each part of it as it begins, and as it ends.

A run has a plan and subtasks; a subtask has attempts, and an attempt has calls of the model and of tools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage

from stellwerk.ledger import LedgerRecord
from stellwerk.outcome import DecisionRecord, Usage, Verdict

Outcome = Literal["ok", "failed", "interrupted"]
"""How a part ended. One that is cancelled, or waits for a person, is `interrupted`."""


@dataclass(slots=True, kw_only=True)
class Part:
    """Something that begins and ends. What is not known when it begins is there when it ends.

    Args:
        outcome: how it ended.
        error: what was wrong, as one of few words: the name of an exception, or a `Reason`.
        detail: what was wrong, in full; it may hold contents.
        seconds: from its beginning to its end.
    """

    outcome: Outcome = "ok"
    error: str = ""
    detail: str = ""
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class RunPart(Part):
    """What one process does of a run, from the task or the resumption to an answer or an interruption.

    Args:
        name: of the graph.
        thread_id: of the thread, or empty.
        run_id: empty until the run has one, which is before anything else of it begins.
        address: where an observer that can be found again keeps this part, as a W3C `traceparent`.
        follows: the address of the part in which the run began, where this one goes on with it.
        ledger: what the whole run cost, if it has ended.
        subtasks: how each ended, if the run has ended: worker and status.
    """

    name: str
    thread_id: str = ""
    run_id: str = ""
    address: str = ""
    follows: str = ""
    ledger: LedgerRecord | None = None
    subtasks: Sequence[tuple[str, str]] = ()


@dataclass(slots=True, kw_only=True)
class PlanPart(Part):
    """A model plans.

    Args:
        subtasks: how many there are in the plan.
    """

    subtasks: int = 0


@dataclass(slots=True, kw_only=True)
class SubtaskPart(Part):
    """A subtask whose inputs are there, or a worker that runs alone.

    Args:
        subtask: its id; empty for a worker that runs alone.
        worker: its name.
        tier: whose answer is served; empty if there is none.
        attempts: how many there were.
        usd: what the calls cost that this process made; those without a price left out.
    """

    subtask: str
    worker: str
    tier: str = ""
    attempts: int = 0
    usd: float = 0.0


@dataclass(slots=True, kw_only=True)
class AttemptPart(Part):
    """An attempt.

    Args:
        subtask: the subtask's id; empty for a worker that runs alone.
        worker: its name.
        tier: on which it runs.
        number: in its subtask, from 1; 0 if it began in another process.
        above: the tier of the attempt before, where this one is on another.
        decision: why this tier; None where no router decided, or in another process.
        verdict: what came of it; None if it was interrupted.
        usd: what the calls cost that this process made; those without a price left out.
    """

    subtask: str
    worker: str
    tier: str
    number: int = 0
    above: str = ""
    decision: DecisionRecord | None = None
    verdict: Verdict | None = None
    usd: float = 0.0


@dataclass(slots=True, kw_only=True)
class CallPart(Part):
    """A call of a model, with what it waits for a place and the tries that failed.

    Args:
        tier: that is asked.
        model: its name.
        provider: whose kind of model it is, such as `openai`, `vllm` or `llamacpp`.
        max_tokens: of the answer; None for the model's own limit.
        is_json: whether the answer has to follow a schema.
        messages: the prompt; contents.
        usage: tokens of the answered try; None if none was answered.
        lost: tokens of prompts that servers may have billed without an answer.
        usd: what it cost; None on a tier without a price.
        waited: seconds for a place, which are part of `seconds`.
        replica: the server that answered, where a tier has several.
        tries: that failed before.
        finish: why the model stopped; empty if it did not answer.
        answer: contents.
    """

    tier: str
    model: str
    provider: str
    max_tokens: int | None = None
    is_json: bool = False
    messages: Sequence[BaseMessage] = field(default=(), repr=False)
    usage: Usage | None = None
    lost: int = 0
    usd: float | None = None
    waited: float = 0.0
    replica: str = ""
    tries: int = 0
    finish: str = ""
    answer: AIMessage | None = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True)
class ToolPart(Part):
    """A call of a tool that a model asked for, and that is made.

    Args:
        tool: its name.
        call_id: that the model gave the call.
        arguments: contents.
        output: contents; None if it gave nothing.
    """

    tool: str
    call_id: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part stands: the run, the subtask and the attempt around it, if any."""

    run: RunPart | None = None
    subtask: SubtaskPart | None = None
    attempt: AttemptPart | None = None


class Observer:
    """Is told of the parts of runs; does nothing itself. It is called in any thread, and must not wait.

    What it raises is logged, and never fails a run.
    """

    def begin(self, part: Part, place: Place, around: Any) -> Any:
        """A part begins.

        Args:
            part: what is known of it by now.
            place: where it stands.
            around: the mark of the part around it; None for a run.

        Returns:
            A mark, which is given back when the part ends.
        """
        return None

    def end(self, part: Part, place: Place, mark: Any) -> None:
        """A part has ended."""

    def during(self, mark: Any) -> AbstractContextManager[object]:
        """Is entered while code of that part runs, in its thread and context; any number of times."""
        return nullcontext()
