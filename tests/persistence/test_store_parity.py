"""Any sequence of batches does what it does to LangGraph's store in memory.

Where that store is to differ, it is told so: it orders what it finds by insertion, lists namespaces that hold
nothing any more, and takes a key that is not there for one that holds None.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from stellwerk.persistence.database import Database
from stellwerk.persistence.store import SQLAlchemyStore
from tests.persistence.conftest import BACKENDS, database

LABELS = st.sampled_from(["a", "A", "b", "a ", "é", "%"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
PREFIXES = st.lists(LABELS, max_size=2).map(tuple)
PATHS = st.lists(LABELS | st.just("*"), min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["k", "K", "k ", "ü", "🚂", "", "'"])
LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.5]) | st.text("a\0é", max_size=2)
)
VALUES = st.fixed_dictionaries(
    {"n": st.integers(-2, 2), "t": st.sampled_from(["x", "y"])},
    optional={"d": st.fixed_dictionaries({"e": LEAVES, "f": LEAVES}), "l": st.lists(LEAVES, max_size=2)},
)
NUMBERS = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), st.integers(-2, 2), min_size=1, max_size=2
)
FILTERS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-2, 2) | NUMBERS,
        "t": st.sampled_from(["x", "y"]) | st.fixed_dictionaries({"$ne": st.just("x")}),
        "d": st.fixed_dictionaries({"e": st.text("aé", min_size=1, max_size=2)}),
    },
)
CONDITIONS = st.lists(
    st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), PATHS),
    max_size=2,
).map(tuple)
OPS: st.SearchStrategy[Op] = st.one_of(
    st.builds(GetOp, NAMESPACES, KEYS, st.booleans()),
    st.builds(PutOp, NAMESPACES, KEYS, VALUES | st.none(), st.none(), st.none()),
    st.builds(PutOp, NAMESPACES, KEYS, VALUES, st.none(), st.none()),
    st.builds(SearchOp, PREFIXES, FILTERS, st.integers(0, 50), st.integers(0, 3), st.none(), st.booleans()),
    st.builds(ListNamespacesOp, CONDITIONS, st.none() | st.integers(0, 3), st.just(1000), st.just(0)),
)
BATCHES = st.lists(st.lists(OPS, max_size=8), min_size=1, max_size=8)


def plain(item: Item) -> tuple[Any, ...]:
    return item.namespace, item.key, sorted(item.value.items(), key=str)


def compare(op: Op, ours: Any, theirs: Any, everything: Sequence[SearchItem]) -> None:
    match op:
        case GetOp() if theirs is not None:
            assert plain(ours) == plain(theirs)
        case SearchOp():
            matching = [plain(item) for item in theirs]
            found = [plain(item) for item in ours]
            # The order is another, so any page of what matches is right, if it is as long as it has to be.
            assert len(found) == len(matching[op.offset : op.offset + op.limit])
            assert all(item in matching for item in found)
            assert len({item[:2] for item in found}) == len(found)
        case ListNamespacesOp():
            living = InMemoryStore()  # in which no namespace is empty
            living.batch([PutOp(item.namespace, item.key, item.value) for item in everything])
            assert ours == living.batch([op])[0]
        case _:
            assert ours is theirs is None


def run(store: SQLAlchemyStore, batches: Sequence[Sequence[Op]]) -> None:
    reference = InMemoryStore()
    for batch in batches:
        everything = reference.search((), limit=10_000)
        whole = [op._replace(limit=10_000, offset=0) if isinstance(op, SearchOp) else op for op in batch]
        for op, ours, theirs in zip(batch, store.batch(batch), reference.batch(whole), strict=True):
            compare(op, ours, theirs, everything)
    ours = store.search((), limit=10_000)
    assert sorted(map(plain, ours)) == sorted(map(plain, reference.search((), limit=10_000)))


@pytest.fixture(scope="module", params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = tmp_path_factory.mktemp("parity")
    with database(request.param, path) as url, SQLAlchemyStore(Database.from_url(url)) as made:
        yield made


# Without shrinking, which takes hundreds of runs, each with its commits to disk.
@settings(
    max_examples=20,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(batches=BATCHES)
def test_does_what_the_store_in_memory_does(store: SQLAlchemyStore, batches: list[list[Op]]) -> None:
    left = store.search((), limit=10_000)
    store.batch([PutOp(item.namespace, item.key, None) for item in left])
    run(store, batches)
