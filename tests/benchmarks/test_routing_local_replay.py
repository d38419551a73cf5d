"""What policies would have done and cost, from what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.routing_local.charge import Charges, pace
from benchmarks.routing_local.compare import figures, markdown, mixed
from benchmarks.routing_local.evaluate import evaluate, split
from benchmarks.routing_local.jobs import Item, Job, Part
from benchmarks.routing_local.records import EXPLORE, Record, Spent, Try
from benchmarks.routing_local.replay import Case, Result, cases_of, only, replay, smallest_first
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from stellwerk.workers import classify_worker
from tests import fakes

TIERS = ("small", "large")


def priced() -> Ladder:
    """A cached token costs a quarter of another, and one of `large` ten times as much as one of `small`."""
    tiers = [
        Tier(
            name=name,
            model=fakes.Scripted(reply=fakes.not_asked),
            price=Price(input=rate, cached=rate / 4, output=rate),
        )
        for name, rate in zip(TIERS, (1.0, 10.0), strict=True)
    ]
    return Ladder(tiers)


def attempt(
    tier: str, right: float, *, accepted: bool = True, cached: int = 0, seconds: float = 1.0, **other: Any
) -> Try:
    call = Spent(input=100, cached=cached, output=10, seconds=seconds)
    return Try(
        tier=tier,
        accepted=accepted,
        reason=None if accepted else "check",
        right=right,
        calls=(call,),
        usd=0.0,
        logprobs=None,
        answer="",
        propensity=other.get("propensity", 1.0),
        trace_id="",
    )


def job(keys: Sequence[str]) -> Job:
    def item(key: str) -> Item:
        return Item(key=key, worker="classify", instruction=f"do {key}", right=float, group=key[0])

    items = [item(key) for key in keys]
    worker = classify_worker(["a", "b"])
    return Job(name="j", track="t", part="held-out", unit="page", workers=[worker], items=items, documents=[])


def cases(rights: dict[str, tuple[Try, Try]]) -> list[Case]:
    own = job(list(rights))
    contexts = own.contexts()
    records = [
        Record(
            key=key,
            job="j",
            part="held-out",
            arm=one.tier,
            context={**contexts[key], "instruction": ""},
            tries=(one,),
        )
        for key, tries in rights.items()
        for one in tries
    ]
    return cases_of(records, [own], TIERS)


def test_the_first_of_a_page_on_a_tier_pays_for_reading_it() -> None:
    tries = [attempt("small", 1, cached=cached, seconds=2.0 - cached / 100) for cached in (0, 80, 80, 90)]
    charges = Charges(priced(), [("page", one) for one in tries])
    per_token = charges.paces["small"].prompt
    assert per_token == pytest.approx(0.01, abs=0.002)

    # Measured first and charged as second, and the other way round.
    assert charges.charge("page", tries[0], first=False)[1] == pytest.approx(2.0 - 80 * per_token)
    assert charges.charge("page", tries[1], first=True)[1] == pytest.approx(1.2 + 80 * per_token)
    first, second = (charges.charge("page", tries[1], first=first)[0] for first in (True, False))
    price = priced().smallest.price
    assert price is not None
    assert first == price.usd({"input": 100, "cached": 0, "output": 10})
    assert second == price.usd({"input": 100, "cached": 80, "output": 10})
    assert charges.charge("page", tries[3], first=False)[0] == price.usd(
        {"input": 100, "cached": 90, "output": 10}
    )


def test_paces_are_found_in_calls() -> None:
    calls = [
        Spent(input=new + 50, cached=50, output=out, seconds=0.02 * new + 0.1 * out)
        for new, out in ((10, 5), (200, 20), (40, 1))
    ]
    assert pace(calls).prompt == pytest.approx(0.02)
    assert pace(calls).answer == pytest.approx(0.1)
    assert pace([]).prompt == 0.0
    alike = [Spent(input=10, cached=0, output=5, seconds=1.0)] * 3
    assert pace(alike).prompt == pytest.approx(0.1)


def test_a_page_is_charged_once_for_each_tier_that_a_policy_uses() -> None:
    found = cases(
        {
            "a1": (attempt("small", 0, accepted=False, cached=0), attempt("large", 1, cached=80)),
            "a2": (attempt("small", 1, cached=80), attempt("large", 1, cached=80)),
            "b1": (attempt("small", 0, cached=80), attempt("large", 0, accepted=False, cached=80)),
        }
    )
    charges = Charges(priced(), [("page", one) for case in found for one in case.tries])

    large = replay(only("large"), found, charges)
    assert [one.right for one in large] == [1, 1, 0]
    assert [dict(one.served) for one in large] == [{"large": 1}, {"large": 1}, {}]
    assert large[0].usd > large[1].usd == large[2].usd

    ladder = replay(smallest_first(TIERS), found, charges)
    assert [dict(one.served) for one in ladder] == [{"large": 1}, {"small": 1}, {"small": 1}]
    assert ladder[0].usd == pytest.approx(replay(only("small"), found, charges)[0].usd + large[0].usd)
    assert ladder[0].seconds > ladder[1].seconds

    summary = figures({"large": large, "ladder": ladder}, found, "large", resamples=100)
    assert summary["all"]["ladder"]["right"][0] == pytest.approx(2 / 3)
    assert summary["all"]["large"]["usd_ratio"] == [1, 1, 1]
    assert summary["t"].keys() == {"large", "ladder"}
    assert "| ladder | 0.67 [" in markdown(summary)


def test_a_policy_that_is_worse_beyond_the_margin_or_dear_has_not_reached_the_goal() -> None:
    many = {f"{number:02}": (attempt("small", 1), attempt("large", 1)) for number in range(20)}
    found = cases(many)
    good = [Result(right=1, usd=1, seconds=1, served={"large": 1})] * 20
    cheap = [Result(right=1, usd=0.4, seconds=1, served={"small": 1})] * 20
    half = [*cheap[:10], *[Result(right=0, usd=0.1, seconds=1, served={})] * 10]
    summary = figures({"good": good, "cheap": cheap, "half": half}, found, "good", resamples=100)["all"]
    assert {name: row["reached"] for name, row in summary.items()} == {
        "good": False,
        "cheap": True,
        "half": False,
    }
    assert summary["half"]["answered"] == pytest.approx(0.5)
    assert summary["cheap"]["served"] == {"small": pytest.approx(1)}


def test_lots_are_drawn_between_the_best_policies_for_their_cost() -> None:
    def flat(right: float, usd: float) -> list[Result]:
        return [Result(right=right, usd=usd, seconds=usd, served={"x": 1})] * 4

    parts = {"small": flat(0.2, 1), "middle": flat(0.3, 4), "large": flat(0.8, 10)}
    (one, *_) = mixed(parts, 4)
    assert one.right == pytest.approx(0.4)  # better than `middle`
    assert one.usd == pytest.approx(4)
    assert mixed(parts, 0.5)[0].right == 0.2
    assert mixed(parts, 50)[0].right == 0.8


def test_cases_have_their_instruction_again_and_all_tiers_or_a_drawn_way() -> None:
    own = job(["a1", "a2", "a3"])
    contexts = own.contexts()

    def record(key: str, arm: str, *tries: Try) -> Record:
        context = contexts[key]
        return Record(
            key=key, job="j", part="held-out", arm=arm, context={**context, "instruction": ""}, tries=tries
        )

    records = [
        record("a1", "small", attempt("small", 1)),
        record("a1", "large", attempt("large", 1)),
        record("a2", "small", attempt("small", 1)),
        record("a3", EXPLORE, attempt("large", 0, propensity=0.2)),
    ]
    whole, drawn = cases_of(records, [own], TIERS)
    assert (whole.key, drawn.key) == ("a1", "a3")
    assert whole.episode.complete
    assert not drawn.episode.complete
    assert whole.episode.context == contexts["a1"]
    assert drawn.episode.outcomes[0].propensity == 0.2
    label = drawn.episode.outcomes[0].label
    assert label is not None
    assert (label.right, label.source) == (0.0, "gold")


def test_a_router_learns_which_rows_the_small_tier_gets_right() -> None:
    def block(part: Part, numbers: range) -> Job:
        kinds = ("add two numbers", "prove a theorem")
        items = [
            Item(
                key=f"{part}/{number}",
                worker="classify",
                instruction=f"{kinds[number % 3 == 0]} {number}",
                right=float,
                group=f"{part}/{number}",
            )
            for number in numbers
        ]
        worker = classify_worker(["a", "b"])
        return Job(name=part, track="t", part=part, unit="t", workers=[worker], items=items)

    def records_of(own: Job) -> list[Record]:
        contexts = own.contexts()
        return [
            Record(
                key=item.key,
                job=own.name,
                part=own.part,
                arm=tier,
                context={**contexts[item.key], "instruction": ""},
                tries=(attempt(tier, float(tier == "large" or number % 3 != 0), cached=50),),
            )
            for number, item in enumerate(own.items)
            for tier in TIERS
        ]

    blocks = [[block("held-out", range(80)), block("every", range(160))]]
    records = [record for own in blocks[0] for record in records_of(own)]
    priced_records = [replace(record, tries=(paid(record.tries[0]),)) for record in records]

    found = evaluate(priced_records, blocks, priced(), seeds=1, resamples=100)

    every = found["figures"]["all"]
    assert every["all-small"]["right"][0] == pytest.approx(2 / 3, abs=0.01)
    assert every["all-large"]["right"][0] == 1
    assert every["learned, within a budget"]["right"][0] > 0.9
    assert every["learned, within a budget"]["usd_ratio"][0] < 0.7
    assert (
        every["lots at the cost of the learned"]["right"][0]
        < every["learned, within a budget"]["right"][0] - 0.03
    )
    assert found["held_out"] == {"t, every tier": 80}
    assert found["workers_tiers"] == {"classify": "large"}
    split_cases = split(records, blocks, TIERS)
    assert not {case.key for case in split_cases[0]} & {case.key for case in split_cases[1]}


def paid(one: Try) -> Try:
    price = priced().tier(one.tier).price
    assert price is not None
    return replace(one, usd=sum(price.usd({"input": 100, "cached": 50, "output": 10}) for _ in one.calls))
