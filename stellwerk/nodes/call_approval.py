"""What a person decides on a call of a tool before it is made, and what becomes of the call then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool

from stellwerk.nodes.call_args import call_name, edited, schema_of_args
from stellwerk.nodes.decided import record_of
from stellwerk.nodes.people import Decision, Question, as_text, ask
from stellwerk.nodes.state import Known
from stellwerk.nodes.tools import failed, given_output
from stellwerk.nodes.write_scope import scope_of
from stellwerk.outcome import PersonDecision, ToolProblem, ToolUse
from stellwerk.worker import Worker


def approval(
    worker: Worker,
    tool: BaseTool,
    call: ToolCall,
    args: Mapping[str, Any],
    known: Known,
    config: RunnableConfig,
) -> PersonDecision:
    """What a person decides on a call; interrupts the graph until there is an answer that fits.

    Args:
        worker: whose tool it is.
        tool: the tool.
        call: as the model asked for it.
        args: as the tool would get them.
        known: what is known of the call.
        config: of the step.

    Raises:
        ConfigurationError: if the graph cannot wait, as it has no checkpointer.
    """

    def check(decision: Decision) -> Decision:
        if decision["type"] == "edit":
            return Decision(type="edit", args=edited(tool, decision["args"]))
        return as_text(decision)

    question = Question(
        kind="approve_tool",
        question=f"May worker {worker.name!r} call {tool.name}?",
        worker=worker.name,
        subtask=scope_of(config).subtask,
        instruction=known.get("instruction", ""),
        tool=tool.name,
        args=args,
        meanings={
            "approve": "make the call",
            "edit": "make it with other arguments",
            "reject": "do not; the model is told, with the message",
            "respond": "do not; the model is given the value as the tool's output",
        },
        args_schema=schema_of_args(tool),
        check=check,
    )
    decision = ask(question, config)
    record = record_of(question, decision, call_name(tool, call["args"]))
    if decision["type"] == "edit":
        record["becomes"] = call_name(tool, decision["args"])
    return record


def instead_of_call(call: ToolCall, record: PersonDecision, limit: int) -> ToolUse | None:
    """The record of a call that a person did not want made; None if it is to be made."""
    match record["type"]:
        case "reject":
            said = f": {record['message']}" if record.get("message") else ""
            why = f"a person does not want {call['name']} called with these arguments{said}; go on without it"
            use = failed(call, why, ToolProblem.REJECTED)
        case "respond":
            use = given_output(call, record["value"], limit)
        case _:
            return None
    use["by"] = "person"
    return use
