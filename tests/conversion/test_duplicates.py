from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellwerk.conversion.duplicates import Duplicates, likeness
from stellwerk.conversion.example import Example
from stellwerk.errors import ConfigurationError, MissingExtraError

PAGE = "\n".join(f"Item {number} of the annual report is about something else." for number in range(60))


def example(asked: str, *, site: str = "classify", before: tuple[dict[str, Any], ...] = ()) -> Example:
    prompt = [{"role": "system", "content": "You classify."}, *before, {"role": "user", "content": asked}]
    return Example(trace_id="0" * 32, call_site=site, prompt=prompt, answer="yes")


def likenesses(*examples: Example, similarity: float = 0.85) -> list[str]:
    duplicates = Duplicates(similarity=similarity)
    return [duplicates.place(each).likeness for each in examples]


def test_word_for_word_and_nearly() -> None:
    asked = "I am still waiting for my new card, which was sent two weeks ago to my old address"
    assert likenesses(example(asked), example(asked), example(asked + "!!"), example("How do I top up?")) == [
        "new",
        "duplicate",
        "near duplicate",
        "new",
    ]


def test_all_that_are_alike_are_one_group() -> None:
    duplicates = Duplicates()
    asked = "I am still waiting for my new card, which was sent two weeks ago to my old address"
    groups = [
        duplicates.place(example(text)).group for text in (asked, "no", asked + ".", "no", asked + " please")
    ]
    assert groups == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (example("Where is my card?"), example("Where is my card?", site="answer")),
        (
            example("yes", before=({"role": "assistant", "content": "Shall I block the card?"},)),
            example("yes", before=({"role": "assistant", "content": "Shall I close the account?"},)),
        ),
        (
            example("What was the operating profit of the whole group in the year 2018 before tax?"),
            example("What was the operating profit of the whole group in the year 2019 before tax?"),
        ),
        (
            example(f"{PAGE}\nQuestion: what was the total revenue?"),
            example(f"{PAGE}\nQuestion: which segment is the largest?"),
        ),
    ],
    ids=["call sites", "conversations", "figures", "questions on one document"],
)
def test_what_only_looks_alike_is_not(one: Example, other: Example) -> None:
    assert likenesses(one, other) == ["new", "new"]


def test_a_slip_of_the_pen_in_a_long_text_is_nothing_new() -> None:
    asked = f"{PAGE}\nQuestion: what was the total revenue of the group as a whole, before taxes on income?"
    assert likenesses(example(asked), example(asked.replace("revenue", "revenu"))) == [
        "new",
        "near duplicate",
    ]


def test_system_prompts_often_have_the_date_and_do_not_count() -> None:
    one = Example(
        trace_id="1" * 32,
        call_site="classify",
        prompt=[{"role": "system", "content": "Today is Monday."}, {"role": "user", "content": "yes"}],
        answer="a",
    )
    assert likenesses(example("yes"), one) == ["new", "duplicate"]


def test_at_one_only_what_is_word_for_word_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)  # which is not needed for it
    asked = "I am still waiting for my new card, which was sent two weeks ago to my old address"
    assert likenesses(example(asked), example(asked + "!"), example(asked), similarity=1) == [
        "new",
        "new",
        "duplicate",
    ]


def test_what_is_missing_or_out_of_range_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"at most 1, not 1\.5"):
        Duplicates(similarity=1.5)
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingExtraError, match=r"stellwerk\[conversion\]"):
        Duplicates()


words = st.lists(
    st.sampled_from(("card", "lost", "top", "up", "please", "where", "is", "12")), max_size=12
).map(" ".join)


@settings(deadline=None, max_examples=50)
@given(st.lists(words, max_size=8))
def test_a_group_holds_what_is_as_like_its_first_as_was_asked_for(texts: list[str]) -> None:
    duplicates = Duplicates(similarity=0.7)
    first: dict[int, str] = {}
    for text in texts:
        group, kind = duplicates.place(example(text))
        assert (kind == "new") == (group not in first)
        if kind == "near duplicate":
            assert likeness(first[group], text) >= 0.7
        first.setdefault(group, text)


def test_nearly_all_that_are_alike_enough_are_found() -> None:
    """Hashing is by chance; at .9 it misses one in 8,000."""
    base = [
        f"{chr(97 + n % 26) * 3}{n} the parcel number was lost on its way to the town of the sender"
        for n in range(60)
    ]
    pairs = [(text, text + " again") for text in base]
    assert all(likeness(one, other) > 0.85 for one, other in pairs)
    duplicates = Duplicates()
    kinds = [
        duplicates.place(example(text, site=one)).likeness for one, other in pairs for text in (one, other)
    ]
    assert kinds.count("near duplicate") == len(pairs)
