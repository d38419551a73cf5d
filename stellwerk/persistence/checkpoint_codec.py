"""Checkpoints as rows, and back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from stellwerk.errors import DatabaseError, InputError, UntrustedDataError
from stellwerk.persistence.schema.columns import MAX_KEY, digest, key, text

_INLINE = 64  # characters; a row of its own costs more than repeating so little with every checkpoint
_FEW = 3  # such atoms in a list or a dict
_BLOBS = "blobs"
_PLACE = attrgetter("task_path", "task_id", "idx")


class CheckpointRow(NamedTuple):
    """What a checkpoint's row holds besides its address."""

    checkpoint_id: bytes
    parent_id: bytes | None
    type: str | None
    checkpoint: bytes
    metadata_type: str | None
    metadata: bytes


class BlobRow(NamedTuple):
    """A value."""

    blob: bytes
    type: str | None
    value: bytes


class WriteRow(NamedTuple):
    """A write on top of a checkpoint."""

    checkpoint_id: bytes
    idx: int
    task_id: bytes
    task_path: bytes
    channel: bytes
    type: str | None
    value: bytes


@lru_cache(maxsize=4096)
def thread_key(thread_id: str) -> bytes:
    """The key of a thread."""
    return digest(thread_id)


@lru_cache(maxsize=4096)
def ns_key(checkpoint_ns: str) -> bytes:
    """The key of a namespace."""
    return digest(checkpoint_ns)


def blob_key(checkpoint_ns: str, channel: str, version: str | int | float) -> bytes:
    """The key of a channel's value at a version, within a thread."""
    return digest(f"{len(checkpoint_ns)}:{checkpoint_ns}{len(channel)}:{channel}{version}")


@dataclass(frozen=True, slots=True)
class Address:
    """Which checkpoint: of a thread and a namespace, the one of this id, or the latest."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str | None

    @classmethod
    def of(cls, config: RunnableConfig) -> Address:
        """The checkpoint that a config names.

        Raises:
            InputError: if the config names no thread.
        """
        configurable = config.get("configurable") or {}
        if configurable.get("thread_id") is None:
            raise InputError('the config names no thread; pass {"configurable": {"thread_id": "..."}}')
        checkpoint_id = configurable.get("checkpoint_id")
        return cls(
            str(configurable["thread_id"]),
            str(configurable.get("checkpoint_ns") or ""),
            None if not checkpoint_id else str(checkpoint_id),
        )

    @property
    def keys(self) -> dict[str, Any]:
        """Thread and namespace, as the tables' columns."""
        return {"thread": thread_key(self.thread_id), "ns": ns_key(self.checkpoint_ns)}

    def config(self, checkpoint_id: str) -> RunnableConfig:
        """The config that names a checkpoint here."""
        return {
            "configurable": {
                "thread_id": self.thread_id,
                "checkpoint_ns": self.checkpoint_ns,
                "checkpoint_id": checkpoint_id,
            }
        }


@dataclass(frozen=True, slots=True)
class Record:
    """A checkpoint as stored: its small values inside, and the keys of its large ones."""

    checkpoint: dict[str, Any]
    blobs: dict[str, bytes]

    def has(self, channel: str) -> bool:
        """Whether the channel has a value here."""
        return channel in self.blobs or channel in self.checkpoint["channel_values"]


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a checkpoint."""

    at: Address
    row: CheckpointRow
    record: Record
    blobs: Mapping[bytes, BlobRow]
    writes: Sequence[WriteRow]


class Codec:
    """Turns checkpoints, metadata and writes into rows and back, with one serializer."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde

    def checkpoint_rows(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The row of a checkpoint, and those of its new values."""
        at = Address.of(config)
        versions = checkpoint["channel_versions"]
        inline: dict[str, Any] = {}
        elsewhere: list[str] = []
        blobs: list[dict[str, Any]] = []
        for channel, value in checkpoint["channel_values"].items():
            if channel not in versions or _is_small(value):
                inline[channel] = value
                continue
            elsewhere.append(channel)
            if channel in new_versions:
                kind, payload = self._dump(value)
                name = blob_key(at.checkpoint_ns, channel, versions[channel])
                blobs.append(
                    {"thread": thread_key(at.thread_id), "blob": name, "type": kind, "value": payload}
                )
        kept = get_serializable_checkpoint_metadata(config, metadata)
        kind, payload = self._dump({**checkpoint, "channel_values": inline, _BLOBS: elsewhere})
        metadata_kind, metadata_payload = self._dump(kept)
        row = {
            **at.keys,
            "checkpoint_id": key("checkpoint_id", str(checkpoint["id"])),
            "parent_id": None if at.checkpoint_id is None else key("checkpoint_id", at.checkpoint_id),
            "thread_id": at.thread_id.encode("utf-8", "surrogatepass"),
            "checkpoint_ns": at.checkpoint_ns.encode("utf-8", "surrogatepass"),
            "run_id": run_key(kept.get("run_id")),
            "source": short_source(kept.get("source")),
            "step": small_step(kept.get("step")),
            "saved_at": time.time_ns() // 1000,
            "type": kind,
            "checkpoint": payload,
            "metadata_type": metadata_kind,
            "metadata": metadata_payload,
        }
        return row, blobs

    def write_rows(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> list[dict[str, Any]]:
        """The rows of a task's writes."""
        at = Address.of(config)
        if at.checkpoint_id is None:
            raise InputError("writes belong to a checkpoint, and the config names none; pass checkpoint_id")
        shared = {
            **at.keys,
            "checkpoint_id": key("checkpoint_id", at.checkpoint_id),
            "task_id": key("task_id", task_id),
            "task_path": task_path.encode("utf-8", "surrogatepass"),
        }
        rows = []
        for index, (channel, value) in enumerate(writes):
            kind, payload = self._dump(value)
            rows.append(
                {
                    **shared,
                    "idx": WRITES_IDX_MAP.get(channel, index),
                    "channel": channel.encode("utf-8", "surrogatepass"),
                    "type": kind,
                    "value": payload,
                }
            )
        return rows

    def record(self, row: CheckpointRow, at: Address) -> Record:
        """A checkpoint's own row.

        Raises:
            UntrustedDataError: if it holds no checkpoint.
        """
        checkpoint = self._load(row.type, row.checkpoint)
        try:
            ns, versions = at.checkpoint_ns, checkpoint["channel_versions"]
            stored = checkpoint.pop(_BLOBS)
            if not isinstance(checkpoint["channel_values"], dict):
                raise TypeError("channel_values is no dict")
            return Record(checkpoint, {name: blob_key(ns, name, versions[name]) for name in stored})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UntrustedDataError(
                f"checkpoint {text(row.checkpoint_id)!r} of thread {at.thread_id!r} is damaged "
                f"({type(error).__name__}: {error}); go on from another checkpoint"
            ) from error

    def metadata(self, row: CheckpointRow) -> CheckpointMetadata:
        """A checkpoint's metadata.

        Raises:
            UntrustedDataError: if it is no dict.
        """
        metadata = self._load(row.metadata_type, row.metadata)
        if not isinstance(metadata, dict):
            raise UntrustedDataError(
                f"the metadata of checkpoint {text(row.checkpoint_id)!r} is damaged: it is a "
                f"{type(metadata).__name__}"
            )
        return cast(CheckpointMetadata, metadata)

    def value(self, row: BlobRow | WriteRow) -> Any:
        """The value of a row of blobs or writes."""
        return self._load(row.type, row.value)

    def whole(self, found: Found) -> CheckpointTuple:
        """A checkpoint with everything that belongs to it.

        Raises:
            DatabaseError: if a value is not there; LangGraph would go on with a state that lacks it.
        """
        at, row, record = found.at, found.row, found.record
        checkpoint_id = text(row.checkpoint_id)
        values = record.checkpoint["channel_values"]
        for channel, name in record.blobs.items():
            if name not in found.blobs:
                raise DatabaseError(
                    f"checkpoint {checkpoint_id} of thread {at.thread_id!r} lacks the value of channel "
                    f"{channel!r}: it was deleted, or never saved; go on from another checkpoint"
                )
            values[channel] = self.value(found.blobs[name])
        parent = None if row.parent_id is None else at.config(text(row.parent_id))
        return CheckpointTuple(
            at.config(checkpoint_id),
            cast(Checkpoint, record.checkpoint),
            self.metadata(row),
            parent,
            self.pending(found.writes),
        )

    def pending(self, writes: Iterable[WriteRow]) -> list[PendingWrite]:
        """Writes in the order in which a run applies them."""
        return [self.write(row) for row in self.in_order(writes)]

    @staticmethod
    def in_order(writes: Iterable[WriteRow]) -> list[WriteRow]:
        """As LangGraph applies them (`writes_sort_key`).

        Sorted here, as databases differ in the order of texts; UTF-8 sorts as the text it stands for.
        """
        return sorted(writes, key=_PLACE) if writes else []

    @staticmethod
    def channel(row: WriteRow) -> str:
        """The channel of a write."""
        return text(row.channel)

    def write(self, row: WriteRow) -> PendingWrite:
        """A write: task, channel, value."""
        return text(row.task_id), text(row.channel), self.value(row)

    def _dump(self, value: Any) -> tuple[str | None, bytes]:
        kind, payload = self._serde.dumps_typed(value)
        return None if kind == "msgpack" else kind, payload

    def _load(self, kind: str | None, payload: bytes) -> Any:
        return self._serde.loads_typed((kind or "msgpack", payload))


def plain(value: Any) -> Any:
    """A value as it comes back from storage: tuples are lists there."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def same(stored: Any, wanted: Any) -> bool:
    """Whether a stored value is the wanted one. To Python, True is 1."""
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return stored is wanted
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return stored.keys() == wanted.keys() and all(same(stored[name], wanted[name]) for name in wanted)
    if isinstance(stored, list) and isinstance(wanted, list):
        return len(stored) == len(wanted) and all(map(same, stored, wanted))
    return bool(stored == wanted)


def _is_small(value: Any) -> bool:
    if _is_atom(value):
        return True
    kind = type(value)
    if len(value) > _FEW if kind is list or kind is dict else True:
        return False
    return all(map(_is_atom, value if kind is list else (*value, *value.values())))


def _is_atom(value: Any) -> bool:
    kind = type(value)  # exactly: a subclass, as an enum is, has to come back as what it was
    return value is None or kind in (bool, int, float) or (kind is str and len(value) <= _INLINE)


def run_key(run_id: Any) -> bytes | None:
    """A run's id as a column; what is too long for a key is stood for by a digest."""
    if run_id is None:
        return None
    encoded = str(run_id).encode("utf-8", "surrogatepass")
    return encoded if len(encoded) <= MAX_KEY else digest(str(run_id))


def short_source(source: Any) -> str | None:
    """What the column `source` can hold, or None."""
    fits = isinstance(source, str) and source.isascii() and source.isprintable() and 0 < len(source) <= 16
    return source if fits else None


def small_step(step: Any) -> int | None:
    """What the column `step` can hold, or None."""
    return step if type(step) is int and -(2**31) <= step < 2**31 else None
