from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routers.folds import folds, split
from stellwerk.routers.targets import Trust, targets, trusts
from tests.routers.questions import context, episodes


def outcome(right: float | None = None, *, accepted: bool = True, weight: float = 1.0) -> Outcome:
    label = None if right is None else Label(right=right, source="judge", weight=weight)
    return Outcome(tier="a", accepted=accepted, reason=None if accepted else "check", label=label)


def test_labels_stand_for_accepted_answers_without_one() -> None:
    """So a tier is not thought worse for having few labels: a rejection is always known to be wrong."""
    seen = [*[outcome(1.0)] * 3, outcome(0.0), *[outcome()] * 12, *[outcome(accepted=False)] * 16]
    trust = Trust.of(seen, unlabelled=0.2, most=10)
    told = [trust.rightness(one) for one in seen]
    assert sum(weight for _, weight in told) == pytest.approx(32)
    assert sum(value * weight for value, weight in told) / 32 == pytest.approx(0.5 * 0.77, abs=0.02)
    assert told[-1] == (0.0, 1.0)


def test_without_labels_accepted_answers_count_in_full_and_with_all_none_stands_for_another() -> None:
    none = Trust.of([outcome()] * 5, unlabelled=0.2, most=10)
    assert none.rightness(outcome()) == pytest.approx((0.9, 1.0))
    every = Trust.of([outcome(1.0, weight=0.5)] * 4, unlabelled=0.2, most=10)
    assert every.rightness(outcome(1.0, weight=0.5)) == (1.0, 1.0)
    few = Trust.of([outcome(1.0), *[outcome()] * 99], unlabelled=0.2, most=10)
    assert few.rightness(outcome(1.0))[1] == 10
    assert few.rightness(outcome())[1] == pytest.approx(90 / 99)


def test_an_unavailable_tier_is_no_evidence() -> None:
    gone = replace(outcome(accepted=False), reason="unavailable")
    assert Trust.of([gone], unlabelled=0.2, most=10).rightness(gone)[1] == 0


def test_rare_choices_weigh_more_up_to_a_bound_and_those_forced_by_a_rejection_less() -> None:
    def logged(name: str, *tried: tuple[str, float]) -> Episode:
        made = tuple(replace(outcome(1.0), tier=tier, propensity=chance) for tier, chance in tried)
        return Episode(id=name, context=context("go"), outcomes=made)

    given = [
        logged("1", ("a", 0.5)),
        logged("2", ("a", 0.25)),
        logged("3", ("a", 0.01)),
        logged("4", ("b", 1.0), ("a", 1.0)),
    ]
    weights = targets(
        given, ["a", "b"], trusts(given, ["a", "b"], unlabelled=0.2, most=10), clip=10
    ).right_weight[:, 0]
    assert weights / weights[0] == pytest.approx([1, 2, 5, 0.15])
    assert weights.sum() == pytest.approx(4)


def test_folds_are_even_and_keep_groups_together() -> None:
    given = [replace(episode, group=f"g{int(episode.id) % 40}") for episode in episodes(400)]
    parts = folds(given, 5, seed=1)
    assert np.bincount(parts).tolist() == [80] * 5
    by_group: dict[str, set[int]] = {}
    for episode, part in zip(given, parts.tolist(), strict=True):
        by_group.setdefault(episode.group, set()).add(part)
    assert {len(found) for found in by_group.values()} == {1}


def test_an_episode_stays_on_its_side_when_others_are_added() -> None:
    few, many = episodes(100), episodes(400)
    held = {episode.id for episode in split(few, 0.3, seed=1)[1]}
    later = {episode.id for episode in split(many, 0.3, seed=1)[1]}
    assert held == {name for name in later if int(name) < 100}
    assert len(later) / 400 == pytest.approx(0.3, abs=0.07)
