import json
from typing import Any

import pytest
from pydantic import BaseModel

from stellwerk.nodes.verify import judge
from stellwerk.worker import Brief
from stellwerk.workers.look_up import look_up_worker

SOURCE = "\n".join(
    [
        "(in millions) | 2019 | 2018 | Change",
        "Sales | $5,200 | $4,100 | 27%",
        "Cost of sales | (3,000) | (2,500) | 20%",
    ]
)
WORKER = look_up_worker()


def brief(job: str, text: str = SOURCE) -> Brief:
    return Brief(instruction=job, documents=[{"name": "page", "text": text}])


def said(job: str, answer: dict[str, Any], text: str = SOURCE) -> tuple[Any, Any]:
    draft = {"text": json.dumps(answer), "finish": "stop", "reason": "", "detail": ""}
    return judge(WORKER, brief(job, text), draft)  # type: ignore[arg-type]  # a Draft in all but name


@pytest.mark.parametrize(
    ("job", "answer", "value", "unit"),
    [
        ("What were sales in 2018?", {"rows": ["Sales"]}, ["$4,100"], "million"),
        ("What were sales in 2018 and 2019?", {"rows": ["Sales"]}, ["$5,200", "$4,100"], "million"),
        ("What is the change of sales?", {"rows": ["Sales"], "columns": ["Change"]}, ["27%"], ""),
        ("In which year were sales lower?", {"rows": ["Sales"]}, ["2018"], ""),
        ("In which year were sales more than 5,000 million?", {"rows": ["Sales"]}, ["2019"], ""),
    ],
)
def test_the_cells_are_read(job: str, answer: dict[str, Any], value: list[str], unit: str) -> None:
    found, verdict = said(job, answer)
    assert verdict["accepted"], verdict
    assert (found["answer"], found["unit"]) == (value, unit)
    assert all(quote.startswith("Sales") for quote in found["quotes"])


@pytest.mark.parametrize(
    ("job", "answer", "detail"),
    [
        ("What was rent in 2019?", {"rows": ["Rent"]}, "there is no row 'Rent'"),
        ("What was rent in 2019?", {"rows": ["Sales"]}, "the job says nothing of the row 'Sales'"),
        ("What were sales?", {"rows": ["Sales"], "columns": ["2016"]}, "there is no column '2016'"),
        ("What were sales?", {"rows": ["Sales"]}, "nothing stands in the row 'Sales'"),
        ("What were sales?", {"rows": []}, "rows: List should have at least 1 item"),
    ],
)
def test_a_wrong_place_is_rejected_with_what_is_wrong(job: str, answer: dict[str, Any], detail: str) -> None:
    found, verdict = said(job, answer)
    assert found is None
    assert detail in verdict["detail"]


def test_without_a_table_there_is_nothing_to_look_up() -> None:
    assert "no table" in said("What were sales?", {"rows": ["Sales"]}, "Sales were 5.")[1]["detail"]


def test_the_schema_offers_only_what_the_job_leaves_open() -> None:
    schema = WORKER.schema_for(brief("What was the cost of sales in 2018?"))
    assert schema["required"] == ["rows"]
    assert schema["properties"]["rows"]["items"]["enum"] == ["Cost of sales"]
    schema = WORKER.schema_for(brief("What is the change of sales?"))
    assert schema["properties"]["columns"]["items"]["enum"] == ["Change"]


def test_a_huge_table_leaves_the_names_open() -> None:
    rows = [f"Row {number} | {number}" for number in range(1000)]
    schema = WORKER.schema_for(brief("What was it?", "\n".join([" | 2019", *rows])))
    assert "enum" not in schema["properties"]["rows"]["items"]


def test_the_answer_is_what_the_output_model_says() -> None:
    assert issubclass(WORKER.output, BaseModel)
    assert [example.answer["rows"] for example in WORKER.examples]
