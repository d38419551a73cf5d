"""Make a worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import BaseModel

from stellwerk.error_policy import ErrorPolicy
from stellwerk.errors import ConfigurationError
from stellwerk.rails import Rails
from stellwerk.worker import Brief, Check, Example, Finish, Schema, Worker
from stellwerk.workers.tools import approved_tools, as_tools, declared_effects

REASONING_TOKENS = 128  # of a small model that thinks longer, the answer is rarely better
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def check_name(name: str) -> None:
    """Check the name of a worker.

    Raises:
        ConfigurationError: if it is not usable.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"worker name {name!r} is not usable; use a lower-case letter, then up to 31 of a-z, 0-9, _"
        )


def create_worker(
    name: str,
    *,
    output: type[BaseModel],
    prompt: str | Callable[[Rails], str],
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
    effects: Mapping[str, str] | None = None,
    rails: Rails | None = None,
    reasoning: bool | int = False,
    errors: ErrorPolicy | None = None,
    approve: bool | Collection[str] = False,
    ask: bool = False,
) -> Worker:
    """Specify a worker: what to ask, what an answer looks like, how it is checked.

    Tools that read are called once for each call that the model asks for, in each attempt: a rejected answer
    on the next tier means that they are called again. A write is made once in a run for the same arguments;
    whoever asks for it again is given what it gave then. See `stellwerk.effect`. A repair sees what the tools
    gave, and calls none.

    Args:
        name: lower case, at most 32 letters, digits or underscores; the planner uses it.
        output: pydantic model of the model's answer.
        prompt: what to do, in a few plain sentences; or a function that words it for the rails in force.
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
        tool_timeout: seconds for one call of a tool, and for its `reconcile`, None for no limit but what is
            left of the run's, the subtask's and the attempt's time. An async tool is cancelled then, and
            a sync one goes on in its thread, unheard; the model is told.
        parallel_tools: whether the calls of one reply are made at once. If None, they are where the model's
            server has parsed them, and those written as text are made one after the other.
        serial: names of tools that write: short for `effects` of these.
        effects: `read` or `write` by the names of tools, or an `Effect`; goes before what a tool declares
            itself, and its MCP server. A tool of which nothing is said counts as a write, so that none is
            repeated by mistake. Where a reply asks for one that is said to write, its calls are made one
            after the other; what was read before such a call may be read again after it.
        rails: what keeps answers on the track, on every tier; if None, what each tier needs.
        reasoning: let the model think in free text before the answer under the schema; a number is the most
            tokens for it. Both calls are billed.
        errors: what is tried again on the same tier, how long an attempt may take, and what a failed subtask
            means for those who need it; `ErrorPolicy()` if None.
        approve: whether a person is asked before the worker begins; or names of its tools, before each call
            of which one is asked. The graph then needs a checkpointer, as for `ask`.
        ask: whether a person is asked for what the worker does not know: fields that say `unknown`, required
            ones that are null, or all of it where no model knows.

    Raises:
        ConfigurationError: if the name, the prompt, an example, a tool, a limit or a substitute is unusable.
    """
    check_name(name)
    said = prompt if isinstance(prompt, str) else prompt(rails or Rails())
    if not said.strip():
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
        description=description or said.strip().split("\n")[0].split(". ")[0],
        output=output,
        prompt=prompt.strip() if isinstance(prompt, str) else prompt,
        examples=tuple(solved),
        checks=tuple(checks),
        finish=finish,
        narrow=narrow,
        claims=claims,
        repairs=repairs,
        max_tokens=max_tokens,
        tools=made,
        max_tool_rounds=max_tool_rounds,
        max_tool_output=max_tool_output,
        tool_timeout=tool_timeout,
        parallel_tools=parallel_tools,
        effects=declared_effects(name, effects or {}, serial, made),
        rails=rails,
        reasoning=REASONING_TOKENS if reasoning is True else int(reasoning),
        errors=errors or ErrorPolicy(),
        approve=approve is True,
        approve_tools=approved_tools(name, () if isinstance(approve, bool) else approve, made),
        ask=ask,
    )
