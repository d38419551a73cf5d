"""Make a worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import BaseModel

from stellwerk.errors import ConfigurationError
from stellwerk.rails import Rails
from stellwerk.worker import Brief, Check, Example, Finish, Schema, Worker
from stellwerk.workers.tools import as_tools, side_effects

REASONING_TOKENS = 128  # of a small model that thinks longer, the answer is rarely better
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def create_worker(
    name: str,
    *,
    output: type[BaseModel],
    prompt: str,
    description: str | None = None,
    examples: Sequence[Example | tuple[str, Mapping[str, Any]]] = (),
    checks: Sequence[Check] = (),
    finish: Finish | None = None,
    narrow: Callable[[Schema, Brief], Schema] | None = None,
    claims: Callable[[Brief], bool] | None = None,
    repairs: int = 1,
    max_tokens: int = 512,
    tools: Sequence[BaseTool | Callable[..., Any]] = (),
    max_tool_rounds: int = 5,
    max_tool_output: int = 8_000,
    tool_timeout: float | None = 30.0,
    parallel_tools: bool | None = None,
    serial: Collection[str] = (),
    rails: Rails | None = None,
    reasoning: bool | int = False,
) -> Worker:
    """Specify a worker: what to ask, what an answer looks like, how it is checked.

    A tool is called once for each call that the model asks for, in each attempt: a rejected answer on the
    next tier means its tools are called again. With a checkpointer, a run that broke off or was interrupted
    repeats no tool call that was stored, but does repeat one that was running when the process died; a tool
    with side effects should bear that. A repair sees what the tools gave, and calls none.

    Args:
        name: lower case, at most 32 letters, digits or underscores; the planner uses it.
        output: pydantic model of the model's answer.
        prompt: what to do, in a few plain sentences.
        description: one line for the planner; the prompt's first sentence if None.
        examples: solved cases, as `Example` or as (instruction, answer).
        checks: each gets the result and the brief, and returns None or what is wrong.
        finish: turns the answer into the worker's result; raising rejects the attempt.
        narrow: makes the JSON schema stricter for one brief.
        claims: whether a job is surely this worker's, without asking a model; a planner's choice among
            workers that make claims is put right by them.
        repairs: how often a rejected answer may be mended on the same tier.
        max_tokens: of an answer.
        tools: what the model may call before it answers: LangChain tools, or functions with types and a
            docstring. What they give counts as a source that checks accept.
        max_tool_rounds: how often the model may ask for tools, each time for one or several.
        max_tool_output: characters of a tool's output that the model is shown.
        tool_timeout: seconds for one call of a tool, None for no limit. An async tool is cancelled then, and
            a sync one goes on in its thread, unheard; the model is told.
        parallel_tools: whether the calls of one reply are made at once. If None, they are where the model's
            server has parsed them, and those written as text are made one after the other.
        serial: names of tools with side effects. Where a reply asks for one, its calls are made one after
            the other; what was read before such a call may be read again after it.
        rails: what keeps answers on the track; `Rails()` if None.
        reasoning: let the model think in free text before the answer under the schema; a number is the most
            tokens for it. Both calls are billed.

    Raises:
        ConfigurationError: if the name, the prompt, an example, a tool or a limit is unusable.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"worker name {name!r} is not usable; use a lower-case letter, then up to 31 of a-z, 0-9, _"
        )
    if not prompt.strip():
        raise ConfigurationError(f"worker {name!r} has a blank prompt; say what it is to do")
    for limit, value in (("max_tool_rounds", max_tool_rounds), ("max_tool_output", max_tool_output)):
        if value < 1:
            raise ConfigurationError(f"worker {name!r}: {limit} is {value}; it must be at least 1")
    if tool_timeout is not None and not tool_timeout > 0:
        raise ConfigurationError(
            f"worker {name!r}: tool_timeout is {tool_timeout}; give seconds above 0, or None for no limit"
        )
    if reasoning < 0:
        raise ConfigurationError(
            f"worker {name!r}: reasoning is {reasoning}; give a number of tokens, or True"
        )
    rails = rails or Rails()
    made = as_tools(name, tools)
    solved = []
    for example in examples:
        solved.append(
            example if isinstance(example, Example) else Example(instruction=example[0], answer=example[1])
        )
        try:
            output.model_validate(solved[-1].answer)
        except ValueError as error:
            raise ConfigurationError(
                f"worker {name!r}: example {solved[-1].instruction!r}: {error}"
            ) from error
    return Worker(
        name=name,
        description=description or prompt.strip().split("\n")[0].split(". ")[0],
        output=output,
        prompt=prompt.strip(),
        examples=tuple(solved),
        checks=tuple(checks),
        finish=finish,
        narrow=narrow,
        claims=claims,
        repairs=repairs if rails.repair else 0,
        max_tokens=max_tokens,
        tools=made,
        max_tool_rounds=max_tool_rounds,
        max_tool_output=max_tool_output,
        tool_timeout=tool_timeout,
        parallel_tools=parallel_tools,
        serial=side_effects(name, serial, made),
        rails=rails,
        reasoning=REASONING_TOKENS if reasoning is True else int(reasoning),
    )
