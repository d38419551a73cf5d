"""The four arms: one call to one model for each question, or the orchestrator."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Literal

from pydantic import BaseModel, Field

from benchmarks.tatqa.metric import score
from benchmarks.tatqa.pages import Page, Question, render
from stellwerk.document import Document
from stellwerk.errors import TierError
from stellwerk.graphs import create_orchestrator
from stellwerk.nodes.prompts import worker_messages
from stellwerk.outcome import SubtaskResult, served_attempt
from stellwerk.routers import SmallestFirst
from stellwerk.tiers import Ladder, Request, embedded_ladder
from stellwerk.worker import Brief, Worker
from stellwerk.workers import calculate_worker, create_worker, extract_worker, look_up_worker
from stellwerk.workers.claims import reader_of

SMALL, LARGE = "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"
# On pages from 100 on, the 0.5B model copied one in five spans of text rightly, and checks let most pass.
START = {"extract": LARGE}
ARMS = ("large", "small", "ladder", "planned")


@dataclass(kw_only=True)
class Row:
    """One question in one arm."""

    arm: str
    page: int
    uid: str
    answer_type: str
    prediction: Any
    scale: str
    em: float = 0.0
    f1: float = 0.0
    em_without_scale: float = 0.0
    f1_without_scale: float = 0.0
    seconds: float = 0.0
    calls: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    usd: float = 0.0
    worker: str = ""
    tier: str = ""
    attempts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class Run:
    """One page in one arm. Planning is apart from the questions' own rows."""

    arm: str
    page: int
    rows: list[Row]
    wall_seconds: float
    planning_seconds: float = 0.0
    planning_usd: float = 0.0
    plan: Any = None

    def as_json(self) -> dict[str, Any]:
        """The run as JSON."""
        return asdict(self)


class Answer(BaseModel):
    """What the baseline model answers: the figures or words, and their scale."""

    answer: list[str] = Field(max_length=20)
    scale: Literal["", "thousand", "million", "billion", "percent"]


def baseline_worker() -> Worker:
    """The direct prompt: every kind of question, with the cases that the narrow workers show."""
    return create_worker(
        "answer",
        output=Answer,
        prompt=(
            "Answer the job from the document. Copy words and figures as they stand there, one item for each "
            "thing asked; work out what has to be computed, to two decimals. Give the scale of the figures: "
            "thousand, million, billion, percent, or nothing."
        ),
        examples=[
            (
                "By what percentage did sales change from 2020 to 2021? (Sales: 2021 5,200; 2020 4,100)",
                {"answer": ["26.83"], "scale": "percent"},
            ),
            (
                "What was the change in wages between 2020 and 2021? (In thousands. Wages: 310; 295)",
                {"answer": ["-15"], "scale": "thousand"},
            ),
            (
                "What is the average rent for 2019 to 2021? (In millions. Rent: 12.5; 11.0; 10.4)",
                {"answer": ["11.3"], "scale": "million"},
            ),
            (
                "What were sales in 2020 and 2021, respectively? (In millions. Sales: 5,200; (4,100))",
                {"answer": ["(4,100)", "5,200"], "scale": "million"},
            ),
            (
                "Why did rent rise? (Rent rose because of the new office in Graz, opened in May.)",
                {"answer": ["the new office in Graz, opened in May"], "scale": ""},
            ),
            (
                "In which year was rent higher? (Rent: 2021 12.5; 2020 11.0)",
                {"answer": ["2021"], "scale": ""},
            ),
        ],
        max_tokens=256,
    )


def worker_for(question: Question, page: Page) -> str:
    """The worker for a question, by its words and the names of the page's rows."""
    return reader_of(Brief(instruction=question.text, documents=[_document(page)])) or "extract"


def ladder_of(*names: str) -> Ladder:
    """Fresh models, so that no arm profits from a prefix that another has read."""
    return embedded_ladder(names)


def run_direct(arm: str, tier_name: str, pages: Sequence[Page]) -> Iterator[Run]:
    """One schema-constrained call for each question, the page first, prefix cache on."""
    tier = ladder_of(tier_name)[0]
    worker = baseline_worker()
    for page in pages:
        started = time.perf_counter()
        rows = []
        for question in page.questions:
            brief = Brief(instruction=question.text, documents=[_document(page)])
            request = Request(
                messages=worker_messages(worker, brief), schema=worker.schema, max_tokens=worker.max_tokens
            )
            row = _row(arm, page, question)
            row.tier = tier.name
            try:
                reply = tier.call(request)
                row.seconds, row.calls = reply.seconds, 1
                row.input, row.cached, row.output = (reply.usage[k] for k in ("input", "cached", "output"))
                assert tier.price is not None
                row.usd = tier.price.usd(reply.usage)
                answer = Answer.model_validate_json(reply.text)
                row.prediction, row.scale = _unpacked(answer.answer), answer.scale
            except (TierError, ValueError) as error:
                row.attempts.append({"error": str(error)})
            rows.append(_scored(row, question))
        yield Run(arm=arm, page=page.index, rows=rows, wall_seconds=time.perf_counter() - started)


def run_ladder(
    pages: Sequence[Page], *, planned: bool, tiers: Sequence[str] = (SMALL, LARGE)
) -> Iterator[Run]:
    """Each page as one run of the orchestrator; `planned` lets the supervisor make the plan."""
    ladder = ladder_of(*tiers)
    graph = create_orchestrator(
        [extract_worker(), look_up_worker(), calculate_worker()],
        ladder,
        router=SmallestFirst(start=START),
        synthesizer="join",
        fallback="extract",
    ).compile()
    arm = "planned" if planned else "ladder"
    for page in pages:
        given: dict[str, Any] = {"documents": [_document(page)]}
        if planned:
            given["task"] = "\n".join(question.text for question in page.questions)
        else:
            given["task"] = f"Answer {len(page.questions)} questions."
            given["plan"] = {
                "subtasks": [
                    {
                        "id": f"q{number}",
                        "worker": worker_for(question, page),
                        "instruction": question.text,
                    }
                    for number, question in enumerate(page.questions, 1)
                ]
            }
        started = time.perf_counter()
        state = asyncio.run(graph.ainvoke(given))
        wall = time.perf_counter() - started
        asked = {subtask["id"]: subtask["instruction"] for subtask in state["final_plan"]["subtasks"]}
        rows = []
        for question in page.questions:
            # In the planned arm a question is answered by the subtask that quotes it.
            names = [name for name, instruction in asked.items() if question.text in instruction]
            row = _row(arm, page, question)
            if names:
                _fill(row, state["results"][names[0]], ladder)
            rows.append(_scored(row, question))
        line = state["ledger"]["by_worker"].get("supervisor")
        yield Run(
            arm=arm,
            page=page.index,
            rows=rows,
            wall_seconds=wall,
            planning_seconds=state["ledger"]["planning_seconds"],
            planning_usd=line["usd"] if line else 0.0,
            plan=state["final_plan"] if planned else None,
        )


def run_arm(arm: str, pages: Sequence[Page]) -> Iterator[Run]:
    """The pages in one arm, one after the other."""
    if arm in ("large", "small"):
        return run_direct(arm, LARGE if arm == "large" else SMALL, pages)
    return run_ladder(pages, planned=arm == "planned")


def _document(page: Page) -> Document:
    return Document(name="page", text=render(page))


def _row(arm: str, page: Page, question: Question) -> Row:
    return Row(
        arm=arm,
        page=page.index,
        uid=question.uid,
        answer_type=question.answer_type,
        prediction=None,
        scale="",
    )


def _fill(row: Row, result: SubtaskResult, ladder: Ladder) -> None:
    prices = {tier.name: tier.price for tier in ladder}
    for attempt in result["attempts"]:
        for call in attempt["calls"]:
            price = prices[call["tier"]]
            assert price is not None
            row.seconds += call["seconds"]
            row.calls += 1
            row.input += call["usage"]["input"]
            row.cached += call["usage"]["cached"]
            row.output += call["usage"]["output"]
            row.usd += price.usd(call["usage"])
        row.attempts.append(
            {
                "tier": attempt["tier"],
                **attempt["verdict"],
                "steps": [call["step"] for call in attempt["calls"]],
            }
        )
    row.worker = result["worker"]
    if result["status"] != "accepted":
        return
    row.tier = (served_attempt(result) or result["attempts"][-1])["tier"]
    value: Mapping[str, Any] = result["value"]
    row.prediction, row.scale = said(value)
    if "expression" in value:
        row.attempts[-1]["expression"] = value["expression"]


def said(value: Mapping[str, Any]) -> tuple[Any, str]:
    """The answer and the scale in what a worker made, as the metric takes them."""
    answer = _two_decimals(value["value"]) if "expression" in value else _unpacked(value["answer"])
    return answer, value["unit"]


def _unpacked(answer: list[str]) -> str | list[str] | None:
    return answer if len(answer) > 1 else (answer[0] if answer else None)


def _two_decimals(value: str) -> str:
    try:
        return f"{Decimal(value).quantize(Decimal('0.01'), rounding=ROUND_HALF_UP).normalize() + 0:f}"
    except InvalidOperation:
        return value


def _scored(row: Row, question: Question) -> Row:
    with_scale = score(question, row.prediction, row.scale)
    without = score(question, row.prediction, row.scale, use_scale=False)
    row.em, row.f1 = with_scale.em, with_scale.f1
    row.em_without_scale, row.f1_without_scale = without.em, without.f1
    return row


def dump(run: Run) -> str:
    """The run as one line of JSON."""
    return json.dumps(run.as_json(), ensure_ascii=False, default=str)
