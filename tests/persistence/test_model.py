"""Any sequence of calls leaves in every database what it leaves in a model of plain dicts."""

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED, _DeltaSnapshot
from sqlalchemy import Connection, func, select

from stellwerk.errors import DatabaseError, InputError
from stellwerk.persistence import checkpoint_pages
from stellwerk.persistence.checkpoint_codec import blob_key, thread_key
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.schema.checkpoints import blobs, checkpoints, writes
from tests.persistence.checkpoint_model import Model, Name, Stored, config_of, name_of, of_tuple
from tests.persistence.savers import at, checkpoint

THREADS = st.sampled_from(["t", "T"])
SPACES = st.sampled_from(["", "", "memory", "call:1"])
RUNS = st.sampled_from(["r", "R", "r2"])
TASKS = st.sampled_from(["a", "B", "é"])
PATHS = st.sampled_from(["", "~1", "~10", "Z"])
PICKS = st.integers(0, 30)  # of so many as there are
CHANNELS = ("small", "large", "delta")
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from(["", "x", "x" * 65, b"\0'\\", [1, [2]], [1, 2], {"k": "v"}, {"k": {"v": None}}]),
)
LARGE = st.sampled_from(["x" * 65, "y" * 65, b"\0", ["a", "b", "c", "d"]])
SNAPSHOTS = st.none() | st.lists(st.integers(0, 9), max_size=2).map(_DeltaSnapshot)
EXTRAS = st.sampled_from([None, True, 1, 0, False, "1", [1], [True], {"a": 1}, {"a": None}])
METADATA = st.fixed_dictionaries(
    {"source": st.sampled_from(["input", "loop", "update"]), "step": st.integers(-1, 2)},
    optional={"run_id": RUNS, "x.y": EXTRAS, "'": EXTRAS},
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(["input", "loop"]),
        "step": st.integers(-1, 2),
        "run_id": RUNS,
        "x.y": EXTRAS,
        "'": EXTRAS,
    },
)
ORDINARY = st.tuples(st.sampled_from(CHANNELS), VALUES)
SPECIAL = st.tuples(st.sampled_from([ERROR, SCHEDULED, INTERRUPT, RESUME]), VALUES)
WRITES = st.one_of(
    st.lists(ORDINARY, min_size=1, max_size=3),
    st.lists(SPECIAL, min_size=1, max_size=4),
    st.lists(ORDINARY | SPECIAL, min_size=1, max_size=3),
)


class Machine(RuleBasedStateMachine):
    """Threads with namespaces in them, beside the model."""

    saver: SQLAlchemySaver

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.numbers = count(1)
        self.unused = count(1)

    def teardown(self) -> None:
        for thread in self.threads():
            self.saver.delete_thread(thread)
            self.model.delete_thread(thread)
        self.same_as_the_model()
        counts = (select(func.count()).select_from(table) for table in (checkpoints, blobs, writes))
        assert [self.saver.database.read(lambda c, q=q: c.execute(q).scalar()) for q in counts] == [0, 0, 0]  # type: ignore[misc]

    # Saving

    @rule(
        thread=THREADS,
        ns=SPACES,
        start=st.integers(0, 9),
        pick=PICKS,
        small=VALUES,
        large=LARGE | st.none(),
        delta=SNAPSHOTS,
        metadata=METADATA,
        numeric=st.booleans(),
    )
    def put(
        self,
        thread: str,
        ns: str,
        start: int,
        pick: int,
        small: Any,
        large: Any,
        delta: Any,
        metadata: dict[str, Any],
        numeric: bool,
    ) -> None:
        """A step after the latest checkpoint, after an older one, or after none."""
        before = self.named(pick, thread, ns) if start < 3 else self.model.latest(thread, ns)
        before = None if start == 9 else before
        old = Stored(None, {}, {}, {}, None) if before is None else self.model.stored[before]
        changed = {"small": small, "delta": delta} | ({"large": large} if large is not None else {})
        values = {name: value for name, value in old.values.items() if name != "delta"} | changed
        versions = old.versions | {name: self.version(old.versions.get(name), numeric) for name in changed}
        if delta is None:  # a DeltaChannel has a value only where a snapshot was made
            del values["delta"]
            metadata = metadata | {"counters_since_delta_snapshot": {"delta": [1, 1]}}
        if ":" in ns and (root := self.model.latest(thread, "")):
            metadata = metadata | {"parents": {"": root[2]}}
        name = (thread, ns, f"{next(self.numbers):04}")
        made = checkpoint(name[2], versions, **values)
        new = {channel: versions[channel] for channel in changed}
        kept: Any = metadata
        parent = None if before is None else before[2]
        assert name_of(self.saver.put(at(thread, ns, parent), made, kept, new)) == name
        self.model.stored[name] = Stored(parent, values, versions, metadata, metadata.get("run_id"))

    @rule(pick=PICKS, metadata=METADATA)
    def put_again(self, pick: int, metadata: dict[str, Any]) -> None:
        """With other metadata, as when a step is repeated after a crash."""
        if name := self.named(pick):
            old = self.model.stored[name]
            metadata = {
                key: value for key, value in old.metadata.items() if key.startswith(("counters", "parents"))
            } | metadata
            made = checkpoint(name[2], old.versions, **old.values)
            kept: Any = metadata
            self.saver.put(at(name[0], name[1], old.parent), made, kept, old.versions)
            self.model.stored[name] = Stored(
                old.parent, old.values, old.versions, metadata, metadata.get("run_id")
            )

    @rule(pick=PICKS, pending=WRITES, task=TASKS, path=PATHS)
    def put_writes(self, pick: int, pending: list[tuple[str, Any]], task: str, path: str) -> None:
        if name := self.named(pick):
            self.saver.put_writes(config_of(name), pending, task, path)
            self.model.put_writes(name, pending, task, path)

    @rule(thread=THREADS, ns=SPACES, pending=WRITES, task=TASKS)
    def put_writes_early(self, thread: str, ns: str, pending: list[tuple[str, Any]], task: str) -> None:
        """For a checkpoint that is not saved, as a subgraph does that saves its own only when it ends."""
        name = (thread, ns, f"{next(self.numbers):04}")
        self.saver.put_writes(config_of(name), pending, task)
        self.model.put_writes(name, pending, task, "")

    # Reading

    @rule(pick=PICKS, thread=THREADS, ns=SPACES)
    def get(self, pick: int, thread: str, ns: str) -> None:
        assert self.saver.get_tuple(at(thread, ns, "none")) is None
        for name, config in (
            (self.named(pick), config_of(self.named(pick) or (thread, ns, "none"))),
            (self.model.latest(thread, ns), at(thread, ns)),
        ):
            found = self.saver.get_tuple(config)
            assert (found and of_tuple(found)) == (name and self.model.as_tuple(name))

    @rule(
        thread=st.none() | THREADS,
        ns=st.none() | SPACES,
        wanted=st.just({}) | FILTERS,
        before=st.none() | PICKS,
        limit=st.none() | st.integers(0, 12),
    )
    def list_checkpoints(
        self,
        thread: str | None,
        ns: str | None,
        wanted: dict[str, Any],
        before: int | None,
        limit: int | None,
    ) -> None:
        config: Any = None
        if thread is not None:
            config = {"configurable": {"thread_id": thread} | ({} if ns is None else {"checkpoint_ns": ns})}
        older = None if before is None else f"{before:04}"
        names = [
            name
            for name, one in self.model.stored.items()
            if thread in (None, name[0])
            and (thread is None or ns in (None, name[1]))
            and (older is None or name[2] < older)
            # As text, in which True is not 1.
            and all(key in one.metadata and repr(one.metadata[key]) == repr(wanted[key]) for key in wanted)
        ]
        given = None if older is None else at(thread or "t", ns or "", older)
        found = list_of(self.saver, config, filter=wanted, before=given, limit=limit)
        event(f"listed {'pages' if len(found) > 3 else 'a page' if found else 'nothing'}")
        # Those of one id, in several threads, may come in any order.
        assert [one["name"][2] for one in found] == sorted((name[2] for name in names), reverse=True)[:limit]
        assert len({one["name"] for one in found}) == len(found)
        assert all(one["name"] in names and one == self.model.as_tuple(one["name"]) for one in found)

    @rule(pick=PICKS, thread=THREADS, ns=SPACES)
    def history(self, pick: int, thread: str, ns: str) -> None:
        with pytest.raises(DatabaseError, match="is not there"):
            self.saver.get_delta_channel_history(config=at(thread, ns, "none"), channels=["delta"])
        latest = self.model.latest(thread, ns)
        self.same_history(at(thread, ns), latest)
        if name := self.named(pick):
            self.same_history(config_of(name), name)

    # Deleting and copying

    @rule(thread=THREADS, pruned=st.booleans())
    def delete_thread(self, thread: str, pruned: bool) -> None:
        if pruned:
            self.saver.prune([thread], strategy="delete")
        else:
            self.saver.delete_thread(thread)
        self.model.delete_thread(thread)

    @rule(runs=st.lists(RUNS, max_size=2))
    def delete_for_runs(self, runs: list[str]) -> None:
        self.saver.delete_for_runs(runs)
        self.model.delete_for_runs(runs)

    @rule(source=THREADS, copy=THREADS)
    def copy_thread(self, source: str, copy: str) -> None:
        if copy in self.threads():
            with pytest.raises(InputError, match="there"):
                self.saver.copy_thread(source, copy)
        else:
            self.saver.copy_thread(source, copy)
            self.model.copy_thread(source, copy)

    @rule(threads=st.lists(THREADS, min_size=1, max_size=2))
    def keep_latest(self, threads: list[str]) -> None:
        heads = {
            head
            for thread in threads
            for ns in {name[1] for name in self.model.stored}
            if (head := self.model.latest(thread, ns))
        }
        histories = {head: self.model.history(head, "delta") for head in heads}
        self.saver.prune(threads)
        for thread in threads:
            self.model.keep_latest(thread)
            self.no_orphans(thread)
        for head in heads & self.model.stored.keys():
            if "delta" not in self.model.stored[head].values:
                self.same_history(config_of(head), head)
                assert self.model.history(head, "delta") == histories[head]

    @invariant()
    def same_as_the_model(self) -> None:
        found = {one["name"]: one for one in list_of(self.saver, None)}
        assert found == {name: self.model.as_tuple(name) for name in self.model.stored}

    # What the rules share

    def threads(self) -> set[str]:
        return {name[0] for name in self.model.stored.keys() | self.model.writes.keys()}

    def named(self, pick: int, *place: str) -> Name | None:
        """One of the checkpoints, or of those in a place; an older one with a larger number."""
        names = sorted((name for name in self.model.stored if name[: len(place)] == place), reverse=True)
        return names[pick % len(names)] if names else None

    def version(self, old: Any, numeric: bool) -> Any:
        """The next of a channel: text, which tells branches apart, or a number that was not used yet."""
        return next(self.unused) if numeric else self.saver.get_next_version(old, None)

    def same_history(self, config: Any, name: Name | None) -> None:
        channels = ["small", "delta", "none"]
        found = self.saver.get_delta_channel_history(config=config, channels=channels)
        nothing: dict[str, Any] = {"writes": []}
        assert found == {
            channel: nothing if name is None else self.model.history(name, channel) for channel in channels
        }

    def no_orphans(self, thread: str) -> None:
        used = {
            blob_key(name[1], channel, version)
            for name, one in self.model.stored.items()
            if name[0] == thread
            for channel, version in one.versions.items()
        }

        def names(connection: Connection) -> set[bytes]:
            query = select(blobs.c.blob).where(blobs.c.thread == thread_key(thread))
            return {bytes(name) for name in connection.execute(query).scalars()}

        assert self.saver.database.read(names) <= used


def list_of(saver: SQLAlchemySaver, config: Any, **options: Any) -> list[dict[str, Any]]:
    return [of_tuple(found) for found in saver.list(config, **options)]


def test_any_sequence_of_calls_leaves_what_the_model_holds(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_pages, "_PAGE", 3)  # so that few checkpoints are several pages
    with SQLAlchemySaver.from_url(url) as saver:
        run_state_machine_as_test(
            type("Machine", (Machine,), {"saver": saver}),
            settings=settings(
                max_examples=60 if url == "sqlite://" else 5,
                stateful_step_count=40,
                deadline=None,
                phases=[Phase.generate],  # to make a failure smaller would take minutes on a disk
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
