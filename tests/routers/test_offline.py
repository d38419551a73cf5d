from dataclasses import dataclass, replace

import numpy as np
import pytest

from stellwerk.errors import InputError
from stellwerk.routers.comparison import Contender, compare
from stellwerk.routers.episode import Episode, Label
from stellwerk.routers.offline import Evaluation, evaluate
from stellwerk.routers.policy import CHEAPEST, Policy
from stellwerk.routers.replay_table import replay_table

from .synthetic import Model, episodes, logged

SMALLEST_FIRST = Policy(price=0.0, cascade_only=True)
CAREFUL = Policy(price=2e-2)
TIMES = 60


@dataclass(frozen=True)
class Sample:
    """A careful policy on logs of a smallest-first router that explores, and what it really does there."""

    found: Evaluation
    right: float
    usd: float


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    draw, model, made = np.random.default_rng(1), Model(shift=0.5), []
    for number in range(TIMES):
        whole = episodes(600, 1_000 + number)
        table = replay_table((CAREFUL,), model, whole)
        found = evaluate(model, CAREFUL, [logged(episode, draw, 0.8) for episode in whole])
        made.append(Sample(found, float(table.right[0].mean()), float(table.usd[0].mean())))
    return made


@pytest.mark.long
@pytest.mark.parametrize("method", ["ips", "snips", "dr"])
def test_estimates_are_right_on_average_and_their_intervals_hold(samples: list[Sample], method: str) -> None:
    right = [sample.found.right[method] for sample in samples]
    usd = [sample.found.usd[method] for sample in samples]
    for estimates, real in ((right, [s.right for s in samples]), (usd, [s.usd for s in samples])):
        errors = np.array([estimate.mean - truth for estimate, truth in zip(estimates, real, strict=True)])
        # SNIPS is biased by one over the effective number of episodes, which is small beside its spread.
        assert abs(errors.mean()) < 3.5 * errors.std() / np.sqrt(TIMES)
        truth = float(np.mean(real))
        assert np.mean([estimate.low <= truth <= estimate.high for estimate in estimates]) >= 0.8


@pytest.mark.long
def test_what_the_model_expects_makes_estimates_steadier(samples: list[Sample]) -> None:
    spread = {method: np.std([s.found.right[method].mean for s in samples]) for method in ("ips", "dr")}
    assert spread["dr"] < 0.5 * spread["ips"]


def test_complete_episodes_give_the_plain_mean() -> None:
    sample = episodes(200, 2)
    table = replay_table((CAREFUL,), Model(), sample)
    found = evaluate(Model(), CAREFUL, sample)
    assert found.covered
    assert found.effective == pytest.approx(200)
    for method in ("ips", "snips", "dr"):
        assert found.right[method].mean == pytest.approx(table.right[0].mean())
        assert found.usd[method].mean == pytest.approx(table.usd[0].mean())


def test_a_policy_that_the_log_never_followed_is_not_judged() -> None:
    draw = np.random.default_rng(3)
    found = evaluate(Model(), CHEAPEST.largest(), [logged(e, draw, 0.0) for e in episodes(300, 4)])
    assert not found.covered
    assert found.lost == 1.0
    assert "tries a tier that was never tried there" in found.why
    few = evaluate(Model(), CHEAPEST.largest(), [logged(e, draw, 0.1) for e in episodes(300, 4)])
    assert not few.covered
    assert few.effective < 50
    assert "explore more" in few.why


def test_the_logs_own_policy_is_judged_without_any_lots() -> None:
    draw = np.random.default_rng(5)
    found = evaluate(Model(), SMALLEST_FIRST, [logged(e, draw, 0.0) for e in episodes(300, 6)])
    assert found.covered
    assert (found.matching, found.overlap) == (300, 1.0)


def test_groups_make_intervals_wider() -> None:
    sample = episodes(400, 7, group=4)
    alone = [replace(episode, group="") for episode in sample]
    wide, narrow = (evaluate(Model(), CAREFUL, rows).right["dr"] for rows in (sample, alone))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_missing_labels_are_counted() -> None:
    sample = episodes(100, 8)
    bare = [replace(e, outcomes=tuple(replace(o, label=None) for o in e.outcomes)) for e in sample[:40]]
    found = evaluate(Model(), CAREFUL, [*bare, *sample[40:]])
    assert (found.episodes, found.unlabelled) == (100, 40)
    with pytest.raises(InputError, match="labelled answers of two runs"):
        evaluate(Model(), CAREFUL, bare)


def test_a_candidate_that_is_as_good_and_cheaper_is_promoted() -> None:
    result = compare(
        Contender(Model(), Policy(price=3e-2)), Contender(Model(), CHEAPEST.largest()), episodes(1_500, 9)
    )
    assert result.promote
    assert result.usd.high < 0
    assert result.right.low >= -0.02
    assert result.why.startswith("promoted")


def test_a_candidate_that_is_worse_or_dearer_or_unseen_is_not() -> None:
    sample = episodes(800, 10)
    careful, cheap = Contender(Model(), CHEAPEST.largest()), Contender(Model(), SMALLEST_FIRST)
    worse = compare(cheap, careful, sample)
    assert not worse.promote
    assert "right -" in worse.why
    dearer = compare(careful, cheap, sample)
    assert not dearer.promote
    assert "cost" in dearer.why
    draw = np.random.default_rng(11)
    unseen = compare(careful, cheap, [logged(e, draw, 0.0) for e in sample])
    assert not unseen.promote
    assert "never tried there" in unseen.why


@pytest.mark.long
def test_a_candidate_worse_by_the_margin_is_seldom_promoted() -> None:
    """Cheaper, and worse by 6 points: with a margin of 6 it is promoted in error in one of twenty."""
    careful, cheap = Contender(Model(), CHEAPEST.largest()), Contender(Model(), SMALLEST_FIRST)
    table = replay_table((careful.policy, cheap.policy), Model(), episodes(5_000, 12))
    gap = float(table.right[0].mean() - table.right[1].mean())
    promoted = [
        compare(cheap, careful, episodes(200, 200 + number), margin=gap).promote for number in range(100)
    ]
    assert sum(promoted) <= 12


def test_harm_that_few_episodes_may_not_show_keeps_a_candidate_out() -> None:
    """The small tier is wrong in 3 of 100, the large one never; with a margin of 2 it is not good enough."""

    def sample(count: int, seed: int, wrong: float) -> list[Episode]:
        draw = np.random.default_rng(seed)
        return [
            replace(
                episode,
                outcomes=tuple(
                    replace(o, accepted=True, label=Label(right=right, source="gold"))
                    for o, right in zip(episode.outcomes, (float(draw.random() >= wrong), 1, 1), strict=True)
                ),
            )
            for episode in episodes(count, seed)
        ]

    cheap, careful = Contender(Model(), SMALLEST_FIRST), Contender(Model(), CHEAPEST.largest())
    promoted = [compare(cheap, careful, sample(60, 300 + number, 0.03)).promote for number in range(60)]
    assert sum(promoted) <= 3
    few, enough = (compare(cheap, careful, sample(count, 19, 0.0)) for count in (148, 149))
    assert "148 subtasks that go as both would may hide" in few.why
    assert (few.promote, enough.promote) == (False, True)


def test_two_policies_are_compared_on_one_log() -> None:
    draw = np.random.default_rng(13)
    sample = [logged(e, draw, 0.5) for e in episodes(1_500, 14)]
    result = compare(Contender(Model(), CAREFUL), Contender(Model(), SMALLEST_FIRST), sample)
    truth = replay_table((CAREFUL, SMALLEST_FIRST), Model(), episodes(5_000, 15)).right.mean(axis=1)
    assert result.right.low <= truth[0] - truth[1] <= result.right.high


def test_a_few_labels_stand_for_all_answers_whatever_the_model_believes() -> None:
    """One answer in five has a label; what the checks rejected needs none, and is not counted for more."""
    draw, model, errors = np.random.default_rng(16), Model(shift=2.0), []
    for number in range(20):
        whole = episodes(400, 3_000 + number)
        table = replay_table((SMALLEST_FIRST,), model, whole)
        log = [_sparse(logged(episode, draw, 0.4), draw, 0.2) for episode in whole]
        found = evaluate(model, SMALLEST_FIRST, log)
        assert found.unlabelled > 100
        for truth, told in ((table.right[0].mean(), found.right), (table.usd[0].mean(), found.usd)):
            errors.append([(told[method].mean - float(truth)) / truth for method in ("ips", "snips", "dr")])
    for kind in (errors[::2], errors[1::2]):
        error = np.array(kind)
        assert (abs(error.mean(axis=0)) < 3.5 * error.std(axis=0) / np.sqrt(20)).all()


def test_where_no_answer_has_a_label_nothing_is_promoted() -> None:
    draw = np.random.default_rng(17)
    log = [_sparse(logged(e, draw, 0.4), draw, 0.0) for e in episodes(400, 18)]
    cheap, careful = Contender(Model(), SMALLEST_FIRST), Contender(Model(), CAREFUL)
    result = compare(cheap, careful, log)
    assert not result.promote
    assert not result.candidate.covered
    assert np.isnan(result.right.mean)


def _sparse(episode: Episode, draw: np.random.Generator, share: float) -> Episode:
    """With labels of a share of the accepted answers."""
    kept = [
        outcome if not outcome.accepted or draw.random() < share else replace(outcome, label=None)
        for outcome in episode.outcomes
    ]
    return replace(episode, outcomes=tuple(kept))
