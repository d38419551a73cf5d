from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from stellwerk.errors import ConfigurationError, InputError
from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routers.model import RouterModel
from stellwerk.routers.model_file import model_bytes
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.scoring import auc
from stellwerk.routers.training import train
from tests.routers.questions import CHANCES, TIERS, context, episodes, instruction

EASY = context("What is the capital of the animal number 3?")
HARD = context("What is the integral of the manifold number 3?")
SMALL = TrainingOptions(terms=500, common=8, landmarks=100)


@cache
def model() -> RouterModel:
    return train(episodes(600), TIERS, options=SMALL)


def test_each_tier_is_believed_as_often_as_it_is_right() -> None:
    for kind, subtask in enumerate((EASY, HARD)):
        belief = model().belief(model().prior(subtask), ())
        for tier, chance in zip(TIERS, belief.right, strict=True):
            assert chance == pytest.approx(CHANCES[tier][kind], abs=0.15)


def test_costs_are_those_of_the_tier_and_of_the_subtask() -> None:
    belief = model().belief(model().prior(EASY), ())
    assert belief.usd == pytest.approx([0.001, 0.01, 0.1], rel=0.1)
    assert belief.tokens == pytest.approx([20, 20, 20], rel=0.2)
    assert model().prior(HARD).tokens == pytest.approx([200, 200, 200], rel=0.2)
    assert belief.seconds == pytest.approx([1, 1, 1], rel=0.15)


def test_two_tiers_that_agree_are_believed_and_two_that_differ_are_doubted() -> None:
    prior = model().prior(HARD)
    small = Outcome(tier="small", accepted=True, answer="x", output=200)
    same = Outcome(tier="medium", accepted=True, answer="x", output=200)
    other = replace(same, answer="y")
    alone = model().belief(prior, [small]).answers[0]
    agree, differ = model().belief(prior, [small, same]), model().belief(prior, [small, other])
    assert agree.answers[0] > alone > differ.answers[0]
    # By the chances in `questions`, with one in four that two mistakes are the same.
    assert agree.answers[0] == pytest.approx(0.41, abs=0.15)
    assert differ.answers[0] == pytest.approx(0.09, abs=0.08)
    assert agree.answers[0] == agree.answers[1]
    assert differ.answers[1] == pytest.approx(0.52, abs=0.15)


def test_log_probabilities_tell_right_answers_from_wrong_ones() -> None:
    told = train(episodes(300, logprobs=True), TIERS, options=SMALL)
    prior = told.prior(HARD)
    sure, unsure = (
        told.belief(prior, [Outcome(tier="small", accepted=True, output=200, logprobs={"mean": mean})])
        for mean in (-0.1, -0.6)
    )
    assert sure.answers[0] > 0.7 > 0.1 > unsure.answers[0]


def test_a_rejected_answer_is_worth_nothing_and_lowers_what_is_hoped_of_the_next_tier() -> None:
    checked = train(episodes(600, checks=True), TIERS, options=SMALL)
    # One that is neither easy nor hard by its words.
    prior = checked.prior(context("What is the integral of the animal number 3?"))
    before = checked.belief(prior, ())
    after = checked.belief(prior, [Outcome(tier="small", accepted=False, reason="check")])
    assert (after.right[0], after.accept[0], after.answers) == (0.0, 0.0, [0.0])
    assert after.right[1] < before.right[1]


def test_an_unavailable_tier_says_nothing_of_the_subtask() -> None:
    prior = model().prior(HARD)
    before = model().belief(prior, ())
    after = model().belief(prior, [Outcome(tier="small", accepted=False, reason="unavailable")])
    assert after.right[0] == 0
    assert after.right[2] == pytest.approx(before.right[2], abs=0.05)


def test_training_is_the_same_whatever_the_order_and_another_with_another_seed() -> None:
    given = episodes(120)
    first = train(given, TIERS, options=SMALL, seed=1)
    again = train(random.Random(0).sample(given, len(given)), TIERS, options=SMALL, seed=1)
    other = train(given, TIERS, options=SMALL, seed=2)
    assert model_bytes(first) == model_bytes(again)
    assert first.digest == again.digest != other.digest


def test_a_group_is_on_one_side_of_the_split_only() -> None:
    given = [replace(episode, group=f"page {int(episode.id) // 5}") for episode in episodes(300)]
    made = train(given, TIERS, options=replace(SMALL, neighbours=300))
    held = {episode.group for episode in made.calibration}
    kept = {given[int(known.id)].group for known in made.neighbours.known}
    assert held
    assert kept
    assert not held & kept
    assert len(held) + len(kept) == 60


def test_held_out_episodes_keep_their_outcomes_and_priors_but_no_content() -> None:
    given = {episode.id: episode for episode in episodes(600)}
    made = model()
    assert 100 < len(made.calibration) < 200
    for episode, prior in zip(made.calibration, made.held, strict=True):
        known = given[episode.id]
        assert episode.context["instruction"] == ""
        assert made.prior(episode.context) == prior == made.prior(known.context)
        assert [o.label for o in episode.outcomes] == [o.label for o in known.outcomes]
        said, kept = ([o.answer for o in e.outcomes] for e in (known, episode))
        assert [said.index(answer) for answer in said] == [kept.index(answer) for answer in kept]
        assert not set(said) & set(kept)


def test_the_card_says_what_the_model_rests_on() -> None:
    card = json.loads(json.dumps(model().card))
    assert card["trained_on"]["episodes"] + card["measured_on"]["episodes"] == 600
    assert card["trained_on"]["from"] == "2023-11-14"
    assert card["measured_on"]["held_out"] is True
    small = card["tiers"]["small"]
    assert small["labels"] == {"gold": card["trained_on"]["episodes"]}
    assert small["right"]["auc"] > 0.8
    assert small["right"]["brier"] < 0.15
    assert small["right"]["calibration_error"] < 0.15
    assert card["limits"] == []
    assert card["seed"] == 0


def test_without_a_holdout_the_card_speaks_of_predictions_out_of_fold() -> None:
    made = train(episodes(150), TIERS, options=replace(SMALL, holdout=0.0))
    assert made.calibration == ()
    assert made.card["measured_on"] == {"episodes": 150, "held_out": False}
    assert 0.6 < made.card["tiers"]["small"]["right"]["auc"] < 1


def test_words_that_say_nothing_give_no_better_than_chance() -> None:
    """What is joined and measured was predicted by models that had not seen it."""
    draw = random.Random(0)
    given = [
        replace(episode, context=context(instruction(draw, draw.random() < 0.5))) for episode in episodes(400)
    ]
    made = train(given, TIERS, options=replace(SMALL, holdout=0.0))
    assert made.card["tiers"]["small"]["right"]["auc"] == pytest.approx(0.5, abs=0.09)
    chances = [made.belief(made.prior(context(instruction(draw, True))), ()).right[0] for _ in range(50)]
    assert np.std(chances) < 0.12


def test_a_tier_without_traces_has_a_stated_prior() -> None:
    made = train(episodes(200, tiers=("small", "large")), TIERS, options=SMALL)
    assert made.card["tiers"]["medium"]["outcomes"] == 0
    assert made.card["limits"] == ["medium: no traces; every subtask is given the prior 0.50"]
    beliefs = [made.belief(made.prior(subtask), ()) for subtask in (EASY, HARD)]
    assert [belief.right[1] for belief in beliefs] == pytest.approx([0.5, 0.5])


def test_a_tier_with_few_traces_is_said_to_be_a_guess() -> None:
    given = [
        replace(episode, outcomes=tuple(o for o in episode.outcomes if o.tier != "large" or number < 9))
        for number, episode in enumerate(episodes(200))
    ]
    made = train(given, TIERS, options=SMALL)
    assert any("large: " in limit and "little more than a guess" in limit for limit in made.card["limits"])


def test_too_few_episodes_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(InputError, match=r"subtasks are left to train on, of 15 given; a router needs 20"):
        train(episodes(15), TIERS)
    with pytest.raises(
        InputError, match=r"0 subtasks are left .* of the tiers tiny; there are traces of .*small"
    ):
        train(episodes(100), ["tiny"])
    with pytest.raises(InputError, match="two episodes have the id '00003'"):
        train([*episodes(30), episodes(30)[3]], TIERS)
    with pytest.raises(ConfigurationError, match="tier 'small' is named twice"):
        train(episodes(30), ["small", "small"])
    with pytest.raises(ConfigurationError, match="no tier to train for"):
        train(episodes(30), [])
    with pytest.raises(ConfigurationError, match="holdout is 1"):
        TrainingOptions(holdout=1)


def test_a_model_of_few_episodes_believes_little_more_than_their_average() -> None:
    made = train(episodes(40), TIERS, options=SMALL)
    for subtask in (EASY, HARD):
        right = made.belief(made.prior(subtask), ()).right
        assert 0.2 < right[0] < 0.9
        assert right[2] > 0.7


def test_fractions_of_right_are_learned() -> None:
    half = [
        replace(
            episode,
            outcomes=tuple(replace(o, label=Label(right=0.3, source="judge")) for o in episode.outcomes),
        )
        for episode in episodes(100)
    ]
    made = train(half, TIERS, options=SMALL)
    assert made.belief(made.prior(EASY), ()).right == pytest.approx([0.3] * 3, abs=0.05)


def test_a_label_of_low_weight_counts_for_less_than_one_of_full_weight() -> None:
    def labelled(weight: float) -> float:
        given = []
        for number, episode in enumerate(episodes(200, tiers=("small",))):
            good = number % 2 == 0
            label = Label(right=float(good), source="gold" if good else "judge", weight=1 if good else weight)
            given.append(replace(episode, outcomes=(replace(episode.outcomes[0], label=label),)))
        made = train(given, ["small"], options=SMALL)
        return made.belief(made.prior(context("something else")), ()).right[0]

    assert labelled(1.0) == pytest.approx(0.5, abs=0.1)
    assert labelled(0.1) > 0.8


def test_without_labels_a_rejection_counts_and_an_acceptance_is_taken_for_nine_tenths() -> None:
    made = train(episodes(400, labels=False, checks=True), TIERS, options=SMALL)
    easy, hard = (made.belief(made.prior(subtask), ()) for subtask in (EASY, HARD))
    assert hard.right[0] < 0.4 < 0.7 < easy.right[0] < 0.95
    assert any("small: no labels" in limit for limit in made.card["limits"])


def logged(seed: int, chance: float) -> list[Episode]:
    """Hard subtasks are sent to the large tier with that probability, easy ones with one half."""
    draw = random.Random(seed)
    made = []
    for episode in episodes(1_500, seed):
        hard = episode.outcomes[0].output > 100
        up = chance if hard else 0.5
        tier, propensity = ("large", up) if draw.random() < up else ("small", 1 - up)
        outcome = next(o for o in episode.outcomes if o.tier == tier)
        blank = context("a subtask")  # what it is like cannot be seen
        outcomes = (replace(outcome, propensity=propensity),)
        made.append(replace(episode, context=blank, outcomes=outcomes, complete=False))
    return made


def test_what_a_router_chose_to_see_is_weighted_by_its_propensity() -> None:
    """The small tier was mostly tried on easy subtasks; over all of them it is right 55 times in 100."""
    given = logged(1, chance=0.9)
    seen = [o.label.right for e in given if (o := e.outcome("small")) is not None and o.label]
    assert np.mean(seen) > 0.75
    made = train(given, ["small", "large"], options=SMALL)
    assert made.belief(made.prior(context("a subtask")), ()).right[0] == pytest.approx(0.55, abs=0.1)


def test_a_tier_that_was_only_asked_after_another_failed_is_said_to_be() -> None:
    given = []
    for episode in episodes(200, checks=True):
        kept = 1 if episode.outcomes[0].accepted else 2
        given.append(replace(episode, outcomes=episode.outcomes[:kept], complete=False))
    made = train(given, ["small", "medium"], options=SMALL)
    assert any("medium: only seen after another tier's attempt" in limit for limit in made.card["limits"])


class Topic(Embeddings):
    """Knows hard from easy by a number that no word tells."""

    def __init__(self, hard: set[str]) -> None:
        self._hard = hard
        self._noise = DeterministicFakeEmbedding(size=4)
        self.down = self.broken = False

    def embed_query(self, text: str) -> list[float]:
        if self.down:
            raise ConnectionError("no route to host")
        if self.broken:
            return [float("nan")] * 5
        return [3.0 if text in self._hard else -3.0, *self._noise.embed_query(text)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def test_embeddings_are_used_where_they_are_given(caplog: pytest.LogCaptureFixture) -> None:
    hard = set()
    given = []
    for number, episode in enumerate(episodes(300)):
        text = f"subtask {number}"
        if episode.outcomes[0].output > 100:
            hard.add(text)
        given.append(replace(episode, context=context(text)))
    topic = Topic(hard)
    made = train(given, TIERS, options=SMALL, embeddings=topic)
    assert made.features.embedding == 5
    held = made.calibration
    assert auc(
        np.asarray([prior.right[0] for prior in made.held]),
        np.asarray([e.outcomes[0].label.right for e in held if e.outcomes[0].label]),
        np.ones(len(held)),
    ) == pytest.approx(0.9, abs=0.1)
    topic.down = True
    belief = made.belief(made.prior(context("subtask 1")), ())
    assert 0 < belief.right[0] < 1
    assert "routing without an embedding: no route to host" in caplog.text
    topic.down, topic.broken = False, True
    broken = made.belief(made.prior(context("subtask 1")), ())
    assert broken.right == belief.right
    assert "routing without an embedding: a number that is not finite" in caplog.text
    with pytest.raises(ConfigurationError, match="trained with embeddings of 5 numbers"):
        replace(made, embeddings=None)


def test_a_decision_needs_no_scikit_learn() -> None:
    program = (
        "import sys, stellwerk.routers.learned, stellwerk.routers.model_file;"
        "sys.exit(any(name.partition('.')[0] in ('sklearn', 'scipy') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_tier_whose_attempts_cost_nothing_is_told_of() -> None:
    def without_price(episode: Episode) -> Episode:
        outcomes = [replace(o, usd=0.0) if o.tier == "large" else o for o in episode.outcomes]
        return replace(episode, outcomes=tuple(outcomes))

    given = episodes(60)
    free = "large: no attempt has a cost, so it is taken to be free; give the tier a price"
    assert free in train([without_price(episode) for episode in given], TIERS, options=SMALL).card["limits"]
    assert free not in train(given, TIERS, options=SMALL).card["limits"]
