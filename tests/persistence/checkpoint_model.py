"""What a checkpointer holds, in plain dicts: the simplest program that does what ours has to."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple

from tests.persistence.savers import at

Name = tuple[str, str, str]  # thread, namespace, checkpoint


@dataclass(frozen=True)
class Stored:
    """A checkpoint."""

    parent: str | None
    values: dict[str, Any]
    versions: dict[str, Any]
    metadata: dict[str, Any]
    run: str | None


@dataclass
class Model:
    """Checkpoints by name, and their writes by task and number: path, channel and value."""

    stored: dict[Name, Stored] = field(default_factory=dict)
    writes: dict[Name, dict[tuple[str, int], tuple[str, str, Any]]] = field(default_factory=dict)

    def put_writes(self, name: Name, writes: Sequence[tuple[str, Any]], task: str, path: str) -> None:
        anew = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        written = self.writes.setdefault(name, {})
        for number, (channel, value) in enumerate(writes):
            key = (task, WRITES_IDX_MAP.get(channel, number))
            if anew or key not in written:
                written[key] = (path, channel, value)

    def pending(self, name: Name) -> list[tuple[str, str, Any]]:
        written = self.writes.get(name, {})
        ordered = sorted(written, key=lambda key: (written[key][0], *key))
        return [(key[0], *written[key][1:]) for key in ordered]

    def latest(self, thread: str, ns: str) -> Name | None:
        return max((name for name in self.stored if name[:2] == (thread, ns)), default=None)

    def history(self, name: Name, channel: str) -> dict[str, Any]:
        """The writes of the ancestors back to the nearest that has a value, oldest first, and that value."""
        writes: list[tuple[str, str, Any]] = []
        for ancestor in self.ancestors(name):
            writes = [write for write in self.pending(ancestor) if write[1] == channel] + writes
            if channel in self.stored[ancestor].values:
                return {"writes": writes, "seed": self.stored[ancestor].values[channel]}
        return {"writes": writes}

    def ancestors(self, name: Name) -> list[Name]:
        found: list[Name] = []
        while (parent := self.stored[name].parent) is not None and (*name[:2], parent) in self.stored:
            name = (*name[:2], parent)
            found.append(name)
        return found

    def delete_thread(self, thread: str) -> None:
        self._keep_only({name for name in self.stored.keys() | self.writes.keys() if name[0] != thread})

    def delete_for_runs(self, runs: Sequence[str]) -> None:
        gone = {name for name, one in self.stored.items() if one.run in runs}
        self._keep_only((self.stored.keys() | self.writes.keys()) - gone)

    def copy_thread(self, source: str, target: str) -> None:
        for name, one in list(self.stored.items()):
            if name[0] == source:  # of no run: who undoes the run must not undo the copy
                self.stored[target, name[1], name[2]] = replace(deepcopy(one), run=None)
        for name, written in list(self.writes.items()):
            if name[0] == source:
                self.writes[target, name[1], name[2]] = dict(written)

    def keep_latest(self, thread: str) -> None:
        root = self.latest(thread, "")
        kept: set[Name] = set()
        for ns in {name[1] for name in self.stored if name[0] == thread}:
            head = self.latest(thread, ns)
            assert head is not None
            started = self.stored[head].metadata.get("parents", {}).get("")
            if ":" in ns and root is not None and started is not None and started < root[2]:
                continue  # a call of a subgraph that is finished
            kept |= self._needed(head)
        lost = {
            name
            for name in self.writes.keys() - self.stored.keys()
            if name[0] == thread and root is not None and name[2] < root[2]
        }
        others = {name for name in self.stored.keys() | self.writes.keys() if name[0] != thread}
        self._keep_only(others | kept | (self.writes.keys() - self.stored.keys() - lost))
        for name in kept:
            one = self.stored[name]
            if (*name[:2], one.parent) not in kept:
                self.stored[name] = replace(one, parent=None)

    def as_tuple(self, name: Name) -> dict[str, Any]:
        one = self.stored[name]
        return {
            "name": name,
            "values": one.values,
            "versions": one.versions,
            "metadata": one.metadata,
            "parent": None if one.parent is None else (*name[:2], one.parent),
            "writes": self.pending(name),
        }

    def _needed(self, head: Name) -> set[Name]:
        """The head, and its ancestors back to where every DeltaChannel has a value."""
        open_ = {*self.stored[head].metadata.get("counters_since_delta_snapshot", {})}
        needed = {head}
        for name in [head, *self.ancestors(head)]:
            needed.add(name)
            open_ -= self.stored[name].values.keys()
            if not open_:
                break
        return needed

    def _keep_only(self, names: set[Name]) -> None:
        self.stored = {name: one for name, one in self.stored.items() if name in names}
        self.writes = {name: one for name, one in self.writes.items() if name in names}


def of_tuple(found: CheckpointTuple) -> dict[str, Any]:
    """A checkpoint that was read, as `Model.as_tuple` gives it."""
    parent = found.parent_config
    return {
        "name": name_of(found.config),
        "values": found.checkpoint["channel_values"],
        "versions": found.checkpoint["channel_versions"],
        "metadata": dict(found.metadata),
        "parent": None if parent is None else name_of(parent),
        "writes": found.pending_writes,
    }


def name_of(config: Any) -> Name:
    named = config["configurable"]
    return named["thread_id"], named["checkpoint_ns"], named["checkpoint_id"]


def config_of(name: Name) -> Any:
    return at(*name)
