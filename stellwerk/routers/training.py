"""Trains a router's model on episodes. Needs the extra `router`; what it makes does not need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from langchain_core.embeddings import Embeddings

from stellwerk.errors import ConfigurationError, InputError, MissingExtraError
from stellwerk.routers.card import card
from stellwerk.routers.episode import Episode
from stellwerk.routers.folds import folds, split
from stellwerk.routers.model import RouterModel
from stellwerk.routers.model_file import digest_of
from stellwerk.routers.neighbours import Neighbour, Neighbours
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.targets import Trust, targets, trusts
from stellwerk.routers.terms import Floats

_INSTRUCTION = 200  # characters that are kept to explain a decision


def train(
    episodes: Sequence[Episode],
    tiers: Sequence[str],
    *,
    options: TrainingOptions | None = None,
    seed: int = 0,
    embeddings: Embeddings | None = None,
) -> RouterModel:
    """A model of the tiers, the same for the same episodes, options and seed.

    A part of the episodes is held out; the model's card says how good it is on those, and they are kept with
    it. A tier of which there are few outcomes or none has a stated prior of about one half, and the card
    says so.

    Args:
        episodes: with their outcomes; those on tiers that are not named do not count.
        tiers: names, cheapest first.
        options: of the training.
        seed: of all that is drawn.
        embeddings: of instructions, besides their terms; the model will need the same.

    Raises:
        ConfigurationError: if no tier is named, or one twice.
        InputError: if there are too few episodes, or two of the same id.
        MissingExtraError: if scikit-learn is not installed.
    """
    try:
        from stellwerk.routers.attempt_training import learn_attempts
        from stellwerk.routers.base_training import SHARPNESS, learn_base, learn_features
    except ImportError as error:
        raise MissingExtraError(error.name or "scikit-learn", "router") from error
    options = options or TrainingOptions()
    _check_tiers(tiers)
    known = _usable(episodes, tiers)
    kept, held = split(known, options.holdout, seed)
    held = _some(held, options.cases, seed, 5)
    if len(kept) < options.least:
        seen = sorted({outcome.tier for episode in episodes for outcome in episode.outcomes})
        strange = [tier for tier in seen if tier not in tiers]
        others = (
            f"; there are traces of {', '.join(strange)}: name all tiers of the ladder" if strange else ""
        )
        raise InputError(
            f"{len(kept)} subtasks are left to train on, of {len(episodes)} given; a router needs "
            f"{options.least}: collect more traces of the tiers {', '.join(tiers)}{others}"
        )
    kept = _some(kept, options.most, seed, 0)
    vectors: list[list[float]] | None = None
    if embeddings is not None:
        vectors = embeddings.embed_documents([episode.context["instruction"] for episode in kept])
    features, encoded = learn_features([episode.context for episode in kept], vectors, options, seed)
    trusted = trusts(kept, tiers, unlabelled=options.unlabelled, most=options.clip)
    aims = targets(kept, tiers, trusted, clip=options.clip)
    parts = folds(kept, options.folds, seed)
    base = learn_base(encoded, features.width, aims, parts, options, seed)
    predicted = [kept[index] for index in base.predicted]
    followed = learn_attempts(predicted, base.priors, tiers, trusted, options, seed)
    model = RouterModel(
        tiers=tuple(tiers),
        features=features,
        linear=base.linear,
        landmarks=base.landmarks,
        kernel=base.kernel,
        sharpness=SHARPNESS,
        forest=base.forest,
        stack=base.stack,
        costs=base.costs,
        answer=followed.answer,
        next_right=followed.next_right,
        next_accept=followed.next_accept,
        neighbours=_neighbours(
            kept,
            np.stack([one.dense for one in encoded]),
            dict(zip(tiers, trusted, strict=True)),
            options,
            seed,
        ),
        embeddings=embeddings,
    )
    priors = [model.prior(episode.context) for episode in held]
    written = card(
        model,
        kept,
        held or predicted,
        priors or base.priors,
        held_out=bool(held),
        given=len(episodes),
        options=options,
        seed=seed,
    )
    # As they were: a log without some of its attempts would be weighed wrongly.
    whole = {episode.id: episode for episode in episodes}
    calibration = tuple(_without_content(whole[episode.id]) for episode in held)
    model = replace(model, calibration=calibration, held=tuple(priors), card=written)
    return replace(model, digest=digest_of(model))


def _check_tiers(tiers: Sequence[str]) -> None:
    if not tiers:
        raise ConfigurationError("no tier to train for; name the tiers of the ladder, cheapest first")
    if twice := sorted({tier for tier in tiers if list(tiers).count(tier) > 1}):
        raise ConfigurationError(f"tier {twice[0]!r} is named twice; name each tier once")


def _usable(episodes: Sequence[Episode], tiers: Sequence[str]) -> list[Episode]:
    """Episodes with an outcome on a known tier, in the order of their ids."""
    ordered = sorted(episodes, key=lambda episode: episode.id)
    for first, second in pairwise(ordered):
        if first.id == second.id:
            raise InputError(f"two episodes have the id {first.id!r}; an episode is named once")
    usable = []
    for episode in ordered:
        outcomes = tuple(outcome for outcome in episode.outcomes if outcome.tier in tiers)
        if outcomes:
            usable.append(
                episode if len(outcomes) == len(episode.outcomes) else replace(episode, outcomes=outcomes)
            )
    return usable


def _some(episodes: list[Episode], most: int, seed: int, purpose: int) -> list[Episode]:
    """A random sample where there are more."""
    if len(episodes) <= most:
        return episodes
    chosen = np.random.default_rng([seed, purpose]).choice(len(episodes), most, replace=False)
    return [episodes[index] for index in np.sort(chosen).tolist()]


def _without_content(episode: Episode) -> Episode:
    context = episode.context.copy()
    context["instruction"] = ""
    # Which answers are the same is all that counts of them.
    answers = {"": ""}
    outcomes = tuple(
        replace(outcome, answer=answers.setdefault(outcome.answer, str(len(answers))))
        for outcome in episode.outcomes
    )
    return replace(episode, context=context, outcomes=outcomes)


def _neighbours(
    episodes: Sequence[Episode],
    dense: Floats,
    trusted: Mapping[str, Trust],
    options: TrainingOptions,
    seed: int,
) -> Neighbours:
    count = min(options.neighbours, len(episodes))
    chosen = np.sort(np.random.default_rng([seed, 4]).choice(len(episodes), count, replace=False))
    known = []
    for index in chosen.tolist():
        episode = episodes[index]
        right = {}
        for outcome in episode.outcomes:
            value, weight = trusted[outcome.tier].rightness(outcome)
            if weight > 0:
                right[outcome.tier] = round(value, 3)
        text = episode.context["instruction"][:_INSTRUCTION] if options.instructions else ""
        known.append(
            Neighbour(
                id=episode.id,
                worker=episode.context["worker"],
                instruction=text,
                right=right,
                trace_ids=tuple(outcome.trace_id for outcome in episode.outcomes if outcome.trace_id),
            )
        )
    return Neighbours(places=dense[chosen], known=tuple(known))
