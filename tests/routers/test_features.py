from __future__ import annotations

import time

import numpy as np
import pytest

from stellwerk.routers.features import Features, most_common_names, scaled
from stellwerk.routers.structure import NAMES, structure
from stellwerk.routers.terms import Terms
from tests.routers.questions import context

TEXTS = ["the rent of 2019", "the rent of 2020", "wages and rent", "the wages, in full"]


def counted(**changes: object) -> dict[str, float]:
    text = str(changes.pop("instruction", "go"))
    return dict(zip(NAMES, structure(context(text, **changes)).tolist(), strict=True))


def test_terms_are_words_pairs_and_pieces_the_rarer_the_heavier() -> None:
    terms = Terms.of(TEXTS, most=200)
    named = {terms.name(index): index for index in range(len(terms))}
    assert {"“rent”", "“the rent”", "“… ren…”", "“…ages…”"} <= set(named)
    assert "“full”" not in named  # in one text only
    indices, weights = terms.vector("the wages")
    found = dict(zip(indices.tolist(), weights.tolist(), strict=True))
    assert found[named["“wages”"]] > found[named["“the”"]]
    words = np.asarray([weight for index, weight in found.items() if index < len(terms.words)])
    assert words @ words == pytest.approx(1)
    assert weights @ weights == pytest.approx(2)


def test_the_vocabulary_is_bounded_and_unknown_words_are_no_feature() -> None:
    terms = Terms.of(TEXTS, most=10)
    assert len(terms) == 10
    indices, weights = Terms.of(TEXTS, most=200).vector("жжж")
    assert len(indices) == len(weights) == 0


def test_a_text_of_a_million_characters_is_read_in_part_and_in_no_time() -> None:
    terms = Terms.of(TEXTS, most=200)
    text = "rent " + "x1 y2 " * 170_000 + "wages"
    start = time.perf_counter()
    indices, _ = terms.vector(text)
    counted(instruction=text)
    assert time.perf_counter() - start < 1
    named = {terms.name(index) for index in indices.tolist()}
    assert {"“rent”", "“wages”"} <= named


def test_structure_counts_what_can_be_counted() -> None:
    plain, full = counted(), counted(instruction="What is 12 + 3.5?\nA. 15.5\nB. 16\nANSWER: it is (x_1)")
    assert full["numbers"] == pytest.approx(np.log1p(5))
    assert full["options"] == pytest.approx(np.log1p(2))
    assert full["asks what"] == 1 > plain["asks what"]
    for name in ("characters", "words", "digits", "question marks", "lines", "operators", "brackets"):
        assert full[name] > plain[name] or name == "question marks"
    assert counted(tools=["a", "b"])["tools"] == pytest.approx(np.log(3))
    assert counted(position=3, size=4)["place in plan"] == 0.75
    assert counted(source=10_000)["source"] == pytest.approx(np.log1p(10_000))


@pytest.mark.parametrize("text", ["", " ", "\n\n", "?", "\ud800", "0" * 100, "." * 5_000, "１２３", "a\x00b"])
def test_any_text_has_finite_features(text: str) -> None:
    assert np.isfinite(structure(context(text))).all()
    Terms.of([*TEXTS, text, text], most=50).vector(text)


def test_workers_and_tools_are_features_and_those_not_seen_are_none() -> None:
    contexts = [context("go", worker=name, tools=["search"]) for name in ("a", "a", "b", "b", "c")]
    names = most_common_names(contexts)
    assert names == ("tool:search", "worker:a", "worker:b")
    terms = Terms.of(TEXTS, most=20)
    mean, scale = scaled(contexts)
    basis = np.eye(len(terms) + len(names), 4, dtype=np.float32)
    features = Features(terms=terms, names=names, mean=mean, scale=scale, basis=basis)
    told = {
        worker: {features.name(int(index)) for index in features.encode(context("go", worker=worker)).indices}
        for worker in ("a", "c")
    }
    assert "worker:a" in told["a"]
    assert not any(name.startswith("worker:") for name in told["c"])
    assert set(NAMES) <= told["a"]
    assert features.encode(contexts[0]).dense.shape == (features.depth,)
