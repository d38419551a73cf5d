"""The router's model: what it expects of each tier, from a context and from the attempts so far.

A prediction takes numpy and dictionaries only. Training is in `training.py`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from stellwerk.errors import ConfigurationError
from stellwerk.routers.answers import answer_odds
from stellwerk.routers.belief import Belief
from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routers.features import Encoded, Features
from stellwerk.routers.forest import Forest
from stellwerk.routers.logistic import Array
from stellwerk.routers.neighbours import Neighbours
from stellwerk.routers.prior import Prior
from stellwerk.routers.signals import next_signals
from stellwerk.routers.terms import Floats
from stellwerk.routing_context import RoutingContext

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RouterModel:
    """What a router has learned. Made by `train`, or read by `load_model`.

    Args:
        tiers: names of the tiers, cheapest first.
        features: how a context becomes numbers.
        linear: weights of the sparse features: one column a tier for `right`, then for `accept`, tokens,
            seconds and USD; the last three are of logarithms.
        landmarks: dense features of contexts that new ones are compared with.
        kernel: what nearness to each landmark adds: one column a tier for `right`, then for `accept`.
        sharpness: of the nearness, exp(-sharpness × squared distance).
        forest: trees over the dense features, with the same columns.
        stack: calibrates and joins the three; one row a tier for `right`, then for `accept`, with the columns
            constant, linear, kernel, forest.
        costs: per tier, two numbers each for tokens, seconds and USD: a constant of the logarithm, and a
            factor.
        answer: per tier, coefficients of `answer_signals`.
        next_right: per tier, coefficients of `next_signals` for its answer's being right.
        next_accept: per tier, the same for its being accepted.
        neighbours: past contexts, to explain a decision with.
        calibration: episodes it was not trained on, without their instructions.
        held: the prior of each, found again by `prior` when it is given the very context of that episode.
        card: what it was trained on and how good it is; plain JSON.
        digest: of its file; the version of the router's decisions.
        embeddings: gives the embedding of an instruction, where the features have one.
    """

    tiers: tuple[str, ...]
    features: Features
    linear: Floats
    landmarks: Floats
    kernel: Floats
    sharpness: float
    forest: Forest
    stack: Array
    costs: Array
    answer: Array
    next_right: Array
    next_accept: Array
    neighbours: Neighbours
    calibration: tuple[Episode, ...] = ()
    held: tuple[Prior, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    embeddings: Embeddings | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.features.embedding and self.embeddings is None:
            raise ConfigurationError(
                f"the router's model was trained with embeddings of {self.features.embedding} numbers; "
                "pass the same LangChain embeddings as `embeddings`"
            )

    def encode(self, context: RoutingContext) -> Encoded:
        """The context as numbers; without its embedding where that cannot be had just now."""
        embedding = None
        if self.features.embedding and self.embeddings is not None:
            try:
                embedding = self.embeddings.embed_query(context["instruction"])
                if len(embedding) != self.features.embedding:
                    raise ValueError(f"{len(embedding)} numbers in place of {self.features.embedding}")
                if not np.isfinite(embedding).all():
                    raise ValueError("a number that is not finite")
            except Exception as error:  # any client's error: a run must not fail for a missing estimate
                _LOG.warning("routing without an embedding: %s", error)
                embedding = None
        return self.features.encode(context, embedding)

    def prior(self, context: RoutingContext) -> Prior:
        """What the context alone says of each tier."""
        return self._held.get(id(context)) or self.prior_of(self.encode(context))

    @cached_property
    def _held(self) -> dict[int, Prior]:
        # The episodes live as long as the model, so that no other context has the identity of one of theirs.
        return {
            id(episode.context): prior for episode, prior in zip(self.calibration, self.held, strict=True)
        }

    def prior_of(self, encoded: Encoded) -> Prior:
        """What a context as numbers says of each tier."""
        tiers = len(self.tiers)
        linear = encoded.weights @ self.linear[encoded.indices]
        logits = self.stack[:, 0] + self.stack[:, 1] * linear[: 2 * tiers]
        logits = logits + self.stack[:, 2] * self.alike(encoded) + self.stack[:, 3] * self.shaped(encoded)
        logs = linear[2 * tiers :].reshape(3, tiers) + self.costs[:, :, 0]
        expected = np.exp(np.clip(logs, -40, 25)) * self.costs[:, :, 1]
        tokens, seconds, usd = (tuple(row) for row in expected.tolist())
        right, accept = logits[:tiers].tolist(), logits[tiers:].tolist()
        return Prior(
            # A right answer is an accepted one.
            right=tuple(map(min, right, accept)),
            accept=tuple(accept),
            tokens=tokens,
            seconds=seconds,
            usd=usd,
        )

    def alike(self, encoded: Encoded) -> Floats:
        """What contexts nearby say: one number a tier for `right`, then for `accept`."""
        away = self._lengths - 2 * (self.landmarks @ encoded.dense) + encoded.dense @ encoded.dense
        found: Floats = np.exp(-self.sharpness * np.maximum(away, 0)) @ self.kernel
        return found

    def shaped(self, encoded: Encoded) -> Floats:
        """What the trees say; as `alike`."""
        return self.forest.predict_one(encoded.dense)

    @cached_property
    def _lengths(self) -> Floats:
        lengths: Floats = (self.landmarks**2).sum(axis=1)
        return lengths

    def belief(self, prior: Prior, outcomes: Sequence[Outcome]) -> Belief:
        """What is expected after those attempts, oldest first.

        Raises:
            ConfigurationError: if an attempt was made on a tier that the model does not know.
        """
        right = [_chance(logit) for logit in prior.right]
        accept = [_chance(logit) for logit in prior.accept]
        answers: list[float] = []
        if outcomes:
            places = [self.place(outcome.tier) for outcome in outcomes]
            odds = answer_odds(self.answer, prior, places, outcomes)
            answers = [_chance(logit) for logit in odds]
            last = {place: index for index, place in enumerate(places)}
            for place in range(len(self.tiers)):
                if place in last:
                    right[place] = answers[last[place]]
                    accept[place] = float(outcomes[last[place]].accepted)
                    continue
                row = next_signals(prior, prior.right[place], place, places, outcomes, odds)
                right[place] = _chance(_dot(self.next_right[place], row))
                row[1] = prior.accept[place]
                accept[place] = max(right[place], _chance(_dot(self.next_accept[place], row)))
        return Belief(
            right=right,
            accept=accept,
            usd=prior.usd,
            seconds=prior.seconds,
            tokens=prior.tokens,
            answers=answers,
        )

    def place(self, tier: str) -> int:
        """Where a tier stands, from 0, the cheapest.

        Raises:
            ConfigurationError: naming the tiers that the model knows.
        """
        try:
            return self.tiers.index(tier)
        except ValueError:
            raise ConfigurationError(
                f"the router's model does not know the tier {tier!r}; it was trained for "
                f"{', '.join(self.tiers)}: train it again with traces of {tier!r}"
            ) from None


def _chance(logit: float) -> float:
    return 0.0 if logit < -700 else 1 / (1 + math.exp(-logit))


def _dot(coefficients: Array, row: Sequence[float]) -> float:
    return float(coefficients @ np.asarray(row))
