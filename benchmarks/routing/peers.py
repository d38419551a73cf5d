"""Other routers, each from its own package and as its documentation uses it without network.

A package that is not installed is left out, and the report says so; the extra `bench` installs them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.routing.corpus import Array, Episodes, right, texts, usd


class LiteLLM:
    """LiteLLM's complexity router: a score by keywords, or (v2) statistics of UltraFeedback by kind of
    prompt."""

    kind = "peer"

    def __init__(self, classifier: str) -> None:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it tries the network
        from litellm.router_strategy.complexity_router import ComplexityRouter

        names = {"SIMPLE": "s", "MEDIUM": "m", "COMPLEX": "c", "REASONING": "r"}
        settings = {"classifier_type": classifier, "tiers": names}
        self._router = ComplexityRouter(
            "auto", ctx=None, complexity_router_config=settings, derive_savings_baseline=False
        )
        self._classifier = classifier
        self.name = f"LiteLLM {classifier}"

    def fit(self, train: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        """It does not learn."""

    def predict(self, episodes: Episodes) -> Array:
        """Per episode its score; of v2, one less its chance that the cheapest kind of model suffices."""
        return _looked_up(self.name, self._score, episodes)

    def _score(self, text: str) -> float:
        found = asyncio.run(self._router.aclassify(text))
        if self._classifier == "heuristic":
            return float(found.score)
        return 1.0 - float(found.heuristic_v2_forecast["probabilities"]["SIMPLE"])


class Uncommon:
    """UncommonRoute's classifier of prompts, with the weights in its package.

    Its embedding signal needs a model that the package does not hold, and abstains without it.
    """

    kind = "peer"

    def __init__(self) -> None:
        from uncommon_route.router.classifier import classify

        self._classify: Callable[[str], Any] = classify
        self.name = "uncommon-route"

    def fit(self, train: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        """It does not learn from these rows."""

    def predict(self, episodes: Episodes) -> Array:
        """Its complexity, from 0 to 1."""
        return _looked_up(self.name, lambda text: float(self._classify(text).complexity), episodes)


def _looked_up(name: str, score: Callable[[str], float], episodes: Episodes) -> Array:
    """The scores of a peer that does not learn, each worked out once a run."""
    known = _SCORES.setdefault(name, {})
    found = [
        known[text] if text in known else known.setdefault(text, score(text)) for text in texts(episodes)
    ]
    return np.array(found, dtype=np.float64)


_SCORES: dict[str, dict[str, float]] = {}


class ParetoBandit:
    """ParetoBandit's LinUCB router, learning from the reward of every tier on every training row.

    It is meant to learn from one tier a prompt; all of them are more than it would see. Its own embeddings
    need a model that is fetched, so it is given 25 components, its own number, of the TF-IDF that the plain
    routers use.
    """

    kind = "peer"

    def __init__(self) -> None:
        import pareto_bandit

        self._package = pareto_bandit
        logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
        self.name = "paretobandit"

    def fit(self, train: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        """Updates it row by row."""
        self._vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=40_000)
        rows = self._vectors.fit_transform(texts(train))
        self._projection = TruncatedSVD(25, random_state=0).fit(rows)
        costs = usd(train, tiers).mean(axis=0)
        registry = {
            tier: {"input_cost_per_m": float(cost) * 1e3, "output_cost_per_m": float(cost) * 1e3}
            for tier, cost in zip(tiers, costs, strict=True)
        }
        self._router = self._package.BanditRouter.create(
            model_registry=registry,
            feature_service=self._package.FeatureService.for_precomputed(dimension=25),
            priors="none",
        )
        self._tiers = list(tiers)
        for vector, rewards in zip(self._encode(train), right(train, tiers), strict=True):
            for tier, reward in zip(tiers, rewards, strict=True):
                self._router.update(tier, vector, float(reward))

    def predict(self, episodes: Episodes) -> Array:
        """The reward that it expects of each tier."""
        features = self._router.features
        found = [
            [
                self._router.bandit.get_expected_reward(tier, features.extract_features(vector))
                for tier in self._tiers
            ]
            for vector in self._encode(episodes)
        ]
        return np.array(found, dtype=np.float64)

    def _encode(self, episodes: Episodes) -> Array:
        found = self._projection.transform(self._vectors.transform(texts(episodes)))
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.where(lengths > 0, lengths, 1.0), dtype=np.float64)


PEERS: dict[str, Callable[[], Any]] = {
    "LiteLLM heuristic": lambda: LiteLLM("heuristic"),
    "LiteLLM heuristic_v2": lambda: LiteLLM("heuristic_v2"),
    "uncommon-route": Uncommon,
    "paretobandit": ParetoBandit,
}


def installed() -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """The peers that can be made, and of each other one why not."""
    found, missing = {}, {}
    for name, make in PEERS.items():
        try:
            make()
        except ImportError as error:
            missing[name] = str(error)
        else:
            found[name] = make
    return found, missing


def versions() -> str:
    """Of the peers' packages, where they are installed."""
    known = []
    for package in ("litellm", "uncommon-route", "paretobandit", "scikit-learn", "lightgbm"):
        try:
            known.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(known)
