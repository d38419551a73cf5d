"""Trains the forest: trees with random thresholds, whose leaves weigh each target by itself."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from stellwerk.routers.forest import Forest
from stellwerk.routers.logistic import Array
from stellwerk.routers.ridge import Parts
from stellwerk.routers.terms import Floats

_LEAF = 8  # cases at least
_LEAVES = 300  # of a tree at most, about
_SHARE = 0.4  # of the features, looked at for each split
_SHRINK = 1.0  # cases that say nothing, added to each leaf


def learn_forest(
    places: Floats, targets: Array, weights: Array, parts: Parts, *, trees: int, seed: int
) -> tuple[Forest, Array]:
    """The forest, and what forests fitted without a case's own part say of each case.

    Extremely randomised trees (Geurts, Ernst and Wehenkel 2006). One tree serves all targets: where one is
    not known it is taken for the mean when the tree is grown, and left out when its leaves are filled.

    Args:
        places: dense features, one row a case.
        targets: one column a regression; about zero on average.
        weights: of the same shape.
        parts: of each case, from 0.
        trees: how many.
        seed: of the trees.
    """
    without = np.zeros(targets.shape)
    for part in range(int(parts.max()) + 1):
        here = parts == part
        grown = _grown(places[~here], targets[~here], weights[~here], trees, seed)
        without[here] = grown.predict(places[here])
    return _grown(places, targets, weights, trees, seed), without


def _grown(places: Floats, targets: Array, weights: Array, trees: int, seed: int) -> Forest:
    known = np.where(weights > 0, targets, 0.0)
    model = ExtraTreesRegressor(
        trees,
        min_samples_leaf=max(_LEAF, len(places) // _LEAVES),
        max_features=_SHARE,
        random_state=seed % 2**32,
    ).fit(places, known if known.shape[1] > 1 else known[:, 0])
    grown = [tree.tree_ for tree in model.estimators_]
    sizes = [tree.node_count for tree in grown]
    starts = np.cumsum([0, *sizes[:-1]])
    own = np.arange(sum(sizes), dtype=np.int32)

    def joined(name: str) -> Array:
        return np.concatenate([getattr(tree, name) for tree in grown])

    shift = np.repeat(starts, sizes)
    left, right = joined("children_left"), joined("children_right")
    leaf = left < 0
    forest = Forest(
        roots=starts.astype(np.int32),
        feature=np.where(leaf, 0, joined("feature")).astype(np.int32),
        threshold=np.where(leaf, 0.0, joined("threshold")).astype(np.float32),
        left=np.where(leaf, own, left + shift).astype(np.int32),
        right=np.where(leaf, own, right + shift).astype(np.int32),
        value=np.zeros((len(own), targets.shape[1]), np.float32),
        depth=max(tree.max_depth for tree in grown),
    )
    ends = forest.leaves(places)
    for column in range(targets.shape[1]):
        weight = np.repeat(weights[:, column], trees)
        flat = ends.ravel()
        total = np.bincount(flat, weight * np.repeat(targets[:, column], trees), len(own))
        forest.value[:, column] = total / (np.bincount(flat, weight, len(own)) + _SHRINK)
    return forest
