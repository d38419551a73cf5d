"""The store of the conversion, for async code: `AsyncConversionStore`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from stellwerk.persistence import adapter_units as lora
from stellwerk.persistence import cluster_units as groups
from stellwerk.persistence import conversion_units as log
from stellwerk.persistence import dataset_units as sets
from stellwerk.persistence.adapter_units import AdapterState, ClusterMove, MoveKind, StoredAdapter
from stellwerk.persistence.cluster_units import Cluster, Clustering
from stellwerk.persistence.conversion_units import Conversion, Step
from stellwerk.persistence.conversions import Url
from stellwerk.persistence.database import AsyncDatabase
from stellwerk.persistence.dataset_units import DatasetExample, Split, StoredDataset
from stellwerk.persistence.router_units import Reason

_PAGE = 500  # rows in memory at once while reading


class AsyncConversionStore:
    """As `ConversionStore`, for async code: the same methods."""

    def __init__(self, database: AsyncDatabase) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: Url) -> Self:
        """As `ConversionStore.from_url`."""
        return cls(AsyncDatabase.from_url(url, pool_size=2))

    async def begin(self, step: Step, parameters: Mapping[str, Any], *, resume: bool = True) -> Conversion:
        """As `ConversionStore.begin`."""
        name = secrets.token_bytes(16)
        return await self.database.write(lambda c: log.begin(c, name, step, parameters, resume=resume))

    async def progress(
        self, id: str, *, cursor: Any = None, counts: Mapping[str, int] | None = None
    ) -> Conversion:
        """As `ConversionStore.progress`."""
        return await self.database.write(
            lambda c: log.tell(c, id, state="running", cursor=cursor, counts=counts, report=None, error=None)
        )

    async def finish(
        self, id: str, *, counts: Mapping[str, int], report: Mapping[str, Any] | None = None
    ) -> Conversion:
        """As `ConversionStore.finish`."""
        return await self.database.write(
            lambda c: log.tell(c, id, state="done", cursor=None, counts=counts, report=report, error=None)
        )

    async def fail(self, id: str, error: str, *, counts: Mapping[str, int] | None = None) -> Conversion:
        """As `ConversionStore.fail`."""
        return await self.database.write(
            lambda c: log.tell(c, id, state="failed", cursor=None, counts=counts, report=None, error=error)
        )

    async def conversions(self, step: Step | None = None, *, limit: int | None = None) -> list[Conversion]:
        """As `ConversionStore.conversions`."""
        return await self.database.read(lambda c: log.listing(c, step, limit))

    async def add_dataset(self, name: str, card: Mapping[str, Any]) -> StoredDataset:
        """As `ConversionStore.add_dataset`."""
        return await self.database.write(lambda c: sets.add(c, name, card))

    async def dataset(self, name: str) -> StoredDataset:
        """As `ConversionStore.dataset`."""
        return await self.database.read(lambda c: sets.get(c, name))

    async def datasets(self) -> list[StoredDataset]:
        """As `ConversionStore.datasets`."""
        return await self.database.read(lambda c: sets.every(c))

    async def examples(self, dataset: str, split: Split | None = None) -> AsyncIterator[DatasetExample]:
        """As `ConversionStore.examples`."""
        after = ""
        while page := await self.database.read(
            lambda c, after=after: sets.page(c, dataset, split, after, _PAGE)  # type: ignore[misc]
        ):
            for example in page:
                yield example
            after = page[-1].trace_id

    async def add_examples(self, dataset: str, examples: Sequence[DatasetExample]) -> None:
        """As `ConversionStore.add_examples`."""
        await self.database.write(lambda c: sets.add_examples(c, dataset, examples))

    async def discard_dataset(self, name: str) -> None:
        """As `ConversionStore.discard_dataset`."""
        await self.database.write(lambda c: sets.discard(c, name))

    async def save_clustering(
        self, version: str, file: bytes, card: Mapping[str, Any], clusters: Sequence[Cluster]
    ) -> Clustering:
        """As `ConversionStore.save_clustering`."""
        return await self.database.write(lambda c: groups.save(c, version, file, card, clusters))

    async def load_clustering(self, version: str) -> bytes:
        """As `ConversionStore.load_clustering`."""
        return await self.database.read(lambda c: groups.load(c, version))

    async def clusterings(self) -> list[Clustering]:
        """As `ConversionStore.clusterings`."""
        return await self.database.read(lambda c: groups.every(c))

    async def clusters(self, version: str) -> list[Cluster]:
        """As `ConversionStore.clusters`."""
        return await self.database.read(lambda c: groups.of(c, version))

    async def members(self, version: str, cluster: str) -> AsyncIterator[str]:
        """As `ConversionStore.members`."""
        after = ""
        while page := await self.database.read(
            lambda c, after=after: groups.page(c, version, cluster, after, _PAGE)  # type: ignore[misc]
        ):
            for trace in page:
                yield trace
            after = page[-1]

    async def add_members(self, version: str, members: Mapping[str, str]) -> None:
        """As `ConversionStore.add_members`."""
        await self.database.write(lambda c: groups.add_members(c, version, members))

    async def clusters_of(self, version: str, traces: Sequence[str]) -> dict[str, str]:
        """As `ConversionStore.clusters_of`."""
        return await self.database.read(lambda c: groups.clusters_of(c, version, traces))

    async def sizes(self, version: str) -> dict[str, int]:
        """As `ConversionStore.sizes`."""
        return await self.database.read(lambda c: groups.sizes(c, version))

    async def discard_clustering(self, version: str) -> None:
        """As `ConversionStore.discard_clustering`."""
        await self.database.write(lambda c: groups.discard(c, version))

    async def add_adapter(
        self, name: str, *, base: str, path: str, sha256: str, dataset: str, card: Mapping[str, Any]
    ) -> StoredAdapter:
        """As `ConversionStore.add_adapter`."""
        return await self.database.write(
            lambda c: lora.add(c, name, base=base, path=path, sha256=sha256, dataset=dataset, card=card)
        )

    async def adapter(self, name: str) -> StoredAdapter:
        """As `ConversionStore.adapter`."""
        return await self.database.read(lambda c: lora.get(c, name))

    async def adapters(self, cluster: str | None = None) -> list[StoredAdapter]:
        """As `ConversionStore.adapters`."""
        return await self.database.read(lambda c: lora.every(c, cluster))

    async def set_adapter(
        self, name: str, state: AdapterState, *, card: Mapping[str, Any] | None = None
    ) -> StoredAdapter:
        """As `ConversionStore.set_adapter`."""
        return await self.database.write(lambda c: lora.set_state(c, name, state, card))

    async def move(
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
        """As `ConversionStore.move`."""
        return await self.database.write(
            lambda c: lora.move(c, cluster, kind, serves, share, Reason(who, why, evidence), after)
        )

    async def moves(self, cluster: str | None = None, *, limit: int | None = None) -> list[ClusterMove]:
        """As `ConversionStore.moves`."""
        return await self.database.read(lambda c: lora.history(c, cluster, limit))

    async def standings(self) -> dict[str, ClusterMove]:
        """As `ConversionStore.standings`."""
        return await self.database.read(lambda c: lora.latest(c))

    async def close(self) -> None:
        """Close the pool, if it is its own."""
        await self.database.close()

    async def __aenter__(self) -> Self:
        await self.database.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
