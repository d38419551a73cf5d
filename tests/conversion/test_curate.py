from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stellwerk.conversion.curate import curate, tokens_of
from stellwerk.conversion.example import Example
from stellwerk.conversion.redaction.placeholders import Placeholders

START = datetime(2026, 1, 1, tzinfo=UTC)


def example(number: int, asked: str = "", **fields: Any) -> Example:
    given: dict[str, Any] = {
        "trace_id": f"{number:032x}",
        "call_site": "classify",
        "prompt": [{"role": "user", "content": asked or f"question {number}"}],
        "answer": "card_arrival",
        "input": 100,
        "output": 10,
        "created_at": START + timedelta(minutes=number),
    }
    return Example(**given | fields)


def test_each_that_is_left_out_has_a_reason_and_some_are_shown_redacted() -> None:
    picture = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "what is it?"}]
    examples = [
        example(1),
        example(2, "jane@example.com is wrong", accepted=False),
        example(3, succeeded=False),
        example(4, score=0.2),
        example(5, answer=None),
        example(6, prompt=[{"role": "user", "content": picture}]),
        example(7, input=40_000),
        example(8, call_site="chat"),
        example(9, origin="secret"),
        example(10, "question 1"),
        *(example(number, f"x{number}", accepted=False) for number in range(11, 16)),
    ]
    with curate(
        examples,
        person_facing=["chat"],
        consent=lambda each: each.origin != "secret",
        min_score=0.5,
        samples=2,
    ) as curation:
        assert [each.trace_id[-1] for each in curation] == ["a"]
        assert len(curation) == 1
    assert curation.report.as_json() == {
        "read": 15,
        "kept": 1,
        "dropped": {
            "no consent": 1,
            "talks to a person": 1,
            "rejected": 6,
            "run failed": 1,
            "low score": 1,
            "no content": 1,
            "not text": 1,
            "too long": 1,
            "duplicate": 1,
        },
        "samples": {
            "no consent": ["question 9"],
            "talks to a person": ["question 8"],
            "rejected": ["[EMAIL_1] is wrong", "x11"],
            "run failed": ["question 3"],
            "low score": ["question 4"],
            "no content": ["question 5"],
            "not text": ["what is it?"],
            "too long": ["question 7"],
            "duplicate": ["question 1"],
        },
        "sites": {"chat": {"read": 1, "kept": 0}, "classify": {"read": 14, "kept": 1}},
        "redacted": 0,
        "found": {},
        "tokens_read": 14 * 110 + 40_010,
        "tokens_kept": 110,
    }
    assert json.loads(json.dumps(curation.report.as_json())) == curation.report.as_json()


def test_the_best_of_what_is_alike_is_kept_whenever_it_comes() -> None:
    asked = "I am still waiting for my new card, which was sent two weeks ago to my old address"
    examples = [
        example(1, asked, score=0.6),
        example(2, asked + "!", score=0.9),
        example(3, "How do I top up?"),
        example(4, asked + ".", score=0.9),
        example(5, asked, score=0.4),
        example(6, asked),  # without a score: in the middle
    ]
    with curate(examples) as curation:
        assert [int(each.trace_id, 16) for each in curation] == [3, 4]
    assert curation.report.dropped == {"duplicate": 2, "near duplicate": 2}


def test_a_run_that_is_known_to_have_gone_well_comes_before_one_that_is_not() -> None:
    with curate([example(1, "a", succeeded=True), example(2, "a", score=1.0)]) as curation:
        assert [int(each.trace_id, 16) for each in curation] == [1]


def test_what_differs_in_who_asks_alone_is_asked_twice() -> None:
    examples = [
        example(1, "Where is the card of mia@example.com?"),
        example(2, "Where is the card of jo@example.org?"),
    ]
    with curate(examples) as curation:
        (kept,) = curation
    assert kept.asked == "Where is the card of [EMAIL_1]?"
    assert curation.report.redacted == 2
    assert curation.report.found == {"EMAIL": 2}


def test_the_way_back_is_handed_out_and_not_kept() -> None:
    ways: dict[str, Placeholders] = {}
    examples = [example(1, "mia@example.com"), example(2, "nobody"), example(3, "jo@example.org?")]
    with curate(examples, on_redacted=ways.__setitem__) as curation:
        assert "example" not in json.dumps([each.prompt for each in curation])
    assert {int(trace, 16): way.values for trace, way in ways.items()} == {
        1: {"[EMAIL_1]": "mia@example.com"},
        3: {"[EMAIL_1]": "jo@example.org"},
    }


def test_a_person_is_the_same_in_all_that_has_the_same_origin() -> None:
    examples = [
        example(1, "I am mia@example.com", origin="a"),
        example(2, "jo@example.org for mia@example.com", origin="a"),
        example(3, "ann@example.net", origin="b"),
        example(4, "ann@example.net, bob@example.net"),
        example(5, "bob@example.net?"),
    ]
    with curate(examples, stable="origin", similarity=1) as curation:
        assert [each.asked for each in curation] == [
            "I am [EMAIL_1]",
            "[EMAIL_2] for [EMAIL_1]",
            "[EMAIL_1]",
            "[EMAIL_1], [EMAIL_2]",
            "[EMAIL_1]?",
        ]


def test_examples_come_out_as_they_went_in_as_often_as_they_are_asked_for() -> None:
    whole = example(
        1,
        "für 12.50 €\ud800",
        prompt=[{"role": "system", "content": "x"}, {"role": "user", "content": "für 12.50 €"}],
        tool_calls=[{"name": "pay", "args": {"eur": 12.5}}],
        value={"a": [1, None, True]},
        tools=["pay"],
        tier="large",
        succeeded=True,
        score=1.0,
        usd=0.01,
        seconds=2.5,
        origin="f00",
    )
    with curate([whole]) as curation:
        assert list(curation) == [whole]
        assert list(curation) == [whole]


def test_many_lie_in_a_file_rather_than_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stellwerk.conversion.curation._IN_MEMORY", 1_000)
    with curate((example(number) for number in range(100)), similarity=1) as curation:
        assert [int(each.trace_id, 16) for each in curation] == list(range(100))


def test_an_error_in_the_source_is_the_callers() -> None:
    def broken() -> Iterator[Example]:
        yield example(1)
        raise OSError("the database went away")

    with pytest.raises(OSError, match="went away"):
        curate(broken())


def test_tokens_that_nobody_counted_are_a_quarter_of_the_characters() -> None:
    assert tokens_of(example(1, "a" * 30, answer="b" * 10, input=0, output=0)) == 10
    assert tokens_of(example(1)) == 110
