"""What the steps of the conversion keep, on every database."""

import inspect
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from stellwerk.errors import InputError, UntrustedDataError
from stellwerk.persistence.async_conversions import AsyncConversionStore
from stellwerk.persistence.cluster_units import Cluster
from stellwerk.persistence.conversions import ConversionStore
from stellwerk.persistence.dataset_units import DatasetExample
from stellwerk.persistence.schema.conversion import clustering_parts
from tests.persistence.traces import NOON

WHO: dict[str, Any] = {"who": "ada", "why": "it is as good"}
GROUPS = [Cluster(id="refunds", call_site="agent/model", name="refunds", card={"size": 3})]


@pytest.fixture
def store(url: str) -> Iterator[ConversionStore]:
    with ConversionStore.from_url(url) as store:
        yield store


def example(number: int, **changed: Any) -> DatasetExample:
    values: dict[str, Any] = {
        "trace_id": f"{number:032x}",
        "call_site": "agent/model",
        "split": "test" if number % 10 == 0 else "train",
        "content": {"messages": [{"role": "user", "content": f"Wo ist Nr. {number}? \0 \ud800"}]},
        "origin": f"{number % 3:032x}",
        "created_at": NOON + timedelta(seconds=number),
        **changed,
    }
    return DatasetExample(**values)


def test_a_step_that_broke_off_goes_on_and_one_that_ended_does_not(store: ConversionStore) -> None:
    begun = store.begin("curate", {"call_site": "agent", "margin": 0.05})
    assert (begun.state, begun.cursor, begun.counts) == ("running", None, {})
    store.progress(begun.id, cursor={"after": "ff"}, counts={"read": 10})
    store.fail(begun.id, "the disk is full")
    assert [(one.state, one.error) for one in store.conversions("curate")] == [("failed", "the disk is full")]
    again = store.begin("curate", {"margin": 0.05, "call_site": "agent"})
    assert (again.id, again.state, again.cursor, again.error) == (begun.id, "running", {"after": "ff"}, None)
    assert store.begin("curate", {"call_site": "other"}).id != begun.id
    assert store.begin("curate", {"call_site": "agent", "margin": 0.05}, resume=False).id != begun.id
    done = store.finish(begun.id, counts={"read": 20}, report={"dropped": {"pii": 1}})
    assert (done.state, done.counts, done.report) == ("done", {"read": 20}, {"dropped": {"pii": 1}})
    assert len(store.conversions()) == 3
    assert len(store.conversions(limit=1)) == 1
    with pytest.raises(InputError, match="there is no step 'fly'"):
        store.begin("fly", {})  # type: ignore[arg-type]  # what a caller may get wrong
    with pytest.raises(InputError, match="no step of the conversion has the id 'ab'"):
        store.finish("ab", counts={})


def test_examples_come_back_in_pages_by_their_split(store: ConversionStore) -> None:
    store.add_dataset("refunds@1", {"from": "traces"})
    told = [example(number) for number in range(1_203)]
    for start in range(0, len(told), 400):
        store.add_examples("refunds@1", told[start : start + 400])
    store.add_examples("refunds@1", [example(5, content={"changed": True})])
    assert list(store.examples("refunds@1")) == told
    assert list(store.examples("refunds@1", "test")) == [each for each in told if each.split == "test"]
    found = store.add_dataset("refunds@1", {"from": "traces", "read": 2})
    assert (found.card, found.splits) == ({"from": "traces", "read": 2}, {"train": 1_082, "test": 121})
    assert store.datasets() == [found] == [store.dataset("refunds@1")]
    store.discard_dataset("refunds@1")
    assert (store.datasets(), list(store.examples("refunds@1"))) == ([], [])
    with pytest.raises(InputError, match="there is no dataset 'refunds@1'"):
        store.dataset("refunds@1")


def test_a_clustering_comes_back_with_its_clusters_and_members(store: ConversionStore) -> None:
    file = os.urandom(2_500_000)
    saved = store.save_clustering(
        "v1", file, {"ari": 0.9}, [*GROUPS, Cluster(id="a", call_site="x", name="A")]
    )
    assert (saved.version, saved.card, saved.size) == ("v1", {"ari": 0.9}, 2_500_000)
    assert store.load_clustering("v1") == file
    assert [one.id for one in store.clusters("v1")] == ["a", "refunds"]
    assert store.clusters("v1")[1] == GROUPS[0]
    traces = [f"{number:032x}" for number in range(1_100)]
    for start in range(0, 1_100, 500):
        store.add_members("v1", dict.fromkeys(traces[start : start + 500], "refunds"))
    store.add_members("v1", {traces[7]: "a"})
    assert list(store.members("v1", "refunds")) == [trace for trace in traces if trace != traces[7]]
    assert store.sizes("v1") == {"a": 1, "refunds": 1_099}
    assert store.clusters_of("v1", [traces[7], traces[8], "f" * 32]) == {traces[7]: "a", traces[8]: "refunds"}
    store.database.write(lambda c: c.execute(update(clustering_parts).values(data=b"evil")))
    with pytest.raises(UntrustedDataError, match="clustering v1 is not the one that was saved"):
        store.load_clustering("v1")
    store.discard_clustering("v1")
    assert (store.clusterings(), store.sizes("v1")) == ([], {})
    with pytest.raises(InputError, match="there is no clustering of version 'v1'"):
        store.load_clustering("v1")


def test_an_adapter_names_what_it_was_trained_on(store: ConversionStore) -> None:
    store.add_dataset("refunds@1", {})
    added = store.add_adapter(
        "refunds@1", base="qwen", path="/a", sha256="ab" * 32, dataset="refunds@1", card={"rank": 8}
    )
    assert (added.name, added.cluster, added.state, added.forgot_at) == (
        "refunds@1",
        "refunds",
        "candidate",
        None,
    )
    assert (added.sha256, added.card, added.dataset) == ("ab" * 32, {"rank": 8}, "refunds@1")
    assert store.set_adapter("refunds@1", "active", card={"rank": 16}).card == {"rank": 16}
    assert [one.name for one in store.adapters("refunds")] == ["refunds@1"]
    assert store.adapters("other") == []
    with pytest.raises(InputError, match="adapter refunds@1 was trained on dataset 'refunds@1'; retire it"):
        store.discard_dataset("refunds@1")
    store.set_adapter("refunds@1", "retired")
    store.discard_dataset("refunds@1")
    for wrong in ({"name": "refunds"}, {"name": "x@1", "sha256": "ab"}):
        values: dict[str, Any] = {
            "name": "x@1",
            "base": "b",
            "path": "p",
            "sha256": "ab" * 32,
            "dataset": "d",
            "card": {},
            **wrong,
        }
        with pytest.raises(InputError, match=r"cluster@version|64 hexadecimal digits"):
            store.add_adapter(**values)
    with pytest.raises(InputError, match="there is no adapter 'x@1'"):
        store.adapter("x@1")


def test_a_cluster_goes_from_the_shadow_to_serving_and_back(store: ConversionStore) -> None:
    store.save_clustering("v1", b"x", {}, GROUPS)
    assert store.standings() == {}
    shadow = store.move("refunds", "shadow", "small", share=0, after=0, **WHO)
    assert (shadow.number, shadow.served, shadow.serves) == (1, None, "small")
    canary = store.move("refunds", "canary", "small", share=0.1, after=1, evidence={"pairs": 400}, **WHO)
    assert (canary.served, canary.evidence) == (None, {"pairs": 400})
    store.move("refunds", "serve", "small", share=1, **WHO)
    better = store.move("refunds", "canary", "refunds@1", share=0.2, **WHO)
    assert better.served == "small"
    back = store.move("refunds", "rollback", "large", share=1, **WHO)
    assert (back.served, store.standings()) == ("small", {"refunds": back})
    assert [one.kind for one in store.moves("refunds")] == ["rollback", "canary", "serve", "canary", "shadow"]
    with pytest.raises(InputError, match=r"refunds was moved since \(move 5, by ada\)"):
        store.move("refunds", "serve", "small", share=1, after=4, **WHO)
    with pytest.raises(InputError, match="there is no cluster 'other'"):
        store.move("other", "serve", "small", share=1, **WHO)
    for kind, share in (
        ("shadow", 0.1),
        ("canary", 1.0),
        ("canary", 0.0),
        ("serve", 0.5),
        ("serve", float("nan")),
    ):
        with pytest.raises(InputError, match=f"the share of a {kind} is"):
            store.move("refunds", kind, "small", share=share, **WHO)  # type: ignore[arg-type]  # one of them
    with pytest.raises(InputError, match="why is blank"):
        store.move("refunds", "serve", "small", share=1, who="ada", why=" ")


def test_of_those_who_move_at_once_one_is_told_to_look_again(shared_url: str) -> None:
    with ConversionStore.from_url(shared_url) as store:
        store.save_clustering("v1", b"x", {}, GROUPS)

        def move(number: int) -> bool:
            with ConversionStore.from_url(shared_url) as own:
                try:
                    own.move("refunds", "serve", f"model-{number}", share=1, after=0, **WHO)
                except InputError:
                    return False
            return True

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(move, range(4))) == [False, False, False, True]
        assert len(store.moves()) == 1


async def test_the_async_store_does_the_same(shared_url: str) -> None:
    async with AsyncConversionStore.from_url(shared_url) as store:
        step = await store.begin("tune", {"cluster": "refunds"})
        await store.progress(step.id, cursor=3)
        assert (await store.begin("tune", {"cluster": "refunds"})).cursor == 3
        await store.fail(step.id, "no GPU")
        await store.finish(step.id, counts={"steps": 9})
        assert [one.counts for one in await store.conversions("tune")] == [{"steps": 9}]
        await store.add_dataset("d", {})
        await store.add_examples("d", [example(number) for number in range(501)])
        assert len([one async for one in store.examples("d", "train")]) == 450
        assert (await store.dataset("d")).splits == {"train": 450, "test": 51}
        await store.save_clustering("v1", b"file", {}, GROUPS)
        assert await store.load_clustering("v1") == b"file"
        assert [one.version for one in await store.clusterings()] == ["v1"]
        assert await store.clusters("v1") == GROUPS
        await store.add_members("v1", {"0" * 32: "refunds"})
        assert [one async for one in store.members("v1", "refunds")] == ["0" * 32]
        assert await store.sizes("v1") == {"refunds": 1}
        assert await store.clusters_of("v1", ["0" * 32]) == {"0" * 32: "refunds"}
        await store.add_adapter("refunds@1", base="b", path="p", sha256="ab" * 32, dataset="d", card={})
        assert (await store.set_adapter("refunds@1", "retired")) == await store.adapter("refunds@1")
        assert len(await store.adapters()) == 1
        moved = await store.move("refunds", "shadow", "refunds@1", share=0, **WHO)
        assert await store.moves() == [moved] == list((await store.standings()).values())
        await store.discard_dataset("d")
        await store.discard_clustering("v1")
        assert (await store.datasets(), await store.clusterings()) == ([], [])


def test_both_stores_have_the_same_methods() -> None:
    def methods(store: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(store, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(ConversionStore) == methods(AsyncConversionStore)
