"""Extract: facts from text or a table, each with the quote it came from."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from stellwerk.errors import ConfigurationError
from stellwerk.worker import Brief, Example, Worker
from stellwerk.workers.claims import claims
from stellwerk.workers.create import create_worker
from stellwerk.workers.grounding import cells_of, off_the_mark
from stellwerk.workers.quotes import find_quote, mentions, numbers
from stellwerk.workers.scale import Scale as Unit
from stellwerk.workers.scale import declared_scale

_PROMPT = """\
Copy the answer to the job from the document, word for word and figure for figure, with its signs.
One item for one thing that is asked; several items only where several things are asked.
For why and how questions copy the whole clause that says it, without the words of the question."""


class Spans(BaseModel):
    """What the model copies."""

    model_config = ConfigDict(extra="forbid")

    answer: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1, max_length=8)


class Facts(BaseModel):
    """Copied answers, the line of the source that each stands in, and the unit of the figures."""

    answer: list[str]
    quotes: list[str]
    unit: Unit


EXAMPLES = (
    Example(
        instruction="What were the wages in 2020? (Wages: 2021 $295; 2020 $310)",
        answer={"answer": ["$310"]},
    ),
    Example(
        instruction="What were sales in 2020 and 2021, respectively? (Sales: 2021 5,200; 2020 (4,100))",
        answer={"answer": ["(4,100)", "5,200"]},
    ),
    Example(
        instruction="Why did rent rise? (Rent rose because of the new office in Graz, opened in May.)",
        answer={"answer": ["the new office in Graz, opened in May"]},
    ),
    Example(
        instruction="In which year was rent higher? (Rent: 2021 12.5; 2020 11.0)",
        answer={"answer": ["2021"]},
    ),
)


def extract_worker(fields: type[BaseModel] | None = None, *, name: str = "extract") -> Worker:
    """A worker that copies facts.

    Without `fields` it copies the spans that answer the job, and finds the line that each stands in.
    With `fields`, it fills them, and the model quotes its source for each; a quote that is not in the
    documents rejects the answer, and so does a value that is not in its quote.

    Args:
        fields: a flat pydantic model of what to find; optional fields may be absent.
        name: of the worker.

    Raises:
        ConfigurationError: if `fields` has no field.
    """
    description = "copy words, names, dates, reasons or figures from the text of the documents"
    if fields is None:
        return create_worker(
            name,
            description=description,
            output=Spans,
            prompt=_PROMPT,
            examples=EXAMPLES,
            checks=(figures_fit_the_job,),
            finish=find_spans,
            claims=claims("extract"),
            max_tokens=256,
        )
    if not fields.model_fields:
        raise ConfigurationError(f"{fields.__name__} has no field; extract needs at least one")
    return create_worker(
        name,
        description=f"{description}: {', '.join(fields.model_fields)}",
        output=_quoted(fields),
        prompt=(
            "Fill the fields from the document. For each, copy a short quote from the document, word for "
            "word, that says it, then give the value. Leave out what the document does not say."
        ),
        checks=(quotes_are_in_the_source,),
        max_tokens=768,
    )


def find_spans(answer: Spans, brief: Brief) -> Facts:
    """Find where each answer stands.

    Raises:
        ValueError: if an answer is not in the documents.
    """
    quotes, units = [], []
    for item in answer.answer:
        start = _place(item, brief)
        quotes.append(line_at(brief.source, start))
        units.append(_unit(item, start, brief))
    return Facts(answer=answer.answer, quotes=quotes, unit=units[0] if len(set(units)) == 1 else "")


def figures_fit_the_job(result: Facts, brief: Brief) -> str | None:
    """Figures come from the row and year that the job names, where the table has them."""
    figures = [
        found[0].value for item in result.answer if len(found := numbers(item)) == 1 and not _is_year(item)
    ]
    return off_the_mark(figures, brief) if len(figures) == len(result.answer) else None


def quotes_are_in_the_source(result: BaseModel, brief: Brief) -> str | None:
    """Each quote has to stand in the documents, and each value that is a figure in its quote."""
    for name, fact in result:
        if fact is None:
            continue
        if find_quote(fact.quote, brief.source) is None:
            return f"the quote for {name}, {fact.quote[:80]!r}, is not in the documents"
        is_figure = isinstance(fact.value, int | float) and not isinstance(fact.value, bool)
        if is_figure and not mentions(f"{fact.value:g}", fact.quote):
            return f"the value of {name}, {fact.value:g}, is not in its quote {fact.quote[:80]!r}"
    return None


def _quoted(fields: type[BaseModel]) -> type[BaseModel]:
    quoted: dict[str, Any] = {}
    for name, field in fields.model_fields.items():
        parts: dict[str, Any] = {
            "quote": (str, Field(min_length=1, max_length=400)),
            "value": (field.annotation, Field(description=field.description)),
        }
        fact = create_model(f"{name.title().replace('_', '')}Fact", **parts)
        quoted[name] = (fact, ...) if field.is_required() else (fact | None, None)
    model: type[BaseModel] = create_model(fields.__name__, **quoted)
    return model


def _place(item: str, brief: Brief) -> int:
    figures = numbers(item)
    if len(figures) == 1 and (figures[0].start, figures[0].end) == (0, len(item.strip())):
        for cell in cells_of(figures[0].value, brief):
            return cell.start
    span = find_quote(item, brief.source)
    if span is None:
        raise ValueError(f"{item[:80]!r} is not in the documents; copy it word for word")
    return span.start


def line_at(source: str, offset: int) -> str:
    """The line of a source that an offset lies in, or what is near it where the line is long."""
    start = source.rfind("\n", 0, offset) + 1
    end = source.find("\n", offset)
    line = source[start : end if end >= 0 else len(source)].strip()
    if len(line) <= 400:
        return line
    near = max(0, offset - start - 150)
    return line[near : near + 400].strip()


def _unit(item: str, start: int, brief: Brief) -> Unit:
    figures = numbers(item)
    # Words, years, and figures that carry their own unit have none to inherit.
    if len(figures) != 1 or _is_year(item) or re.search(r"[A-Za-z%]", item):
        return ""
    return declared_scale(brief.source, start)


def _is_year(item: str) -> bool:
    return re.fullmatch(r"\s*(?:19|20)\d\d\s*", item) is not None
