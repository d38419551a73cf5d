"""What holds of every example, whatever stands in it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stellwerk.conversion.example import Example
from stellwerk.conversion.redaction.placeholders import PLACEHOLDER
from stellwerk.conversion.redaction.redactor import Redactor
from stellwerk.conversion.redaction.span import Span, resolve

REDACTOR = Redactor()
# One spelling each: the first one is what comes back.
VALUES = (
    "jane.doe@example.com",
    "+49 (0)30 1234567",
    "(783)703-8836",
    "DE89 3704 0044 0532 0130 00",
    "4111 1111 1111 1111",
    "8683 Walker Run, South Emilymouth, TN 83200",
    "Hauptstr. 5, 10115 Berlin",
    "10.1.22.33",
    "https://joe:hunter2@git.example.org/x",
    "123-45-6789",
)
FILLERS = (
    "",
    " and ",
    "; the rent is 980.00 in 2024; ",
    "\n",
    " [x] ",
    " \\ ",
    ' "so" ',
    " für ",
    ": ",
    " [EMAIL_7] ",
)
said = st.lists(st.sampled_from(VALUES) | st.sampled_from(FILLERS[1:]), max_size=6).map("; ".join)
wild = st.lists(
    st.sampled_from(VALUES)
    | st.sampled_from(FILLERS)
    | st.sampled_from(
        ("Mr Hill", "Dear Mia,", "Best regards,\nMia Li", "born 5.4.1990", "\\n", "password: ", "[PERSON_1]")
    )
    | st.text(max_size=12),
    max_size=8,
).map("".join)


def json_of(text: st.SearchStrategy[str], *, numbers: bool = True) -> st.SearchStrategy[Any]:
    sorts: list[st.SearchStrategy[Any]] = [st.none(), st.booleans(), text]
    if numbers:
        sorts += [st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False)]
    plain = st.one_of(sorts)
    keys = st.sampled_from(("to", "note", "a b", "n", "list"))
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    )


def examples(text: st.SearchStrategy[str], *, numbers: bool = True) -> st.SearchStrategy[Example]:
    value = json_of(text, numbers=numbers)
    shown = value.map(json.dumps) | value.map(lambda each: json.dumps(each, ensure_ascii=False, indent=1))
    return st.builds(
        lambda asked, seen, answer, args, value: Example(
            trace_id="0" * 32,
            call_site="help",
            prompt=[
                {"role": "system", "content": "You help customers."},
                {"role": "user", "content": [{"type": "text", "text": asked}]},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"id": "c1", "name": "find", "args": args}],
                },
                {"role": "tool", "tool_call_id": "c1", "name": "find", "content": seen},
            ],
            answer=answer,
            tool_calls=[{"name": "find", "args": args}],
            value=value,
        ),
        asked=text,
        seen=shown | text,
        answer=text,
        args=st.dictionaries(st.sampled_from(("to", "note")), text, max_size=2),
        value=value,
    )


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [each for pair in value.items() for part in pair for each in strings(part)]
    return [each for part in value for each in strings(part)] if isinstance(value, list | tuple) else []


def texts(example: Example) -> list[str]:
    return strings(
        [list(map(dict, example.prompt)), example.answer, list(map(dict, example.tool_calls)), example.value]
    )


def shape(value: Any) -> Any:
    """What is left of a value of JSON without its texts."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return "" if isinstance(value, str) else value


@settings(deadline=None, max_examples=60)
@given(examples(wild))
def test_redacting_twice_is_redacting_once(example: Example) -> None:
    once = REDACTOR.redact(example)
    twice = REDACTOR.redact(once.example)
    assert twice.example == once.example
    assert not twice.found
    assert not twice.placeholders.values


@settings(deadline=None, max_examples=60)
@given(examples(said, numbers=False))
def test_whoever_holds_the_placeholders_has_the_way_back(example: Example) -> None:
    redacted = REDACTOR.redact(example)
    assert REDACTOR.restore(redacted.example, redacted.placeholders) == example


@settings(deadline=None, max_examples=60)
@given(examples(said))
def test_nothing_of_a_value_is_left_and_each_has_one_placeholder(example: Example) -> None:
    before = " ".join(texts(example))
    redacted = REDACTOR.redact(example)
    after = texts(redacted.example)
    assert not [value for value in VALUES for text in after if value in text]
    values = redacted.placeholders.values
    assert sorted(values.values()) == sorted(value for value in VALUES if value in before)
    assert sum(redacted.found.values()) == sum(text.count(each) for text in after for each in values)


@settings(deadline=None, max_examples=60)
@given(json_of(wild), st.sampled_from((None, 1, 4)), st.booleans())
def test_json_stays_json_of_the_same_form(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps({"value": value}, indent=indent, ensure_ascii=ascii_only)
    redacted = json.loads(REDACTOR.redact_text(text))
    assert shape(redacted) == shape({"value": value})


@given(wild)
def test_spans_lie_in_the_text_and_apart_from_each_other(text: str) -> None:
    spans = REDACTOR.spans(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= next_one.start for one, next_one in pairwise(spans))
    taken = [match.span() for match in PLACEHOLDER.finditer(text)]
    assert not [span for span in spans for start, end in taken if span.start < end and start < span.end]


spans_of_all_sorts = st.lists(
    st.builds(
        lambda start, length, kind, score: Span(start, start + length, kind, score),
        st.integers(0, 30),
        st.integers(0, 10),
        st.sampled_from("ABC"),
        st.sampled_from((0.5, 0.9, 1.0)),
    ),
    max_size=8,
)


@given(spans_of_all_sorts, st.randoms())
def test_overlaps_become_one_span_whatever_the_order(spans: list[Span], draw: Any) -> None:
    resolved = resolve(spans)
    shuffled = list(spans)
    draw.shuffle(shuffled)
    assert resolve(shuffled) == resolved
    assert resolve(resolved) == resolved

    def covered(some: list[Span]) -> set[int]:
        return {place for span in some for place in range(span.start, span.end)}

    assert covered(resolved) == covered(spans)
    assert sum(span.end - span.start for span in resolved) == len(covered(spans))
