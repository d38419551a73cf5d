from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.ledger import Line, Priced, draw_up
from stellwerk.outcome import Attempt, Call, SubtaskResult, Usage, Verdict
from stellwerk.tiers.tier import Price

PRICES: dict[str, Priced | None] = {
    "small": Price(input=1, cached=0.1, output=2),
    "large": Price(input=10, cached=1, output=20),
    "own": None,
}


def call(
    tier: str,
    read: int = 1000,
    written: int = 100,
    seconds: float = 1.0,
    *,
    cached: int = 0,
    owner: str = "extract",
    step: Literal["generate", "repair"] = "generate",
) -> Call:
    usage = Usage(input=read, cached=cached, output=written)
    return Call(step=step, owner=owner, tier=tier, usage=usage, seconds=seconds)


def planning(tier: str, read: int = 500, written: int = 50, seconds: float = 2.0) -> Call:
    usage = Usage(input=read, cached=0, output=written)
    return Call(step="plan", owner="supervisor", tier=tier, usage=usage, seconds=seconds)


def failed(tier: str) -> Call:
    return call(tier, 0, 0, 0.0) | {"error": "connection refused"}


def attempt(*calls: Call, reason: str | None = None) -> Attempt:
    verdict = Verdict(accepted=True) if reason is None else Verdict(accepted=False, reason=reason)
    tier = calls[-1]["tier"]
    decision = {"tier": tier, "router": "r", "version": "1", "propensity": 1.0, "why": "", "estimates": {}}
    return Attempt(tier=tier, decision=decision, verdict=verdict, calls=list(calls))  # type: ignore[typeddict-item]


def result(*attempts: Attempt, worker: str = "extract") -> SubtaskResult:
    done = bool(attempts) and attempts[-1]["verdict"]["accepted"]
    return SubtaskResult(
        id="a", worker=worker, status="accepted" if done else "failed", value=None, attempts=list(attempts)
    )


def test_calls_are_summed_by_tier_and_by_worker() -> None:
    ledger = draw_up(
        [planning("large")],
        [
            result(attempt(call("small")), worker="extract"),
            result(
                attempt(call("small", owner="write"), reason="check"),
                attempt(call("large", cached=400, owner="write")),
                worker="write",
            ),
        ],
        PRICES,
        large="large",
        wall_seconds=7.5,
    )
    assert ledger["by_tier"]["small"] == {
        "calls": 2,
        "input": 2000,
        "cached": 0,
        "output": 200,
        "usd": pytest.approx((2000 * 1 + 200 * 2) / 1e6),
        "unpriced": 0,
        "seconds": 2.0,
    }
    assert ledger["by_tier"]["large"]["usd"] == pytest.approx(
        (500 * 10 + 50 * 20 + 600 * 10 + 400 + 2000) / 1e6
    )
    assert {name: line["calls"] for name, line in ledger["by_worker"].items()} == {
        "supervisor": 1,
        "extract": 1,
        "write": 2,
    }
    assert ledger["total"]["calls"] == 4
    assert ledger["attempts"] == 3
    assert ledger["accepted"] == {"small": 1, "large": 1}
    assert ledger["rejected"] == {"check": 1}
    assert ledger["rejected_by_worker"] == {"write": {"check": 1}}
    assert (ledger["wall_seconds"], ledger["planning_seconds"]) == (7.5, 2.0)
    line = ledger["planning"]
    assert (line["calls"], line["input"], line["output"], line["seconds"]) == (1, 500, 50, 2.0)
    assert line["usd"] == pytest.approx((500 * 10 + 50 * 20) / 1e6)
    assert "replans" not in ledger


def test_later_plans_are_counted() -> None:
    calls = [planning("large"), planning("large") | {"replan": 1}, planning("large") | {"replan": 2}]
    ledger = draw_up(calls, [], PRICES, large="large", wall_seconds=1.0)
    assert (ledger["planning"]["calls"], ledger["replans"]) == (3, 2)


def test_a_tier_without_a_price_is_counted_and_not_taken_for_free() -> None:
    ledger = draw_up([], [result(attempt(call("own"), call("small")))], PRICES, large="own", wall_seconds=1.0)
    assert (ledger["total"]["calls"], ledger["total"]["unpriced"]) == (2, 1)
    assert ledger["total"]["usd"] == pytest.approx((1000 + 200) / 1e6)
    assert ledger["all_large"]["usd"] is None


def test_a_tier_that_nobody_lists_counts_as_unpriced() -> None:
    ledger = draw_up([planning("gone")], [], PRICES, large="large", wall_seconds=1.0)
    assert ledger["by_tier"]["gone"]["unpriced"] == 1


def test_a_price_per_second_is_charged_for_the_time_that_the_model_worked() -> None:
    prices = {"own": Price(second=0.5)}
    ledger = draw_up([], [result(attempt(call("own", seconds=3.0)))], prices, large="own", wall_seconds=9.0)
    assert ledger["total"]["usd"] == ledger["all_large"]["usd"] == 1.5


def test_everything_on_the_large_tier_is_its_own_counterfactual() -> None:
    ledger = draw_up(
        [planning("large")],
        [result(attempt(call("large"))), result(attempt(call("large", 300, 30)))],
        PRICES,
        large="large",
        wall_seconds=1.0,
    )
    assert ledger["all_large"]["usd"] == pytest.approx(ledger["total"]["usd"])
    assert ledger["all_large"]["seconds"] == pytest.approx(ledger["total"]["seconds"])


def test_the_counterfactual_prices_each_subtask_once_on_the_large_tier() -> None:
    repaired = attempt(call("small", 100, 10), call("small", 200, 20, step="repair"))
    moved_up = (attempt(call("small", 100, 10), reason="check"), attempt(call("large", 120, 12, 3.0)))
    ledger = draw_up(
        [planning("small")], [result(repaired), result(*moved_up)], PRICES, large="large", wall_seconds=1.0
    )
    planned = (500 * 1 + 50 * 2) / 1e6
    assert ledger["all_large"]["usd"] == pytest.approx(planned + (220 * 10 + 22 * 20) / 1e6)
    # The large tier took 3 s for 12 tokens, so 10 more would have taken 2.5 s; planning took 2 s.
    assert ledger["all_large"]["seconds"] == pytest.approx(2.0 + 2.5 + 3.0)
    assert ledger["all_large"]["tier"] == "large"
    assert "each subtask once on large" in ledger["all_large"]["method"]


def test_the_counterfactual_tells_workers_apart() -> None:
    answered = [
        result(attempt(call("small", 100, 10), call("small", 200, 20, step="repair"))),
        result(attempt(call("small", 300, 30, owner="write"))),
    ]
    ledger = draw_up([planning("small")], answered, PRICES, large="large", wall_seconds=1.0)
    by_worker = ledger["all_large"]["by_worker"]
    assert by_worker == pytest.approx(
        {"extract": (100 * 10 + 10 * 20) / 1e6, "write": (300 * 10 + 30 * 20) / 1e6}
    )
    planned = ledger["planning"]["usd"]
    assert sum(by_worker.values()) + planned == pytest.approx(ledger["all_large"]["usd"])
    unpriced = draw_up([], answered, PRICES, large="own", wall_seconds=1.0)
    assert "by_worker" not in unpriced["all_large"]


def test_the_counterfactual_counts_every_call_around_tools() -> None:
    looked_up = attempt(call("small", 100, 10), call("small", 150, 20), call("small", 9, 9, step="repair"))
    ledger = draw_up([], [result(looked_up)], PRICES, large="large", wall_seconds=1.0)
    assert ledger["all_large"]["usd"] == pytest.approx((250 * 10 + 30 * 20) / 1e6)


def test_the_counterfactual_has_no_time_where_the_large_tier_never_worked() -> None:
    ledger = draw_up([], [result(attempt(call("small")))], PRICES, large="large", wall_seconds=1.0)
    assert ledger["all_large"]["seconds"] is None
    assert ledger["all_large"]["usd"] == pytest.approx((1000 * 10 + 100 * 20) / 1e6)


def test_a_call_that_failed_is_no_basis_for_the_counterfactual() -> None:
    attempts = (attempt(call("small"), reason="check"), attempt(failed("large"), reason="tier"))
    ledger = draw_up([], [result(*attempts), result()], PRICES, large="large", wall_seconds=1.0)
    assert ledger["all_large"]["usd"] == pytest.approx((1000 * 10 + 100 * 20) / 1e6)
    assert ledger["rejected"] == {"check": 1, "tier": 1}
    assert ledger["by_tier"]["large"]["calls"] == 1


def test_a_run_of_nothing_costs_nothing() -> None:
    ledger = draw_up([], [], PRICES, large="large", wall_seconds=0.0)
    assert set(ledger["total"].values()) == {0}
    assert (ledger["all_large"]["usd"], ledger["all_large"]["seconds"]) == (0, 0)


amounts = st.integers(0, 100_000)
calls = st.builds(
    lambda tier, read, share, written, seconds, owner: call(
        tier, read, written, seconds, cached=int(read * share), owner=owner
    ),
    st.sampled_from(sorted(PRICES)),
    amounts,
    st.floats(0, 1),
    amounts,
    st.floats(0, 1000),
    st.sampled_from(["extract", "write"]),
)
attempts = st.builds(
    lambda calls, reason: attempt(*calls, reason=reason),
    st.lists(calls, min_size=1, max_size=3),
    st.sampled_from([None, "check", "schema"]),
)


@given(
    st.lists(st.builds(planning, st.sampled_from(sorted(PRICES))), max_size=2),
    st.lists(st.builds(lambda many: result(*many), st.lists(attempts, max_size=3)), max_size=5),
)
def test_the_total_is_the_sum_of_its_lines(own: list[Call], results: list[SubtaskResult]) -> None:
    ledger = draw_up(own, results, PRICES, large="large", wall_seconds=1.0)
    for lines in (ledger["by_tier"], ledger["by_worker"]):
        for field in Line.__annotations__:
            parts = sum(line[field] for line in lines.values())  # type: ignore[literal-required]
            assert ledger["total"][field] == pytest.approx(parts)  # type: ignore[literal-required]
    assert ledger["attempts"] == sum(ledger["accepted"].values()) + sum(ledger["rejected"].values())
    assert sum(sum(counts.values()) for counts in ledger["rejected_by_worker"].values()) == sum(
        ledger["rejected"].values()
    )
