import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.nodes.salvage import salvaged

VALUES = st.dictionaries(
    st.text(st.characters(exclude_characters="`{}[]", exclude_categories=["Cs"]), max_size=8),
    st.one_of(
        st.integers(),
        st.booleans(),
        st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"])),
    ),
    min_size=1,
    max_size=4,
)
PROSE = st.text(st.characters(exclude_characters="{}[]`", exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"text": "fine"}\n```',
        '```\n{"text": "fine"}```',
        'Here it is:\n```json\n{"text": "fine"}\n```\nHope that helps!',
        'The answer is {"text": "fine"}.',
        '{"text": "fine"} Hope that helps!',
        '{}\n{"text": "fine"}',
        'Of the words [a, b] I take: {"text": "fine"}',
    ],
)
def test_the_answer_is_found_in_what_stands_around_it(text: str) -> None:
    assert salvaged(text) == {"text": "fine"}


@pytest.mark.parametrize(
    "text",
    [
        "nothing here",
        '{"text": "fi',
        '{"text": "one"} or {"text": "two"}',
        "```json\n{'text': 'fine'}\n```",
        '{"text": fine}',
        "[" * 100_000,
        "{" * 100_000,
    ],
)
def test_what_is_not_json_or_is_two_answers_stays_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        salvaged(text)


@given(value=VALUES, before=PROSE, after=PROSE)
def test_a_value_in_prose_comes_out_as_it_went_in(value: dict[str, object], before: str, after: str) -> None:
    assert salvaged(before + json.dumps(value) + after) == value
