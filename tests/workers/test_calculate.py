import json
import time
from typing import Any

import pytest

from stellwerk.nodes.verify import judge
from stellwerk.worker import Brief
from stellwerk.workers.calculate import calculate_worker
from stellwerk.workers.functions import functions_of

SOURCE = "\n".join(
    [
        "(in thousands) | 2019 | 2018 | 2017",
        "Revenue | 5,200 | 4,100 | 4,000",
        "Cost of revenue | (3,000) | (2,500) | n/a",
        "Cash | 40 | 50 | 60",
        "Total assets | 900 | 1,000 | 1,100",
        "",
        "We opened 12 shops and closed 5. Rent was 310 in 2019.",
    ]
)
WORKER = calculate_worker()


def brief(job: str) -> Brief:
    return Brief(instruction=job, documents=[{"name": "page", "text": SOURCE}])


def said(job: str, answer: dict[str, Any]) -> tuple[Any, Any]:
    draft = {"text": json.dumps({"answer": answer}), "finish": "stop", "reason": "", "detail": ""}
    return judge(WORKER, brief(job), draft)  # type: ignore[arg-type]  # a Draft in all but name


@pytest.mark.parametrize(
    ("job", "function"),
    [
        ("What is the average revenue?", "average"),
        ("By what percentage did revenue grow?", "percent_change"),
        ("What is the percentage increase in average prices?", "percent_change"),
        ("What was the change in average prices?", "change"),
        ("What percentage did sales increase by?", "percent_change"),
        ("What is cash as a percentage of total assets?", "share"),
        ("What is the ratio of cash to assets?", "ratio"),
        ("How much more did we sell?", "change"),
        ("What is the total revenue in 2018 and 2019?", "sum"),
        ("How many shops are there?", "count"),
        ("What is the change in the number of shops?", "change"),
    ],
)
def test_the_first_word_of_arithmetic_says_the_function(job: str, function: str) -> None:
    assert functions_of(job) == (function,)


def test_a_job_without_such_a_word_leaves_all_functions_open() -> None:
    assert len(functions_of("What is the cost of goods sold?")) == 7


@pytest.mark.parametrize(
    ("job", "answer", "value", "unit"),
    [
        ("What was the change in revenue from 2018 to 2019?", {"rows": ["Revenue"]}, "1100", "thousand"),
        # The later year is the new one, however the job or the model orders them.
        (
            "What was the change in revenue between 2019 and 2018?",
            {"rows": ["Revenue"], "columns": ["2018", "2019"]},
            "1100",
            "thousand",
        ),
        (
            "By what percentage did cost of revenue change from 2018 to 2019?",
            {"rows": ["Cost of revenue"]},
            "20",
            "percent",
        ),
        ("What is the average revenue from 2017 to 2019?", {"rows": ["Revenue"]}, "4433.3333", "thousand"),
        (
            "What is cash as a percentage of total assets in 2018?",
            {"rows": ["Cash", "Total assets"]},
            "5",
            "percent",
        ),
        (
            "What proportion of total assets are cash and revenue in 2017?",
            {"rows": ["Cash", "Revenue", "Total assets"], "columns": ["2017"]},
            "369.0909",
            "percent",
        ),
        (
            "What is the ratio of cash to total assets in 2018?",
            {"rows": ["Cash", "Total assets"]},
            "0.05",
            "",
        ),
        (
            "What is the difference between revenue and cash in 2019?",
            {"rows": ["Revenue", "Cash"], "columns": ["2019"]},
            "5160",
            "thousand",
        ),
        ("How many more shops opened than closed?", {"expression": "12 - 5"}, "7", ""),
        # What the job settles stands, whatever a model says of it that ignores the schema.
        (
            "What was the change in revenue from 2018 to 2019?",
            {"rows": ["Revenue"], "columns": ["2019", "2017"], "function": "sum"},
            "1100",
            "thousand",
        ),
        ("What was total revenue in 2017 and 2019?", {"rows": ["Revenue"]}, "9200", "thousand"),
        (
            "What is the total of revenue and cash in 2018 and 2019?",
            {"rows": ["Revenue", "Cash"]},
            "9390",
            "thousand",
        ),
        (
            "What are revenue and cash in 2017 worth?",
            {"rows": ["Revenue", "Cash"], "columns": ["2017"], "function": "sum"},
            "4060",
            "thousand",
        ),
    ],
)
def test_the_value_is_computed_from_the_cells_pointed_at(
    job: str, answer: dict[str, Any], value: str, unit: str
) -> None:
    found, verdict = said(job, answer)
    assert verdict["accepted"], verdict
    assert (found["value"], found["unit"]) == (value, unit)
    assert found["rows"] == answer.get("rows", [])


@pytest.mark.parametrize(
    ("job", "answer", "detail"),
    [
        (
            "What was the change in revenue?",
            {"rows": ["Revenue"], "columns": ["2019"]},
            "change takes two figures, and 1 are named",
        ),
        (
            "What was the change in cost of revenue?",
            {"rows": ["Cost of revenue"], "columns": ["2018", "2017"]},
            "'n/a' in row 'Cost of revenue' is no figure",
        ),
        (
            "What is the average rent?",
            {"rows": ["Cash"], "columns": ["2019"]},
            "says nothing of the row 'Cash'",
        ),
        (
            "What was the change in revenue in 2019?",
            {"rows": ["Revenue"], "columns": ["2018", "2017"]},
            "the job is about 2019, and '4,100' is of 2018",
        ),
        (
            "What are cash and revenue worth?",
            {"rows": ["Cash"], "columns": ["2019"]},
            "the function is missing",
        ),
        ("What is the average revenue?", {"rows": ["Revenue"], "columns": ["2019"]}, "no calculation"),
        ("What is the sum of shops?", {"expression": "12 + 99"}, "the figure 99 is not in the documents"),
        ("What is the sum of shops?", {"expression": "__import__('os')"}, "ExpressionError"),
        ("What is the sum of shops?", {"expression": "9**9**9"}, "ExpressionError"),
        ("What is the sum of shops?", {"expression": "2 + 2"}, "uses no figure of the documents"),
    ],
)
def test_a_wrong_formula_is_rejected_with_what_is_wrong(
    job: str, answer: dict[str, Any], detail: str
) -> None:
    found, verdict = said(job, answer)
    assert found is None
    assert detail in verdict["detail"]


def forms(job: str) -> list[Any]:
    answer = WORKER.schema_for(brief(job))["properties"]["answer"]
    return [form["properties"] for form in answer.get("anyOf", [answer])]


def test_what_the_job_settles_is_not_asked() -> None:
    pointed, written = forms("By what percentage did cost of revenue change from 2018 to 2019?")
    assert list(pointed) == ["rows"]
    assert pointed["rows"]["items"]["enum"] == ["Cost of revenue"]
    assert list(written) == ["expression"]


def test_a_share_of_two_years_asks_for_the_year() -> None:
    (pointed, _) = forms("What is cash as a percentage of total assets in 2018 and 2019?")
    assert list(pointed) == ["rows", "columns"]
    assert pointed["rows"]["minItems"] == 2


def test_words_without_end_are_read_in_time_that_grows_with_their_number() -> None:
    started = time.process_time()
    functions_of("change " * 20_000)
    functions_of("what percent " * 20_000)
    assert time.process_time() - started < 10


def test_what_the_job_leaves_open_is_asked() -> None:
    (pointed, _) = forms("What is the cost of goods?")
    assert list(pointed) == ["rows", "columns", "function"]
    (pointed, _) = forms("What is cash as a percentage of total assets?")
    assert (pointed["rows"]["minItems"], pointed["columns"]["maxItems"]) == (2, 1)


def test_without_a_table_only_an_expression_is_asked() -> None:
    schema = WORKER.schema_for(Brief(instruction="How many more?", documents=[]))
    assert list(schema["properties"]["answer"]["properties"]) == ["expression"]
