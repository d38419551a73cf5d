"""What LangSmith and streams of LangChain see of a call: whose model it is, and where in a run it stands."""

import asyncio
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage

from stellwerk.chat import LadderChatModel
from stellwerk.graphs import create_orchestrator
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.vllm import ChatVLLM
from tests.fakes import always, ladder, make, plan, run, worker


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, Any], list[str]]] = []

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **options: Any
    ) -> None:
        self.calls.append((options["metadata"], options["tags"]))


def graph() -> Any:
    return create_orchestrator([worker()], ladder(always("no"), make), synthesizer="join").compile()


def test_callbacks_are_told_subtask_worker_tier_and_attempt(sync: bool) -> None:
    recorder = Recorder()
    config = {"callbacks": [recorder], "metadata": {"run_id": "mine", "team": "blue"}, "tags": ["nightly"]}
    run(graph(), {"task": "Do", "plan": plan(a="")}, config, sync=sync)
    told = [
        {
            key.removeprefix("stellwerk_"): value
            for key, value in metadata.items()
            if key.startswith("stellwerk_")
        }
        for metadata, _ in recorder.calls
    ]
    common = {"run_id": "mine", "subtask": "a", "worker": "make"}
    small, large = ({**common, "tier": "small", "attempt": 1}, {**common, "tier": "large", "attempt": 2})
    assert told == [small, small, large]
    metadata, tags = recorder.calls[-1]
    assert {"nightly", "tier:large", "worker:make"} <= set(tags)
    assert (metadata["team"], metadata["ls_provider"], metadata["ls_model_type"]) == (
        "blue",
        "scripted",
        "chat",
    )


def test_streams_of_messages_are_told_too() -> None:
    given = {"task": "Do", "plan": plan(a="")}

    async def events() -> list[Any]:
        return [
            event["metadata"]["stellwerk_tier"]
            async for event in graph().astream_events(given)
            if event["event"] == "on_chat_model_end"
        ]

    assert asyncio.run(events()) == ["small", "small", "large"]
    streamed = list(graph().stream(given, stream_mode="messages", subgraphs=True))
    assert {metadata.get("stellwerk_subtask") for _, (_, metadata) in streamed} >= {"a"}


def test_our_models_say_whose_they_are() -> None:
    tiers = ladder(make, make)
    models = (
        ChatVLLM(model="qwen", base_url="http://127.0.0.1:1/v1", temperature=0.5),
        ChatVLLM(model="qwen", adapter="qwen-invoices", base_url="http://127.0.0.1:1/v1"),
        ChatLlamaCpp(path=lambda: __file__, model_name="smollm2-135m"),
        LadderChatModel(ladder=tiers),
    )
    told = [model._get_ls_params() for model in models]
    assert [(one["ls_provider"], one["ls_model_name"], one["ls_model_type"]) for one in told] == [
        ("vllm", "qwen", "chat"),
        ("vllm", "qwen-invoices", "chat"),
        ("llamacpp", "smollm2-135m", "chat"),
        ("stellwerk", "ladder", "chat"),
    ]
    assert (told[0]["ls_temperature"], told[2]["ls_max_tokens"]) == (0.5, 1024)
