"""The ledger: what a run cost, and what it would have cost on the large tier alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NotRequired, Protocol

from typing_extensions import TypedDict

from stellwerk.outcome import Call, Reason, SubtaskResult, ToolUse, Usage, served_attempt

METHOD = (
    "each subtask once on {large}: the tokens of its last attempt, without repairs, at {large}'s prices and, "
    "where {large} worked in this run, at its measured seconds per token; planning and merging as they were"
)


class Line(TypedDict):
    """Sums over some calls. `usd` leaves out calls on tiers without a price (`unpriced` counts them)."""

    calls: int
    input: int
    cached: int
    output: int
    usd: float
    unpriced: int
    seconds: float


class Counterfactual(TypedDict):
    """Everything on the large tier: money and model-seconds (None where they cannot be told), and how.

    `by_worker` has the money of each worker, planning and merging left out; it is there where money can be
    told.
    """

    tier: str
    usd: float | None
    by_worker: NotRequired[dict[str, float]]
    seconds: float | None
    method: str


class BudgetLine(TypedDict):
    """What the run was allowed, and the limit that ended it: `seconds`, `usd`, `tokens` or `calls`."""

    limits: dict[str, float]
    ended: str | None


class LedgerRecord(TypedDict):
    """What a run cost. Money in USD, times in seconds.

    `tools` counts calls of tools: `ok`, `replayed` where a write was made before, `answered` where a person
    gave the output, or by what was wrong (`ToolProblem`), and as `stopped_steps` and `stopped_repeated` how
    often tools were taken from a model. It is there where a tool was called. `budget` is there where the run
    had one.
    `cached` counts answers that were kept from before, and cost nothing.
    `people` counts what people decided, by what they were asked (`approve_worker` and so on) and what they
    decided (`approve` and so on). It is there where one was asked; `wall_seconds` includes the wait for them.
    """

    total: Line
    by_tier: dict[str, Line]
    by_worker: dict[str, Line]
    attempts: int
    accepted: dict[str, int]
    rejected: dict[str, int]
    rejected_by_worker: dict[str, dict[str, int]]
    wall_seconds: float
    planning_seconds: float
    planning: NotRequired[Line]
    replans: NotRequired[int]
    plan_kept: NotRequired[str]
    all_large: Counterfactual
    tools: NotRequired[dict[str, int]]
    budget: NotRequired[BudgetLine]
    cached: NotRequired[int]
    people: NotRequired[dict[str, dict[str, int]]]


class Priced(Protocol):
    """Prices calls; a tier's price does."""

    def usd(self, usage: Usage, seconds: float = 0.0) -> float:
        """Money for a call."""
        ...


def draw_up(
    own_calls: Sequence[Call],
    results: Iterable[SubtaskResult],
    prices: Mapping[str, Priced | None],
    *,
    large: str,
    wall_seconds: float,
) -> LedgerRecord:
    """Sum up a run.

    Args:
        own_calls: planning and merging.
        results: of the subtasks, with their attempts.
        prices: per tier; None for a tier without a price.
        large: name of the large tier, for the counterfactual.
        wall_seconds: from the task's arrival to its answer.
    """
    results = list(results)
    attempts = [(result, attempt) for result in results for attempt in result["attempts"]]
    calls = [*own_calls, *(call for _, attempt in attempts for call in attempt["calls"])]
    total, by_tier, by_worker = _line(), dict[str, Line](), dict[str, Line]()
    for call in calls:
        for line in (
            total,
            by_tier.setdefault(call["tier"], _line()),
            by_worker.setdefault(call["owner"], _line()),
        ):
            _add(line, call, prices.get(call["tier"]))
    rejected: Counter[str] = Counter()
    rejected_by_worker: dict[str, Counter[str]] = {}
    accepted: Counter[str] = Counter()
    served = {id(attempt) for result in results if (attempt := served_attempt(result)) is not None}
    for result, attempt in attempts:
        if id(attempt) in served:
            accepted[attempt["tier"]] += 1
        else:
            reason = attempt["verdict"].get("reason") or _unserved(result)
            rejected[reason] += 1
            rejected_by_worker.setdefault(result["worker"], Counter())[reason] += 1
    record = LedgerRecord(
        total=total,
        by_tier=by_tier,
        by_worker=by_worker,
        attempts=len(attempts),
        accepted=dict(accepted),
        rejected=dict(rejected),
        rejected_by_worker={worker: dict(counts) for worker, counts in rejected_by_worker.items()},
        wall_seconds=wall_seconds,
        planning_seconds=sum(call["seconds"] for call in own_calls if call["step"] == "plan"),
        all_large=_all_large(own_calls, results, by_tier.get(large), prices.get(large), large, prices),
    )
    if cached := sum(attempt["verdict"].get("cached", False) for _, attempt in attempts):
        record["cached"] = cached
    if people := _people(results):
        record["people"] = people
    record["planning"] = _line()
    for call in own_calls:
        if call["step"] == "plan":
            _add(record["planning"], call, prices.get(call["tier"]))
    if replans := max((call.get("replan", 0) for call in own_calls), default=0):
        record["replans"] = replans
    if tools := _tools(calls):
        record["tools"] = tools
    return record


def _unserved(result: SubtaskResult) -> str:
    """Why an answer that the checks accept is not the result: the router doubts it, or a person was asked."""
    if result.get("by") == "person":
        return (Reason.REJECTED if result["status"] == "failed" else Reason.UNKNOWN).value
    return Reason.DOUBTED.value


def _people(results: Iterable[SubtaskResult]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for result in results:
        for record in result.get("people", ()):
            counts.setdefault(record["kind"], Counter())[record["type"]] += 1
    return {kind: dict(sorted(types.items())) for kind, types in sorted(counts.items())}


def _tools(calls: Iterable[Call]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for call in calls:
        counts.update(_came_to(use) for use in call.get("tools", ()))
        if (stopped := call.get("stopped")) is not None:
            counts[f"stopped_{stopped}"] += 1
    return dict(sorted(counts.items()))


def _came_to(use: ToolUse) -> str:
    if use.get("replayed"):
        return "replayed"
    if use.get("by") == "person" and not use["failed"]:
        return "answered"
    return use.get("problem", "error") if use["failed"] else "ok"


def _line() -> Line:
    return Line(calls=0, input=0, cached=0, output=0, usd=0.0, unpriced=0, seconds=0.0)


def _add(line: Line, call: Call, price: Priced | None) -> None:
    line["calls"] += 1
    line["input"] += call["usage"]["input"]
    line["cached"] += call["usage"]["cached"]
    line["output"] += call["usage"]["output"]
    line["seconds"] += call["seconds"]
    if price is None:
        line["unpriced"] += 1
    else:
        line["usd"] += price.usd(call["usage"], call["seconds"])


def _all_large(
    own_calls: Sequence[Call],
    results: Sequence[SubtaskResult],
    measured: Line | None,
    price: Priced | None,
    large: str,
    prices: Mapping[str, Priced | None],
) -> Counterfactual:
    once = list(_once_each(results))
    pace = _pace(measured)
    # The planner and the merge may run on another tier than the large one; they stay what they were.
    moved = [(call["usage"], _seconds(call, large, pace)) for call in once]
    seconds = None
    if all(second is not None for _, second in moved):
        seconds = sum(call["seconds"] for call in own_calls) + sum(second or 0.0 for _, second in moved)
    record = Counterfactual(tier=large, usd=None, seconds=seconds, method=METHOD.format(large=large))
    if price is not None:
        by_worker: dict[str, float] = {}
        for call, (usage, second) in zip(once, moved, strict=True):
            usd = price.usd(usage, second or 0.0)
            by_worker[call["owner"]] = by_worker.get(call["owner"], 0.0) + usd
        record["by_worker"] = by_worker
        total = sum(by_worker.values())
        for call in own_calls:
            own = prices.get(call["tier"])
            total += own.usd(call["usage"], call["seconds"]) if own is not None else 0.0
        record["usd"] = total
    return record


def _once_each(results: Iterable[SubtaskResult]) -> Iterator[Call]:
    for result in results:
        for attempt in reversed(result["attempts"]):
            # Several where the worker called tools.
            answered = [call for call in attempt["calls"] if "error" not in call and call["step"] != "repair"]
            if answered:
                yield from answered
                break


def _pace(line: Line | None) -> float | None:
    # Output tokens dominate and prompt tokens mostly come from the cache, so seconds are shared out by
    # output tokens; a finer split would claim a precision that a handful of calls does not have.
    return line["seconds"] / line["output"] if line is not None and line["output"] else None


def _seconds(call: Call, large: str, pace: float | None) -> float | None:
    if call["tier"] == large:
        return call["seconds"]
    return None if pace is None else pace * call["usage"]["output"]
