"""Pages of annual reports, each with its questions, as TAT-QA publishes them."""

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from benchmarks.data import TATQA_SOURCE, data_dir
from stellwerk.errors import DocumentError

FILE = "tasks/tatqa_dev.json"

AnswerType: TypeAlias = Literal["span", "multi-span", "arithmetic", "count"]
AnswerFrom: TypeAlias = Literal["table", "text", "table-text"]
Scale: TypeAlias = Literal["", "thousand", "million", "billion", "percent"]


@dataclass(frozen=True)
class Question:
    """One question, with the gold answer as published: spans as a list, a count as digits, else a number."""

    uid: str
    text: str
    answer: list[str] | str | int | float
    scale: Scale
    derivation: str
    answer_type: AnswerType
    answer_from: AnswerFrom


@dataclass(frozen=True)
class Page:
    """A table with the paragraphs around it. `index` is its place in the published file, from 0."""

    index: int
    table: list[list[str]]
    paragraphs: list[str]
    questions: list[Question]


def load_pages() -> list[Page]:
    """Every page of the development set, in published order.

    Raises:
        ConfigurationError: `STELLWERK_DATA` is not set or names no folder.
        DocumentError: That folder has no TAT-QA file.
    """
    path = data_dir() / FILE
    if not path.is_file():
        raise DocumentError(
            f"{path} does not exist; put TAT-QA's tatqa_dataset_dev.json there. {TATQA_SOURCE}."
        )
    pages = json.loads(path.read_text(encoding="utf-8"))
    return [_page(index, page) for index, page in enumerate(pages)]


def render(page: Page) -> str:
    """The page as plain text: the table, a line per row with cells between ' | ', then the paragraphs."""
    rows = [[" ".join(cell.split()) for cell in row] for row in page.table]
    rows = [row for row in rows if any(row)]
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    lines = [" | ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return "\n".join(["Table", *lines, "", "Text", *page.paragraphs])


def _page(index: int, published: dict[str, Any]) -> Page:
    paragraphs = sorted(published["paragraphs"], key=lambda paragraph: int(paragraph["order"]))
    return Page(
        index=index,
        table=published["table"]["table"],
        paragraphs=[paragraph["text"] for paragraph in paragraphs],
        questions=[
            Question(
                uid=question["uid"],
                text=question["question"],
                answer=question["answer"],
                scale=question["scale"],
                derivation=question["derivation"],
                answer_type=question["answer_type"],
                answer_from=question["answer_from"],
            )
            for question in published["questions"]
        ],
    )
