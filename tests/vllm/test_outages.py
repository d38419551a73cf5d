"""A server that is full, and one that is killed while a run needs it, and comes back."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from openai import APIConnectionError
from pydantic import BaseModel, Field

from stellwerk.errors import ConfigurationError, TierError
from stellwerk.graphs import create_orchestrator
from stellwerk.tiers.adapters import load_adapter
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Request, Tier
from stellwerk.tiers.vllm import ChatVLLM
from stellwerk.tiers.vllm_tier import vllm_tier
from stellwerk.worker import Brief
from tests.fakes import Crash, mark_of, plan, worker
from tests.vllm.server import NAME, Server

CHAIN = {"a": "", "b": "a", "c": "b", "d": "c"}


class Bird(BaseModel):
    name: Literal["heron", "kite"]


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes two requests at a time and refuses more, and loads no adapters."""
    log = tmp_path_factory.mktemp("fragile") / "server.log"
    started = Server(log, ["--max-num-seqs=2", "--max-num-queued-reqs=2"], runtime_adapters=False)
    try:
        started.start()
        yield started
    finally:
        started.stop()


def hello(**fields: Any) -> Request:
    return Request(messages=[HumanMessage("Hello")], max_tokens=5, **fields)


def test_a_full_server_is_an_error_and_no_answer(fragile: Server) -> None:
    tier = vllm_tier("small", model=NAME, base_url=fragile.url, max_retries=0)
    endless = ChatVLLM(model=NAME, base_url=fragile.url, max_tokens=1500, extra_body={"ignore_eos": True})
    streams = [endless.stream("Count."), endless.stream("Go on.")]
    for stream in streams:
        next(stream)  # it has a place now
    with pytest.raises(TierError, match=r"'small' gave no answer: .*503.*busy") as caught:
        tier.call(hello())
    assert getattr(caught.value.__cause__, "status_code", None) == 503
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]  # it is a generator
    patient = vllm_tier("small", model=NAME, base_url=fragile.url, max_retries=10)
    assert patient.call(hello()).text


def test_a_server_that_loads_no_adapters_says_how_it_would(fragile: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        load_adapter(fragile.url, "first@v1", str(tmp_path))


class Counting(ChatVLLM):
    """Counts what is asked, by subtask; where it is `mortal`, a server that is gone ends the process."""

    mortal: bool = False
    asked: Counter[str] = Field(default_factory=Counter)

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        self.asked[mark_of(messages)] += 1
        try:
            return super()._generate(messages, *args, **kwargs)
        except APIConnectionError:
            if self.mortal:
                raise Crash from None
            raise


def counting(name: str, server: Server, **fields: Any) -> Tier:
    model = Counting(model=NAME, base_url=server.url, max_retries=0, **fields)
    return Tier(name=name, model=model, max_concurrency=2)


def run(tiers: list[Tier], path: Path, given: Any, after: Callable[[str], object] = str) -> dict[str, Any]:
    """Run or resume; `after` gets the mark of each subtask whose answer is being checked."""

    def check(answer: BaseModel, brief: Brief) -> None:
        after(mark_of([HumanMessage(brief.instruction)]))

    graph = create_orchestrator(
        [worker(output=Bird, checks=[check], max_tokens=30)], Ladder(tiers), synthesizer="join"
    )
    with SqliteSaver.from_conn_string(str(path)) as saver:
        config: RunnableConfig = {"configurable": {"thread_id": "1"}}
        return dict(graph.compile(checkpointer=saver).invoke(given, config, durability="sync"))


def test_a_run_outlives_its_server(server: Server, fragile: Server, tmp_path: Path) -> None:
    talking = ChatVLLM(model=NAME, base_url=fragile.url, max_tokens=1500, extra_body={"ignore_eos": True})
    stream = talking.stream("Count.")
    next(stream)

    def kill(mark: str) -> None:
        if mark == "b":
            fragile.kill()

    start = {"task": "Name birds", "plan": plan(**CHAIN)}

    # The server dies after the second subtask's answer, and the process when it asks for the third.
    mortal = counting("small", fragile, mortal=True)
    with pytest.raises(Crash):
        run([mortal], tmp_path / "killed.sqlite", start, after=kill)
    assert mortal.model.asked == Counter("abc")  # type: ignore[attr-defined]  # `Counting`
    with pytest.raises(APIConnectionError):
        list(stream)

    # While it is gone, a run ends, and says what is missing and why.
    failed = run([counting("small", fragile)], tmp_path / "alone.sqlite", start)
    assert failed["failure"]
    assert [failed["results"][name]["status"] for name in CHAIN] == ["failed", *["skipped"] * 3]
    assert failed["results"]["a"]["reason"] in ("tier", "unavailable")
    assert re.search("[Cc]onnection", failed["results"]["a"]["detail"])

    # With another tier above, it goes on there.
    both = [counting("small", fragile), counting("large", server)]
    helped = run(both, tmp_path / "helped.sqlite", start)
    assert helped["failure"] is None
    for name in CHAIN:
        assert [attempt["tier"] for attempt in helped["results"][name]["attempts"]] == ["small", "large"]

    # It returns, and the first run goes on where it was: what was accepted is not asked again.
    fragile.start()
    back = counting("small", fragile)
    output = run([back], tmp_path / "killed.sqlite", None)
    assert output["failure"] is None
    assert [output["results"][name]["status"] for name in CHAIN] == ["accepted"] * 4
    assert back.model.asked == Counter("cd")  # type: ignore[attr-defined]  # `Counting`
    for result in output["results"].values():
        Bird.model_validate(result["value"])
