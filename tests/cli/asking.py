"""Workers whose tools ask a person; the command line imports them by path."""

import json
import os
from pathlib import Path

from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt
from pydantic import BaseModel

from stellwerk import create_worker, effect
from stellwerk.errors import OutcomeUnknownError
from stellwerk.nodes.people import Decision, Question, ask

EVIL = "a\x1b[2Jred\u202e"


class Said(BaseModel):
    text: str


def _few(decision: Decision) -> Decision:
    if decision.get("args", {}).get("pieces", 0) > 9:
        raise ValueError("more than 9 pieces are never ordered")
    return decision


@effect("read")
def approve(what: str, config: RunnableConfig) -> str:
    """Ask whether it may be done, and tell what was decided."""
    question = Question(
        kind="approve_tool",
        question="May this be ordered?",
        worker="boss",
        instruction="",
        subtask="b",
        tool="order",
        args={"what": what, "pieces": 3, "note": EVIL},
        args_schema={
            "type": "object",
            "properties": {
                "what": {"type": "string"},
                "pieces": {"type": "integer"},
                "note": {"type": "string"},
                "gift": {"type": "boolean"},
            },
            "required": ["what", "pieces"],
        },
        value_schema={"type": "integer"},
        meanings={
            "approve": "order it",
            "edit": "order it with other arguments",
            "reject": "do not order it; the model is told why",
            "respond": "do not order it; this is the number of the order",
        },
        check=_few,
    )
    return json.dumps(ask(question, config))


@effect("read")
def take(what: str) -> str:
    """Ask in a tool's own words."""
    return f"took {interrupt(f'May I take {what}?')!r}"


@effect("write")
def order(what: str) -> str:
    """Order it; of the first order nobody knows what came of it."""
    with Path(os.environ["ORDERS"]).open("a+") as orders:
        orders.write(f"{what}\n")
        orders.seek(0)
        if len(orders.readlines()) == 1:
            raise OutcomeUnknownError("the line broke")
    return f"ordered {what}"


boss = create_worker("boss", output=Said, prompt="Ask.", tools=[approve])
taker = create_worker("taker", output=Said, prompt="Ask.", tools=[take])
shopper = create_worker("shopper", output=Said, prompt="Order.", tools=[order])
