"""Clusters: jobs are found, and prompts are put into them or told to be novel."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings

from stellwerk.conversion.cluster import cluster
from stellwerk.conversion.clustering import Clustering
from stellwerk.conversion.clustering_file import (
    clustering_bytes,
    load_clustering,
    read_clustering,
    save_clustering,
)
from stellwerk.errors import ConfigurationError, InputError, ModelFileError
from tests.conversion.requests import STRANGE, WORDINGS, asked, calls, made, several


@cache
def found() -> Clustering:
    return cluster(several())


def jobs_of(clustering: Clustering) -> dict[str, Counter[str]]:
    """The jobs of each cluster's members."""
    return {
        id: Counter(trace.partition("-")[0] for trace in traces) for id, traces in clustering.members.items()
    }


def test_jobs_at_one_call_site_are_told_apart() -> None:
    jobs = jobs_of(found())
    assert len(jobs) == len(WORDINGS)
    for members in jobs.values():
        assert members.most_common(1)[0][1] >= 0.98 * members.total()


def test_one_job_is_one_cluster_however_it_is_worded() -> None:
    assert len(cluster(calls("returns", 400)).clusters) == 1
    # As of a classifier: which of its labels it gave makes no job of its own.
    texts = asked("weather", 400)
    labelled = [made(text, str(n), value=re.findall("[A-Z][a-zö]+", text)[0]) for n, text in enumerate(texts)]
    assert len(cluster(labelled).clusters) == 1


def test_call_sites_come_first() -> None:
    clustering = cluster([*calls("weather", 80, site="a"), *calls("weather", 80, site="b", seed=1)])
    assert [one.call_site for one in clustering.clusters] == ["a", "b"]
    assert clustering.assign("a", asked("weather", 1)[0]).cluster == "a#1"
    unknown = clustering.assign("c", asked("weather", 1)[0])
    assert unknown.novel
    assert unknown.cluster == ""


def test_new_prompts_go_where_their_job_is() -> None:
    owner = {members.most_common(1)[0][0]: id for id, members in jobs_of(found()).items()}
    for job, id in owner.items():
        placed = [found().assign("agent", text).cluster for text in asked(job, 100, seed=7)]
        assert placed.count(id) >= 97


def test_false_alarms_keep_to_their_level_and_strange_requests_are_novel() -> None:
    texts = [text for job in WORDINGS for text in asked(job, 200, seed=5)]
    for level in (0.05, 0.1):
        placed = [found().assign("agent", text).p_value <= level for text in texts]
        assert sum(placed) <= 1.2 * level * len(texts)
    assert sum(found().assign("agent", text).novel for text in STRANGE) >= 0.7 * len(STRANGE)


def test_a_call_site_with_few_examples_is_not_known() -> None:
    clustering = cluster(calls("weather", 12))
    assert clustering["agent#1"].size == 12
    placed = clustering.assign("agent", calls("weather", 12)[0].prompt)
    assert (placed.cluster, placed.novel) == ("agent#1", True)


@pytest.mark.parametrize("text", ["", "again", "?!", "x" * 100_000])
def test_prompts_that_are_all_the_same_are_usual_and_others_are_not(text: str) -> None:
    clustering = cluster([made(text, f"{number:03}") for number in range(60)])
    assert not clustering.assign("agent", text).novel
    if text == "again":
        assert clustering.assign("agent", "a thing that nobody asked").novel


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300))
def test_an_assignment_is_the_same_each_time_and_after_a_file(text: str) -> None:
    first = found().assign("agent", text)
    assert first == found().assign("agent", [{"role": "user", "content": text}])
    assert first == restored().assign("agent", text)
    assert first.novel == (first.p_value <= found().false_alarms)
    assert first.cluster in {one.id for one in found().clusters}


@cache
def restored() -> Clustering:
    return read_clustering(clustering_bytes(found()))


def test_the_order_of_examples_does_not_matter() -> None:
    examples = several(count=60)
    assert clustering_bytes(cluster(examples)) == clustering_bytes(cluster(examples[::-1]))


def test_names_can_be_read_and_made_by_others() -> None:
    names = {members.most_common(1)[0][0]: found()[id] for id, members in jobs_of(found()).items()}
    assert set(names["meetings"].words) & {"meeting", "call", "appointment", "invite", "schedule"}
    assert names["returns"].name.startswith("agent: ")
    assert names["weather"].example in {" ".join(text.split()) for text in asked("weather", 150)}
    own = cluster(
        several(["weather", "meetings"]),
        namer=lambda site, words, texts: f"{site}/{len(texts)}",
        keep_examples=False,
    )
    assert {(one.name, one.example) for one in own.clusters} == {("agent/0", "")}


def test_a_file_is_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "clusters.safetensors"
    saved = save_clustering(found(), path)
    loaded = load_clustering(path)
    assert loaded == read_clustering(clustering_bytes(loaded)) or loaded.clusters == found().clusters
    assert clustering_bytes(loaded) == path.read_bytes()
    assert loaded.digest == saved.digest != ""
    data = path.read_bytes()
    for place in (3, 200, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ModelFileError):
            read_clustering(bytes(changed))
    with pytest.raises(ModelFileError, match="cut off"):
        read_clustering(data[:100])
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_clustering(tmp_path / "none")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    from stellwerk.routers.sealed import Seal

    other = Seal("stellwerk-router", 1, "router's model", "").close({}, {})
    with pytest.raises(ModelFileError, match="no clustering"):
        read_clustering(other)
    newer = Seal("stellwerk-clusters", 2, "clustering", "").close({}, {})
    with pytest.raises(ModelFileError, match="version 2; this release reads 1: find the clusters again"):
        read_clustering(newer)
    part = Seal("stellwerk-clusters", 1, "clustering", "").close({"false_alarms": 0.1}, {})
    with pytest.raises(ModelFileError, match="no whole clustering"):
        read_clustering(part)


class Lengths(Embeddings):
    """Two numbers a text, which tell questions from other sentences."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0 if "?" in text else 0.0, 1.0]


def test_embeddings_are_asked_for_when_a_file_was_made_with_them() -> None:
    clustering = cluster(several(["weather", "returns"], 60), embeddings=Lengths())
    data = clustering_bytes(clustering)
    with pytest.raises(ConfigurationError, match="found with embeddings"):
        read_clustering(data)
    again = read_clustering(data, embeddings=Lengths())
    assert again.assign("agent", "is it cold?") == clustering.assign("agent", "is it cold?")


def test_what_cannot_be_used_is_named() -> None:
    with pytest.raises(InputError, match="no examples"):
        cluster([])
    with pytest.raises(InputError, match=r"not 1, 0\.5 and 100"):
        cluster(several(count=2), false_alarms=1)


def test_run_time_needs_no_scikit_learn_and_is_quick(tmp_path: Path) -> None:
    path = tmp_path / "clusters.safetensors"
    save_clustering(found(), path)
    script = (
        "import sys; from stellwerk.conversion.clustering_file import load_clustering;"
        f"load_clustering({str(path)!r}).assign('agent', 'will it rain?');"
        "print(sorted({'sklearn', 'scipy', 'threadpoolctl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    texts = [text for job in WORDINGS for text in asked(job, 50, seed=3)]
    best = 1.0
    for _ in range(3):  # the best of some, as others use the machine too
        start = time.perf_counter()
        for text in texts:
            found().assign("agent", text)
        best = min(best, (time.perf_counter() - start) / len(texts))
    assert best < 0.001
