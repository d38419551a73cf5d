"""The clusters of a program's calls: which one a prompt belongs to, and whether to any."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from langchain_core.embeddings import Embeddings

from stellwerk.conversion.clusters import Assignment, Change, Cluster
from stellwerk.conversion.example import Message, asked_in
from stellwerk.conversion.site import Site


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """What `cluster` found. It is kept by `save_clustering`, without `members` and `changes`.

    Args:
        clusters: in the order of their ids.
        sites: what tells them apart, for each call site.
        false_alarms: share of usual prompts that may be called novel.
        numbers: per call site, the number that its next new cluster gets: an id is never used twice.
        embeddings: those that it was found with, if any.
        digest: of its file, in hexadecimal; empty where it has none yet.
        members: trace ids of the examples by cluster.
        changes: what became of the clusters of before.
    """

    clusters: tuple[Cluster, ...]
    sites: Mapping[str, Site]
    false_alarms: float
    numbers: Mapping[str, int]
    embeddings: Embeddings | None = None
    digest: str = ""
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    changes: tuple[Change, ...] = field(default=(), compare=False)

    @cached_property
    def _by_id(self) -> dict[str, Cluster]:
        return {cluster.id: cluster for cluster in self.clusters}

    def __getitem__(self, id: str) -> Cluster:
        """The cluster of an id.

        Raises:
            KeyError: there is none.
        """
        return self._by_id[id]

    def assign(self, call_site: str, prompt: str | Sequence[Message]) -> Assignment:
        """Where a prompt belongs, from itself alone; the same for the same prompt.

        Args:
            call_site: where the call is made. What comes from one that is not known is novel.
            prompt: the messages, or what the last one of them asks.
        """
        site = self.sites.get(call_site)
        if site is None:
            return Assignment(cluster="", distance=math.inf, novel=True, p_value=0.0)
        text = prompt if isinstance(prompt, str) else asked_in(prompt)
        embedding = None
        if site.embedding and self.embeddings is not None:
            embedding = self.embeddings.embed_query(text)
        return site.place(text, false_alarms=self.false_alarms, embedding=embedding)
