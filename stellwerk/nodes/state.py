"""What flows through the graphs. All of it is JSON, but for `messages`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.messages import ToolCall
from langgraph.channels import EphemeralValue
from typing_extensions import TypedDict

from stellwerk.document import Document
from stellwerk.ledger import LedgerRecord
from stellwerk.nodes.forms import (
    Documents,
    Inputs,
    Instruction,
    Limits,
    Messages,
    ReadyPlan,
    Task,
    TierName,
)
from stellwerk.outcome import (
    Attempt,
    Call,
    DecisionRecord,
    PersonDecision,
    SubtaskFailure,
    SubtaskResult,
    ToolUse,
    Verdict,
)


class Left(TypedDict):
    """What an attempt may take of its subtask's budget, and how many tokens an answer is expected to have.

    `usd`, `tokens` and `calls` are what is left (None: any).
    """

    usd: float | None
    tokens: int | None
    calls: int | None
    output: int


class Terms(TypedDict):
    """Of an attempt: whether no other may follow, and the seconds that its calls may take (None: any).

    `left` is there where the subtask's money, tokens or calls are limited.
    `retry` is there where it repeats the one before it on the same tier.
    """

    last: bool
    seconds: float | None
    left: NotRequired[Left]
    retry: NotRequired[int]


class WorkerInput(TypedDict, total=False):
    """What a worker gets when it runs alone. `tier` defaults to the smallest."""

    instruction: Instruction
    documents: Documents
    inputs: Inputs
    tier: TierName


class AttemptInput(WorkerInput, total=False):
    """What a worker gets inside a subtask, where a router sets the terms.

    `people` is what people decided in this subtask.
    """

    terms: Terms
    people: list[PersonDecision]


class WorkerOutput(TypedDict, total=False):
    """What a worker gives back: its value, the verdict on it, and the calls it took."""

    value: Any
    verdict: Verdict
    calls: list[Call]


class AttemptOutput(WorkerOutput, total=False):
    """What a worker gives back that may have asked people."""

    people: list[PersonDecision]


class WorkerState(AttemptInput, WorkerOutput, total=False):
    """A worker at work. `draft` is the model's last text."""

    draft: "Draft"


class RemoteQuestion(TypedDict):
    """A question of a server's, by its id there, and what a person answered, once one did."""

    id: str
    value: Any
    answer: NotRequired[Any]


class Remote(TypedDict):
    """Where the attempt of a remote worker stands: its thread on the server, and what is asked there."""

    thread: str
    asked: list[RemoteQuestion]


class RemoteWorkerState(WorkerState, total=False):
    """A worker at work on a server.

    `there` lasts for one step, so that what a run left behind that broke off is never taken for part of the
    next.
    """

    there: Annotated[Remote, EphemeralValue(dict, guard=False)]


def add_uses(uses: dict[str, ToolUse], more: dict[str, ToolUse] | None) -> dict[str, ToolUse]:
    """Results of tool calls that are made at once; None forgets them."""
    return {} if more is None else {**uses, **more}


def add_people(people: list[PersonDecision], more: Sequence[PersonDecision | None]) -> list[PersonDecision]:
    """Decisions of people on calls that are made at once; None in front forgets those before."""
    kept = [] if more and more[0] is None else people
    return [*kept, *(record for record in more if record is not None)]


class ToolWorkerState(WorkerState, total=False):
    """A worker with tools at work.

    `asked` holds the replies of the model that were not its last word and are shown to it again, as JSON, by
    the place of their call in `calls`. `wanted` is what becomes of each call of the last reply:
    why it is not made, or None; `uses` are the results of those that are made, by their number. `again`
    lasts for one step, so that what a run left behind that broke off is never taken for part of the next.
    """

    asked: dict[str, dict[str, Any]]
    wanted: list[ToolUse | None]
    uses: Annotated[dict[str, ToolUse], add_uses]
    people: Annotated[list[PersonDecision], add_people]
    again: Annotated[Literal["tools", "answer"], EphemeralValue(str, guard=False)]


class Known(TypedDict, total=False):
    """What is known of a call before it is made.

    `turn` is how often the attempt has made it with success. `decisions` are those of people on it, and
    `instruction` is that of the subtask, where a person may be asked. `key` is that of the write in the
    journal. `settle` is there where it is first to be found out whether it was done before; `again` is the
    claim whose outcome was unknown, and that a person wants made.
    """

    turn: int
    decisions: list[PersonDecision]
    instruction: str
    key: str
    settle: bool
    again: str


class TimeLeft(TypedDict):
    """What is left of somebody's time, in seconds."""

    seconds: float
    of: Literal["subtask", "attempt"]


class ToolTask(TypedDict):
    """One call of a tool, and those that are to be made after it, each with its number in the reply.

    `known` is by the number of the call, and has only calls of which something is. `left` is the time that
    the call may take, where that of its subtask or attempt is limited.
    """

    call: ToolCall
    number: int
    then: list[tuple[int, ToolCall]]
    known: NotRequired[dict[str, Known]]
    left: NotRequired[TimeLeft]


class Draft(TypedDict):
    """An answer before it is checked.

    `reason` and `detail` say why there is none, and `cached` that it was kept from before. `passing` is
    there, and true, where what is wrong may pass by itself.
    """

    text: str
    finish: str
    reason: str
    detail: str
    cached: NotRequired[bool]
    passing: NotRequired[bool]


class SubtaskInput(TypedDict, total=False):
    """What a subtask graph gets when it runs alone."""

    subtask: dict[str, Any]
    documents: list[Document]
    inputs: dict[str, Any]


class SubtaskState(SubtaskInput, WorkerOutput, total=False):
    """A subtask on its way up the ladder. `attempts` holds those that the router was asked after.

    Where the router is asked after accepted attempts too, `values` are what those gave, by their place among
    the attempts, and `served` is the place of the one whose value is the result.
    """

    tier: str
    decision: DecisionRecord
    terms: Terms
    attempts: list[Attempt]
    values: dict[str, Any]
    served: int
    people: list[PersonDecision]


class OrchestratorInput(TypedDict, total=False):
    """A task, as text or as the last of some messages, and the documents it is about.

    A ready `plan` spares the planner; `budget` sets limits of this run, within those of the orchestrator.
    Documents stay with the thread for its next task; the rest lasts for one step, so that what a run left
    behind that broke off is never taken for part of the next input.
    """

    task: Task
    documents: Documents
    messages: Messages
    plan: ReadyPlan
    budget: Limits


class PlanSource(TypedDict):
    """Where a plan is from; of a stored one, its key and when it was kept (ISO 8601, UTC)."""

    kind: Literal["given", "planner", "stored", "fallback"]
    key: NotRequired[str]
    kept: NotRequired[str]


class Round(TypedDict):
    """A plan that was replaced in part, with the results of the subtasks that are not in the next one."""

    plan: dict[str, Any]
    results: dict[str, SubtaskResult]


class Failure(TypedDict):
    """Why a task is not wholly done: the subtasks without a result, each with its reason.

    `missing` says it in words, and `subtasks` so that a program can act on it. `ended_by` are the subtasks
    for whose failure nothing further was tried, and `synthesizer` is why the results are joined and not
    merged, and `replanning` why no other plan came; each is there where it is so.
    """

    message: str
    missing: dict[str, str]
    subtasks: NotRequired[dict[str, SubtaskFailure]]
    ended_by: NotRequired[list[str]]
    synthesizer: NotRequired[str]
    replanning: NotRequired[str]


class OrchestratorOutput(TypedDict, total=False):
    """The answer, what each subtask gave, what it cost, and the plans that the last one replaced in part."""

    answer: str
    results: dict[str, SubtaskResult]
    failure: Failure | None
    final_plan: dict[str, Any]
    plan_source: PlanSource
    replaced: list[Round]
    ledger: LedgerRecord
    messages: Messages


class OrchestratorState(OrchestratorInput, total=False):
    """A task on its way from plan to answer.

    `executed` lasts for one step, so that a new task on a thread that broke off is never mistaken
    for the return of an executed plan. `round` counts how often the plan was replaced: from 1 on, what is in
    `results` is of this run, and is kept. `limits` are those of the run, and `options` what its context
    chose, where it chose anything. `worked` is for how many seconds it did, and `budget_ended` the limit that
    ended it, if one did. `origin` is the checkpoint that the task arrived in: side effects belong to it,
    however often the run is resumed, forked, or planned anew.
    """

    executed: Annotated[bool, EphemeralValue(bool)]
    limits: dict[str, float]
    options: dict[str, Any]
    worked: float
    budget_ended: str
    final_task: str
    final_plan: dict[str, Any]
    answer: str
    results: dict[str, SubtaskResult]
    failure: Failure | None
    plan_source: PlanSource
    replaced: list[Round]
    round: int
    ledger: LedgerRecord
    calls: list[Call]
    started: float
    origin: str
    run_id: str
    run_place: str
    run_address: str
    fallback: str


def all_results(state: OrchestratorState) -> dict[str, SubtaskResult]:
    """The results of a run, those included that were replaced."""
    replaced = [each["results"] for each in state.get("replaced") or ()]
    return {name: result for results in (*replaced, state["results"]) for name, result in results.items()}
