from typing import Any

import pytest
from langchain_core.messages import AIMessage

from stellwerk.chat.offered import Offered, is_closed
from stellwerk.chat.subject import subject_of
from stellwerk.chat.verdict import judged, mended
from tests.fakes import wants


def offered(parameters: dict[str, Any], **others: Any) -> Offered:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    return Offered.of({"tools": [tool], **others})


def verdict(offer: Offered, message: AIMessage) -> Any:
    return judged(mended(message, offer), offer, subject_of([], offer), [])


NESTED = {
    "type": "object",
    "properties": {"at": {"$ref": "#/$defs/Point"}, "any": True, "list": {"type": "array", "items": True}},
    "required": ["at"],
    "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
}


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"at": {"x": 1}, "any": "thing", "list": [1, "two"]}, None),
        ({"at": {"x": "one"}}, "f.at.x is 'one'; it must be of type integer"),
        ({"at": {}}, "f.at.x is missing"),
        ({"at": {"x": 1}, "more": 2}, "f.more is no parameter; there are at, any, list"),
    ],
)
def test_arguments_are_held_to_a_schema_with_references(args: Any, problem: str | None) -> None:
    assert verdict(offered(NESTED), wants(("f", args))).get("detail") == problem


def test_a_schema_that_contains_itself_is_no_trap() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"type": "object", "properties": {"head": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    assert verdict(offered(schema), wants(("f", {"head": {"next": {"next": {}}}})))["accepted"]


def test_an_answer_may_have_more_than_its_schema_names_unless_that_is_closed() -> None:
    schema: dict[str, Any] = {"title": "t", "type": "object", "properties": {"a": {"type": "integer"}}}

    def under(schema: dict[str, Any]) -> Any:
        form = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
        return verdict(Offered.of({"response_format": form}), AIMessage('{"a": 1, "b": 2}'))

    assert under(schema)["accepted"]
    assert under({**schema, "additionalProperties": False})["detail"].startswith("answer.b is no parameter")


def test_tools_that_a_provider_runs_are_no_problem() -> None:
    offer = Offered.of({"tools": [{"type": "web_search"}], "tool_choice": "auto"})
    assert verdict(offer, AIMessage("It rains."))["accepted"]


def test_a_named_tool_and_no_other_has_to_be_called() -> None:
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in "fg"]
    choice = {"type": "function", "function": {"name": "g"}}
    offer = Offered.of({"tools": tools, "tool_choice": choice})
    assert verdict(offer, wants(("f", {})))["detail"] == "g had to be called, and another tool was"
    assert verdict(offer, wants(("g", {})))["accepted"]


def test_a_runaway_of_calls_is_refused() -> None:
    many = wants(*(("f", {}) for _ in range(17)))
    assert verdict(offered({}), many)["reason"] == "repetition"


def test_an_answer_that_is_no_text_is_an_answer() -> None:
    image = AIMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])
    assert verdict(offered({}), image)["accepted"]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"stop_reason": "max_tokens"}, "length"),
        ({"finish_reason": "content_filter"}, "refusal"),
        ({"stop_reason": "refusal"}, "refusal"),
    ],
)
def test_providers_may_say_in_their_own_words_why_they_stopped(metadata: Any, reason: str) -> None:
    assert verdict(offered({}), AIMessage("Well", response_metadata=metadata))["reason"] == reason


def test_strict_is_for_schemas_that_name_and_require_all() -> None:
    inner = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    schema: dict[str, Any] = {**inner, "properties": {"a": inner}, "required": ["a"]}
    assert is_closed(schema)
    assert not is_closed({**schema, "required": []})
    assert not is_closed({**schema, "properties": {"a": {"type": "object"}}})
    assert not is_closed({**schema, "$defs": {"Point": {"type": "object", "properties": {}}}})
