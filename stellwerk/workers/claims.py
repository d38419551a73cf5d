"""Which of the workers that read documents a question is for, by its words and the tables at hand.

A small planner gives workers in the order of its example rather than by the question; these rules are
what it would have to learn. They were written on pages 100 and up of TAT-QA's development set.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from stellwerk.worker import Brief
from stellwerk.workers.functions import functions_of
from stellwerk.workers.selection import grid_of
from stellwerk.workers.tables import words, years

Reader = Literal["look_up", "calculate", "extract"]

_IN_WORDS = re.compile(
    r"^\s*(?:why|who|how\s+(?!much|many)|does|do|did|is|are|where)\b"
    r"|^\s*what\s+are\s+(?!the\s+(?:respective|total|values?|amounts?))|\bdefin|\bmean(?:s|ing)?\b"
    r"|\b(?:includes?|consists?|comprises?|relates?|refers?|represents?|describes?|reasons?|led|caused?)\b",
    re.IGNORECASE,
)
_STATED = re.compile(r"^\s*(?:in\s+)?(?:which|when)\b|\brespective", re.IGNORECASE)


def reader_of(brief: Brief) -> Reader | None:
    """Who reads the answer out of the documents; None where the job is no question."""
    question = brief.instruction
    if not question.rstrip().endswith("?"):
        return None
    if _IN_WORDS.search(question):
        return "extract"
    asked = words(question)
    rows = {row: label for row in grid_of(brief).rows if (label := words(row))}
    in_table = any(len(label & asked) >= max(1, 0.6 * len(label)) for label in rows.values())
    functions = functions_of(question)
    if not _STATED.search(question) and len(functions) == 1 and functions[0] != "count":
        if len(years(question)) < 2:
            # 'The total assets in 2019' is a row of the table; 'the total in 2018 and 2019' is a sum.
            named = [row for row, label in rows.items() if len(label & asked) >= 0.8 * len(label)]
            if any(functions_of(row) == functions for row in named) or (functions[0] == "sum" and in_table):
                return "look_up"
        return "calculate"
    return "look_up" if in_table else "extract"


def claims(reader: Reader) -> Callable[[Brief], bool]:
    """Whether a job is for this reader."""
    return lambda brief: reader_of(brief) == reader
