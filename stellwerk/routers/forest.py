"""A forest of decision trees as flat arrays, walked by numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stellwerk.routers.terms import Floats, Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Forest:
    """Trees over dense features. A node that is a leaf is its own child.

    Args:
        roots: the first node of each tree.
        feature: that each node asks for.
        threshold: up to which the left child is taken.
        left: child of each node.
        right: child of each node.
        value: one row a node, one column a regression; what the trees say is the mean over their leaves.
        depth: of the deepest tree.
    """

    roots: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    depth: int

    def leaves(self, places: Floats) -> Ints:
        """The leaf that each place, one a row, comes to in each tree, one a column."""
        nodes = np.broadcast_to(self.roots, (len(places), len(self.roots)))
        rows = np.arange(len(places))[:, None]
        for _ in range(self.depth):
            low = places[rows, self.feature[nodes]] <= self.threshold[nodes]
            nodes = np.where(low, self.left[nodes], self.right[nodes])
        return nodes

    def predict(self, places: Floats) -> Floats:
        """What the trees say of each place, one a row."""
        said: Floats = self.value[self.leaves(places)].mean(axis=1)
        return said

    def predict_one(self, place: Floats) -> Floats:
        """The same of one place, several times as fast."""
        nodes = self.roots
        for _ in range(self.depth):
            low = place.take(self.feature.take(nodes)) <= self.threshold.take(nodes)
            nodes = np.where(low, self.left.take(nodes), self.right.take(nodes))
        said: Floats = self.value.take(nodes, axis=0).mean(axis=0)
        return said

    def fits(self, features: int) -> bool:
        """Whether every node points to nodes and features that there are."""
        count = len(self.feature)
        inside = all(
            part.size == 0 or (part.min() >= 0 and part.max() < limit)
            for part, limit in (
                (self.roots, count),
                (self.left, count),
                (self.right, count),
                (self.feature, features),
            )
        )
        return inside and 0 <= self.depth <= max(count, 1)
