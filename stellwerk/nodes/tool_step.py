"""The node that makes one call of a tool: LangGraph's own, around which stand limits and the record.

The node is sent each call by itself, so that a checkpointer stores each as it ends: a run that broke off,
or in which a tool asks a person, repeats none that has ended, also where several were made at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphBubbleUp, is_invalid_resume
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest, ToolInvocationError
from langgraph.runtime import get_runtime
from langgraph.types import Command
from pydantic import ValidationError

from stellwerk.deadline import OVER, Deadline, TimeOverError, current_deadline, earlier, until
from stellwerk.effects import EffectJournal
from stellwerk.errors import ConfigurationError
from stellwerk.nodes.call_approval import approval, instead_of_call
from stellwerk.nodes.call_args import arguments, call_name
from stellwerk.nodes.decided import decision_on, decisions_of
from stellwerk.nodes.given_value import in_words
from stellwerk.nodes.limited_tool import LimitedTool, ToolOutputError, ToolTimeoutError
from stellwerk.nodes.observed import tool_observed
from stellwerk.nodes.state import Known, ToolTask
from stellwerk.nodes.step import Work, Working, adrive, drive
from stellwerk.nodes.tools import as_output, failed, next_call, same_call
from stellwerk.nodes.write import Again, Write
from stellwerk.outcome import PersonDecision, ToolProblem, ToolUse
from stellwerk.worker import Brief, Worker

_PROBLEMS = {"run": ToolProblem.BUDGET, "subtask": ToolProblem.BUDGET}


@dataclass(frozen=True, slots=True)
class _Calling:
    """A call of a tool that a step wants made, by a deadline."""

    node: ToolNode
    call: ToolCall
    config: RunnableConfig
    ends: Deadline | None

    def do(self) -> Any:
        """Make the call."""
        with until(self.ends):
            return self.node.invoke([self.call], self.config)

    async def ado(self) -> Any:
        """Make the call; as `do`."""
        with until(self.ends):
            return await self.node.ainvoke([self.call], self.config)


class ToolStep(Runnable[ToolTask, Any]):
    """A plain `Runnable`, as `Step` is, around LangGraph's `ToolNode`."""

    name = "tools"

    def __init__(self, worker: Worker, journal: EffectJournal) -> None:
        self._worker = worker
        self._journal = journal
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
        """Make the call; one that writes, once.

        Raises:
            ConfigurationError: if the tool is async only.
            DatabaseError: if what is intended cannot be written down; then nothing is done.
        """
        made: Command[Any] = drive(self._step(input, config or {}))
        return made

    async def ainvoke(
        self, input: ToolTask, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Command[Any]:
        """Make the call; as `invoke`."""
        made: Command[Any] = await adrive(self._step(input, config or {}))
        return made

    def _step(self, task: ToolTask, config: RunnableConfig) -> Working:
        call, worker, began, ends = task["call"], self._worker, time.perf_counter(), _ends(task)
        known = task.get("known", {}).get(str(task["number"]), Known())
        asked = None
        if worker.asks_before(call["name"]):
            if (record := decision_on(decisions_of(known), "approve_tool")) is None:
                return self._asked(task, known, config)
            if (use := instead_of_call(call, record, worker.max_tool_output)) is not None:
                return self._done(task, use)
            if record["type"] == "edit" and record["args"] != call["args"]:
                call, asked = ToolCall(**{**call, "args": record["args"]}), call["args"]
        calling = _Calling(self._node, call, config, ends)
        decided: list[PersonDecision] = []
        if worker.effect_of(call["name"]).writes:
            write = Write(worker, self._tools[call["name"]].inner, call, known, config, ends)
            try:
                made = yield from write.once(self._journal, calling, self._failed, self._used)
            except TimeOverError as error:
                made = self._failed(call, error, time.perf_counter() - began)
            # Under the name of the call that the model asked for, where a person has changed it.
            name = call_name(self._tools[call["name"]].inner, task["call"]["args"]) if write.decided else ""
            decided = [PersonDecision(**{**record, "call": name}) for record in write.decided]
        else:
            made = yield from self._made(calling)
        seconds = time.perf_counter() - began
        if isinstance(made, Again):
            goto = same_call(task, made.known, seconds)
            return Command(update={"people": decided} if decided else None, goto=goto)
        if asked is not None:
            made["asked"] = asked
        return self._done(task, made, seconds, decided)

    def _asked(self, task: ToolTask, known: Known, config: RunnableConfig) -> Command[Any]:
        """A person is asked, in a step of its own, as the tool may ask something itself."""
        call = task["call"]
        tool = self._tools[call["name"]].inner
        try:
            args = arguments(tool, call["args"])
        except ValidationError as error:
            return self._done(task, failed(call, self._misfit(call, error), ToolProblem.ARGUMENTS))
        except Exception as error:  # from a validator of the tool's own
            return self._done(task, self._failed(call, error, 0.0))
        record = approval(self._worker, tool, call, args, known, config)
        known = Known(**{**known, "decisions": [*decisions_of(known), record]})
        return Command(update={"people": [record]}, goto=same_call(task, known, 0.0))

    def _made(self, calling: _Calling) -> Generator[Work, Any, ToolUse]:
        """A call that only reads."""
        started = time.perf_counter()
        try:
            given = yield calling
        except Exception as error:
            return self._failed(calling.call, error, time.perf_counter() - started)
        return self._used(calling.call, given, time.perf_counter() - started)

    def _limit(self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        with tool_observed(request.tool_call) as told:
            return told(execute(request.override(tool=self._tools[request.tool_call["name"]])))

    async def _alimit(
        self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        with tool_observed(request.tool_call) as told:
            return told(await execute(request.override(tool=self._tools[request.tool_call["name"]])))

    def _done(
        self, task: ToolTask, use: ToolUse, seconds: float = 0.0, decided: Sequence[PersonDecision] = ()
    ) -> Command[Any]:
        update: dict[str, Any] = {"uses": {str(task["number"]): use}, "again": "tools"}
        if decided:
            update["people"] = list(decided)
        return Command(update=update, goto=next_call(task, seconds) or "generate")

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
            case ToolTimeoutError(deadline=ends):
                problem = _PROBLEMS.get(ends.of, ToolProblem.TIMEOUT)
                late = f"did not end within {self._worker.tool_timeout:g} seconds and was given up"
                if ends.of != "tool":
                    late = f"was cut off after {seconds:.3g} seconds, as {OVER[ends.of]}"
                why = f"{name} {late}, though what it does may still happen; "
                why += "ask for less, or go on without it"
            case TimeOverError(deadline=ends):
                problem = _PROBLEMS.get(ends.of, ToolProblem.TIMEOUT)
                why = f"{name} was not called, as {error}; go on without it"
            case ToolOutputError():
                problem = ToolProblem.OUTPUT
                why = f"{name} gave a {error}, which a worker cannot use; go on without it"
            case _:
                problem = ToolProblem.ERROR
                why = f"{name} failed ({type(error).__name__}: {error}); "
                why += "change the arguments, or go on without it"
        return failed(call, why, problem, seconds)

    def _misfit(self, call: ToolCall, error: ValidationError) -> str:
        wanted, wrong = self._tools[call["name"]].inner.args, in_words(error, whole="")
        return (
            f"{call['name']} does not take {json.dumps(call['args'], ensure_ascii=False)[:200]} ({wrong}); "
            f"its arguments are {json.dumps(wanted, ensure_ascii=False, default=str)}"
        )


def _ends(task: ToolTask) -> Deadline | None:
    """When a call has to end, whatever the tool's own limit is."""
    left, of_run = task.get("left"), None
    context: object = get_runtime().context
    if isinstance(context, Brief) and context.purse is not None:
        of_run = context.purse.account.deadline
    return earlier(
        None if left is None else Deadline.after(left["seconds"], left["of"]),
        None if of_run is None else Deadline(of_run, "run"),
        current_deadline(),  # of a tool that runs this graph
    )
