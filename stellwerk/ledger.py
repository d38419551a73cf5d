"""The ledger: what a run cost, and what it would have cost on the large tier alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NotRequired, Protocol

from typing_extensions import TypedDict

from stellwerk.outcome import Call, SubtaskResult, Usage

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
    """Everything on the large tier: money and model-seconds (None where they cannot be told), and how."""

    tier: str
    usd: float | None
    seconds: float | None
    method: str


class LedgerRecord(TypedDict):
    """What a run cost. Money in USD, times in seconds.

    `tools` counts calls of tools: `ok`, or by what was wrong (`ToolProblem`), and as `stopped_steps` and
    `stopped_repeated` how often tools were taken from a model. It is there where a tool was called.
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
    all_large: Counterfactual
    tools: NotRequired[dict[str, int]]


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
    attempts = [(result["worker"], attempt) for result in results for attempt in result["attempts"]]
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
    for worker, attempt in attempts:
        if attempt["verdict"]["accepted"]:
            accepted[attempt["tier"]] += 1
        else:
            reason = attempt["verdict"].get("reason", "rejected")
            rejected[reason] += 1
            rejected_by_worker.setdefault(worker, Counter())[reason] += 1
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
    if tools := _tools(calls):
        record["tools"] = tools
    return record


def _tools(calls: Iterable[Call]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for call in calls:
        counts.update(use.get("problem", "error") if use["failed"] else "ok" for use in call.get("tools", ()))
        if (stopped := call.get("stopped")) is not None:
            counts[f"stopped_{stopped}"] += 1
    return dict(sorted(counts.items()))


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
    usd = None
    if price is not None:
        usd = sum(price.usd(usage, second or 0.0) for usage, second in moved)
        for call in own_calls:
            own = prices.get(call["tier"])
            usd += own.usd(call["usage"], call["seconds"]) if own is not None else 0.0
    return Counterfactual(tier=large, usd=usd, seconds=seconds, method=METHOD.format(large=large))


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
