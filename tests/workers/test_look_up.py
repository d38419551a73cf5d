import json
from typing import Any

import pytest

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
        ("In which year was cost of sales larger?", {"rows": ["Cost of sales"]}, ["2019"], ""),
        ("In which year were sales higher than in 2018?", {"rows": ["Sales"]}, ["2019"], ""),
        # What the job settles stands, whatever a model says of it that ignores the schema.
        ("What were sales in 2018?", {"rows": ["Sales"], "columns": ["2019"]}, ["$4,100"], "million"),
        ("Which year had the largest sales?", {"rows": ["Sales"], "columns": ["2018"]}, ["2019"], ""),
        ("In which year were sales more than 5,000 million?", {"rows": ["Sales"]}, ["2019"], ""),
    ],
)
def test_the_cells_are_read(job: str, answer: dict[str, Any], value: list[str], unit: str) -> None:
    found, verdict = said(job, answer)
    assert verdict["accepted"], verdict
    assert (found["answer"], found["unit"]) == (value, unit)
    assert all(quote.startswith(answer["rows"][0]) for quote in found["quotes"])


@pytest.mark.parametrize(
    ("job", "answer", "detail"),
    [
        ("What was rent in 2019?", {"rows": ["Rent"]}, "there is no row 'Rent'"),
        ("What was rent in 2019?", {"rows": ["Sales"]}, "the job says nothing of the row 'Sales'"),
        ("What were sales?", {"rows": ["Sales"], "columns": ["2016"]}, "there is no column '2016'"),
        ("What were sales?", {"rows": ["Sales"]}, "nothing stands in the row 'Sales'"),
        (
            "What was EBITDA in 2019?",
            {"rows": ["Total sales"]},
            "the job says nothing of the row 'Total sales'",
        ),
        ("What were sales?", {"rows": []}, "rows: List should have at least 1 item"),
    ],
)
def test_a_wrong_place_is_rejected_with_what_is_wrong(job: str, answer: dict[str, Any], detail: str) -> None:
    found, verdict = said(job, answer)
    assert found is None
    assert detail in verdict["detail"]


def test_a_table_with_years_as_rows_is_read_by_year() -> None:
    text = "Year | Sales | Rent\n2019 | 5.5 | 7\n2018 | 6.5 | 8\nTotal debts | 9.5 | 9"
    answer = {"rows": ["2018"], "columns": ["Sales"]}
    assert said("What were sales in 2018?", answer, text)[0]["answer"] == ["6.5"]
    for row in ("2019", "Total debts"):
        assert said("What were sales in 2018?", answer | {"rows": [row]}, text)[0] is None


def test_a_blank_among_the_cells_that_are_asked_is_said() -> None:
    text = " | 2019 | 2018\nSales | 5 |\nRent | 7 | 8"
    found, verdict = said("What were sales in 2018 and 2019?", {"rows": ["Sales"]}, text)
    assert found is None
    assert "nothing stands in the row 'Sales' under 2018" in verdict["detail"]


def test_names_in_other_alphabets_are_names() -> None:
    text = " | 2019 | 2018\nВыручка | 5 | 6\nErträge aus Kühlung | 7 | 8"
    assert said("Какова выручка в 2018?", {"rows": ["Выручка"]}, text)[0]["answer"] == ["6"]
    assert said("Erträge 2018?", {"rows": ["Erträge aus Kühlung"]}, text)[0]["answer"] == ["8"]


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
