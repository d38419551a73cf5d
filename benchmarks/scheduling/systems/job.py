"""What every system does for a step: the same prompt, the same server, the same kind of answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel, SecretStr

from benchmarks.scheduling.plans import WORKER, DrawnPlan, Step
from stellwerk.nodes.prompts import worker_messages
from stellwerk.worker import Brief
from stellwerk.workers.create import create_worker

Answers = dict[str, str]
System = Callable[[DrawnPlan, asyncio.Runner], Answers]
"""Runs a plan, and gives the answer to each step. The runner's event loop outlives the run."""

MODEL = "simulated"


class Answer(BaseModel):
    """What the model gives back."""

    step: str
    answer: str


STEP = create_worker(WORKER, output=Answer, prompt="Do the step.")


def bare_client(url: str) -> BaseChatModel:
    """The chat model that all but Stellwerk use."""
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model=MODEL, base_url=url, api_key=SecretStr("EMPTY"), temperature=0.0, max_retries=0, timeout=600
    )


async def ask(client: BaseChatModel, step: Step, answers: Mapping[str, str]) -> str:
    """The answer to a step, with the prompt that Stellwerk's worker has."""
    inputs = {name: Answer(step=name, answer=answers[name]).model_dump() for name in step.needs}
    brief = Brief(instruction=step.instruction, inputs=inputs)
    message = await client.ainvoke(worker_messages(STEP, brief))
    return Answer.model_validate_json(message.text).answer
