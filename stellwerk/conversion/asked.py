"""A model that was asked by a program that is not ours, and has not answered yet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from langchain_core.outputs import LLMResult

from stellwerk.conversion.foreign_call import ForeignCall, cost, parsed, reason_of
from stellwerk.conversion.reply import read_reply
from stellwerk.conversion.running import Part
from stellwerk.outcome import Reason
from stellwerk.tiers.tier import Price


@dataclass(slots=True)
class Asked:
    """A call on its way.

    Args:
        part: of a run that it is part of; None where nothing is known of one.
        call: as far as it is known.
        provider: who hosts the model.
        by_tool: whether a tool call stands for the answer.
        is_ours: whether it belongs to a run of Stellwerk's, which tells of the run itself.
        began: by the clock of `perf_counter`.
    """

    part: Part | None
    call: ForeignCall
    provider: str
    by_tool: bool
    is_ours: bool
    began: float

    def answered(self, result: LLMResult, prices: Mapping[str, Price]) -> bool:
        """The model has answered; false where no model was asked, as LangChain kept the answer."""
        call, reply = self.call, read_reply(result)
        if reply.was_kept:
            return False
        self._ended()
        call.answer, call.uses, call.usage = reply.text, reply.uses, reply.usage
        call.usd = cost(reply.usage, call.model or reply.model, self.provider, call.seconds, prices)
        call.model = call.model or reply.model or "unknown"
        if reply.record:  # of a ladder, which says which of its tiers answered
            call.model = str(reply.record.get("tier") or call.model)
            call.usd = reply.record.get("usd")
        if call.form is not None:
            call.value = reply.uses[0]["args"] if self.by_tool and reply.uses else parsed(reply.text)
        call.reason = reason_of(reply.finish)
        if not call.reason and reply.broken and not reply.uses:
            call.reason = Reason.NOT_JSON.value
        if call.reason:
            call.detail = f"the model ended with {reply.finish or 'a tool call that cannot be read'}"
        return True

    def failed(self, error: BaseException) -> None:
        """The model did not answer."""
        self._ended()
        self.call.model = self.call.model or "unknown"
        late = isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
        self.call.reason = (Reason.TIMEOUT if late else Reason.TIER).value
        self.call.detail = kind_of(error)

    def _ended(self) -> None:
        self.call.seconds = perf_counter() - self.began
        self.call.ended_at = datetime.now(UTC)


def model_of(metadata: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The name of the model that is asked; empty where nothing tells it."""
    for found in (
        metadata.get("stellwerk_tier"),
        metadata.get("ls_model_name"),
        options.get("model"),
        options.get("model_name"),
    ):
        if isinstance(found, str) and found:
            return found
    return ""


def is_cancelled(error: BaseException) -> bool:
    """Whether somebody broke a call off, as who no longer reads a stream."""
    return isinstance(error, asyncio.CancelledError) or not isinstance(error, Exception)


def kind_of(error: BaseException) -> str:
    """The kind of an error: its message may quote a prompt, or a key."""
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__} ({status})" if isinstance(status, int) else type(error).__name__
