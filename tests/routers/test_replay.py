import math
from dataclasses import replace

import numpy as np
import pytest

from stellwerk.errors import InputError
from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routers.family import family
from stellwerk.routers.policy import CHEAPEST, Policy
from stellwerk.routers.replay import Player, Replay
from stellwerk.routers.replay_table import replay_table

from .synthetic import TIERS, USD, Model, context, episodes, logged

SMALLEST_FIRST = Policy(price=0.0, cascade_only=True)


def outcome(
    tier: str, *, accepted: bool = True, right: float | None = 1.0, propensity: float = 1.0
) -> Outcome:
    label = None if right is None else Label(right=right, source="gold")
    usd = USD[TIERS.index(tier)]
    return Outcome(tier=tier, accepted=accepted, usd=usd, seconds=1.0, label=label, propensity=propensity)


def complete(*outcomes: Outcome) -> Episode:
    return Episode(id="e", context=context(0.0), outcomes=outcomes, complete=True)


def played(policy: Policy, episode: Episode) -> Replay:
    return Player(Model()).play((policy,), episode)[0]


def test_a_complete_episode_shows_what_any_policy_would_get() -> None:
    episode = complete(outcome("small", accepted=False), outcome("middle", right=0.5), outcome("large"))
    first = played(SMALLEST_FIRST, episode)
    assert (first.tiers, first.served, first.right) == ((0, 1), 1, 0.5)
    assert first.usd == pytest.approx(USD[0] + USD[1])
    assert first.seconds == 2.0
    top = played(CHEAPEST.largest(), episode)
    assert (top.tiers, top.served, top.right, top.usd) == ((2,), 0, 1.0, USD[2])


def test_nothing_is_served_where_all_was_rejected() -> None:
    episode = complete(*(outcome(tier, accepted=False, right=1.0) for tier in TIERS))
    replay = played(SMALLEST_FIRST, episode)
    assert (replay.tiers, replay.served, replay.right, replay.known) == ((0, 1, 2), None, 0.0, True)


def test_a_logged_episode_counts_one_over_the_propensity_of_what_both_do() -> None:
    log = Episode(
        id="e",
        context=context(0.0),
        outcomes=(outcome("small", accepted=False, propensity=0.8), outcome("middle", propensity=0.5)),
    )
    replay = played(SMALLEST_FIRST, log)
    assert (replay.right, replay.lost) == (1.0, 0.0)
    assert replay.weight == pytest.approx(1 / (0.8 * 0.5))


def test_an_attempt_that_the_log_made_after_the_answer_changes_nothing() -> None:
    log = Episode(id="e", context=context(0.0), outcomes=(outcome("small"), outcome("large", propensity=0.1)))
    replay = played(SMALLEST_FIRST, log)
    assert (replay.tiers, replay.weight, replay.usd) == ((0,), 1.0, USD[0])


def test_where_the_log_could_not_go_the_episode_is_lost_and_else_only_unlucky() -> None:
    sure = Episode(id="e", context=context(0.0), outcomes=(outcome("small"),))
    drawn = Episode(id="e", context=context(0.0), outcomes=(outcome("small", propensity=0.9),))
    top = CHEAPEST.largest()
    assert (played(top, sure).weight, played(top, sure).lost) == (0.0, 1.0)
    assert (played(top, drawn).weight, played(top, drawn).lost) == (0.0, 0.0)
    ended = Episode(id="e", context=context(0.0), outcomes=(outcome("small", accepted=False),))
    assert played(SMALLEST_FIRST, ended).lost == 1.0


def test_an_answer_without_a_label_tells_nothing() -> None:
    replay = played(SMALLEST_FIRST, complete(*(outcome(tier, right=None) for tier in TIERS)))
    assert (replay.served, replay.right, replay.known) == (0, None, False)


def test_playing_all_prices_at_once_is_playing_each() -> None:
    model, sample = Model(noise=0.5), episodes(40, 1)
    policies = family(model, sample, Policy(price=0.0, agreement=True))
    player = Player(model)
    for episode in sample:
        each = [player.play((policy,), episode)[0] for policy in policies]
        for one, other in zip(player.play(policies, episode), each, strict=True):
            assert (one.tiers, one.served, one.usd) == (other.tiers, other.served, other.usd)


def test_the_family_goes_from_the_largest_tier_to_the_smallest() -> None:
    model, sample = Model(), episodes(200, 2)
    policies = family(model, sample, CHEAPEST)
    assert policies[0].is_largest
    assert sorted((policy.price for policy in policies), reverse=True) == [
        policy.price for policy in policies
    ]
    table = replay_table(policies, model, sample)
    assert table.usd_of(0) == pytest.approx(USD[2])
    assert table.usd_of(len(policies) - 1) < 0.35 * USD[2]
    assert table.rightness_of(1) > table.rightness_of(len(policies) - 1) + 0.05
    # The grid is the same whatever the episodes are; only its ends could differ.
    assert set(family(model, episodes(50, 3), CHEAPEST)) <= set(policies)


def test_labels_of_checks_prove_nothing_and_weights_count_against_the_answer() -> None:
    judged = Outcome(tier="large", accepted=True, label=Label(right=1.0, source="judge", weight=0.9))
    checked = Outcome(tier="large", accepted=True, label=Label(right=1.0, source="check"))
    rest = (outcome("small"), outcome("middle"))
    sample = [complete(*rest, judged), complete(*rest, checked)]
    table = replay_table((CHEAPEST.largest(),), Model(), sample)
    assert table.known.tolist() == [[True, False]]
    assert table.rightness_of(0) == pytest.approx(0.9)


def test_rows_and_means_of_logged_episodes_are_weighted() -> None:
    draw = np.random.default_rng(0)
    sample = [logged(episode, draw, 0.5) for episode in episodes(3_000, 4)]
    whole = replay_table((SMALLEST_FIRST,), Model(), episodes(3_000, 4))
    table = replay_table((SMALLEST_FIRST,), Model(), sample)
    assert table.weighted
    assert table.usd_of(0) == pytest.approx(whole.usd_of(0), rel=0.2)
    assert table.rightness_of(0) == pytest.approx(whole.rightness_of(0), abs=0.05)
    assert math.isnan(replay_table((CHEAPEST.largest(),), Model(), [_ended()]).usd_of(0))


def _ended() -> Episode:
    return Episode(id="e", context=context(0.0), outcomes=(outcome("small"),))


def test_a_tier_that_the_model_does_not_know_is_one_that_no_policy_tries() -> None:
    drawn = Outcome(tier="huge", accepted=True, propensity=0.1)
    stranger = Episode(id="e7", context=context(0.0), outcomes=(drawn,))
    assert (played(CHEAPEST, stranger).weight, played(CHEAPEST, stranger).lost) == (0.0, 0.0)
    always = replace(stranger, outcomes=(replace(drawn, propensity=1.0),))
    assert played(CHEAPEST, always).lost == 1.0
    after = replace(stranger, outcomes=(outcome("small"), replace(drawn, propensity=0.1)))
    assert played(CHEAPEST, after).weight == 1.0


def test_without_episodes_there_is_nothing_to_replay() -> None:
    with pytest.raises(InputError, match="no episodes"):
        replay_table((CHEAPEST,), Model(), [])
