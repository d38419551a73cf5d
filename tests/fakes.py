"""A scripted chat model, and ladders and workers to go with it.

Subtasks are told apart by a mark in their instruction (`job("a")`), so that no test here depends on the
wording of a prompt.
"""

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, Field, PrivateAttr

from stellwerk.document import Document
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from stellwerk.worker import Brief, Check, Finish, Worker
from stellwerk.workers.create import create_worker

Messages = Sequence[BaseMessage]
Reply = Callable[[Messages], str | AIMessage]

WAIT = 20.0  # seconds after which a test that waits has failed

_JOB = re.compile(r"\[\[([\w-]+)\]\]")
_MADE = re.compile(r"made:([\w-]+)")


class Crash(BaseException):
    """The process dies, as far as the code under test can tell."""


class Scripted(BaseChatModel):
    """A chat model that answers with what a function makes of the messages.

    `before` and `abefore` run first, with the messages, and may wait for an event, or raise.
    """

    reply: Reply
    before: Callable[[Messages], object] | None = None
    abefore: Callable[[Messages], Awaitable[object]] | None = None
    cached: int = 0

    _calls: list[tuple[list[BaseMessage], dict[str, Any]]] = PrivateAttr(default_factory=list)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _crash: Crash | None = PrivateAttr(default=None)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def calls(self) -> int:
        """Calls so far."""
        return len(self._calls)

    @property
    def prompts(self) -> list[str]:
        """The text of each call's messages, one call after the other."""
        return [text_of(messages) for messages, _ in self._calls]

    @property
    def options(self) -> list[dict[str, Any]]:
        """The options of each call: `max_tokens`, `response_format` and so on."""
        return [options for _, options in self._calls]

    @property
    def jobs(self) -> Counter[str]:
        """Calls by the mark of the subtask."""
        return Counter(mark for messages, _ in self._calls if (mark := mark_of(messages)))

    def _note(self, messages: list[BaseMessage], options: dict[str, Any]) -> None:
        with self._lock:
            self._calls.append((messages, options))

    def _answer(self, messages: list[BaseMessage]) -> ChatResult:
        said = self.reply(messages)
        message = said if isinstance(said, AIMessage) else AIMessage(said)
        if message.usage_metadata is None:
            read, written = tokens(text_of(messages)), tokens(message.text)
            message.usage_metadata = UsageMetadata(
                input_tokens=read,
                output_tokens=written,
                total_tokens=read + written,
                input_token_details={"cache_read": min(self.cached, read)},
            )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._note(messages, kwargs)
        if self.before is not None:
            self.before(messages)
        return self._answer(messages)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._note(messages, kwargs)
        try:
            if self.abefore is not None:
                await self.abefore(messages)
            return self._answer(messages)
        except Crash as crash:
            self._crash = crash
            raise

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        try:
            return await super().ainvoke(input, config, stop=stop, **kwargs)
        except AttributeError:
            if self._crash is not None:  # which langchain-core takes for an answer
                raise self._crash from None
            raise


class Signals:
    """Named events that threads and coroutines wait for alike; each is sent once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[str, Future[None]] = {}

    def _event(self, name: str) -> Future[None]:
        with self._lock:
            return self._events.setdefault(name, Future())

    def send(self, name: str) -> None:
        if not (event := self._event(name)).done():
            event.set_result(None)

    def wait(self, name: str) -> None:
        self._event(name).result(WAIT)

    async def wait_async(self, name: str) -> None:
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._event(name))), WAIT)


def paced(signals: Signals, waits: Mapping[str, Iterable[str]], reply: Reply | None = None) -> Scripted:
    """A model that sends `<mark> began` for each subtask and then waits for signals before it answers."""

    def before(messages: Messages) -> None:
        signals.send(f"{mark_of(messages)} began")
        for name in waits.get(mark_of(messages), ()):
            signals.wait(name)

    async def abefore(messages: Messages) -> None:
        signals.send(f"{mark_of(messages)} began")
        for name in waits.get(mark_of(messages), ()):
            await signals.wait_async(name)

    return Scripted(reply=reply or make, before=before, abefore=abefore)


def tokens(text: str) -> int:
    """Tokens that `Scripted` counts for a text: one for every four characters begun."""
    return -(-len(text) // 4)


def text_of(messages: Messages) -> str:
    return "\n".join(message.text for message in messages)


def job(mark: str) -> str:
    """An instruction that `mark_of` finds again in any prompt made of it."""
    return f"do [[{mark}]]"


def mark_of(messages: Messages) -> str:
    """The mark of the subtask that a prompt is about, or nothing."""
    marks = _JOB.findall(text_of(messages))
    return str(marks[-1]) if marks else ""


def made(mark: str, *needed: str) -> dict[str, Any]:
    """The value of a subtask done by `make`, with the subtasks whose results it was given."""
    return {"text": f"made:{mark} of {'+'.join(sorted(needed)) or 'nothing'}"}


def make(messages: Messages) -> str:
    """Do a subtask: say which one it was, and which results its prompt held."""
    mark = mark_of(messages)
    return json.dumps(made(mark, *{found for found in _MADE.findall(text_of(messages)) if found != mark}))


def always(said: str | AIMessage) -> Reply:
    return lambda messages: said


def in_turn(*replies: str | AIMessage | Exception) -> Reply:
    """One reply after the other; an exception is raised."""
    left = list(replies)

    def reply(messages: Messages) -> str | AIMessage:
        said = left.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    return reply


def wants(*calls: tuple[str, dict[str, Any]]) -> AIMessage:
    """A reply that asks for tools, each as its name and its arguments."""
    named = [ToolCall(name=name, args=args, id=f"id-{number}") for number, (name, args) in enumerate(calls)]
    return AIMessage("", tool_calls=named)


def broken(messages: Messages) -> str:
    raise ConnectionError("connection refused")


def not_asked(messages: Messages) -> str:
    raise AssertionError("this model must not be asked")


def ladder(*models: BaseChatModel | Reply) -> Ladder:
    """Tiers `small`, (`medium`,) `large`, each ten times as dear as the one below."""
    names = ("small", "medium", "large") if len(models) == 3 else ("small", "large")
    tiers = []
    for power, (name, model) in enumerate(zip(names, models, strict=False)):
        chat = model if isinstance(model, BaseChatModel) else Scripted(reply=model)
        price = Price(input=10.0**power, output=2 * 10.0**power)
        tiers.append(Tier(name=name, model=chat, price=price))
    return Ladder(tiers)


class Said(BaseModel):
    """What a worker of these tests gives back."""

    text: str = Field(min_length=1)


def worker(
    name: str = "make",
    *,
    checks: Iterable[Check] = (),
    finish: Finish | None = None,
    output: type[BaseModel] = Said,
    repairs: int = 1,
    **options: Any,
) -> Worker:
    return create_worker(
        name,
        description=f"does {name}",
        output=output,
        prompt=f"Do {name}.",
        checks=tuple(checks),
        finish=finish,
        repairs=repairs,
        **options,
    )


def brief(instruction: str = "go", *documents: str, **inputs: Any) -> Brief:
    named = [Document(name=str(number), text=text) for number, text in enumerate(documents, 1)]
    return Brief(instruction=instruction, documents=named, inputs=inputs)


def subtask(name: str, *needs: str, worker: str = "make") -> dict[str, Any]:
    return {"id": name, "worker": worker, "instruction": job(name), "depends_on": list(needs)}


def plan(**needs: str) -> dict[str, Any]:
    """A plan from `plan(a="", b="a", c="a b")`."""
    return {"subtasks": [subtask(name, *dependencies.split()) for name, dependencies in needs.items()]}


def values(output: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each subtask in the output of an orchestrator."""
    return {name: result["value"] for name, result in output["results"].items()}


def run(graph: Any, given: object, config: Any = None, *, sync: bool, **options: Any) -> Any:
    """Run a graph from its start to its end, the sync or the async way."""
    if sync:
        return graph.invoke(given, config, **options)
    return asyncio.run(graph.ainvoke(given, config, **options))
