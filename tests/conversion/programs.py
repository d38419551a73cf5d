"""Programs that know nothing of Stellwerk, and their models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

from stellwerk.outcome import ToolUse
from stellwerk.trace import AttemptTrace, RunTrace
from tests.chat.models import Streaming
from tests.fakes import Reply


class Model(Streaming):
    """A hosted model, as its callbacks show it."""

    model_name: str = "gpt-4.1"
    provider: str = "openai"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {**super()._get_ls_params(stop=stop, **kwargs), "ls_provider": self.provider}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        kwargs.pop("tool_choice", None)
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)


def model(reply: Reply, **fields: Any) -> Model:
    return Model(reply=reply, disable_streaming=True, **fields)


class Sink:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.calls: list[AttemptTrace] = []
        self.runs: list[RunTrace] = []

    def attempt(self, trace: AttemptTrace, /) -> None:
        self.calls.append(trace)

    def run(self, trace: RunTrace, /) -> None:
        self.runs.append(trace)

    @property
    def sites(self) -> list[str]:
        return [call.worker for call in self.calls]

    @property
    def outcomes(self) -> list[str]:
        return [run.outcome for run in self.runs]


def uses(call: AttemptTrace) -> list[ToolUse]:
    return [use for each in call.calls for use in each.get("tools", ())]
