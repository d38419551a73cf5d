import json
from dataclasses import fields, replace

import pytest

from stellwerk.capabilities import SWITCHES, Capabilities

ABLE = Capabilities(
    chat=True,
    json_schema=True,
    guided_json=False,
    unparsable_schema="refused",
    context_window=4096,
    server="vllm",
    version="0.32.0",
    details={"guided_json": "accepted and ignored", "auto_tool": "no answer (503): busy"},
    unanswered=("auto_tool", "named_tool"),
    probe=1,
)


def test_they_survive_json() -> None:
    assert Capabilities.from_json(json.loads(json.dumps(ABLE.to_json()))) == ABLE
    assert Capabilities.from_json({}) == Capabilities()


def test_json_of_another_version_is_read_as_far_as_it_is_known() -> None:
    stored = {
        **ABLE.to_json(),
        "mind_reading": True,
        "unanswered": ["auto_tool", "mind_reading", "named_tool"],
    }
    stored["details"] = {**ABLE.details, "mind_reading": "seen"}
    del stored["context_window"]
    assert Capabilities.from_json(stored) == replace(ABLE, context_window=None)


@pytest.mark.parametrize("name", [each.name for each in fields(Capabilities)])
@pytest.mark.parametrize("value", [7.5, "maybe", [], {}, None, [7], {"a": 7}])
def test_values_that_make_no_sense_are_not_known(name: str, value: object) -> None:
    read = getattr(Capabilities.from_json({name: value}), name)
    allowed = (
        value if name in ("server", "version") and isinstance(value, str) else getattr(Capabilities(), name)
    )
    assert read == allowed


def test_every_yes_or_no_is_a_switch() -> None:
    assert {each.name for each in fields(Capabilities) if each.type == "bool | None"} == set(SWITCHES)


def test_a_later_probe_fills_in_only_what_had_no_answer() -> None:
    later = Capabilities(
        json_schema=False,
        auto_tool=True,
        details={"auto_tool": "a call was parsed"},
        unanswered=("named_tool",),
    )
    filled = ABLE.filled_by(later)
    assert filled == replace(
        ABLE,
        auto_tool=True,
        details={"guided_json": "accepted and ignored", "auto_tool": "a call was parsed"},
        unanswered=("named_tool",),
    )


def test_two_servers_can_be_relied_on_for_what_both_do() -> None:
    other = Capabilities(
        chat=True,
        json_schema=False,
        guided_json=True,
        unparsable_schema="ignored",
        logprobs=True,
        context_window=2048,
        server="vllm",
        version="0.33.0",
        details={"json_schema": "accepted and ignored here", "guided_json": "seen"},
        unanswered=("metrics",),
        probe=1,
    )
    both = ABLE.common(other)
    assert (both.chat, both.json_schema, both.guided_json, both.logprobs) == (True, False, False, None)
    assert (both.unparsable_schema, both.context_window) == (None, 2048)
    assert (both.server, both.version) == ("vllm", "")
    assert both.details["json_schema"] == "accepted and ignored here"
    assert both.details["guided_json"] == "accepted and ignored"
    assert {*both.unanswered} == {"auto_tool", "named_tool", "metrics"}
    turned = other.common(ABLE)
    assert replace(both, unanswered=()) == replace(turned, unanswered=())
    assert ABLE.common(ABLE) == ABLE
