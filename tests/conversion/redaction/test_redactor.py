from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from stellwerk.conversion.example import Example
from stellwerk.conversion.redaction.placeholders import Placeholders
from stellwerk.conversion.redaction.redactor import Redactor
from stellwerk.conversion.redaction.rules import RuleDetector
from stellwerk.conversion.redaction.span import Span, Together

USER = {
    "name": {"first_name": "Mia", "last_name": "Li"},
    "address": {"address1": "975 Sunset Drive", "city": "Austin", "zip": "78750"},
    "email": "mia.li3818@example.com",
    "dob": "1990-04-05",
    "payment_methods": {"certificate_4856383": {"amount": 100, "id": "certificate_4856383"}},
}


def test_the_same_person_is_the_same_in_prompt_answer_value_and_tool_arguments() -> None:
    example = Example(
        trace_id="0" * 32,
        call_site="agent",
        prompt=[
            {"role": "system", "content": "You help customers of an airline."},
            {"role": "user", "content": "I am Mia Li, mail mia@example.com, card 4111 1111 1111 1111."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "find", "arguments": '{"mail": "mia@example.com"}'},
                    }
                ],
            },
            {
                "role": "tool",
                "tool_call_id": "c1",
                "name": "find",
                "content": '{"card": 4111111111111111, "n": 1.10}',
            },
        ],
        answer="Thank you, Mia. I wrote to MIA@example.com.",
        tool_calls=[
            {"name": "send", "args": {"to": "mia@example.com", "card": 4111111111111111, "seats": 2}}
        ],
        value={"to": ["mia@example.com"], "total": 51},
    )
    redacted = Redactor().redact(example)
    assert redacted.example.prompt[1]["content"] == "I am [PERSON_1], mail [EMAIL_1], card [CARD_1]."
    (called,) = redacted.example.prompt[2]["tool_calls"]
    assert called["id"] == "c1"
    assert called["function"] == {"name": "find", "arguments": '{"mail": "[EMAIL_1]"}'}
    assert redacted.example.prompt[3]["content"] == '{"card": "[CARD_1]", "n": 1.10}'
    assert redacted.example.answer == "Thank you, [PERSON_2]. I wrote to [EMAIL_1]."
    assert redacted.example.tool_calls == [
        {"name": "send", "args": {"to": "[EMAIL_1]", "card": "[CARD_1]", "seats": 2}}
    ]
    assert redacted.example.value == {"to": ["[EMAIL_1]"], "total": 51}
    assert redacted.placeholders.values == {
        "[PERSON_1]": "Mia Li",
        "[EMAIL_1]": "mia@example.com",
        "[CARD_1]": "4111 1111 1111 1111",
        "[PERSON_2]": "Mia",
    }
    assert redacted.found == {"EMAIL": 5, "CARD": 3, "PERSON": 2}


def test_an_object_says_by_its_keys_what_its_values_are() -> None:
    text = json.dumps(USER)
    redacted = json.loads(Redactor().redact_text(text))
    assert redacted == {
        "name": {"first_name": "[PERSON_1]", "last_name": "[PERSON_2]"},
        "address": {"address1": "[ADDRESS_1]", "city": "Austin", "zip": "[ADDRESS_2]"},
        "email": "[EMAIL_1]",
        "dob": "[BIRTH_DATE_1]",
        "payment_methods": USER["payment_methods"],
    }


def test_layout_and_figures_of_json_stay_as_they_were() -> None:
    text = '{ "a": 1.10, "b" : [1e3, 20240131],\n  "to":"jane@example.com", "c": "\\u00fc\\n" }'
    assert Redactor().redact_text(text) == text.replace("jane@example.com", "[EMAIL_1]")


def test_a_name_that_was_introduced_once_is_known_everywhere() -> None:
    text = "My name is Allison Hill.\n\nNote: Allison Hill called; Allison wants it by May. Hills are high."
    assert Redactor().redact_text(text) == (
        "My name is [PERSON_1].\n\nNote: [PERSON_1] called; [PERSON_2] wants it by May. Hills are high."
    )


def test_half_an_escape_is_left_where_json_is_quoted_in_a_text() -> None:
    assert Redactor().redact_text(r'He sent {"a": "x\njane@example.com"}') == r'He sent {"a": "x\n[EMAIL_1]"}'
    assert Redactor().redact_text(r"so \\jane@example.com") == r"so \\[EMAIL_1]"


def test_numbers_go_on_where_a_text_has_placeholders_already() -> None:
    held = Placeholders()
    assert Redactor().redact_text("[EMAIL_3] and jane@example.com", held) == "[EMAIL_3] and [EMAIL_4]"
    assert held.restore("[EMAIL_3] and [EMAIL_4]") == "[EMAIL_3] and jane@example.com"


def test_placeholders_of_a_thread_go_on_from_example_to_example() -> None:
    redactor, held = Redactor(), Placeholders()
    assert redactor.redact_text("I am Mia Li, mia@example.com", held) == "I am [PERSON_1], [EMAIL_1]"
    # Found by no rule here, but known.
    assert (
        redactor.redact_text("Mia Li again, now mia@example.org", held) == "[PERSON_1] again, now [EMAIL_2]"
    )
    again = Placeholders(held.values)
    assert redactor.redact_text("MIA@example.com, mia@example.net", again) == "[EMAIL_1], [EMAIL_3]"


def test_the_way_back_escapes_what_json_has_to() -> None:
    redactor = Redactor()
    held = Placeholders({"[PERSON_1]": 'Jo "JJ" Doe\\'})
    assert json.loads(redactor.restore('{"name": "[PERSON_1]"}', held)) == {"name": 'Jo "JJ" Doe\\'}
    assert redactor.restore(["[PERSON_1]", 3, "[PERSON_2]"], held) == ['Jo "JJ" Doe\\', 3, "[PERSON_2]"]


def test_placeholders_do_not_show_what_they_hold() -> None:
    held = Placeholders()
    Redactor().redact_text("jane@example.com", held)
    assert "jane" not in f"{held!r}{held}"
    assert len(held) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+49 (0)30 1234567", "0049 30 1234567"),
        ("jane (at) example (dot) org", "Jane@Example.org"),
        ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("Hauptstr. 5\n10115 Berlin", "Hauptstr. 5, 10115 Berlin"),
    ],
)
def test_another_spelling_is_the_same_placeholder(one: str, other: str) -> None:
    redacted = Redactor().redact_text(f"{one}\n--\n{other}")
    first, second = redacted.split("\n--\n")
    assert first == second
    assert first.endswith("_1]")


def test_a_detector_of_ones_own_stands_beside_the_rules() -> None:
    class Contracts:
        def find(self, text: str) -> Sequence[Span]:
            place = text.find("V-")
            return [Span(place, place + 6, "CONTRACT")] if place >= 0 else []

    redactor = Redactor(Together(RuleDetector(), Contracts()))
    assert redactor.redact_text("V-1234 of jane@example.com") == "[CONTRACT_1] of [EMAIL_1]"


def test_pictures_and_ids_are_not_looked_into() -> None:
    picture = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,q8Zp3LmTn7Rw2Vx9KcYb5HdJq8Zp3Lm"},
    }
    prompt = [
        {
            "role": "user",
            "content": [picture, {"type": "text", "text": "jane@example.com"}],
            "id": "q8Zp3LmTn7Rw2Vx9KcYb5HdJ",
        }
    ]
    example = Example(trace_id="0" * 32, call_site="agent", prompt=prompt, answer=None)
    (message,) = Redactor().redact(example).example.prompt
    assert message["content"] == [picture, {"type": "text", "text": "[EMAIL_1]"}]
    assert message["id"] == prompt[0]["id"]
