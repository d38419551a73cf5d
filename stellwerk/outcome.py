"""What became of calls, attempts and subtasks.

These records live in graph state, so they are plain JSON: a checkpoint written by one version can be
read by the next, by Studio, and by any client, and no type has to be trusted on deserialisation.
"""

import hashlib
import json
from enum import StrEnum
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict


class Reason(StrEnum):
    """Why an attempt was rejected, or a subtask not done."""

    NOT_JSON = "not_json"
    SCHEMA = "schema"
    ECHO = "schema_echo"
    CHECK = "check"
    LENGTH = "length"
    REPETITION = "repetition"
    EMPTY = "empty"
    REFUSAL = "refusal"
    UNKNOWN = "unknown"
    CONTEXT = "context"
    TIER = "tier"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    WORKER = "worker"
    DEPENDENCY = "dependency"
    STEPS = "steps"
    DOUBTED = "doubted"
    BUDGET = "budget"
    REJECTED = "rejected"


class ToolProblem(StrEnum):
    """Why a call of a tool came to nothing, or tools were taken from a model."""

    UNKNOWN = "unknown_tool"
    ARGUMENTS = "arguments"
    TOO_MANY = "too_many"
    REPEATED = "repeated"
    TIMEOUT = "timeout"
    ERROR = "error"
    OUTPUT = "output"
    OUTCOME = "unknown_outcome"
    REJECTED = "rejected"
    BUDGET = "budget"


DecisionType = Literal["approve", "edit", "reject", "respond"]
QuestionKind = Literal["approve_tool", "approve_worker", "unknown_outcome", "unknown_value"]


class PersonDecision(TypedDict):
    """What a person decided in a subtask: on what, how, and when (ISO 8601, UTC).

    `args` are those of an edit, `message` that of a rejection, and `value` that of a response. `tool` and
    `call` are there where it was about a call of a tool: its name, and 32 hexadecimal digits that calls with
    equal arguments share; `becomes` are those of the call that an edit made of it.
    """

    kind: QuestionKind
    type: DecisionType
    at: str
    args: NotRequired[dict[str, Any]]
    message: NotRequired[str]
    value: NotRequired[Any]
    tool: NotRequired[str]
    call: NotRequired[str]
    becomes: NotRequired[str]


class Usage(TypedDict):
    """Tokens of one call. `input` includes `cached`."""

    input: int
    cached: int
    output: int


class ToolUse(TypedDict):
    """One call of a tool that a model asked for.

    `output` is what the tool gave, or what was wrong, and `problem` of which kind that was, as a
    `ToolProblem`. `characters` is there where the tool gave more than the worker lets through: the number
    in all. `replayed` is true of a write that was made before: `output` is what it gave then. `by` says who
    gave the output or the problem, where it was not the tool: `person`, or `reconcile`. `asked` are the
    arguments that the model asked for, where a person changed them.
    """

    id: str
    name: str
    args: dict[str, Any]
    output: str
    failed: bool
    seconds: float
    characters: NotRequired[int]
    problem: NotRequired[str]
    replayed: NotRequired[bool]
    by: NotRequired[Literal["person", "reconcile"]]
    asked: NotRequired[dict[str, Any]]


class Call(TypedDict):
    """One call of a model, as it is billed. `tools` are the tool calls that its reply asked for.

    `waited` is how long the call stood in the tier's queue, in seconds, which `seconds` leaves out; `replica`
    is the server that answered, where a tier has several; `logprobs` sums up the answer's log-probabilities.
    `stopped` is there where the model asked for tools that it did not get any more: `steps` or `repeated`.
    `replan` is there where a plan was to be replaced in part: how often that was, from 1. `estimated` is
    there, and true, where the model did not say what the call took: `usage` is by the lengths of prompt and
    answer.
    """

    step: Literal["plan", "generate", "repair", "synthesize"]
    owner: str
    tier: str
    usage: Usage
    seconds: float
    error: NotRequired[str]
    tools: NotRequired[list[ToolUse]]
    stopped: NotRequired[str]
    replan: NotRequired[int]
    waited: NotRequired[float]
    replica: NotRequired[str]
    logprobs: NotRequired[dict[str, float]]
    estimated: NotRequired[bool]


class Verdict(TypedDict):
    """Whether an attempt was accepted, and if not, why.

    `passing` is there, and true, where what went wrong may pass by itself, and `cached` where the answer was
    kept from before. `by` is there where it is not the checks' but a person's.
    """

    accepted: bool
    by: NotRequired[Literal["person"]]
    cached: NotRequired[bool]
    reason: NotRequired[str]
    detail: NotRequired[str]
    passing: NotRequired[bool]


class DecisionRecord(TypedDict):
    """A router's decision, as stored. `tier` is None when the router stops.

    `serve` is the place of the attempt that a stopping router serves, if that is not the last one. `after` is
    the decision to stop that followed on the attempt, where a router is asked after accepted attempts too.
    `shadow` is what another router would have decided, where one runs in the shadow of this one. `person` is
    what a person decided before the first attempt, where one was asked.
    """

    tier: str | None
    router: str
    version: str
    propensity: float
    why: str
    estimates: dict[str, dict[str, float]]
    serve: NotRequired[int]
    after: NotRequired["DecisionRecord"]
    shadow: NotRequired["DecisionRecord"]
    person: NotRequired[DecisionType]


class Attempt(TypedDict):
    """One try at a subtask on one tier. `answer` is a digest of an accepted value: equal values share it.

    `retry` is there where the one before it failed on the same tier: which retry it is, from 1.
    """

    tier: str
    decision: DecisionRecord
    verdict: Verdict
    calls: list[Call]
    answer: NotRequired[str]
    retry: NotRequired[int]


class SubtaskResult(TypedDict):
    """What became of a subtask. `value` is the worker's output as JSON, or None.

    `served` is the place of the attempt that the value is from, where that is not the last one. `substituted`
    is what those who need the result were given in its place, where the worker has a substitute; `rests_on`
    are the subtasks whose substitutes went into this one, also by way of others. `roots` are the failed
    subtasks for which this one was skipped. `people` is what people decided, oldest first, and `by` is there
    where a person gave the value, or rejected the subtask.
    """

    id: str
    worker: str
    status: Literal["accepted", "failed", "skipped"]
    value: Any
    attempts: list[Attempt]
    served: NotRequired[int]
    reason: NotRequired[str]
    detail: NotRequired[str]
    substituted: NotRequired[Any]
    rests_on: NotRequired[list[str]]
    roots: NotRequired[list[str]]
    people: NotRequired[list[PersonDecision]]
    by: NotRequired[Literal["person"]]


class SubtaskFailure(TypedDict):
    """Why a subtask gave no result.

    `tier` is the last one tried, or None; `attempts` counts those made, and `reasons` are theirs, oldest
    first, each a `Reason`. `reason` and `detail` are what it came to. `roots` are the failed subtasks for
    which it was skipped. `substituted` is whether a substitute went on in its place. `by` is there where a
    person rejected it.
    """

    subtask: str
    worker: str
    status: Literal["failed", "skipped"]
    reason: str
    detail: str
    tier: str | None
    attempts: int
    reasons: list[str]
    roots: list[str]
    substituted: bool
    by: NotRequired[Literal["person"]]


def is_given(result: SubtaskResult) -> bool:
    """Whether those who need the subtask are given something: its value, or a substitute."""
    return result["status"] == "accepted" or "substituted" in result


def given_value(result: SubtaskResult) -> Any:
    """What those who need the subtask are given."""
    return result["value"] if result["status"] == "accepted" else result.get("substituted")


def served_attempt(result: SubtaskResult) -> Attempt | None:
    """The attempt that an accepted subtask's value is from; None where a person gave it."""
    if result["status"] != "accepted" or not result["attempts"] or result.get("by") == "person":
        return None
    return result["attempts"][result.get("served", -1)]


def answer_digest(value: Any) -> str:
    """The same 16 hexadecimal digits for equal values, to see which attempts agree; `value` is JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
