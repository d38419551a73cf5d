from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellwerk.errors import ModelFileError
from stellwerk.routers import model_file, model_record
from stellwerk.routers.model import RouterModel
from stellwerk.routers.model_file import load_model, model_bytes, read_model, save_model
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.training import train
from tests.routers.questions import TIERS, context, episodes


@cache
def model() -> RouterModel:
    options = TrainingOptions(terms=100, common=4, landmarks=20, trees=5, neighbours=5, cases=5)
    return train(episodes(60, checks=True, logprobs=True), TIERS, options=options)


@cache
def content() -> bytes:
    return model_bytes(model())


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "router.safetensors"
    written = save_model(model(), path)
    read = load_model(path)
    assert read.digest == written.digest == model().digest
    assert (read.card, read.calibration, read.held) == (model().card, model().calibration, model().held)
    assert read.neighbours.known == model().neighbours.known
    subtask = context("What is the theorem of the weekday number 7?")
    assert read.prior(subtask) == model().prior(subtask)
    outcomes = episodes(1)[0].outcomes
    assert read.belief(read.prior(subtask), outcomes) == model().belief(model().prior(subtask), outcomes)
    assert model_bytes(read) == path.read_bytes() == content()
    assert read.prior(read.calibration[0].context) == read.held[0]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content()) - 1))
    mask = data.draw(st.integers(1, 255))
    damaged = bytearray(content())
    damaged[at] ^= mask
    with pytest.raises(ModelFileError):
        read_model(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000_000))
def test_a_file_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(ModelFileError):
        read_model(content()[: length % len(content())])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_a_file_of_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ModelFileError):
        read_model(data)


def test_a_header_larger_than_the_file_is_refused() -> None:
    for size in (2**63, 2**64 - 1, len(content())):
        with pytest.raises(ModelFileError, match="its header is not all there"):
            read_model(size.to_bytes(8, "little") + content()[8:])


def written(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A file whose digest is right, and whose arrays or record are not."""
    arrays_of, record_of = model_record.arrays_of, model_record.record_of

    def arrays(model: RouterModel) -> dict[str, Any]:
        changed = arrays_of(model)
        change(changed)
        return changed

    def record(model: RouterModel) -> dict[str, Any]:
        changed = record_of(model)
        change(changed)
        return changed

    monkeypatch.setattr(model_file, "arrays_of", arrays)
    monkeypatch.setattr(model_file, "record_of", record)
    return model_bytes(model())


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "not a number": ("'linear' has a value", lambda a: "linear" in a and a["linear"].__setitem__(0, np.nan)),
    "infinite": ("'stack' has a value", lambda a: "stack" in a and a["stack"].__setitem__(0, np.inf)),
    "missing array": ("kernel", lambda a: a.pop("kernel", None)),
    "other shape": ("'idf' is float32", lambda a: "idf" in a and a.update(idf=a["idf"][:-1].copy())),
    "other type": ("'mean' is float64", lambda a: "mean" in a and a.update(mean=a["mean"] * np.float64(1))),
    "other tiers": ("in place of", lambda a: "tiers" in a and a.update(tiers=["small", "large"])),
    "no tiers": ("no tier", lambda a: "tiers" in a and a.update(tiers=[])),
    "a tier twice": ("one twice", lambda a: "tiers" in a and a.update(tiers=["small", "small", "large"])),
    "no sharpness": ("sharpness", lambda a: "sharpness" in a and a.update(sharpness="nan")),
    "tiers of numbers": ("list of texts", lambda a: "tiers" in a and a.update(tiers=[1, 2, 3])),
    "other structure": ("structural", lambda a: "structure" in a and a.update(structure=["lines"])),
    "zero scale": ("'scale' has a value", lambda a: "scale" in a and a["scale"].fill(0)),
    "text of numbers": ("float64", lambda a: "words" in a and a.update(words=np.zeros(3))),
    "text is no JSON": ("", lambda a: "words" in a and a.update(words=np.zeros(3, np.uint8))),
    "card is a number": ("", lambda a: "card" in a and a.update(card=3)),
    "trees that lead nowhere": (
        "trees",
        lambda a: "forest_left" in a and a["forest_left"].fill(10**6),
    ),
    "no trees": ("trees", lambda a: "forest_roots" in a and a.update(forest_roots=np.zeros(0, np.int32))),
    "negative embedding": ("", lambda a: "embedding" in a and a.update(embedding=-3)),
    "unknown field": ("", lambda a: "calibration" in a and a.update(calibration=_text([{"outcomes": []}]))),
}


def _text(value: object) -> Any:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


@pytest.mark.parametrize("case", CHANGES)
def test_what_does_not_fit_together_is_refused(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, change = CHANGES[case]

    def copied(arrays: dict[str, Any]) -> None:
        for name, value in arrays.items():
            arrays[name] = value.copy() if isinstance(value, np.ndarray) else value
        change(arrays)

    with pytest.raises(ModelFileError, match=f"is no whole router's model: .*{wrong}"):
        read_model(written(monkeypatch, copied))


def test_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "_SEAL", replace(model_file._SEAL, version=2))
    newer = model_bytes(model())
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="of version 2; this release reads 1: train it again"):
        read_model(newer)


def test_other_tensors_are_no_router() -> None:
    from safetensors.numpy import save

    for metadata in (None, {"format": "pt"}, {"stellwerk": "[]"}, {"stellwerk": '{"format": "x"}'}):
        with pytest.raises(ModelFileError, match="no router's model"):
            read_model(save({"weight": np.zeros(3)}, metadata))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.safetensors cannot be read"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="cannot be written"):
        save_model(model(), tmp_path / "nowhere" / "router.safetensors")


def test_instructions_of_past_subtasks_may_be_left_out() -> None:
    options = replace(TrainingOptions(terms=100, common=4, landmarks=20), instructions=False)
    made = train(episodes(60), TIERS, options=options)
    assert made.neighbours.known
    assert {known.instruction for known in made.neighbours.known} == {""}
