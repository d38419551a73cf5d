"""The brief of the subtask at hand.

Inside a plan the brief travels as runtime context rather than as state, so that a document is
checkpointed once a run, not once for every step of every subtask. A graph that runs alone has it in
its input.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langgraph.runtime import get_runtime

from stellwerk.document import as_documents
from stellwerk.errors import InputError
from stellwerk.nodes.decided import instruction_of
from stellwerk.rails import Rails
from stellwerk.tiers.tier import Tier
from stellwerk.worker import Brief


def brief_of(state: Mapping[str, Any], tier: Tier | None = None) -> Brief:
    """The brief from the runtime context, or from the state of a graph that runs alone.

    With it come what this attempt's tools gave, the rails that its tier needs, and the instruction that a
    person put in the place of the given one.

    Raises:
        InputError: if there is no instruction.
    """
    tools = [use for call in state.get("calls") or () for use in call.get("tools", ())]
    rails = tier.rails if tier is not None else Rails()
    context: object = get_runtime().context
    people = state.get("people")
    if isinstance(context, Brief):
        if people:
            context = replace(context, instruction=instruction_of(context.instruction, people))
        return replace(context, tools=tools, rails=rails) if tools or rails != context.rails else context
    instruction = state.get("instruction") or state.get("subtask", {}).get("instruction")
    if not isinstance(instruction, str) or not instruction.strip():
        raise InputError("the input has no instruction; pass {'instruction': ..., 'documents': [...]}")
    return Brief(
        instruction=instruction_of(instruction, people),
        documents=as_documents(state.get("documents")),
        inputs=state.get("inputs") or {},
        tools=tools,
        rails=rails,
    )
