"""Questions on pages of annual reports (TAT-QA): six about each page, right by the official exact match.

The prompts of `extract`, `look_up` and `calculate` were written on pages from 100 on, so only earlier ones
are used. Longer pages are left out: on a small machine each costs minutes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from benchmarks.routing_local.jobs import Item, Job, Part
from benchmarks.tatqa.arms import said, worker_for
from benchmarks.tatqa.metric import score
from benchmarks.tatqa.pages import Page, Question, load_pages, render
from stellwerk.document import Document
from stellwerk.workers import calculate_worker, extract_worker, look_up_worker

TRACK = "tatqa"
PAGES = 100  # those before the ones that prompts were written on
LONGEST = 3_000  # characters of a page: three in four are shorter
SEED = 21


def load_questions() -> list[Page]:
    """The pages, shuffled.

    Raises:
        ConfigurationError: `STELLWERK_DATA` is not set or names no folder.
        DocumentError: that folder has no TAT-QA file.
    """
    pages = [page for page in load_pages()[:PAGES] if len(render(page)) <= LONGEST]
    random.Random(SEED).shuffle(pages)
    return pages


def question_jobs(part: Part, start: int, count: int) -> Iterator[Job]:
    """Jobs of one page each: `count` of them, from the `start`-th of the shuffled ones on."""
    workers = [extract_worker(), look_up_worker(), calculate_worker()]
    for page in load_questions()[start : start + count]:
        name = f"{TRACK}/{page.index}"
        yield Job(
            name=name,
            track=TRACK,
            part=part,
            unit=name,
            workers=workers,
            items=[_item(question, page) for question in page.questions],
            documents=[Document(name="page", text=render(page))],
        )


def _item(question: Question, page: Page) -> Item:
    def right(value: Any) -> float:
        prediction, scale = said(value)
        return score(question, prediction, scale).em

    place = page.questions.index(question)
    return Item(
        key=f"{TRACK}/{page.index}/{place}",
        worker=worker_for(question, page),
        instruction=question.text,
        right=right,
        group=f"{TRACK}/{page.index}",
    )
