import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field

from stellwerk import Rails, Worker, create_worker
from stellwerk.graphs import create_worker_graph
from stellwerk.nodes.failures import circle, echoes, is_refusal, refuses
from tests.fakes import Reply, Scripted, always, ladder, run


class Place(BaseModel):
    """Where something is."""

    town: str = Field(description="Name of the town.")
    size: Literal["small", "large"] = Field(default="small", description="How large it is.")


def placing(rails: Rails | None = None) -> Worker:
    return create_worker("place", output=Place, prompt="Say where it is.", rails=rails, repairs=0)


def verdict(worker: Worker, model: Reply | Scripted, document: str = "some text") -> dict[str, Any]:
    graph = create_worker_graph(worker, ladder(model, always("not this one"))).compile()
    output = run(graph, {"instruction": "where?", "documents": [document]}, sync=True)
    found: dict[str, Any] = output["verdict"]
    return found


def cut(text: str) -> AIMessage:
    return AIMessage(text, response_metadata={"finish_reason": "length"})


def test_an_answer_that_turns_in_circles_is_not_merely_long() -> None:
    answer = cut('{"town": "' + "Graz_in_Styria_" * 20)
    assert verdict(placing(), lambda messages: answer)["reason"] == "repetition"
    assert verdict(placing(Rails(repetition=False)), lambda messages: answer)["reason"] == "length"


@given(
    unit=st.text(st.characters(min_codepoint=33, max_codepoint=400), min_size=1, max_size=120),
    turns=st.integers(4, 12),
    rest=st.integers(0, 120),
    before=st.text(max_size=200),
)
def test_every_loop_at_the_end_is_found(unit: str, turns: int, rest: int, before: str) -> None:
    loop = unit * turns + unit[: rest % len(unit)]
    if len(loop) >= 60:
        assert circle(before + loop)


@given(st.lists(st.integers(0, 10**6), min_size=10, max_size=40, unique=True))
def test_text_that_goes_on_is_no_circle(values: list[int]) -> None:
    assert circle("\n".join(f"| row {value} | {value} |" for value in values)) is None


def test_a_finished_table_of_equal_rows_is_an_answer() -> None:
    class Table(BaseModel):
        text: str

    worker = create_worker("table", output=Table, prompt="Write the table.")
    rows = "| 0 | 0 | 0 |\n" * 40
    assert verdict(worker, always(json.dumps({"text": rows}))) == {"accepted": True}


@pytest.mark.parametrize(
    "answer",
    [
        Place.model_json_schema(),
        {"properties": {"town": {"type": "string"}}},
        {"type": "object", "properties": {}},
        {"town": "Name of the town.", "size": "How large it is."},
        {"town": {"type": "string", "description": "Name of the town."}},
    ],
)
def test_the_schema_given_back_is_no_answer(answer: dict[str, Any]) -> None:
    assert verdict(placing(), always(json.dumps(answer)))["reason"] == "schema_echo"


@pytest.mark.parametrize(
    "answer", [{"town": "Graz"}, {"town": "string", "size": "large"}, [], "town", {}, None]
)
def test_an_answer_is_not_taken_for_its_schema(answer: object) -> None:
    assert not echoes(answer, Place.model_json_schema())


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=4))
def test_words_that_are_no_description_are_no_echo(answer: dict[str, str]) -> None:
    assert not echoes(answer, {"properties": {name: {"type": "string"} for name in answer}})


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot assist with this request.",
        "I cannot provide the town.",
        "I am unable to answer the question.",
        "Sorry, I can't do that.",
        "As an AI language model, I have no access to towns.",
    ],
)
def test_a_refusal_is_told_from_an_answer_that_is_no_json(text: str) -> None:
    assert is_refusal(text)
    assert verdict(placing(), always(text))["reason"] == "refusal"
    assert verdict(placing(), always(json.dumps({"town": text})))["reason"] in ("refusal", "not_json")
    assert verdict(placing(Rails(refusal=False)), always(text))["reason"] == "not_json"


@pytest.mark.parametrize(
    "text",
    [
        "The tenant wrote: I cannot pay the rent.",
        "I cannot pay the rent, wrote the tenant.",
        "Sorrento",
        "We regret that the branch in Graz was closed.",
        "The company is unable to provide an estimate.",
        "I can't recommend Graz enough",
    ],
)
def test_a_document_that_says_cannot_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)
    assert verdict(placing(), always(json.dumps({"town": text}))) == {"accepted": True}


def test_a_refusal_that_the_document_quotes_is_an_answer() -> None:
    said = "I'm sorry, but I can't help with that."
    assert not refuses({"town": said}, f"The clerk said: {said}")
    assert verdict(placing(), always(json.dumps({"town": said})), f"He said: {said}") == {"accepted": True}


def test_a_refusal_beside_the_answer_counts() -> None:
    reply = AIMessage("", additional_kwargs={"refusal": "I can't help with that."})
    assert verdict(placing(), lambda messages: reply) == {
        "accepted": False,
        "reason": "refusal",
        "detail": "I can't help with that.",
    }


def test_unknown_is_offered_and_moves_up_the_ladder() -> None:
    worker = placing(Rails(unknown=True))
    model = Scripted(reply=always('{"town": "Graz", "size": "unknown"}'))
    assert verdict(worker, model)["reason"] == "unknown"
    (options,) = model.options
    shown = options["response_format"]["json_schema"]["schema"]["properties"]["size"]["enum"]
    assert shown == ["small", "large", "unknown"]


def test_unknown_is_an_answer_where_the_worker_has_it() -> None:
    class Size(BaseModel):
        size: Literal["small", "unknown"]

    worker = create_worker("size", output=Size, prompt="How large?", rails=Rails(unknown=True))
    assert verdict(worker, always('{"size": "unknown"}')) == {"accepted": True}
