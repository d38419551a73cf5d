"""Ids of clusters stay when clusters are found anew, and changes are told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stellwerk.conversion.cluster import cluster
from stellwerk.conversion.clustering import Clustering
from stellwerk.conversion.clusters import Change
from stellwerk.conversion.matching import matched
from tests.conversion.requests import calls, several


def owners(clustering: Clustering) -> dict[str, str]:
    """The id of each job's cluster."""
    return {traces[0].partition("-")[0]: id for id, traces in clustering.members.items() if traces}


def kinds(changes: tuple[Change, ...] | list[Change]) -> set[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return {(one.kind, one.before, one.after) for one in changes}


def test_a_refit_on_other_examples_keeps_ids() -> None:
    first = cluster(several())
    second = cluster(several(seed=1), previous=first)
    assert owners(second) == owners(first)
    assert {one.kind for one in second.changes} == {"kept"}


def test_what_is_new_gets_an_id_that_was_never_used_and_what_is_gone_is_told() -> None:
    first = cluster(several(["weather", "returns", "meetings"]))
    gone = owners(first)["meetings"]
    second = cluster(several(["weather", "returns"], seed=1), previous=first)
    assert ("gone", (gone,), ()) in kinds(second.changes)
    third = cluster(several(["weather", "returns", "translations"], seed=2), previous=second)
    assert owners(third)["translations"] == "agent#4"
    assert ("new", (), ("agent#4",)) in kinds(third.changes)
    elsewhere = cluster(calls("weather", 60, site="other"), previous=third)
    assert {one.before for one in elsewhere.changes if one.kind == "gone"} == {
        (one.id,) for one in third.clusters
    }


def test_splits_and_merges_are_told() -> None:
    kept, changes = matched(["a"] * 60 + ["b"] * 40, [0] * 30 + [1] * 30 + [2] * 40, ["a", "b"])
    assert kept[2] == "b"
    split = next(one for one in changes if one.kind == "split")
    assert (split.before, len(split.after)) == (("a",), 2)
    kept, changes = matched(["a"] * 50 + ["b"] * 50, [0] * 100, ["a", "b"])
    assert kept == {0: "a"}
    assert ("merged", ("a", "b"), ("a",)) in kinds(changes)
    assert not any(one.kind in ("gone", "moved") for one in changes)


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(0, 3)), min_size=1, max_size=60
    )
)
def test_every_cluster_is_told_of_and_no_id_is_given_twice(pairs: list[tuple[str, int]]) -> None:
    before, now = [then for then, _ in pairs], [here for _, here in pairs]
    kept, changes = matched(before, now, ["a", "b", "c"])
    assert len(set(kept.values())) == len(kept)
    told_before = {id for one in changes for id in one.before}
    told_now = {id for one in changes for id in one.after}
    assert told_before == {"a", "b", "c"}
    assert {kept.get(here, f"\0{here}") for here in now} <= told_now
