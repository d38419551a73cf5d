"""A tier: a chat model with a price, a context window and a concurrency limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from pydantic import SecretStr

from stellwerk.errors import ConfigurationError, ContextOverflowError, TierError
from stellwerk.outcome import Usage
from stellwerk.tiers.throttle import Throttle

# No tokenizer in use packs more text than this into a token on average, so a prompt refused by this
# bound would not have fitted; what passes is counted exactly by the server.
_MOST_CHARACTERS_PER_TOKEN = 8
_LEAST_SECRET = 8  # characters; a shorter one is a placeholder such as EMPTY


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What a tier costs, in USD: per million tokens, and per second of the model's time.

    Args:
        input: per million prompt tokens that were not cached.
        cached: per million prompt tokens read from the prefix cache; `input` if None.
        output: per million output tokens.
        second: per second in which the model worked, for tiers on own hardware.
    """

    input: float = 0.0
    cached: float | None = None
    output: float = 0.0
    second: float = 0.0

    def usd(self, usage: Usage, seconds: float = 0.0) -> float:
        """Money for a call."""
        cached = self.input if self.cached is None else self.cached
        tokens = (
            (usage["input"] - usage["cached"]) * self.input
            + usage["cached"] * cached
            + usage["output"] * self.output
        )
        return tokens / 1e6 + seconds * self.second


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One call to make: messages, and the JSON schema that the answer has to follow.

    Args:
        messages: the prompt.
        schema: JSON schema of the answer; None for free text.
        max_tokens: of the answer; the model's own limit if None.
        tools: what the model may call, in the form of the OpenAI chat API.
        tool_choice: `"auto"`, `"none"`, `"required"` or the name of a tool; the server's default if None.
        logprobs: whether the reply should sum up the log-probabilities of its tokens.
        flow: the run that the call belongs to; waiting calls are served in turn, run by run.
        patience: seconds to wait for a place at the tier; None for as long as the deadline allows.
        deadline: `time.monotonic()` by which the answer has to be there; None for the tier's own timeout.
    """

    messages: Sequence[BaseMessage]
    schema: dict[str, Any] | None = None
    max_tokens: int | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | None = None
    logprobs: bool = False
    flow: str = ""
    patience: float | None = None
    deadline: float | None = None

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments in the form of the OpenAI chat API."""
        arguments: dict[str, Any] = {}
        if self.max_tokens is not None:
            arguments["max_tokens"] = self.max_tokens
        if self.schema is not None:
            name = str(self.schema.get("title", "answer"))
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": self.schema, "strict": True},
            }
        if self.tools:
            arguments["tools"] = list(self.tools)
            if self.tool_choice is not None:
                named = {"type": "function", "function": {"name": self.tool_choice}}
                words = ("auto", "none", "required")
                arguments["tool_choice"] = self.tool_choice if self.tool_choice in words else named
        return arguments


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a tier answered.

    `seconds` is the model's time; `waited` the time in the tier's queue before it. `logprobs` sums up the
    log-probabilities of the answer's tokens, where they were asked for and given. `replica` names the server.
    """

    message: AIMessage
    text: str
    usage: Usage
    seconds: float
    finish: str
    waited: float = 0.0
    logprobs: dict[str, float] | None = None
    replica: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tier:
    """A chat model with a price and limits.

    Args:
        name: how decisions, traces and the ledger call it.
        model: any LangChain chat model.
        price: what it costs; a tier without a price is counted as unpriced, not as free.
        context_window: tokens that prompt and answer may have together.
        max_concurrency: calls at a time; None for no limit.
        throttle: shared by tiers on the same hardware, in place of `max_concurrency`.
        tokenizer: counts the tokens of a text as the model does; without one a lower bound is taken.

    Raises:
        ConfigurationError: if the name is blank or a limit is below one.
    """

    name: str
    model: BaseChatModel
    price: Price | None = None
    context_window: int = 32_768
    max_concurrency: int | None = None
    throttle: Throttle = field(default=None, repr=False)  # type: ignore[assignment]  # set below
    tokenizer: Callable[[str], int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigurationError("a tier has a blank name; name it")
        for limit in ("context_window", "max_concurrency"):
            value = getattr(self, limit)
            if value is not None and value < 1:
                raise ConfigurationError(f"tier {self.name!r}: {limit} is {value}; it must be at least 1")
        if not self.throttle:
            object.__setattr__(self, "throttle", Throttle(self.max_concurrency))

    def call(self, request: Request) -> Reply:
        """Ask the model and wait for the answer.

        Raises:
            ContextOverflowError: if the prompt cannot fit; nothing is ever cut.
            TierError: if the tier does not answer.
        """
        self._check_fit(request)
        with self.throttle.hold():
            started = time.perf_counter()
            try:
                message = self.model.invoke(list(request.messages), **request.arguments())
            except Exception as error:
                message = self._cut_off_or_raise(error)
            return _reply(message, time.perf_counter() - started)

    async def acall(self, request: Request) -> Reply:
        """Ask the model and wait for the answer; as `call`."""
        self._check_fit(request)
        async with self.throttle.ahold():
            started = time.perf_counter()
            try:
                message = await self.model.ainvoke(list(request.messages), **request.arguments())
            except Exception as error:
                message = self._cut_off_or_raise(error)
            return _reply(message, time.perf_counter() - started)

    def _check_fit(self, request: Request) -> None:
        characters = sum(len(message.text) for message in request.messages)
        least = characters // _MOST_CHARACTERS_PER_TOKEN
        if least > self.context_window:
            raise ContextOverflowError(
                f"the prompt has {characters:,} characters, at least {least:,} tokens; "
                f"tier {self.name!r} holds {self.context_window:,}: split the documents or add a tier "
                "with a larger context window"
            )

    def _cut_off_or_raise(self, error: Exception) -> AIMessage:
        if (completion := getattr(error, "completion", None)) is not None:
            return _cut_off(completion)
        if isinstance(error, TierError):
            raise error
        text = _without_secrets(self.model, f"{type(error).__name__}: {error}")
        kind = ContextOverflowError if _is_overflow(text) else TierError
        raise kind(f"tier {self.name!r} gave no answer: {text[:500]}") from error


def _without_secrets(model: BaseChatModel, said: str) -> str:
    """An error's text without the model's keys, which a server may repeat; errors are stored."""
    for value in vars(model).values():
        if isinstance(value, SecretStr) and len(secret := value.get_secret_value()) >= _LEAST_SECRET:
            said = said.replace(secret, "***")
    return said


def _cut_off(completion: Any) -> AIMessage:
    # Where an answer to a schema runs into `max_tokens`, the OpenAI client raises; the error has the answer.
    choice, usage = completion.choices[0], completion.usage
    message = AIMessage(choice.message.content or "", response_metadata={"finish_reason": "length"})
    if usage is not None:
        details = usage.prompt_tokens_details
        message.usage_metadata = UsageMetadata(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
            input_token_details={"cache_read": (details and details.cached_tokens) or 0},
        )
    return message


def _is_overflow(text: str) -> bool:
    lowered = text.lower()
    return any(
        mark in lowered
        for mark in (
            "context_length_exceeded",
            "maximum context length",
            "exceed_context_size",
            "context size",
        )
    )


def _reply(message: BaseMessage, seconds: float) -> Reply:
    assert isinstance(message, AIMessage)
    counts = message.usage_metadata
    usage = Usage(input=0, cached=0, output=0)
    if counts is not None:
        details = counts.get("input_token_details") or {}
        usage = Usage(
            input=counts["input_tokens"],
            cached=details.get("cache_read") or 0,
            output=counts["output_tokens"],
        )
    return Reply(
        message=message,
        text=message.text,
        usage=usage,
        seconds=seconds,
        finish=str(message.response_metadata.get("finish_reason") or "stop"),
    )
