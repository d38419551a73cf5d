"""Summarise and write: workers whose answer is text."""

from __future__ import annotations

from pydantic import BaseModel, Field

from stellwerk.worker import Brief, Worker
from stellwerk.workers.create import create_worker
from stellwerk.workers.quotes import mentions, numbers


class Text(BaseModel):
    """A text."""

    text: str = Field(min_length=1)


def summarise_worker(name: str = "summarise", *, max_words: int = 80) -> Worker:
    """A worker that says what the documents say, in fewer words.

    Args:
        name: of the worker.
        max_words: a longer summary is rejected.
    """

    def is_short(result: Text, brief: Brief) -> str | None:
        count = len(result.text.split())
        return f"the summary has {count} words; the limit is {max_words}" if count > max_words else None

    return create_worker(
        name,
        description="summarise the documents, or a part of them",
        output=Text,
        prompt=(
            f"Summarise what the job asks for in at most {max_words} words, in plain sentences. "
            "Use only what the document says, and copy figures exactly."
        ),
        checks=(is_short, figures_are_known),
        max_tokens=4 * max_words + 64,
    )


def write_worker(name: str = "write", *, max_words: int = 200) -> Worker:
    """A worker that writes a text from the results of other subtasks and the documents.

    Args:
        name: of the worker.
        max_words: the prompt asks for at most this many; a text twice as long is rejected.
    """

    def is_not_endless(result: Text, brief: Brief) -> str | None:
        count = len(result.text.split())
        return f"the text has {count} words; the limit is {max_words}" if count > 2 * max_words else None

    return create_worker(
        name,
        description="write a text (an answer, a briefing, a mail) from results of other subtasks",
        output=Text,
        prompt=(
            f"Write what the job asks for, in at most {max_words} words. Build on the results given, say "
            "what each figure is, and copy figures exactly."
        ),
        checks=(is_not_endless, figures_are_known),
        max_tokens=3 * max_words,  # a model that does not end is stopped, and the next tier is asked
    )


def figures_are_known(result: Text, brief: Brief) -> str | None:
    """Every figure in the text has to stand in the documents, the inputs or the job."""
    known = f"{brief.source}\n{brief.instruction}"
    for number in numbers(result.text):
        written = result.text[number.start : number.end]
        if abs(number.value) > 10 and not mentions(written, known) and not _rounded(number.value, known):
            return f"the figure {written} is not in the documents or results"
    return None


def _rounded(value: object, known: str) -> bool:
    places = -int(value.as_tuple().exponent)  # type: ignore[attr-defined]  # a Decimal
    return any(round(number.value, places) in (value, -value) for number in numbers(known))  # type: ignore[operator]
