"""LangChain's own tests of what a chat model has to do before it has a server."""

import pytest
from langchain_core.language_models import BaseChatModel

pytest.importorskip(
    "langchain_tests", reason="langchain-tests is not installed; it comes with stellwerk[dev]"
)

from langchain_tests.unit_tests import ChatModelUnitTests

from stellwerk.tiers.vllm import ChatVLLM


class TestStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatVLLM

    @property
    def chat_model_params(self) -> dict[str, object]:
        return {"model": "small", "base_url": "http://127.0.0.1:1/v1"}

    @property
    def model_override_value(self) -> str:
        return "invoices@v3"
