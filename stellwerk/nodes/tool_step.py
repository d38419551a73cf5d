"""The node that makes one call of a tool: LangGraph's own, around which stand limits and the record.

The node is sent each call by itself, so that a checkpointer stores each as it ends: a run that broke off,
or in which a tool asks a person, repeats none that has ended, also where several were made at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphBubbleUp, is_invalid_resume
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest, ToolInvocationError
from langgraph.types import Command
from pydantic import ValidationError

from stellwerk.errors import ConfigurationError
from stellwerk.nodes.limited_tool import LimitedTool, ToolOutputError, ToolTimeoutError
from stellwerk.nodes.state import ToolTask
from stellwerk.nodes.tools import as_output, failed, next_call
from stellwerk.outcome import ToolProblem, ToolUse
from stellwerk.worker import Worker


class ToolStep(Runnable[ToolTask, Any]):
    """A plain `Runnable`, as `Step` is, around LangGraph's `ToolNode`."""

    name = "tools"

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._tools = {
            tool.name: LimitedTool(
                name=tool.name, description=tool.description, inner=tool, seconds=worker.tool_timeout
            )
            for tool in worker.tools
        }
        self._node = ToolNode(
            worker.tools, handle_tool_errors=False, wrap_tool_call=self._limit, awrap_tool_call=self._alimit
        )

    def invoke(self, input: ToolTask, config: RunnableConfig | None = None, **kwargs: Any) -> Command[Any]:
        """Make the call.

        Raises:
            ConfigurationError: if the tool is async only.
        """
        started = time.perf_counter()
        try:
            given = self._node.invoke([input["call"]], config)
        except Exception as error:
            return self._done(input, self._failed(input["call"], error, time.perf_counter() - started))
        return self._done(input, self._used(input["call"], given, time.perf_counter() - started))

    async def ainvoke(
        self, input: ToolTask, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Command[Any]:
        """Make the call; as `invoke`."""
        started = time.perf_counter()
        try:
            given = await self._node.ainvoke([input["call"]], config)
        except Exception as error:
            return self._done(input, self._failed(input["call"], error, time.perf_counter() - started))
        return self._done(input, self._used(input["call"], given, time.perf_counter() - started))

    def _limit(self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        return execute(request.override(tool=self._tools[request.tool_call["name"]]))

    async def _alimit(
        self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        return await execute(request.override(tool=self._tools[request.tool_call["name"]]))

    def _done(self, input: ToolTask, use: ToolUse) -> Command[Any]:
        following = next_call(input["then"])
        return Command(
            update={"uses": {str(input["number"]): use}, "again": "tools"}, goto=following or "generate"
        )

    def _used(self, call: ToolCall, given: Any, seconds: float) -> ToolUse:
        (message,) = given["messages"]
        assert isinstance(message, ToolMessage)
        return as_output(call, message, self._worker.max_tool_output, seconds)

    def _failed(self, call: ToolCall, error: Exception, seconds: float) -> ToolUse:
        """The record of a call that raised; what is not the model's business is raised on."""
        name = call["name"]
        match error:
            case GraphBubbleUp() | ConfigurationError():  # the former is a tool that asks a person
                raise error
            # What a person answered does not fit what the tool wants. Which of the two it is depends on the
            # version of ToolNode.
            case ToolInvocationError(source=source) | (ValidationError() as source) if is_invalid_resume(
                source
            ):
                raise source
            case ToolInvocationError():
                problem, why = ToolProblem.ARGUMENTS, self._misfit(call, error.source)
            case ToolTimeoutError():
                problem = ToolProblem.TIMEOUT
                why = (
                    f"{name} did not end within {self._worker.tool_timeout:g} seconds and was given up, "
                    "though what it does may still happen; ask for less, or go on without it"
                )
            case ToolOutputError():
                problem = ToolProblem.OUTPUT
                why = f"{name} gave a {error}, which a worker cannot use; go on without it"
            case _:
                problem = ToolProblem.ERROR
                why = f"{name} failed ({type(error).__name__}: {error}); "
                why += "change the arguments, or go on without it"
        return failed(call, why, problem, seconds)

    def _misfit(self, call: ToolCall, error: ValidationError) -> str:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
            for each in error.errors(include_url=False)[:5]
        )
        wanted = self._tools[call["name"]].inner.args
        return (
            f"{call['name']} does not take {json.dumps(call['args'], ensure_ascii=False)[:200]} ({wrong}); "
            f"its arguments are {json.dumps(wanted, ensure_ascii=False, default=str)}"
        )
