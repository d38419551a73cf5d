import json
import re
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, Field, field_validator

from stellwerk.graphs import create_worker_graph
from stellwerk.worker import Brief, Worker
from tests.fakes import Reply, Said, Scripted, always, broken, in_turn, ladder, run, worker

GOOD = '{"text": "fine"}'


def attempt(worker: Worker, model: Reply | Scripted, *, sync: bool) -> dict[str, Any]:
    """One attempt: the worker graph run on its own."""
    graph = create_worker_graph(worker, ladder(model, always("not this one"))).compile()
    output: dict[str, Any] = run(graph, {"instruction": "go", "documents": ["some text"]}, sync=sync)
    json.dumps(output, allow_nan=False).encode()  # what goes into a checkpoint is JSON
    return output


def reject(worker: Worker, text: str, *, sync: bool) -> tuple[str, str]:
    """Reason and detail for an answer that stays the same when asked again."""
    output = attempt(worker, always(text), sync=sync)
    assert output["verdict"]["accepted"] is False
    assert output["value"] is None
    return output["verdict"]["reason"], output["verdict"]["detail"]


def test_a_good_answer_is_accepted_at_once(sync: bool) -> None:
    output = attempt(worker(), always(GOOD), sync=sync)
    assert output["value"] == {"text": "fine"}
    assert output["verdict"] == {"accepted": True}
    (call,) = output["calls"]
    assert (call["step"], call["owner"], call["tier"]) == ("generate", "make", "small")
    assert call["usage"]["output"] == 4


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("fine", "not_json", r"the answer is not JSON: .*it begins 'fine'"),
        ('{"text": "fi', "not_json", "not JSON"),
        (f"{GOOD} or {GOOD}", "not_json", "Extra data"),
        ("[" * 200_000, "repetition", "turns in circles"),
        ('{"text": ' * 50_000 + "1" + "}" * 50_000, "repetition", "turns in circles"),
        ('{"text": ' + "1" * 5_000 + "}", "not_json", "the answer is not JSON"),
        ('{"text": 3}', "schema", "text: Input should be a valid string"),
        ("{}", "schema", "text: Field required"),
        ('{"text": ""}', "schema", "text: "),
        ('{"text": "\\ud800"}', "schema", "text: "),
        ("[]", "schema", "answer: "),
        ("null", "schema", "answer: "),
        ("", "empty", "the answer is empty"),
        (" \n\t", "empty", "the answer is empty"),
        ('{"text": "' + "x" * 10_000_000 + '"}', "length", "10,000,012 characters; the limit is 1,000,000"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_a_bad_answer_is_rejected_with_reason(text: str, reason: str, detail: str, sync: bool) -> None:
    found, why = reject(worker(), text, sync=sync)
    assert found == reason
    assert re.search(detail, why)
    assert len(why) <= 1000


def test_an_answer_that_was_cut_off_is_not_asked_for_again(sync: bool) -> None:
    cut = AIMessage('{"text": "fi', response_metadata={"finish_reason": "length"})
    output = attempt(worker(), lambda messages: cut, sync=sync)
    assert output["verdict"]["reason"] == "length"
    assert "cut off after 12 characters" in output["verdict"]["detail"]
    assert len(output["calls"]) == 1


def test_a_bad_answer_may_be_mended_once_with_the_reason_before_it(sync: bool) -> None:
    model = Scripted(reply=in_turn("fine", GOOD))
    output = attempt(worker(), model, sync=sync)
    assert output["verdict"] == {"accepted": True}
    assert output["value"] == {"text": "fine"}
    assert [call["step"] for call in output["calls"]] == ["generate", "repair"]
    assert "the answer is not JSON" not in model.prompts[0]
    assert "the answer is not JSON" in model.prompts[1]


@pytest.mark.parametrize("repairs", [0, 1, 3])
def test_mending_ends(repairs: int, sync: bool) -> None:
    output = attempt(worker(repairs=repairs), always("fine"), sync=sync)
    assert [call["step"] for call in output["calls"]] == ["generate"] + ["repair"] * repairs
    assert output["verdict"]["reason"] == "not_json"


def says_please(result: Said, brief: Brief) -> str | None:
    return None if "please" in result.text else f"it does not say please to {brief.instruction!r}"


def test_the_sentence_of_a_check_is_the_reason(sync: bool) -> None:
    reason, detail = reject(worker(checks=[says_please]), GOOD, sync=sync)
    assert (reason, detail) == ("check", "says_please: it does not say please to 'go'")
    assert attempt(worker(checks=[says_please]), always('{"text": "please"}'), sync=sync)["verdict"][
        "accepted"
    ]


def test_the_first_check_that_fails_speaks(sync: bool) -> None:
    def never(result: Said, brief: Brief) -> str:
        return "no"

    assert reject(worker(checks=[says_please, never]), GOOD, sync=sync)[1].startswith("says_please")
    assert reject(worker(checks=[never, says_please]), GOOD, sync=sync)[1] == "never: no"


def test_a_check_that_raises_rejects_the_answer(sync: bool) -> None:
    def careless(result: Said, brief: Brief) -> str | None:
        return str(brief.documents[7])

    reason, detail = reject(worker(checks=[careless]), GOOD, sync=sync)
    assert (reason, detail) == ("worker", "careless raised IndexError: list index out of range")


def test_a_validator_that_raises_rejects_the_answer(sync: bool) -> None:
    class Careless(Said):
        @field_validator("text")
        @classmethod
        def _look(cls, text: str) -> str:
            return {"a": "b"}[text]

    assert reject(worker(output=Careless), GOOD, sync=sync) == ("worker", "Careless raised KeyError: 'fine'")


class Count(BaseModel):
    letters: int


def test_finish_makes_the_result_and_checks_see_it(sync: bool) -> None:
    def count(answer: Said, brief: Brief) -> Count:
        return Count(letters=len(answer.text))

    def is_long(result: Count, brief: Brief) -> str | None:
        return None if result.letters > 3 else "too short"

    counting = worker(finish=count, checks=[is_long])
    assert attempt(counting, always(GOOD), sync=sync)["value"] == {"letters": 4}
    assert reject(counting, '{"text": "abc"}', sync=sync) == ("check", "is_long: too short")


def test_finish_that_raises_rejects_the_answer(sync: bool) -> None:
    def fail(answer: Said, brief: Brief) -> Count:
        return Count(letters=int(answer.text))

    reason, detail = reject(worker(finish=fail), GOOD, sync=sync)
    assert reason == "check"
    assert "ValueError" in detail
    assert "'fine'" in detail


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    figure: float = Field(default=0)


@pytest.mark.parametrize("text", ['{"figure": NaN}', '{"figure": 1e999}', '{"figure": 1, "more": "\\ud800"}'])
def test_what_json_cannot_hold_is_not_accepted(text: str, sync: bool) -> None:
    assert reject(worker(output=Open), text, sync=sync)[0] == "check"


def test_a_tier_that_is_down_is_no_fault_of_the_answer_and_not_asked_again(sync: bool) -> None:
    output = attempt(worker(), broken, sync=sync)
    assert output["verdict"]["reason"] == "tier"
    assert "tier 'small' gave no answer: ConnectionError" in output["verdict"]["detail"]
    (call,) = output["calls"]
    assert "connection refused" in call["error"]


def test_a_document_that_cannot_fit_is_said_so_without_a_call(sync: bool) -> None:
    model = Scripted(reply=always(GOOD))
    graph = create_worker_graph(worker(), ladder(model)).compile()
    output = run(graph, {"instruction": "go", "documents": ["x" * 10_000_000]}, sync=sync)
    assert output["verdict"]["reason"] == "context"
    assert model.calls == 0


def test_a_repair_that_could_not_be_made_leaves_the_reason_as_it_was(sync: bool) -> None:
    model = Scripted(reply=in_turn("fine", ConnectionError("connection refused")))
    output = attempt(worker(), model, sync=sync)
    assert output["verdict"]["reason"] == "not_json"
    assert ["error" in call for call in output["calls"]] == [False, True]
