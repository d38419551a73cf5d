"""The orchestrator as a tool of somebody else's agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.tools import StructuredTool
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, Field

from stellwerk.document import Document


class Delegated(BaseModel):
    """What an agent passes on."""

    task: str = Field(description="What is to be done, in full: nothing else of the conversation is seen.")


def orchestrator_tool(
    graph: CompiledStateGraph[Any, Any, Any, Any],
    *,
    name: str = "delegate",
    description: str = "Hand over a task of several steps, and get the answer to it.",
    documents: Sequence[Document] = (),
) -> StructuredTool:
    """A compiled orchestrator as a tool for any LangChain agent, sync and async.

    The model sees the answer, with what is missing and why; the tool's artifact has `results`, `failure` and
    `ledger`. Called inside a graph, its runs are checkpointed with that graph's, and may ask a person.

    Args:
        graph: `create_orchestrator(...).compile()`.
        name: as the model is told.
        description: as the model is told.
        documents: that each task is about.
    """

    def given(task: str) -> dict[str, Any]:
        return {"task": task, "documents": list(documents)}

    def answered(output: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        kept = {name: output.get(name) for name in ("results", "failure", "ledger")}
        return output["answer"], kept

    def delegate(task: str) -> tuple[str, dict[str, Any]]:
        return answered(graph.invoke(given(task)))

    async def adelegate(task: str) -> tuple[str, dict[str, Any]]:
        return answered(await graph.ainvoke(given(task)))

    return StructuredTool.from_function(
        delegate,
        adelegate,
        name=name,
        description=description,
        args_schema=Delegated,
        response_format="content_and_artifact",
    )
