"""Types of inputs, with what a form says of them: Studio makes one of a graph's schema.

The graphs take more than a form shows: a document may be a plain text as well.
"""

from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.channels import EphemeralValue
from langgraph.graph.message import add_messages
from pydantic import Field, WithJsonSchema

from stellwerk.document import Document

Task = Annotated[
    str,
    Field(
        title="Task",
        description="What is to be done, in words; several questions, a line each, get an answer each.",
        examples=["What was the rent in 2020 as a share of sales?"],
    ),
    EphemeralValue(str),
]

Documents = Annotated[
    list[Document],
    WithJsonSchema(
        {
            "title": "Documents",
            "description": "The texts that this is about. They are pasted here; no file is read.",
            "type": "array",
            "default": [],
            "examples": [[{"name": "report", "text": "Sales in 2020 were 100 dollars.\nRent was 20."}]],
            "items": {
                "title": "Document",
                "type": "object",
                "properties": {
                    "name": {
                        "title": "Name",
                        "description": "How answers refer to it.",
                        "type": "string",
                        "examples": ["report"],
                    },
                    "text": {"title": "Text", "description": "The whole text.", "type": "string"},
                },
                "required": ["text"],
            },
        }
    ),
]

Messages = Annotated[
    list[AnyMessage],
    Field(
        title="Messages",
        description="A conversation in the place of a task, which then is the last message of a person.",
        json_schema_extra={"default": []},
    ),
    add_messages,
]

ReadyPlan = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "title": "Plan",
            "description": "A ready plan, which spares the planner; empty to have one made.",
            "type": "object",
            "default": {},
            "properties": {
                "subtasks": {
                    "title": "Subtasks",
                    "type": "array",
                    "items": {
                        "title": "Subtask",
                        "type": "object",
                        "properties": {
                            "id": {"title": "Id", "type": "string", "examples": ["rent"]},
                            "worker": {"title": "Worker", "type": "string", "examples": ["extract"]},
                            "instruction": {
                                "title": "Instruction",
                                "type": "string",
                                "examples": ["What was the rent in 2020?"],
                            },
                            "depends_on": {
                                "title": "Depends on",
                                "description": "Ids of the subtasks whose results it needs.",
                                "type": "array",
                                "items": {"type": "string"},
                                "default": [],
                            },
                        },
                        "required": ["id", "worker", "instruction"],
                    },
                }
            },
        }
    ),
    EphemeralValue(dict),
]

Limits = Annotated[
    dict[str, float],
    WithJsonSchema(
        {
            "title": "Budget",
            "description": "Limits of this run, within those of the settings; empty for no others.",
            "type": "object",
            "default": {},
            "properties": {
                "usd": {"title": "USD", "description": "What it may cost.", "type": "number"},
                "seconds": {"title": "Seconds", "description": "That it may work.", "type": "number"},
                "tokens": {
                    "title": "Tokens",
                    "description": "That its calls may read and write.",
                    "type": "integer",
                },
                "calls": {"title": "Calls", "description": "Of models.", "type": "integer"},
            },
            "additionalProperties": False,
        }
    ),
    EphemeralValue(dict),
]

Instruction = Annotated[
    str,
    Field(
        title="Instruction",
        description="What this worker is to do, in words.",
        examples=["What were sales in 2020?"],
    ),
]

Inputs = Annotated[
    dict[str, Any],
    Field(
        title="Inputs",
        description="Results to work on, by their names, beside the documents.",
        examples=[{"sales": {"answer": ["100 dollars"]}}],
        json_schema_extra={"default": {}},
    ),
]

TierName = Annotated[
    str, Field(title="Tier", description="The model that does it; the smallest if none is chosen.")
]
