"""Awkward keys, sizes and filters: nothing is taken for anything else, on any database."""

import operator
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import StateGraph
from sqlalchemy import create_engine, text
from typing_extensions import TypedDict

from stellwerk.errors import DatabaseError, InputError
from tests.persistence.conftest import database
from tests.persistence.savers import Saver, at, checkpoint, ids, listed, opened, put

NAMES = [
    "A",
    "a",
    "x",
    "x ",
    " x",
    "x\t",
    "é",
    "e",
    "e\u0301",  # é in two characters
    "E",
    "ß",
    "ss",
    "a\0",
    "\0",
    "a\0b",
    "\U0001f600",
    "\U0001f601",
    "\ud800",
    "%",
    "_",
    "\\",
    "\\_",
    "'",
    '"',
    "`",
    "' OR '1'='1",
    "a'; DROP TABLE stellwerk_checkpoints; --",
    "{}",
    "$.a",
    ":1",
    "%s",
    "?",
    "ﬀ",
    "ff",
    "1",
    "01",
    "1.0",
    "a|b",
    "a:b",
    "t" * 300,
    "t" * 301,
    "🜁" * 200,
]


@pytest.fixture(params=[True, False], ids=["sync", "async"])
async def saver(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Saver]:
    async with opened(url, request.param) as made:
        yield made


@pytest.fixture(
    params=[("sqlite", True), ("memory", False), ("postgresql", False), ("mariadb", True)],
    ids=["sqlite-sync", "memory-async", "postgresql-async", "mariadb-sync"],
)
async def some_saver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Saver]:
    """As `saver`, each database with one of the two, for tests that take long."""
    backend, sync = request.param
    with database(backend, tmp_path) as url:
        async with opened(url, sync) as made:
            yield made


async def value(saver: Saver, thread: Any, ns: str = "") -> Any:
    found = await saver.aget_tuple(at(thread, ns))
    return None if found is None else found.checkpoint["channel_values"]["value"]


async def test_every_name_is_a_thread_a_namespace_a_channel_and_a_task_of_its_own(saver: Saver) -> None:
    names = [name for name in NAMES if len(name.encode("utf-8", "surrogatepass")) <= 255]
    for name in NAMES:
        assert await saver.aget_tuple(at(name)) is None
        await put(saver, at(name), checkpoint(value=f"thread {name!a}"))
    for name in NAMES:
        await put(saver, at("of namespaces", name), checkpoint(value=f"ns {name!a}"))
    large = {name: [name] * 2 for name in names if name != "\ud800"}  # as text of a value it is no UTF-8
    made = checkpoint(versions=dict.fromkeys(large, "1"), **large)
    saved = await put(saver, at("of channels"), made)
    for name in names:
        await saver.aput_writes(saved, [(name, f"write {name!a}")], name, name)
    for name in NAMES:
        assert await value(saver, name) == f"thread {name!a}"
        assert await value(saver, "of namespaces", name) == f"ns {name!a}"
        [found] = await listed(saver, at(name))
        assert found.config["configurable"]["thread_id"] == name
    found_all = await listed(saver, {"configurable": {"thread_id": "of namespaces"}})
    assert {one.config["configurable"]["checkpoint_ns"] for one in found_all} == set(NAMES)
    whole = await saver.aget_tuple(saved)
    assert whole is not None
    assert whole.checkpoint["channel_values"] == large
    assert whole.pending_writes is not None
    assert sorted(whole.pending_writes) == sorted((name, name, f"write {name!a}") for name in names)
    half = NAMES[::2]
    for name in half:
        await saver.adelete_thread(name)
    assert {name for name in NAMES if await value(saver, name)} == set(NAMES) - set(half)


async def test_long_ids(some_saver: Saver) -> None:
    longest, longer = "i" * 255, "i" * 256
    made = checkpoint(longest, value=1)
    saved = await put(some_saver, at("1"), made, {"run_id": longer * 2})
    await some_saver.aput_writes(saved, [("value", 1)], longest, longer * 20)
    [found] = await listed(some_saver, saved)
    assert found.pending_writes == [(longest, "value", 1)]
    with pytest.raises(InputError, match=r"task_id 'i+'\.\.\. has 256 bytes; use at most 255"):
        await some_saver.aput_writes(saved, [("value", 1)], longer)
    for config, identity in ((at("1"), longer), (at("1", "", longer), longest)):
        with pytest.raises(InputError, match=r"checkpoint_id .* has 256 bytes"):
            await put(some_saver, config, checkpoint(identity, value=1))
    with pytest.raises(InputError, match="has 300 bytes"):
        await some_saver.aput_writes(saved, [("value", 1)], "\u00e9" * 150)
    assert await some_saver.aget_tuple(at("1", "", longer)) is None
    assert await listed(some_saver, at("1"), before=at("1", "", "j" * 300)) != []
    await some_saver.adelete_for_runs([longer])
    assert await value(some_saver, "1") == 1
    await some_saver.adelete_for_runs([longer * 2])
    assert await value(some_saver, "1") is None


async def test_a_long_write_of_one_task(some_saver: Saver) -> None:
    saved = await put(some_saver, at("1"))
    many = [("value", number) for number in range(3_000)]
    await some_saver.aput_writes(saved, many, "task")
    found = await some_saver.aget_tuple(saved)
    assert found is not None
    assert found.pending_writes == [("task", *write) for write in many]


async def test_five_thousand_channels(some_saver: Saver) -> None:
    values = {f"channel {number}": {"text": f"{number} " * 20} for number in range(5_000)}
    made = checkpoint(**values)
    saved = await put(some_saver, at("1"), made)
    found = await some_saver.aget_tuple(saved)
    assert found is not None
    assert found.checkpoint["channel_values"] == values
    await some_saver.acopy_thread("1", "2")
    await some_saver.aprune(["1", "2"])
    again = await some_saver.aget_tuple(at("2"))
    assert again is not None
    assert again.checkpoint["channel_values"] == values


async def test_twenty_megabytes(some_saver: Saver) -> None:
    part = bytes(range(256)) * 4096 * 5  # 5 MiB, with every byte that a driver may have to escape
    values = {f"part {number}": part + bytes([number]) for number in range(4)}
    await put(some_saver, at("1"), checkpoint(**values))
    found = await some_saver.aget_tuple(at("1"))
    assert found is not None
    assert found.checkpoint["channel_values"] == values


async def test_one_value_of_twenty_megabytes(some_saver: Saver) -> None:
    large = "ä" * (10 * 2**20)
    if some_saver.database.dialect == "mariadb":
        # It takes 16 MB at once as it is installed; the limit is the server's to raise.
        with pytest.raises(
            DatabaseError, match=r"20,97.,... bytes .*max_allowed_packet is 16,777,216.*raise"
        ):
            await put(some_saver, at("1"), checkpoint(large=large))
        saved = await put(some_saver, at("1"))
        with pytest.raises(DatabaseError, match="max_allowed_packet"):
            await some_saver.aput_writes(saved, [("large", large)], "task")
        return
    await put(some_saver, at("1"), checkpoint(large=large))
    found = await some_saver.aget_tuple(at("1"))
    assert found is not None
    assert found.checkpoint["channel_values"] == {"large": large}


METADATA: dict[str, Any] = {
    "a.b": 1,
    "$.a": 2,
    "a": {"b": 3},
    "quote'": 4,
    'quote"': 5,
    "back\\slash": 6,
    "x') = 1 OR 1=1 --": 7,
    "'; DROP TABLE stellwerk_checkpoints; --": 8,
    "é": 9,
    "e\u0301": 10,
    "\U0001f600": 11,
    "": 12,
    "nul\0": 13,
    "none": None,
    "true": True,
    "one": 1,
    "zero": 0,
    "text": "1",
    "list": [1, True, {"x": None}],
    "deep": {"a": [{"b": {"c": "d"}}]},
}


async def test_metadata_is_filtered_by_key_and_value(saver: Saver) -> None:
    for number, (name, wanted) in enumerate(METADATA.items()):
        await put(saver, at(f"{number}"), None, {name: wanted})
    for number, (name, wanted) in enumerate(METADATA.items()):
        found = await listed(saver, None, filter={name: wanted})
        assert [one.config["configurable"]["thread_id"] for one in found] == [f"{number}"], name
        assert await listed(saver, None, filter={name: "another"}) == []


MATCHES: list[tuple[Any, Any, bool]] = [
    ({"a": None}, {"a": None}, True),
    ({"b": 1}, {"a": None}, False),  # an absent key is no None
    ({"a": True}, {"a": 1}, False),
    ({"a": 1}, {"a": True}, False),
    ({"a": 0}, {"a": False}, False),
    ({"a": [True]}, {"a": [1]}, False),
    ({"a": {"b": 1}}, {"a": {"b": True}}, False),
    ({"a": 1}, {"a": 1.0}, True),
    ({"a": "1"}, {"a": 1}, False),
    ({"a": (1, (2,))}, {"a": [1, [2]]}, True),
    ({"a": [1, [2]]}, {"a": (1, (2,))}, True),
    ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, True),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, False),  # equal, and not a part
    ({"a": [1, 2]}, {"a": [2, 1]}, False),
    ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
    ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
    ({"step": 1}, {"step": True}, False),
    ({"step": True}, {"step": 1}, False),
    ({"step": 1}, {"step": 1.0}, True),
    ({"step": 2**63}, {"step": 2**63}, True),
    ({"step": -(2**31) - 1}, {"step": -(2**31) - 1}, True),
    ({"step": "1"}, {"step": 1}, False),
    ({"step": None}, {"step": None}, True),
    ({}, {"step": None}, False),
    ({"source": "loop"}, {"source": "loop"}, True),
    ({"source": "loop"}, {"source": "LOOP"}, False),
    ({"source": "loop"}, {"source": "loop "}, False),
    ({"source": "loop"}, {"source": "loop\n"}, False),
    ({"source": "lo\0p"}, {"source": "lo\0p"}, True),
    ({"source": "s" * 300}, {"source": "s" * 300}, True),
    ({"source": "ü"}, {"source": "ü"}, True),
    ({"source": 3}, {"source": 3}, True),
    ({"source": "'; DROP TABLE x; --"}, {"source": "'; DROP TABLE x; --"}, True),
    ({"source": ""}, {"source": ""}, True),
    ({"source": "loop"}, {"source": {"$ne": 1}}, False),
]


async def test_what_a_filter_matches(saver: Saver) -> None:
    for number, (stored, wanted, matches) in enumerate(MATCHES):
        await put(saver, at(number), None, stored)
        assert bool(await listed(saver, at(number), filter=wanted)) is matches, (stored, wanted)


async def test_limits(some_saver: Saver) -> None:
    for _ in range(5):
        await put(some_saver, at("1"))
    assert await listed(some_saver, at("1"), limit=0) == []
    assert len(await listed(some_saver, at("1"), limit=3)) == 3
    assert len(await listed(some_saver, at("1"), limit=10**30)) == 5
    assert len(await listed(some_saver, at("1"))) == 5
    for wrong in (-1, True, False, 1.0, "1", "1; DROP TABLE stellwerk_checkpoints"):
        with pytest.raises(InputError, match="whole number from 0"):
            await listed(some_saver, at("1"), limit=wrong)


async def test_a_hostile_request_leaves_the_tables(url: str) -> None:
    bad = "x'; DROP TABLE stellwerk_checkpoints; --"
    if url == "sqlite://":
        pytest.skip("another connection would be another database")
    async with opened(url, False) as saver:
        await put(saver, at("1"))
        await listed(saver, at(bad), filter={bad: bad}, before=at(bad, bad, bad))
        await saver.adelete_for_runs([bad])
        await saver.aprune([bad])
        await saver.acopy_thread(bad, bad + "2")
        for wrong in (bad, "keep_latest; DROP"):
            with pytest.raises(InputError, match="no strategy"):
                await saver.aprune(["1"], strategy=wrong)
        with pytest.raises(InputError, match="give a list"):
            await saver.adelete_for_runs("run")
        await saver.adelete_thread(bad)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM stellwerk_checkpoints")).scalar() == 1
    engine.dispose()


@pytest.mark.parametrize(("old", "new"), [(1, 2), (1.0, 2.5), ("1", "2"), ("0.1", "0.2")])
async def test_versions_of_every_type(old: Any, new: Any, url: str) -> None:
    async with opened(url, False) as saver:
        await versions_come_back(saver, old, new)


async def versions_come_back(saver: Saver, old: Any, new: Any) -> None:
    first = await put(saver, at("1"), checkpoint(versions={"value": old}, value=["old"]))
    second = checkpoint(versions={"value": new}, value=["new"])
    await saver.aput(first, second, {}, {"value": new})
    third = checkpoint(versions={"value": new}, value=["new"])
    await saver.aput(at("1", "", second["id"]), third, {}, {})  # unchanged, and so not written again
    found = await listed(saver, at("1"))
    assert [one.checkpoint["channel_values"]["value"] for one in found] == [["new"], ["new"], ["old"]]
    versions = [one.checkpoint["channel_versions"]["value"] for one in found]
    assert versions == [new, new, old]
    assert {type(version) for version in versions} == {type(old)}
    assert saver.get_next_version(new, None).startswith(f"{int(float(new)) + 1:08}.")


class Deep(TypedDict):
    trail: Annotated[list[str], operator.add]


def nested(depth: int, saver: Saver | None) -> Any:
    """A graph in a graph in a graph, with names that are no plain words."""
    graph = StateGraph(Deep)
    name = f"node_{depth}_é_" + "n" * 30
    graph.add_node("before", lambda state: {"trail": [f"{depth}"]})
    if depth > 1:
        graph.add_node(name, nested(depth - 1, None))
    else:
        graph.add_node(name, stop)
    graph.set_entry_point("before")
    graph.add_edge("before", name)
    return graph.compile(checkpointer=saver)


def stop(state: Deep) -> dict[str, Any]:
    from langgraph.types import interrupt

    return {"trail": [interrupt("?")]}


async def test_ten_nested_subgraphs(some_saver: Saver) -> None:
    from langgraph.types import Command

    graph = nested(10, some_saver)
    config = at("1")
    stopped = await graph.ainvoke({"trail": []}, config, recursion_limit=100)
    assert stopped["__interrupt__"]
    spaces = {
        one.config["configurable"]["checkpoint_ns"] for one in await listed(some_saver, thread_only("1"))
    }
    assert max(ns.count("|") for ns in spaces) == 8
    assert max(map(len, spaces)) > 600
    state = await graph.aget_state(config, subgraphs=True)
    depth = 1
    while state.tasks and hasattr(state.tasks[0].state, "tasks"):
        state, depth = state.tasks[0].state, depth + 1
    assert depth == 10
    done = await graph.ainvoke(Command(resume="yes"), config)
    assert done["trail"].count("yes") == 1
    await some_saver.aprune(["1"])
    assert (await graph.aget_state(config)).values == done


def thread_only(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


async def test_pages_have_no_gap_and_no_duplicate(some_saver: Saver) -> None:
    """200 checkpoints in three namespaces of two threads, some with the same id."""
    for number in range(200):
        config = at(f"{number % 2}", f"ns{number % 3}")
        await put(some_saver, config, checkpoint(f"{number // 4:04}", value=number), {"third": number % 3})
    everything = await listed(some_saver, None)
    assert len(everything) == len({str(one.config) for one in everything})
    assert ids(everything) == sorted(ids(everything), reverse=True)
    for limit in (1, 31, 32, 33, 64, 199, 500):
        assert await listed(some_saver, None, limit=limit) == everything[:limit]
    here = await listed(some_saver, at("1", "ns1"))
    assert here == [
        one
        for one in everything
        if one.config["configurable"] | at("1", "ns1")["configurable"] == one.config["configurable"]
    ]
    page: list[Any] = []
    while found := await listed(
        some_saver, at("1", "ns1"), limit=7, before=page[-1].config if page else None
    ):
        page += found
    assert page == here
    thirds = await listed(some_saver, thread_only("0"), filter={"third": 2}, limit=20)
    assert (
        thirds
        == [
            one
            for one in everything
            if one.config["configurable"]["thread_id"] == "0" and one.metadata.get("third") == 2
        ][:20]
    )
