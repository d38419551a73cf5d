"""Log-probabilities of answers: asked for where they are given, and kept with the call and its trace."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from stellwerk import Ladder, Tier, create_worker, create_worker_graph
from stellwerk.capabilities import Capabilities
from stellwerk.trace import AttemptTrace, RunTrace
from tests.fakes import Said, Scripted, always

TOKENS = [
    {"token": "fine", "logprob": -0.5, "top_logprobs": []},
    {"token": "}", "logprob": -1.5, "top_logprobs": []},
]
ANSWER = AIMessage('{"text": "fine"}', response_metadata={"logprobs": {"content": TOKENS}})


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.attempts: list[AttemptTrace] = []

    def attempt(self, trace: AttemptTrace, /) -> None:
        self.attempts.append(trace)

    def run(self, trace: RunTrace, /) -> None:
        raise AssertionError("no run here")


@pytest.mark.parametrize("given", [True, False, None])
def test_they_are_asked_for_where_they_were_seen(given: bool | None) -> None:
    model = Scripted(reply=always('{"text": "fine"}'))
    tier = Tier(name="only", model=model, capabilities=Capabilities(chat=True, logprobs=given))
    graph = create_worker_graph(create_worker("w", output=Said, prompt="Say it."), Ladder([tier])).compile()
    graph.invoke({"instruction": "Say it."})
    assert [options.get("logprobs", False) for options in model.options] == [given is True]


def test_their_summary_is_in_the_call_and_in_the_trace_and_they_are_not() -> None:
    model = Scripted(reply=lambda messages: ANSWER.model_copy())
    tier = Tier(name="only", model=model, capabilities=Capabilities(chat=True, logprobs=True))
    kept = Kept()
    worker = create_worker("w", output=Said, prompt="Say it.")
    graph = create_worker_graph(worker, Ladder([tier]), traces=kept).compile()
    output: dict[str, Any] = graph.invoke({"instruction": "Say it."})
    (call,) = output["calls"]
    assert call["logprobs"]["mean"] == pytest.approx(-1.0)
    assert call["logprobs"]["min"] == pytest.approx(-1.5)
    assert call["logprobs"]["count"] == 2
    (trace,) = kept.attempts
    assert trace.logprobs == call["logprobs"]
