"""What became of calls, attempts and subtasks.

These records live in graph state, so they are plain JSON: a checkpoint written by one version can be
read by the next, by Studio, and by any client, and no type has to be trusted on deserialisation.
"""

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


class ToolProblem(StrEnum):
    """Why a call of a tool came to nothing, or tools were taken from a model."""

    UNKNOWN = "unknown_tool"
    ARGUMENTS = "arguments"
    TOO_MANY = "too_many"
    REPEATED = "repeated"
    TIMEOUT = "timeout"
    ERROR = "error"
    OUTPUT = "output"


class Usage(TypedDict):
    """Tokens of one call. `input` includes `cached`."""

    input: int
    cached: int
    output: int


class ToolUse(TypedDict):
    """One call of a tool that a model asked for.

    `output` is what the tool gave, or what was wrong, and `problem` of which kind that was, as a
    `ToolProblem`. `characters` is there where the tool gave more than the worker lets through: the number
    in all.
    """

    id: str
    name: str
    args: dict[str, Any]
    output: str
    failed: bool
    seconds: float
    characters: NotRequired[int]
    problem: NotRequired[str]


class Call(TypedDict):
    """One call of a model, as it is billed. `tools` are the tool calls that its reply asked for.

    `waited` is how long the call stood in the tier's queue, in seconds, which `seconds` leaves out; `replica`
    is the server that answered, where a tier has several; `logprobs` sums up the answer's log-probabilities.
    `stopped` is there where the model asked for tools that it did not get any more: `steps` or `repeated`.
    """

    step: Literal["plan", "generate", "repair", "synthesize"]
    owner: str
    tier: str
    usage: Usage
    seconds: float
    error: NotRequired[str]
    tools: NotRequired[list[ToolUse]]
    stopped: NotRequired[str]
    waited: NotRequired[float]
    replica: NotRequired[str]
    logprobs: NotRequired[dict[str, float]]


class Verdict(TypedDict):
    """Whether an attempt was accepted, and if not, why."""

    accepted: bool
    reason: NotRequired[str]
    detail: NotRequired[str]


class DecisionRecord(TypedDict):
    """A router's decision, as stored. `tier` is None when the router stops."""

    tier: str | None
    router: str
    version: str
    propensity: float
    why: str
    estimates: dict[str, dict[str, float]]


class Attempt(TypedDict):
    """One try at a subtask on one tier."""

    tier: str
    decision: DecisionRecord
    verdict: Verdict
    calls: list[Call]


class SubtaskResult(TypedDict):
    """What became of a subtask. `value` is the worker's output as JSON, or None."""

    id: str
    worker: str
    status: Literal["accepted", "failed", "skipped"]
    value: Any
    attempts: list[Attempt]
    reason: NotRequired[str]
    detail: NotRequired[str]
