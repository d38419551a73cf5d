"""The store of the conversion: what ran, datasets, clusters, adapters, and which model serves a cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from sqlalchemy import URL

from stellwerk.persistence import adapter_units as lora
from stellwerk.persistence import cluster_units as groups
from stellwerk.persistence import conversion_units as log
from stellwerk.persistence import dataset_units as sets
from stellwerk.persistence.adapter_units import AdapterState, ClusterMove, MoveKind, StoredAdapter
from stellwerk.persistence.cluster_units import Cluster, Clustering
from stellwerk.persistence.conversion_units import Conversion, Step
from stellwerk.persistence.database import Database
from stellwerk.persistence.dataset_units import DatasetExample, Split, StoredDataset
from stellwerk.persistence.router_units import Reason

_PAGE = 500  # rows in memory at once while reading

Url = str | URL | os.PathLike[str]


class ConversionStore:
    """What the steps of the conversion keep. To share a pool, give it a trace store's `database`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: Url) -> Self:
        """On a database of its own pool; a path is a SQLite file. Use it in a `with`, or call `close`.

        Raises:
            ConfigurationError: if the URL cannot be used.
            MissingExtraError: if the database's driver is not installed.
        """
        return cls(Database.from_url(url, pool_size=2))

    def begin(self, step: Step, parameters: Mapping[str, Any], *, resume: bool = True) -> Conversion:
        """A step begins, or the last one goes on that was asked the same and did not end well.

        Args:
            step: which one.
            parameters: what it is asked, as JSON, without what people said.
            resume: whether to look for one to go on with, whose `cursor` says how far it came.

        Raises:
            InputError: if there is no such step, or the parameters are no JSON.
            DatabaseError: if the database fails, as in all methods.
        """
        name = secrets.token_bytes(16)
        return self.database.write(lambda c: log.begin(c, name, step, parameters, resume=resume))

    def progress(self, id: str, *, cursor: Any = None, counts: Mapping[str, int] | None = None) -> Conversion:
        """How far a step is.

        Args:
            id: of the step.
            cursor: where to go on, as JSON of the step's own.
            counts: figures, in place of those before.
        """
        return self.database.write(
            lambda c: log.tell(c, id, state="running", cursor=cursor, counts=counts, report=None, error=None)
        )

    def finish(
        self, id: str, *, counts: Mapping[str, int], report: Mapping[str, Any] | None = None
    ) -> Conversion:
        """A step has ended well.

        Args:
            id: of the step.
            counts: figures, in place of those before.
            report: what came of it, as JSON: figures and names, never what people said.
        """
        return self.database.write(
            lambda c: log.tell(c, id, state="done", cursor=None, counts=counts, report=report, error=None)
        )

    def fail(self, id: str, error: str, *, counts: Mapping[str, int] | None = None) -> Conversion:
        """A step has failed; `begin` goes on with it when the same is asked again."""
        return self.database.write(
            lambda c: log.tell(c, id, state="failed", cursor=None, counts=counts, report=None, error=error)
        )

    def conversions(self, step: Step | None = None, *, limit: int | None = None) -> list[Conversion]:
        """What ran, newest first; of one step, or of all."""
        return self.database.read(lambda c: log.listing(c, step, limit))

    def add_dataset(self, name: str, card: Mapping[str, Any]) -> StoredDataset:
        """Add a dataset without examples; one of that name gets this card and keeps its examples."""
        return self.database.write(lambda c: sets.add(c, name, card))

    def dataset(self, name: str) -> StoredDataset:
        """The dataset of a name.

        Raises:
            InputError: if there is none.
        """
        return self.database.read(lambda c: sets.get(c, name))

    def datasets(self) -> list[StoredDataset]:
        """All datasets, newest first."""
        return self.database.read(lambda c: sets.every(c))

    def examples(self, dataset: str, split: Split | None = None) -> Iterator[DatasetExample]:
        """The examples of a dataset, in the order of their traces, which says nothing of them.

        No connection is held while you work on one.
        """
        after = ""
        while page := self.database.read(
            lambda c, after=after: sets.page(c, dataset, split, after, _PAGE)  # type: ignore[misc]
        ):
            yield from page
            after = page[-1].trace_id

    def add_examples(self, dataset: str, examples: Sequence[DatasetExample]) -> None:
        """Add examples, a few hundred at once; of a trace that has one in the dataset, that one stays."""
        self.database.write(lambda c: sets.add_examples(c, dataset, examples))

    def discard_dataset(self, name: str) -> None:
        """Delete a dataset with its examples.

        Raises:
            InputError: if an adapter that is not retired was trained on it.
        """
        self.database.write(lambda c: sets.discard(c, name))

    def save_clustering(
        self, version: str, file: bytes, card: Mapping[str, Any], clusters: Sequence[Cluster]
    ) -> Clustering:
        """Save a clustering with its clusters; one of that version that is there already stays as it is.

        Args:
            version: digest of its content, at most 255 bytes.
            file: what assigns calls to clusters, of any size.
            card: what it was made of, and how good it was found, as JSON.
            clusters: that it tells apart.
        """
        return self.database.write(lambda c: groups.save(c, version, file, card, clusters))

    def load_clustering(self, version: str) -> bytes:
        """The file of a clustering, checked against its digest.

        Raises:
            InputError: if there is no such clustering.
            UntrustedDataError: if the file is not the one that was saved.
        """
        return self.database.read(lambda c: groups.load(c, version))

    def clusterings(self) -> list[Clustering]:
        """All clusterings, newest first."""
        return self.database.read(lambda c: groups.every(c))

    def clusters(self, version: str) -> list[Cluster]:
        """The clusters of a clustering."""
        return self.database.read(lambda c: groups.of(c, version))

    def members(self, version: str, cluster: str) -> Iterator[str]:
        """Ids of the traces that belong to a cluster, as `examples`."""
        after = ""
        while page := self.database.read(
            lambda c, after=after: groups.page(c, version, cluster, after, _PAGE)  # type: ignore[misc]
        ):
            yield from page
            after = page[-1]

    def add_members(self, version: str, members: Mapping[str, str]) -> None:
        """Say which cluster traces belong to, a few hundred at once: ids of clusters by those of traces."""
        self.database.write(lambda c: groups.add_members(c, version, members))

    def clusters_of(self, version: str, traces: Sequence[str]) -> dict[str, str]:
        """The clusters of traces, by the traces' ids; one that is in none is not there."""
        return self.database.read(lambda c: groups.clusters_of(c, version, traces))

    def sizes(self, version: str) -> dict[str, int]:
        """How many traces belong to each cluster of a clustering."""
        return self.database.read(lambda c: groups.sizes(c, version))

    def discard_clustering(self, version: str) -> None:
        """Delete a clustering; adapters and moves of its clusters stay."""
        self.database.write(lambda c: groups.discard(c, version))

    def add_adapter(
        self, name: str, *, base: str, path: str, sha256: str, dataset: str, card: Mapping[str, Any]
    ) -> StoredAdapter:
        """Add an adapter as a candidate; one of that name which is there already stays as it is.

        Args:
            name: `cluster@version`.
            base: the model that it goes with.
            path: where its files are.
            sha256: of its weights, 64 hexadecimal digits.
            dataset: that it was trained on.
            card: how it was trained, and how good it was found, as JSON.

        Raises:
            InputError: if the name or the digest is none.
        """
        return self.database.write(
            lambda c: lora.add(c, name, base=base, path=path, sha256=sha256, dataset=dataset, card=card)
        )

    def adapter(self, name: str) -> StoredAdapter:
        """The adapter of a name.

        Raises:
            InputError: if there is none.
        """
        return self.database.read(lambda c: lora.get(c, name))

    def adapters(self, cluster: str | None = None) -> list[StoredAdapter]:
        """Adapters, newest first; of one cluster, or of all."""
        return self.database.read(lambda c: lora.every(c, cluster))

    def set_adapter(
        self, name: str, state: AdapterState, *, card: Mapping[str, Any] | None = None
    ) -> StoredAdapter:
        """Change the state of an adapter, and its card where one is given."""
        return self.database.write(lambda c: lora.set_state(c, name, state, card))

    def move(
        self,
        cluster: str,
        kind: MoveKind,
        serves: str,
        *,
        share: float,
        who: str,
        why: str,
        evidence: Mapping[str, Any] | None = None,
        after: int | None = None,
    ) -> ClusterMove:
        """Change what serves a cluster.

        Args:
            cluster: id of it.
            kind: `shadow`: it answers beside, and nobody sees it; `canary`: it answers a share; `serve`: it
                answers all; `rollback`: another serves again.
            serves: what it is about: a tier, or an adapter.
            share: of the cluster's calls that this one answers, from 0 to 1.
            who: decides so.
            why: in words.
            evidence: what it is decided on, as JSON.
            after: number of the cluster's last move when it was decided, 0 if there was none; None to move in
                any case.

        Raises:
            InputError: if there is no such cluster, the share does not fit the kind, who or why is blank, or
                another move was made since.
        """
        return self.database.write(
            lambda c: lora.move(c, cluster, kind, serves, share, Reason(who, why, evidence), after)
        )

    def moves(self, cluster: str | None = None, *, limit: int | None = None) -> list[ClusterMove]:
        """Moves, newest first; of one cluster, or of all."""
        return self.database.read(lambda c: lora.history(c, cluster, limit))

    def standings(self) -> dict[str, ClusterMove]:
        """The last move of each cluster that was ever moved, which says how it stands."""
        return self.database.read(lambda c: lora.latest(c))

    def close(self) -> None:
        """Close the pool, if it is its own."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
