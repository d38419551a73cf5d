"""A model call of a program that is not ours, as a trace of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import BaseMessage, SystemMessage

from stellwerk.conversion.wording import wording
from stellwerk.outcome import Call, Reason, ToolUse, Usage, Verdict
from stellwerk.prices import ListedPrice, price_named
from stellwerk.routing_context import RoutingContext
from stellwerk.tiers.tier import Price
from stellwerk.trace import NOBODY, AttemptTrace, Origin

# How LangChain's chat models call the providers of the price list.
_PROVIDERS = {
    "google_genai": "gemini",
    "google_vertexai": "gemini",
    "google": "gemini",
    "mistralai": "mistral",
}
_NO_USAGE = Usage(input=0, cached=0, output=0)


@dataclass(slots=True, kw_only=True)
class ForeignCall:
    """A call that has ended.

    Args:
        trace_id: 32 hexadecimal digits; the same whenever the same call is told again.
        call_site: where in the program it is made.
        model: its name.
        prompt: what the model got.
        answer: its text; None where it gave none.
        uses: the tool calls that it asked for, with what came of them.
        value: the parsed answer, where the call asked for structured output.
        offered: definitions of the tools that it could call.
        form: JSON schema that the answer had to follow.
        usage: tokens; None where they are not known.
        usd: what it cost; None where that is not known.
        seconds: that it took.
        reason: why it is no answer, as a `Reason`; empty where it is one.
        detail: what was wrong, in few words.
        run_id: of the run that it belongs to.
        thread_id: of the thread, or empty.
        origin: whom it comes from.
        ended_at: when.
    """

    trace_id: str
    call_site: str
    model: str
    prompt: Sequence[BaseMessage]
    answer: str | None = None
    uses: list[ToolUse] = field(default_factory=list)
    value: Any = None
    offered: Sequence[Mapping[str, Any]] = ()
    form: Mapping[str, Any] | None = None
    usage: Usage | None = None
    usd: float | None = None
    seconds: float = 0.0
    reason: str = ""
    detail: str = ""
    run_id: str = ""
    thread_id: str = ""
    origin: Origin = NOBODY
    ended_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def attempt(self) -> AttemptTrace:
        """The call as an attempt that no router decided on."""
        system = "\n".join(str(each.text) for each in self.prompt if isinstance(each, SystemMessage))
        version = wording(system, self.offered, self.form)
        call = Call(
            step="generate",
            owner=self.call_site,
            tier=self.model,
            usage=self.usage or _NO_USAGE,
            seconds=self.seconds,
        )
        if self.uses:
            call["tools"] = self.uses
        if self.detail:
            call["error"] = self.detail
        return AttemptTrace(
            trace_id=self.trace_id,
            run_id=self.run_id,
            thread_id=self.thread_id,
            subtask="",
            worker=self.call_site,
            worker_version=version,
            tier=self.model,
            model=self.model,
            number=1,
            decision=None,
            verdict=self._verdict(),
            calls=[call],
            value=self.value,
            messages=self.prompt,
            answer=self.answer,
            checks={},
            usd=self.usd,
            context=RoutingContext(
                worker=self.call_site,
                worker_version=version,
                instruction="",  # it is in the prompt
                prompt=len(system),
                fields=0,
                choices=0,
                depth=0,
                tools=tool_names(self.offered),
                max_tokens=0,
                source=0,
                inputs=0,
                position=0,
                size=1,
            ),
            created_at=self.ended_at,
            origin=self.origin,
            offered=self.offered,
        )

    def _verdict(self) -> Verdict:
        if self.reason:
            return Verdict(accepted=False, reason=self.reason, detail=self.detail)
        if self.answer is None and not self.uses:
            return Verdict(accepted=False, reason=Reason.EMPTY.value, detail="neither a text nor a tool call")
        return Verdict(accepted=True)


def reason_of(finish: object) -> str:
    """Why an answer is none, by the word with which a provider says that it ended; empty if it is one."""
    word = str(finish or "").lower()
    if word in ("length", "max_tokens", "model_length"):
        return Reason.LENGTH.value
    if word in ("content_filter", "refusal", "safety"):
        return Reason.REFUSAL.value
    return ""


def parsed(text: str | None) -> Any:
    """An answer as JSON; None where it is no JSON."""
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def tool_names(definitions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of tools, by their definitions in the form of OpenAI's API, or of others'."""
    names = []
    for each in definitions:
        inner = each.get("function")
        name = (inner if isinstance(inner, Mapping) else each).get("name")
        if isinstance(name, str):
            names.append(name)
    return names


def cost(
    usage: Usage | None, model: str, provider: str, seconds: float, prices: Mapping[str, Price]
) -> float | None:
    """What a call cost in USD, by a price that is given for the model, else by the price list; or None.

    Args:
        usage: tokens; None where they are not known.
        model: its name, as it was asked for.
        provider: who hosts it, as LangChain calls them.
        seconds: that the call took.
        prices: by the model's name.
    """
    if usage is None:
        return None
    given = prices.get(model)
    if given is None:
        listed = price_named(f"{_PROVIDERS.get(provider, provider)}/{model}")
        if listed is None:
            return None
        given = price_of(listed)
    return given.usd(usage, seconds)


def price_of(listed: ListedPrice) -> Price:
    """An entry of the price list as a tier's price."""
    return Price(input=listed.input, cached=listed.cached, output=listed.output)
