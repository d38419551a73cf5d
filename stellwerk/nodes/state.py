"""What flows through the graphs. All of it is JSON, but for `messages`."""

from typing import Annotated, Any, Literal

from langchain_core.messages import AnyMessage, ToolCall
from langgraph.channels import EphemeralValue
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from stellwerk.document import Document
from stellwerk.ledger import LedgerRecord
from stellwerk.outcome import Attempt, Call, DecisionRecord, SubtaskResult, ToolUse, Verdict


class Terms(TypedDict):
    """Of an attempt: whether no other may follow, and the seconds that its calls may take (None: any)."""

    last: bool
    seconds: float | None


class WorkerInput(TypedDict, total=False):
    """What a worker gets when it runs alone. `tier` defaults to the smallest."""

    instruction: str
    documents: list[Document]
    inputs: dict[str, Any]
    tier: str


class AttemptInput(WorkerInput, total=False):
    """What a worker gets inside a subtask, where a router sets the terms."""

    terms: Terms


class WorkerOutput(TypedDict, total=False):
    """What a worker gives back: its value, the verdict on it, and the calls it took."""

    value: Any
    verdict: Verdict
    calls: list[Call]


class WorkerState(AttemptInput, WorkerOutput, total=False):
    """A worker at work. `draft` is the model's last text."""

    draft: "Draft"


def add_uses(uses: dict[str, ToolUse], more: dict[str, ToolUse] | None) -> dict[str, ToolUse]:
    """Results of tool calls that are made at once; None forgets them."""
    return {} if more is None else {**uses, **more}


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
    again: Annotated[Literal["tools", "answer"], EphemeralValue(str, guard=False)]


class ToolTask(TypedDict):
    """One call of a tool, and those that are to be made after it, each with its number in the reply."""

    call: ToolCall
    number: int
    then: list[tuple[int, ToolCall]]


class Draft(TypedDict):
    """An answer before it is checked; `reason` and `detail` say why there is none."""

    text: str
    finish: str
    reason: str
    detail: str


class SubtaskInput(TypedDict, total=False):
    """What a subtask graph gets when it runs alone."""

    subtask: dict[str, Any]
    documents: list[Document]
    inputs: dict[str, Any]


class SubtaskState(SubtaskInput, WorkerOutput, total=False):
    """A subtask on its way up the ladder. `attempts` holds the rejected ones."""

    tier: str
    decision: DecisionRecord
    terms: Terms
    attempts: list[Attempt]


class OrchestratorInput(TypedDict, total=False):
    """A task, as text or as the last of some messages, and the documents it is about.

    A ready `plan` spares the planner. Documents stay with the thread for its next task; `task` and `plan`
    last for one step, so that those of a run that broke off are never taken for part of the next input.
    """

    task: Annotated[str, EphemeralValue(str)]
    documents: list[Document]
    messages: Annotated[list[AnyMessage], add_messages]
    plan: Annotated[dict[str, Any], EphemeralValue(dict)]


class Failure(TypedDict):
    """Why a task is not wholly done: the subtasks without a result, each with its reason."""

    message: str
    missing: dict[str, str]


class OrchestratorOutput(TypedDict, total=False):
    """The answer, what each subtask gave, and what it cost."""

    answer: str
    results: dict[str, SubtaskResult]
    failure: Failure | None
    final_plan: dict[str, Any]
    ledger: LedgerRecord
    messages: Annotated[list[AnyMessage], add_messages]


class OrchestratorState(OrchestratorInput, total=False):
    """A task on its way from plan to answer.

    `executed` lasts for one step, so that a new task on a thread that broke off is never mistaken
    for the return of an executed plan.
    """

    executed: Annotated[bool, EphemeralValue(bool)]
    final_task: str
    final_plan: dict[str, Any]
    answer: str
    results: dict[str, SubtaskResult]
    failure: Failure | None
    ledger: LedgerRecord
    calls: list[Call]
    started: float
    run_id: str
    run_place: str
    fallback: str
