import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from stellwerk.errors import ConfigurationError, FloorError, InputError
from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routers.floor import QualityFloor
from stellwerk.routers.goal import CostBudget, ErrorPrice
from stellwerk.routers.policy import CHEAPEST, Policy
from stellwerk.routers.proof import Proof
from stellwerk.routers.replay_table import ReplayTable, replay_table

from .synthetic import TIERS, USD, Model, context, episodes, logged

POOL = episodes(1_200, 5)
BELIEFS = {
    "calibrated": Model(),
    "too sure": Model(shift=2.0),
    "too timid": Model(shift=-2.0),
    "the wrong way round": Model(stretch=-1.0, shift=2.0),
    "noisy": Model(noise=2.0),
}


def table_for(goal: QualityFloor, model: Model, sample: Sequence[Episode], every: int = 1) -> ReplayTable:
    """With every so-manieth price only, where that has to do."""
    policies = goal.policies(model, sample)
    kept = {math.inf, *sorted({policy.price for policy in policies})[::every]}
    return replay_table([policy for policy in policies if policy.price in kept], model, sample)


def fresh(table: ReplayTable, count: int, draw: np.random.Generator) -> ReplayTable:
    """Drawn with replacement, so that the table's own rates are the truth."""
    drawn = table.take(draw.integers(0, len(table), count))
    return replace(drawn, group=np.arange(count), grouped=False)


def broken(
    goal: QualityFloor, table: ReplayTable, seed: int, *, count: int = 250, times: int = 1_000
) -> tuple[float, float]:
    """How often a policy below the floor was said to be proven, and how often one was proven at all."""
    draw, wrong, proven = np.random.default_rng(seed), 0, 0
    for _ in range(times):
        try:
            found = goal.pick(fresh(table, count, draw))
        except FloorError:
            continue
        if found.evidence.met:
            proven += 1
            least = goal.floor * (table.right[0].mean() if goal.relative else 1.0)
            reached = table.right[found.row].mean() if goal.relative else table.rightness_of(found.row)
            wrong += bool(reached < least)
    return wrong / times, proven / times


def whatever_is_believed(belief: str, times: int) -> None:
    goal = QualityFloor(floor=0.88, confidence=0.9)
    wrong, proven = broken(goal, table_for(goal, BELIEFS[belief], POOL), 6, times=times)
    assert wrong <= 0.1
    if belief != "the wrong way round":
        assert proven > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("belief", ["calibrated", "the wrong way round"])
def test_the_floor_is_broken_no_more_often_than_promised(belief: str) -> None:
    whatever_is_believed(belief, 300)


@pytest.mark.long
@pytest.mark.parametrize("belief", BELIEFS)
def test_the_floor_is_broken_no_more_often_than_promised_whatever_is_believed(belief: str) -> None:
    whatever_is_believed(belief, 1_000)


@pytest.mark.slow
def test_without_a_proof_the_floor_is_broken_far_more_often() -> None:
    """The cheapest policy that reaches the floor on the episodes, which is the obvious thing to pick."""
    table, draw, wrong = table_for(QualityFloor(), Model(), POOL), np.random.default_rng(6), 0
    for _ in range(300):
        seen = fresh(table, 250, draw)
        rows = [row for row in range(len(table.policies)) if seen.rightness_of(row) >= 0.88]
        wrong += bool(rows) and table.rightness_of(min(rows, key=seen.usd_of)) < 0.88
    assert wrong > 90


@pytest.mark.long
def test_a_relative_floor_is_broken_no_more_often_than_promised() -> None:
    goal = QualityFloor(floor=0.95, confidence=0.9, relative=True)
    wrong, proven = broken(goal, table_for(goal, Model(noise=1.0), POOL), 7, count=400, times=300)
    assert wrong <= 0.1
    assert proven > 0.5


@pytest.mark.long
def test_a_floor_with_abstaining_is_broken_no_more_often_than_promised() -> None:
    goal = QualityFloor(floor=0.96, confidence=0.9, coverage=0.4)
    wrong, proven = broken(goal, table_for(goal, Model(noise=0.5), POOL, every=3), 8, count=600, times=300)
    assert wrong <= 0.1
    assert proven > 0.5


@pytest.mark.slow
def test_a_floor_over_groups_is_broken_no_more_often_than_promised() -> None:
    """Episodes of a group are right or wrong together: taken for single ones they would prove too much."""
    groups = 400
    pool = episodes(groups * 4, 9, group=4)
    table = table_for(QualityFloor(), Model(), pool, every=8)
    # Just above what the largest tier reaches, so that whatever is proven of it is wrong.
    goal = QualityFloor(floor=table.rightness_of(0) + 0.001, confidence=0.9)
    draw, wrong, alone = np.random.default_rng(10), 0, 0
    for _ in range(300):
        drawn = draw.integers(0, groups, 80)
        places = (drawn[:, None] * 4 + np.arange(4)).ravel()
        cut = table.take(places)
        grouped = replace(cut, group=np.repeat(np.arange(80), 4), grouped=True)
        single = replace(cut, group=np.arange(320), grouped=False)
        for sample in (grouped, single):
            try:
                found = goal.pick(sample)
            except FloorError:
                continue
            bad = found.evidence.met
            wrong, alone = (wrong + bad, alone) if sample is grouped else (wrong, alone + bad)
    assert wrong <= 30
    assert alone > 45


@pytest.mark.long
def test_a_floor_on_logged_episodes_holds_what_it_promises() -> None:
    draw = np.random.default_rng(11)
    goal = QualityFloor(floor=0.7, confidence=0.9)
    truth = table_for(goal, Model(), POOL)
    wrong = proven = 0
    for number in range(10):
        sample = [logged(episode, draw, 0.5) for episode in episodes(800, 100 + number)]
        found = goal.pick(replay_table(truth.policies, Model(), sample))
        proven += found.evidence.met
        wrong += found.evidence.met and truth.rightness_of(found.row) < goal.floor
    assert wrong <= 3
    assert proven >= 5


def test_a_lower_floor_costs_less_and_the_proof_has_its_price() -> None:
    high, low = (QualityFloor(floor=floor).solve(Model(), POOL) for floor in (0.92, 0.85))
    assert high.evidence.met
    assert low.evidence.met
    assert low.evidence.usd < high.evidence.usd < high.evidence.usd_largest
    assert high.evidence.bound >= 0.92
    assert high.evidence.price_of_proof >= 0
    assert "0.92" in high.evidence.why


def test_what_is_proven_holds_on_new_episodes() -> None:
    found = QualityFloor(floor=0.9).solve(Model(), POOL)
    new = replay_table((found.policy,), Model(), episodes(3_000, 12))
    assert new.rightness_of(0) >= 0.9
    assert new.usd_of(0) == pytest.approx(found.evidence.usd, rel=0.15)


def right(count: int, of: int | None = None) -> list[Episode]:
    """Episodes in which all tiers were right in so many, the first ones."""
    return [
        Episode(
            id=str(number),
            context=context(3.0),
            complete=True,
            outcomes=tuple(
                Outcome(
                    tier=tier, accepted=True, usd=usd, label=Label(right=float(number < count), source="gold")
                )
                for tier, usd in zip(TIERS, USD, strict=True)
            ),
        )
        for number in range(of or count)
    ]


def test_59_right_answers_prove_a_floor_of_95_percent_and_58_say_what_is_missing() -> None:
    assert QualityFloor().solve(Model(), right(59)).evidence.met
    found = QualityFloor().solve(Model(), right(58))
    assert not found.evidence.met
    assert found.policy.is_largest
    assert found.evidence.missing == 1
    assert "0.95 takes about 1 more labels" in found.evidence.why
    few = QualityFloor().solve(Model(), right(10)).evidence
    assert (few.n, few.missing) == (10, 49)
    assert few.bound == pytest.approx(0.741, abs=1e-3)


def test_a_floor_above_what_the_largest_tier_reaches_is_refused_with_the_figure() -> None:
    with pytest.raises(FloorError, match=r"0\.99 is above .* the largest tier was right in 0\.900 of 200"):
        QualityFloor(floor=0.99).solve(Model(), right(180, of=200))
    # With few labels it might still be reached, but no number of labels at this rate would prove it.
    found = QualityFloor(floor=0.95).solve(Model(), right(18, of=20)).evidence
    assert not found.met
    assert found.missing is None
    assert "no number of labels proves 0.95" in found.why


@pytest.mark.long
def test_abstaining_reaches_a_floor_that_the_largest_tier_does_not() -> None:
    sample = episodes(1_500, 13)
    with pytest.raises(FloorError):
        QualityFloor(floor=0.98).solve(Model(), sample)
    found = QualityFloor(floor=0.98, coverage=0.2).solve(Model(), sample)
    assert found.evidence.met
    assert 0.2 <= found.evidence.coverage < 0.9
    assert found.policy.serve > 0


def test_a_mix_that_beats_the_largest_tier_is_found_where_asked_for() -> None:
    """Two small tiers that are right and believed to be, where the large one errs in one of ten."""
    turned = Model(stretch=-1.0, shift=8.0)
    sample = [
        replace(
            episode,
            outcomes=(
                *episode.outcomes[:2],
                replace(episode.outcomes[2], label=Label(right=float(n % 10 > 0), source="gold")),
            ),
        )
        for n, episode in enumerate(right(200))
    ]
    with pytest.raises(FloorError):
        QualityFloor(floor=0.97).solve(turned, sample)
    assert QualityFloor(floor=0.97, beyond=True).solve(turned, sample).evidence.met


def test_without_a_label_everything_goes_to_the_largest_tier() -> None:
    sample = [
        replace(e, outcomes=tuple(replace(o, label=None) for o in e.outcomes)) for e in episodes(20, 14)
    ]
    found = QualityFloor().solve(Model(), sample)
    assert found.policy.is_largest
    assert not found.evidence.met
    assert found.evidence.missing == 59
    assert found.evidence.record()["rightness"] is None


def test_logs_that_never_began_at_the_largest_tier_prove_nothing_of_it() -> None:
    draw = np.random.default_rng(0)
    found = QualityFloor(floor=0.5).solve(Model(), [logged(e, draw, 0.0) for e in episodes(300, 15)])
    assert found.policy.is_largest
    assert not found.evidence.met


@pytest.mark.long
def test_so_many_more_logged_labels_as_are_said_to_be_missing_prove_the_floor() -> None:
    draw = np.random.default_rng(1)
    log = [logged(e, draw, 0.3) for e in episodes(200, 16)]
    floor = QualityFloor(floor=0.85)
    found = floor.solve(Model(), log).evidence
    assert not found.met
    assert found.missing is not None
    times = 1 + math.ceil(found.missing / len(log))
    more = [replace(e, id=f"{e.id} {n}") for n in range(times) for e in log]
    assert floor.solve(Model(), more).evidence.met
    half = [replace(e, id=f"{e.id} {n}") for n in range(max(1, times // 2 - 1)) for e in log]
    assert not floor.solve(Model(), half).evidence.met


def test_options_of_the_policy_stay() -> None:
    found = QualityFloor(floor=0.85).solve(Model(), POOL, Policy(price=0.0, cascade_only=True, notice=0.2))
    assert found.policy.cascade_only
    assert found.policy.notice == 0.2


def test_a_price_of_errors_is_the_policy_at_that_price() -> None:
    cheap, dear = (ErrorPrice(usd=usd).solve(Model(), POOL) for usd in (1e-4, 1e-1))
    assert cheap.policy == CHEAPEST.at(1e-4)
    assert cheap.evidence.usd < dear.evidence.usd
    assert cheap.evidence.rightness < dear.evidence.rightness
    assert cheap.evidence.bound < cheap.evidence.rightness


def test_a_budget_buys_the_most_right_answers_within_it() -> None:
    found = CostBudget(usd=3e-4).solve(Model(), POOL)
    assert found.evidence.met
    assert found.evidence.usd <= 3e-4
    cheapest = replay_table((CHEAPEST,), Model(), POOL)
    assert found.evidence.rightness > cheapest.rightness_of(0)
    never = CostBudget(usd=1e-6).solve(Model(), POOL)
    assert not never.evidence.met
    assert "no policy keeps within 1e-06 USD" in never.evidence.why


def test_a_budget_on_a_log_buys_nothing_that_the_log_does_not_tell_the_price_of() -> None:
    draw = np.random.default_rng(2)
    log = [logged(e, draw, 0.02) for e in episodes(300, 17)]
    budget = 1.05 * sum(sum(o.usd for o in e.outcomes) for e in log) / len(log)
    found = CostBudget(usd=budget).solve(Model(noise=2.0), log)
    truth = replay_table((found.policy,), Model(noise=2.0), POOL)
    first = replay_table((Policy(price=0.0, cascade_only=True),), Model(), POOL)
    assert truth.usd_of(0) <= 1.1 * max(budget, first.usd_of(0))
    nothing = CostBudget(usd=1e-7).solve(Model(), log)
    assert nothing.policy == replace(CHEAPEST, start=0)
    assert "shows of no policy that it keeps within 1e-07 USD" in nothing.evidence.why


def test_where_beliefs_are_worth_nothing_a_budget_buys_one_tier_for_all() -> None:
    lost = Model(stretch=-1.0, shift=3.0, noise=3.0)
    middle = replay_table((replace(CHEAPEST, start=1),), Model(), POOL)
    found = CostBudget(usd=1.001 * middle.usd_of(0)).solve(lost, POOL)
    assert found.evidence.rightness * found.evidence.coverage >= middle.rightness_of(0) * middle.coverage_of(
        0
    )


def test_wrong_goals_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"floor of a quality floor is 1\.0"):
        QualityFloor(floor=1.0)
    with pytest.raises(ConfigurationError, match="coverage"):
        QualityFloor(coverage=0.0)
    with pytest.raises(ConfigurationError, match="budget"):
        CostBudget(usd=0)
    with pytest.raises(InputError, match="no episodes"):
        QualityFloor().solve(Model(), [])


def test_a_share_of_the_largest_tier_is_not_proven_by_who_has_more_labels() -> None:
    """Climbing is right .75 times as often as the largest tier, of which few answers have a label."""
    draw, rates = np.random.default_rng(40), {"large": 0.1}
    policies = (CHEAPEST.largest(), replace(CHEAPEST, cascade_only=True))
    told = []
    for number in range(8):
        log = []
        for episode in episodes(500, 4_000 + number):
            seen = logged(episode, draw, 0.6)
            kept = [
                outcome if draw.random() < rates.get(outcome.tier, 0.6) else replace(outcome, label=None)
                for outcome in seen.outcomes
            ]
            log.append(replace(seen, outcomes=tuple(kept)))
        proof = Proof(replay_table(policies, Model(), log), 1, 0)
        assert proof.p_value(0.95) > 0.05
        told.append(proof.rate)
    assert np.mean(told) == pytest.approx(0.75, abs=0.15)
