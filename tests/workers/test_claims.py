"""Which worker reads the answer to a question out of a page."""

import pytest

from stellwerk.worker import Brief
from stellwerk.workers.claims import reader_of

PAGE = """
| EUR million | 2021 | 2020 |
|---|---|---|
| Sales | 52 | 41 |
| Total assets | 310 | 295 |

Rent rose because of the new office in Graz, opened in May.
"""


@pytest.mark.parametrize(
    ("question", "reader"),
    [
        ("What were sales in 2021?", "look_up"),
        ("In which year were sales higher?", "look_up"),
        ("What were the total assets in 2020?", "look_up"),  # a row of that name, not a sum
        ("What was the total of sales in 2020 and 2021?", "calculate"),
        ("By what percentage did sales change from 2020 to 2021?", "calculate"),
        ("What were average sales over 2020 and 2021?", "calculate"),
        ("Why did rent rise?", "extract"),
        ("How does the company define total assets?", "extract"),
        ("When was the new office opened?", "extract"),
        ("Write a line about sales.", None),
    ],
)
def test_a_question_is_for(question: str, reader: str | None) -> None:
    brief = Brief(instruction=question, documents=[{"name": "page", "text": PAGE}], inputs={})
    assert reader_of(brief) == reader
