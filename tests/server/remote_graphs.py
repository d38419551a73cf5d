"""Graphs that a LangGraph server runs in tests: workers that answer, fail, hang and ask."""

import json
import os
import time
from pathlib import Path
from typing import Any

from langgraph.types import interrupt

from stellwerk.effects import effect
from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.graphs.worker import create_worker_graph
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from stellwerk.worker import Brief
from tests.fakes import Messages, Said, Scripted, text_of, worker

counts: dict[str, int] = {}


def reply(messages: Messages) -> str:
    said = text_of(messages)
    counts[said] = counts.get(said, 0) + 1
    if "raise" in said:
        raise ZeroDivisionError("a defect of the model's")
    if "hang" in said:
        time.sleep(3)
    return json.dumps({"text": f"made on the server, asked {counts[said]} times, by {os.getpid()}"})


def asks(answer: Said, brief: Brief) -> Said:
    if "person" in brief.instruction:
        return Said(text=f"a person says {interrupt('What do you say?')}")
    return answer


def unhappy(answer: Said, brief: Brief) -> str | None:
    return "too difficult for it" if "hard" in brief.instruction else None


def refuses(messages: Messages) -> str:
    return json.dumps({"text": "made by the large one"})


def tier(name: str, model: Any, price: float) -> Tier:
    return Tier(name=name, model=Scripted(reply=model), price=Price(input=price, output=price))


make = create_worker_graph(
    worker("make", finish=asks, checks=[unhappy], repairs=0),
    Ladder([tier("small", reply, 1.0), tier("large", refuses, 10.0)]),
).compile()
office = create_orchestrator(
    [worker("make", finish=asks)], Ladder([tier("small", reply, 1.0)]), synthesizer="join"
).compile()
approved = create_orchestrator(
    [worker("make", approve=True)], Ladder([tier("small", reply, 1.0)]), synthesizer="join"
).compile()
broken = create_worker_graph(worker("make"), Ladder([tier("other", reply, 1.0)])).compile()


@effect("write", idempotency_key=lambda args: args["invoice"])
def pay(invoice: str) -> str:
    """Pay an invoice, from the folder in which the server was started."""
    with Path("paid").open("a") as book:
        book.write(f"{invoice}\n")
    return f"paid {invoice}"


payer = worker("payer", tools=[pay])
