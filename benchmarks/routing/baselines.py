"""Plain learned routers, all on TF-IDF of words: what a user could write in an afternoon.

kNN; k-means with the mean of each cluster (Avengers, Zhang et al. 2025); random forests on a projection
(RoRF, Not Diamond, 2024); ridge regression; gradient boosting. One setting each is picked on the validation
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import Normalizer

from benchmarks.routing.corpus import Array, Episodes, right, texts

Setting = float
_SEED = 0


class Text:
    """A regression of how right each tier is, on TF-IDF of words and pairs of words."""

    kind = "plain"

    def __init__(
        self,
        name: str,
        model: Callable[[Setting], Any],
        settings: Sequence[Setting],
        *,
        dimensions: int = 0,
        terms: int = 40_000,
        apart: bool = False,
    ) -> None:
        self.name = name
        self._make, self._settings = model, settings
        self._dimensions, self._terms, self._apart = dimensions, terms, apart

    def fit(self, train: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        """Fits each setting, and keeps the one with the least squared error on the validation rows.

        The error is of what routers use, differences between tiers, besides the levels.
        """
        self._vectors = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=self._terms, dtype=np.float32
        ).fit(texts(train))
        self._projection = None
        if self._dimensions:
            size = min(self._dimensions, len(self._vectors.vocabulary_) - 1)
            self._projection = TruncatedSVD(size, random_state=_SEED).fit(
                self._vectors.transform(texts(train))
            )
        known, aims = self._encode(train), right(train, tiers)
        unseen, wanted = self._encode(validation), right(validation, tiers)
        best = np.inf
        for setting in self._settings:
            models = self._models(known, aims, setting)
            found = _predict(models, unseen, len(tiers))
            error = _difference_error(found, wanted)
            if error < best:
                best, self._fitted, self.setting = error, models, setting
        self._width = len(tiers)

    def predict(self, episodes: Episodes) -> Array:
        """Shape (episodes, tiers)."""
        return _predict(self._fitted, self._encode(episodes), self._width)

    def _encode(self, episodes: Episodes) -> Any:
        rows = self._vectors.transform(texts(episodes))
        if self._projection is None:
            return rows
        return Normalizer().fit_transform(self._projection.transform(rows))

    def _models(self, known: Any, aims: Array, setting: Setting) -> list[Any]:
        if not self._apart:
            return [self._make(setting).fit(known, aims)]
        return [self._make(setting).fit(known, aims[:, tier]) for tier in range(aims.shape[1])]


class _Clusters:
    """Per cluster, the mean of each tier."""

    def __init__(self, count: int) -> None:
        self._count = count

    def fit(self, rows: Any, aims: Array) -> _Clusters:
        self._means = KMeans(min(self._count, rows.shape[0]), n_init=1, random_state=_SEED).fit(rows)
        overall = aims.mean(axis=0)
        self._values = np.array(
            [
                (aims[self._means.labels_ == label].sum(axis=0) + overall)
                / ((self._means.labels_ == label).sum() + 1)
                for label in range(self._means.n_clusters)
            ]
        )
        return self

    def predict(self, rows: Any) -> Array:
        found: Array = self._values[self._means.predict(rows)]
        return found


def _neighbours(count: Setting) -> Any:
    return KNeighborsRegressor(int(count), metric="cosine", algorithm="brute")


def _forest(leaf: Setting) -> Any:
    return RandomForestRegressor(100, min_samples_leaf=int(leaf), max_features=0.33, random_state=_SEED)


def _boosting(leaves: Setting) -> Any:
    from lightgbm import LGBMRegressor

    return LGBMRegressor(
        n_estimators=100, learning_rate=0.05, num_leaves=int(leaves), n_jobs=1, verbose=-1, random_state=_SEED
    )


def baselines() -> list[Text]:
    """One of each, unfitted."""
    return [
        Text("ridge", lambda pull: Ridge(pull), (1.0, 3.0, 10.0, 30.0)),
        Text("kNN", _neighbours, (10, 30, 100)),
        Text("k-means (Avengers)", lambda count: _Clusters(int(count)), (16, 64, 128), dimensions=100),
        Text("random forest (RoRF)", _forest, (5, 20), dimensions=50),
        Text("LightGBM", _boosting, (7, 31), terms=2_000, apart=True),
    ]


def _predict(models: Sequence[Any], rows: Any, tiers: int) -> Array:
    found = np.column_stack([model.predict(rows) for model in models])
    return np.asarray(found, dtype=np.float64).reshape(-1, tiers)


def _difference_error(found: Array, wanted: Array) -> float:
    levels = ((found - wanted) ** 2).mean()
    off = np.diff(found, axis=1) - np.diff(wanted, axis=1)
    return float(levels + (off**2).mean())
