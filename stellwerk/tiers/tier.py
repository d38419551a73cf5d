"""A tier: a chat model with a price, a context window and a concurrency limit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from stellwerk.capabilities import Capabilities
from stellwerk.errors import ConfigurationError, ContextOverflowError
from stellwerk.outcome import Usage
from stellwerk.rails import Rails
from stellwerk.tiers.cut_off import cut_off_or_raise, without_cut_call
from stellwerk.tiers.dialect import phrased, response_format
from stellwerk.tiers.dispatch import Answered, Dispatch, FailedTry, Order, shortest
from stellwerk.tiers.drive import ago, given_up_after, go, in_time
from stellwerk.tiers.gate import Gate
from stellwerk.tiers.idle import aheard, heard
from stellwerk.tiers.logprobs import summarise_logprobs
from stellwerk.tiers.pool import Pool, prompt_key
from stellwerk.tiers.rate import Rate
from stellwerk.tiers.replica import Replica
from stellwerk.tiers.streams import agone, gone

# No tokenizer in use packs more text than this into a token on average, so a prompt refused by this
# bound would not have fitted; what passes is counted exactly by the server.
MOST_CHARACTERS_PER_TOKEN = 8
CHARACTERS_PER_TOKEN = 4  # of English text, for what a call is expected to take
_ANSWER = 512  # tokens expected of an answer without a limit
_BEGINNING = 4096  # characters of a prompt by which replicas are told apart
_Limits = tuple[int | None, int | None, int | None]


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
        patience: seconds to wait at a tier that lets nobody in; None for `max_wait`.
        deadline: `time.monotonic()` by which the answer has to be there; None for the tier's own timeout.
        idle: seconds that may pass without a token, the first one included; None for no such limit. A model
            that does not stream, or whose stream does not say what it took, has to reply within them.
        strict: whether the schema goes to the server as a strict one, which some take only where every value
            is required.
        options: further arguments of the chat model, as its `invoke` takes them.
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
    idle: float | None = None
    strict: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def expected_input(self) -> int:
        """Tokens that the prompt is expected to have."""
        characters = sum(len(message.text) for message in self.messages)
        if self.tools:  # the server writes them into the prompt
            characters += len(json.dumps(self.tools, ensure_ascii=False, default=str))
        return characters // CHARACTERS_PER_TOKEN

    @property
    def beginning(self) -> str:
        """The beginning of the prompt, where the documents are."""
        beginning = ""
        for message in self.messages:
            beginning += message.text[: _BEGINNING - len(beginning)]
            if len(beginning) >= _BEGINNING:
                break
        return beginning

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments in the form of the OpenAI chat API."""
        arguments: dict[str, Any] = dict(self.options)
        if self.max_tokens is not None:
            arguments["max_tokens"] = self.max_tokens
        if self.schema is not None:
            arguments["response_format"] = response_format(self.schema, strict=self.strict)
        if self.tools:
            arguments["tools"] = list(self.tools)
            if self.tool_choice is not None:
                named = {"type": "function", "function": {"name": self.tool_choice}}
                words = ("auto", "none", "required")
                arguments["tool_choice"] = self.tool_choice if self.tool_choice in words else named
        if self.logprobs:
            arguments["logprobs"] = True
        return arguments


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a tier answered.

    `seconds` is the model's time; `waited` the time in the tier's queue before it. `logprobs` sums up the
    log-probabilities of the answer's tokens, where they were asked for and given. `replica` names the server,
    where there are several. `tries` are those that failed before. `estimated` is true where the model did not
    say what the call took, and `usage` is by the lengths of prompt and answer.
    """

    message: AIMessage
    text: str
    usage: Usage
    seconds: float
    finish: str
    waited: float = 0.0
    logprobs: dict[str, float] | None = None
    replica: str = ""
    tries: tuple[FailedTry, ...] = ()
    estimated: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Tier:
    """A chat model with a price and limits.

    Args:
        name: how decisions, traces and the ledger call it.
        model: any LangChain chat model.
        price: what it costs; a tier without a price is counted as unpriced, not as free.
        context_window: tokens that prompt and answer may have together.
        max_concurrency: calls at a time, over all replicas; None for no limit.
        requests_per_minute: None for no limit.
        tokens_per_minute: of prompts and answers, estimated before a call and put right after it; None for no
            limit.
        timeout: seconds for one try; None for none. A model in this process cannot be broken off: its call is
            given up, and goes on.
        patience: seconds that a call waits, while no place is granted to anyone or no server takes it, where
            another tier may be asked instead. Standing in a queue that moves does not count.
        max_wait: seconds that any call waits so.
        max_retries: tries after the first, where the server was at fault.
        replicas: the servers, if there are several; `model` is that of the first.
        gate: shared by tiers on the same hardware, in place of the limits. `dataclasses.replace` keeps it as
            long as the limits stay the same.
        capabilities: what its server was seen to do, as `probe_ladder` fills in; None if nothing is known.
        tokenizer: counts the tokens of a text as the model does; without one a lower bound is taken.
        rails: what its model needs to stay on the track, for workers without rails of their own.

    Raises:
        ConfigurationError: if the name is blank or a limit is below one.
    """

    name: str
    model: BaseChatModel = field(repr=False)  # a URL may have a password
    price: Price | None = None
    context_window: int = 32_768
    max_concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float | None = None
    patience: float = 10.0
    max_wait: float = 300.0
    max_retries: int = 0
    replicas: tuple[Replica, ...] = field(default=(), repr=False)
    gate: Gate = field(default=None, repr=False)  # type: ignore[assignment]  # set below
    capabilities: Capabilities | None = field(default=None, repr=False)
    tokenizer: Callable[[str], int] | None = field(default=None, repr=False)
    rails: Rails = field(default_factory=Rails, repr=False)
    pool: Pool = field(default=None, repr=False)  # type: ignore[assignment]  # set below
    _limited: tuple[Gate, _Limits] | None = field(default=None, repr=False)
    _dispatch: Dispatch = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigurationError("a tier has a blank name; name it")
        for limit in ("context_window", "max_concurrency"):
            value = getattr(self, limit)
            if value is not None and value < 1:
                raise ConfigurationError(f"tier {self.name!r}: {limit} is {value}; it must be at least 1")
        for limit, least in (("timeout", 0.001), ("patience", 0), ("max_wait", 0), ("max_retries", 0)):
            value = getattr(self, limit)
            if value is not None and not value >= least:
                raise ConfigurationError(
                    f"tier {self.name!r}: {limit} is {value}; it must be at least {least}"
                )
        limits = (self.max_concurrency, self.requests_per_minute, self.tokens_per_minute)
        # With `dataclasses.replace`, the gate of the tier before comes along, and what its limits were.
        of_before = self._limited is not None and self._limited[0] is self.gate
        if not self.gate or (of_before and self._limited != (self.gate, limits)):
            try:
                rate = Rate(self.requests_per_minute, self.tokens_per_minute)
            except ConfigurationError as error:
                raise ConfigurationError(f"tier {self.name!r}: {error}") from None
            object.__setattr__(self, "gate", Gate(self.max_concurrency, rate))
        object.__setattr__(self, "_limited", (self.gate, limits))
        # So does the pool.
        if not self.pool or all(replica.model is not self.model for replica in self.pool.replicas):
            replicas = self.replicas
            if all(replica.model is not self.model for replica in replicas):
                replicas = (Replica(name="", model=self.model),)
                object.__setattr__(self, "replicas", ())
            names = [replica.name for replica in replicas]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ConfigurationError(
                    f"tier {self.name!r} has the replica {min(twice)!r} twice; list it once"
                )
            object.__setattr__(self, "pool", Pool(replicas))
        dispatch = Dispatch(
            name=self.name,
            gate=self.gate,
            pool=self.pool,
            timeout=self.timeout,
            max_wait=self.max_wait,
            max_retries=self.max_retries,
        )
        object.__setattr__(self, "_dispatch", dispatch)

    def call(self, request: Request) -> Reply:
        """Ask the model and wait for the answer.

        Raises:
            ContextOverflowError: if the prompt cannot fit; nothing is ever cut.
            TierAccessError: if the server refuses the key.
            TierUnavailableError: if the tier has no place or no server for the call in time.
            TierTimeoutError: if no answer comes in time.
            TierError: if the tier does not answer.
        """
        self._check_fit(request)
        messages, arguments = phrased(request, self)
        listens = request.idle if self._streams else None

        def ask(replica: Replica, seconds: float | None) -> AIMessage:
            if listens is None:
                seconds = shortest(seconds, request.idle)
            options = replica.options(seconds) if seconds is not None else {}
            asked = partial(replica.model.invoke, messages, **arguments, **options)
            try:
                if listens is not None:
                    opened = partial(replica.model.stream, messages, **arguments, **options)
                    return heard(opened, listens, seconds)
                return asked() if options or seconds is None else given_up_after(seconds, asked)
            except Exception as error:
                return cut_off_or_raise(error)

        way = self._dispatch.way(self._order(request), _tokens)
        return _reply(go(way, ask), request)

    async def acall(self, request: Request) -> Reply:
        """Ask the model and wait for the answer; as `call`."""
        self._check_fit(request)
        messages, arguments = phrased(request, self)

        async def ask(replica: Replica, seconds: float | None) -> AIMessage:
            # The limit itself is kept outside, where it is known whether the event loop was late.
            options = replica.options(2 * seconds) if seconds is not None else {}
            try:
                if request.idle is not None and self._streams:
                    return await aheard(replica.model.astream(messages, **arguments, **options), request.idle)
                return await in_time(replica.model.ainvoke(messages, **arguments, **options), request.idle)
            except Exception as error:
                return cut_off_or_raise(error)

        way = self._dispatch.way(self._order(request), _tokens)
        return _reply(await ago(way, ask), request)

    def stream(self, request: Request) -> Iterator[AIMessageChunk | Reply]:
        """The answer in chunks as they come, and at the end the reply as a whole.

        The call holds its place until the last chunk is taken, or the iterator is closed. A model in this
        process is given up between two chunks only.

        Raises:
            TierError: as `call`; also where a stream breaks off after its first chunk, as the tier may not
                begin again then.
        """
        self._check_fit(request)
        messages, arguments = phrased(request, self)

        def open_stream(replica: Replica, seconds: float | None) -> Iterator[AIMessage]:
            options = replica.options(seconds) if seconds is not None else {}
            return replica.model.stream(messages, **arguments, **options)

        way = self._dispatch.way(self._order(request), _tokens)
        yield _reply((yield from gone(way, open_stream)), request)

    async def astream(self, request: Request) -> AsyncIterator[AIMessageChunk | Reply]:
        """The answer in chunks as they come, and at the end the reply; as `stream`."""
        self._check_fit(request)
        messages, arguments = phrased(request, self)

        def open_stream(replica: Replica, seconds: float | None) -> AsyncIterator[AIMessage]:
            options = replica.options(2 * seconds) if seconds is not None else {}
            return replica.model.astream(messages, **arguments, **options)

        way = self._dispatch.way(self._order(request), _tokens)
        async with aclosing(agone(way, open_stream)) as stream:
            async for each in stream:
                yield each if isinstance(each, AIMessageChunk) else _reply(each, request)

    @property
    def _streams(self) -> bool:
        # A stream that does not say what it took would be billed as nothing.
        return not (self.capabilities and self.capabilities.stream_usage is False)

    def _order(self, request: Request) -> Order:
        tokens = 0
        if not self.gate.rate.unlimited:
            tokens = request.expected_input + (request.max_tokens or _ANSWER)
        return Order(
            flow=request.flow,
            tokens=tokens,
            key=prompt_key(request.beginning) if len(self.pool.replicas) > 1 else b"",
            patience=request.patience,
            deadline=request.deadline,
        )

    def _check_fit(self, request: Request) -> None:
        characters = sum(len(message.text) for message in request.messages)
        least = characters // MOST_CHARACTERS_PER_TOKEN
        if least > self.context_window:
            raise ContextOverflowError(
                f"the prompt has {characters:,} characters, at least {least:,} tokens; "
                f"tier {self.name!r} holds {self.context_window:,}: split the documents or add a tier "
                "with a larger context window"
            )


def _usage(message: AIMessage) -> Usage | None:
    counts = message.usage_metadata
    if counts is None:
        return None
    details = counts.get("input_token_details") or {}
    return Usage(
        input=counts["input_tokens"], cached=details.get("cache_read") or 0, output=counts["output_tokens"]
    )


def _estimated(request: Request, message: AIMessage) -> Usage:
    # Not every integration tells; nothing would be cheaper than anything, and no budget would ever end.
    said = len(message.text) + sum(len(json.dumps(call["args"], default=str)) for call in message.tool_calls)
    return Usage(input=request.expected_input, cached=0, output=-(-said // CHARACTERS_PER_TOKEN))


def _tokens(message: AIMessage) -> int:
    usage = _usage(message)
    return usage["input"] + usage["output"] if usage is not None else 0


def _reply(answered: Answered, request: Request) -> Reply:
    message = answered.message
    assert isinstance(message, AIMessage)
    finish = str(message.response_metadata.get("finish_reason") or "stop")
    if finish == "length":
        message = without_cut_call(message)
    usage = _usage(message)
    return Reply(
        message=message,
        text=message.text,
        usage=usage or _estimated(request, message),
        estimated=usage is None,
        seconds=answered.seconds,
        finish=finish,
        waited=answered.waited,
        logprobs=_logprobs(message.response_metadata),
        replica=answered.replica,
        tries=answered.tries,
    )


def _logprobs(metadata: Mapping[str, Any]) -> dict[str, float] | None:
    return metadata.get("logprobs_summary") or summarise_logprobs(metadata.get("logprobs"))
