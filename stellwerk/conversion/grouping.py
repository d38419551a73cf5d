"""Groups: which examples of a call site are one job. Needs scikit-learn; used where clusters are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import AgglomerativeClustering, KMeans, MiniBatchKMeans

from stellwerk.routers.terms import Floats, Terms

Numbers = NDArray[np.int64]

KIND = 40  # examples of a kind, on average
_KINDS = 300
_COARSE = 60  # groups that are compared with each other
_LEAST_OF_GROUP = 50  # examples of such a group, on average
_MANY = 5_000  # examples above which k-means looks at parts of them
ALIKE = 0.27  # geometric mean of how alike prompts and answers are, from which groups are one job
_SAME = (
    0.9  # how alike answers are that are the same, such as calls of one tool: a job however it is asked for
)
_UNTOLD = 0.6  # how alike answers count as where they cannot tell


def kinds_of(places: Floats, labels: Sequence[str] | None, seed: int) -> Numbers:
    """Kinds of prompts, finer than jobs: one for each label, or groups of what is near.

    Args:
        places: of the examples in a space where near means alike in what was asked and done.
        labels: one each where answers are labels, '' for rare ones.
        seed: of what is drawn.
    """
    wanted = int(np.clip(len(places) // KIND, 2, _KINDS))
    if labels is not None and len(set(labels)) >= wanted / 4:
        return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)
    return _means(places, wanted, seed)


def jobs_of(kinds: Numbers, places: Floats, prompts: Any, actions: Any | None, seed: int) -> Numbers:
    """The job of each kind.

    Kinds that are near form coarse groups; these are one job where what is asked and what is done are both
    alike (average linkage on the cosine of their means), or what is done is the same. A way of asking alone
    makes no job of its own.

    Args:
        kinds: of the examples, from 0 without gaps.
        places: as for `kinds_of`.
        prompts: their terms, a sparse row each.
        actions: terms of what was done; None where that cannot tell jobs apart.
        seed: of what is drawn.
    """
    count = int(kinds.max()) + 1
    coarse_count = int(np.clip(len(kinds) // _LEAST_OF_GROUP, 1, min(_COARSE, count)))
    if coarse_count < 2:
        return np.zeros(count, np.int64)
    sizes = np.bincount(kinds, minlength=count)
    centres = _sums(kinds, count) @ places / sizes[:, None]
    coarse = _means(centres.astype(np.float32), coarse_count, seed, weights=sizes.astype(np.float64))
    groups = int(coarse.max()) + 1
    if groups < 2:
        return np.zeros(count, np.int64)
    sums = _sums(coarse[kinds], groups)
    alike = np.maximum(_cosines(sums @ prompts), 0)
    done = np.maximum(_cosines(sums @ actions), 0) if actions is not None else np.full_like(alike, _UNTOLD)
    apart = 1 - np.sqrt(np.where(done >= _SAME, 1, alike) * done)
    np.fill_diagonal(apart, 0)
    merged = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - ALIKE
    ).fit_predict(apart)
    return np.asarray(merged[coarse], np.int64)


def without_small(jobs: Numbers, kinds: Numbers, prompts: Any, least: int) -> Numbers:
    """Jobs of kinds, those with fewer examples than `least` joined with what is most alike; without gaps."""
    jobs = np.unique(jobs, return_inverse=True)[1].astype(np.int64)
    while True:
        count = int(jobs.max()) + 1
        sizes = np.bincount(jobs[kinds], minlength=count)
        small = int(sizes.argmin())
        if count == 1 or sizes[small] >= least:
            return jobs
        alike = _cosines(_sums(jobs[kinds], count) @ prompts)[small]
        alike[small] = -1
        jobs[jobs == small] = int(alike.argmax())
        jobs = np.unique(jobs, return_inverse=True)[1].astype(np.int64)


def rows_of(terms: Terms, texts: Sequence[str]) -> Any:
    """Terms of texts, a sparse row each."""
    found = [terms.vector(text) for text in texts]
    ends = np.cumsum([0, *(len(indices) for indices, _ in found)])
    none: list[Any] = [np.zeros(0, np.int32)]
    indices = np.concatenate([indices for indices, _ in found] or none)
    weights = np.concatenate([weights for _, weights in found] or none)
    return csr_matrix((weights.astype(np.float32), indices, ends), shape=(len(texts), len(terms)))


def _means(places: Floats, count: int, seed: int, weights: Any = None) -> Numbers:
    different = len(np.unique(places.round(5), axis=0))
    count = min(count, different)
    if count < 2:
        return np.zeros(len(places), np.int64)
    if len(places) > _MANY:
        model = MiniBatchKMeans(count, n_init=3, batch_size=2_048, random_state=seed)
    else:
        model = KMeans(count, n_init=2, random_state=seed)
    found = model.fit(places, sample_weight=weights).labels_
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _sums(groups: Numbers, count: int) -> Any:
    ones = np.ones(len(groups), np.float32)
    return csr_matrix((ones, (groups, np.arange(len(groups)))), shape=(count, len(groups)))


def _cosines(rows: Any) -> NDArray[np.float64]:
    between = np.asarray((rows @ rows.T).todense(), np.float64)
    lengths = np.sqrt(np.maximum(np.diag(between), 1e-12))
    return between / lengths[:, None] / lengths[None]
