"""One arm: a set of rails, on one tier, for each case one attempt."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.rails.accepted import problem
from benchmarks.rails.cases import Case, as_json_schema
from benchmarks.tatqa.metric import score
from benchmarks.tatqa.pages import render
from stellwerk.graphs import create_worker_graph
from stellwerk.rails import Rails
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Worker
from stellwerk.workers import call_function_worker, extract_worker

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")
_OF_FUNCTIONS = ("ground", "omit", "settle", "solved", "shares")
_ALL = Rails(ground=True, omit=True, settle=True, solved=True, shares=True)
_PLAIN = Rails(salvage=False, repair=False)
ARMS: dict[str, Rails | None] = {
    "default": None,  # what the tier needs
    "all": _ALL,
    "plain": _PLAIN,
    "free": replace(_PLAIN, constrain=False),
    **{
        f"no {name}": replace(_ALL, **{name: False})
        for name in (*_OF_FUNCTIONS, "repair", "flatten", "salvage", "constrain")
    },
    **{f"only {name}": replace(_PLAIN, **{name: True}, salvage=True, repair=True) for name in _OF_FUNCTIONS},
    "no constrain, no salvage": replace(_ALL, constrain=False, salvage=False),
    "with unknown": replace(_ALL, unknown=True),
}
SHARED = (
    "default",
    "all",
    "plain",
    "no repair",
    "no flatten",
    "no salvage",
    "no constrain",
    "no constrain, no salvage",
    "with unknown",
)


@dataclass(kw_only=True)
class Row:
    """What became of one case in one arm. `seconds` is the model's time."""

    task: str
    arm: str
    model: str
    key: str
    valid: bool
    correct: bool
    reason: str = ""
    detail: str = ""
    answer: Any = None
    calls: int = 0
    input: int = 0
    output: int = 0
    seconds: float = 0.0
    repaired: bool = field(default=False)

    def as_json(self) -> dict[str, Any]:
        """The row as JSON."""
        return asdict(self)


def run_case(case: Case, arm: str, model: str, ladder: Ladder) -> Row:
    """One attempt at a case."""
    worker = _worker(case, ARMS[arm])
    documents = [{"name": "page", "text": render(case.page)}] if case.page else []
    graph = create_worker_graph(worker, ladder).compile()
    output = graph.invoke({"instruction": case.request, "documents": documents, "tier": model})
    verdict, value, calls = output["verdict"], output["value"], output["calls"]
    wrong = "no answer" if value is None else _wrong(case, value)
    return Row(
        task=case.task,
        arm=arm,
        model=model,
        key=case.key,
        valid=verdict["accepted"],
        correct=wrong is None,
        reason=verdict.get("reason", ""),
        detail=verdict.get("detail", "") or wrong or "",
        answer=value,
        calls=len(calls),
        input=sum(call["usage"]["input"] for call in calls),
        output=sum(call["usage"]["output"] for call in calls),
        seconds=sum(call["seconds"] for call in calls),
        repaired=any(call["step"] == "repair" for call in calls),
    )


def _worker(case: Case, rails: Rails | None) -> Worker:
    if case.page is None:
        return call_function_worker([as_json_schema(function) for function in case.functions], rails=rails)
    return replace(extract_worker(), rails=rails)


def _wrong(case: Case, value: Any) -> str | None:
    if case.question is None:
        assert case.truth is not None
        return problem(value["function"], value["arguments"], case.functions, case.truth)
    answer = value["answer"]
    scored = score(case.question, answer if len(answer) > 1 else answer[0], value["unit"])
    return None if scored.em else f"{answer!r} for {case.question.answer!r}"
