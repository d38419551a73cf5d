import json
from typing import Any

import pytest
from pydantic import BaseModel

from stellwerk.nodes.verify import judge
from stellwerk.worker import Brief, Worker
from stellwerk.workers.extract import extract_worker

SOURCE = "\n".join(
    [
        "(in thousands) | 2019 | 2018",
        "Sales | 5,200 | 4,100",
        "Rent | 12 | 11",
        "",
        "Rent rose because of the new office in Graz, opened in May. It has 34 desks.",
    ]
)


class Office(BaseModel):
    town: str
    desks: int | None = None


def said(worker: Worker, job: str, answer: dict[str, Any]) -> tuple[Any, Any]:
    brief = Brief(instruction=job, documents=[{"name": "page", "text": SOURCE}])
    draft = {"text": json.dumps(answer), "finish": "stop", "reason": "", "detail": ""}
    return judge(worker, brief, draft)  # type: ignore[arg-type]  # a Draft in all but name


def test_a_copied_answer_carries_its_line_and_the_unit_of_its_table() -> None:
    found, _ = said(extract_worker(), "What were sales in 2018?", {"answer": ["4,100"]})
    assert found == {"answer": ["4,100"], "quotes": ["Sales | 5,200 | 4,100"], "unit": "thousand"}
    found, _ = said(extract_worker(), "Why did rent rise?", {"answer": ["the new office in Graz"]})
    assert found["unit"] == ""
    assert "opened in May" in found["quotes"][0]


@pytest.mark.parametrize(
    ("job", "answer", "detail"),
    [
        ("What were sales?", ["4,101"], "'4,101' is not in the documents; copy it word for word"),
        ("What was rent in 2019?", ["5,200"], "the job is about 'Rent', and no figure is from that row"),
        ("What were sales in 2018?", ["5,200"], "the job is about 2018, and no figure is from that year"),
        ("What were sales?", [], "answer: List should have at least 1 item"),
    ],
)
def test_an_answer_that_is_not_there_is_rejected(job: str, answer: list[str], detail: str) -> None:
    found, verdict = said(extract_worker(), job, {"answer": answer})
    assert found is None
    assert detail in verdict["detail"]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"town": {"quote": "the new office in Graz", "value": "Graz"}}, None),
        ({"town": {"quote": "in Graz", "value": "Graz"}, "desks": {"quote": "34 desks", "value": 34}}, None),
        ({"town": {"quote": "an office in Wels", "value": "Wels"}}, "the quote for town"),
        ({"town": {"quote": "Graz", "value": "Graz"}, "desks": {"quote": "34 desks", "value": 43}}, "43"),
        ({"desks": {"quote": "34 desks", "value": 34}}, "town"),
    ],
)
def test_given_fields_are_filled_from_quotes_that_are_checked(
    answer: dict[str, Any], detail: str | None
) -> None:
    found, verdict = said(extract_worker(Office), "Describe the office", answer)
    if detail is None:
        assert verdict["accepted"], verdict
        assert found["town"]["value"] == "Graz"
    else:
        assert detail in verdict["detail"]
