import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from stellwerk.errors import ConfigurationError, InputError, TierError
from stellwerk.tiers.adapters import (
    Adapter,
    alist_adapters,
    list_adapters,
    load_adapter,
    unload_adapter,
)
from stellwerk.tiers.tier import Request
from stellwerk.tiers.vllm import ChatVLLM
from stellwerk.tiers.vllm_tier import vllm_tier
from tests.vllm.server import NAME, Server

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def loaded(server: Server, adapters: Path) -> Iterator[Server]:
    """The server, with two adapters."""
    for name in ("first", "second"):
        load_adapter(server.url, f"{name}@v1", str(adapters / name))
    yield server
    for name in ("first", "second"):
        unload_adapter(server.url, f"{name}@v1")


def test_adapters_side_by_side_answer_each_in_its_own_way(loaded: Server) -> None:
    chat = ChatVLLM(model=NAME, base_url=loaded.url, max_retries=0, max_tokens=12)
    names = [None, "first@v1", "second@v1"]

    async def ask_all() -> list[str]:
        asking = (chat.ainvoke(QUESTION, adapter=name) for name in names * 2)
        return [message.text for message in await asyncio.gather(*asking)]

    answers = asyncio.run(ask_all())
    assert len(set(answers[:3])) == 3
    assert answers[:3] == answers[3:]  # so that what differs is the adapter


def test_an_answer_says_which_adapter_gave_it(loaded: Server) -> None:
    tier = vllm_tier("small", model=NAME, base_url=loaded.url, adapter="first@v1")
    metadata = tier.call(Request(messages=[HumanMessage(QUESTION)], max_tokens=3)).message.response_metadata
    assert (metadata["adapter"], metadata["base_model"]) == ("first@v1", NAME)
    assert metadata["model_name"] == "first@v1"


def test_adapters_are_listed_with_their_paths(loaded: Server, adapters: Path) -> None:
    expected = [
        Adapter(name=f"{name}@v1", path=str(adapters / name), base=NAME) for name in ("first", "second")
    ]
    assert list_adapters(loaded.url) == expected
    assert asyncio.run(alist_adapters(loaded.url)) == expected


def test_new_weights_need_a_new_version(loaded: Server, adapters: Path) -> None:
    with pytest.raises(InputError, match="give the new weights a new version"):
        load_adapter(loaded.url, "first@v1", str(adapters / "second"))
    load_adapter(loaded.url, "first@v1", str(adapters / "first"))  # already there


def test_an_adapter_that_was_unloaded_answers_no_more(server: Server, adapters: Path) -> None:
    load_adapter(server.url, "gone@v1", str(adapters / "first"))
    tier = vllm_tier("small", model=NAME, base_url=server.url, adapter="gone@v1", max_retries=0)
    request = Request(messages=[HumanMessage(QUESTION)], max_tokens=3)
    assert tier.call(request).text
    unload_adapter(server.url, "gone@v1")
    with pytest.raises(TierError, match="gone@v1"):
        tier.call(request)
    with pytest.raises(InputError, match="no adapter 'gone@v1'"):
        unload_adapter(server.url, "gone@v1")


def test_an_adapter_of_too_high_a_rank_is_refused(server: Server, adapters: Path) -> None:
    with pytest.raises(ConfigurationError, match="--max-lora-rank"):
        load_adapter(server.url, "large@v1", str(adapters / "large"))
    assert "large@v1" not in [adapter.name for adapter in list_adapters(server.url)]


def test_a_path_without_an_adapter_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finds no adapter at"):
        load_adapter(server.url, "absent@v1", str(tmp_path / "absent"))
