"""What is in a row of a log, and what is asked of all formats."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from stellwerk.conversion.foreign_call import ForeignCall, reason_of
from stellwerk.conversion.imports.chat import UnreadableError, mapping
from stellwerk.outcome import Usage
from stellwerk.tiers.tier import Price
from stellwerk.trace import FeedbackTrace, Origin, RunTrace

_KIND = re.compile(r"[A-Za-z_][\w.]{0,78}(?:Error|Exception|Timeout|Interrupt)\b")
_MOST = 2**62  # tokens; a database takes no more
_LATEST = 253_402_300_799  # seconds since 1970, to the end of the year 9999


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportOptions:
    """What is asked of an import, whatever its format.

    Args:
        call_site: where calls are made of which the log does not say it.
        model: that was asked, where the log does not say it.
        program: stands before each call site.
        hci: call sites that talk to a person, as `chat/*`.
        user_key: where in a row the user is named, as `info.task.user_id`; the format's own place if empty.
        thread_key: where in a row the thread is named.
        prices: by the name of a model, before those of the log and of the price list.
        succeeds_at: reward from which a run has succeeded.
    """

    call_site: str = ""
    model: str = ""
    program: str = ""
    hci: Sequence[str] = ()
    user_key: str = ""
    thread_key: str = ""
    prices: Mapping[str, Price] = field(default_factory=dict)
    succeeds_at: float = 1.0


@dataclass(slots=True)
class Parsed:
    """What is in a row.

    Args:
        calls: of models.
        runs: how runs ended.
        feedback: on either.
        metadata: of the calls, by their trace ids.
    """

    calls: list[ForeignCall] = field(default_factory=list)
    runs: list[RunTrace] = field(default_factory=list)
    feedback: list[FeedbackTrace] = field(default_factory=list)
    metadata: dict[str, Mapping[str, Any]] = field(default_factory=dict)


Parser = Callable[[Mapping[str, Any], ImportOptions], Parsed]
"""Raises `UnreadableError` where a row is not what its format says."""


def origin_at(
    row: Mapping[str, Any], options: ImportOptions, *, user: Any, thread: Any
) -> tuple[str, Origin]:
    """The thread of a row, and whom it comes from: where the options say, else what the format found."""
    told = at(row, options.user_key) if options.user_key else user
    thread = at(row, options.thread_key) if options.thread_key else thread
    consent = mapping(row.get("metadata")).get("stellwerk_consent")
    return text(thread), Origin(
        user=text(told), private=True, consent=None if consent is None else bool(consent)
    )


def at(row: Mapping[str, Any], path: str) -> Any:
    """The value at a path of keys that are joined by dots."""
    value: Any = row
    for part in path.split("."):
        value = mapping(value).get(part)
    return value


def first(row: Mapping[str, Any], *names: str) -> Any:
    """The first of some keys that has a value."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def text(value: Any) -> str:
    """A name as text; of what is none, nothing."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def number(value: Any) -> float | None:
    """A finite number, also one that is written as a text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def tokens(read: Any, written: Any, cached: Any = None) -> Usage | None:
    """Tokens of a call, of which those read include the cached ones; None where none are told."""
    found = [min(max(int(number(value) or 0), 0), _MOST) for value in (read, cached, written)]
    if not found[0] and not found[2]:
        return None
    return Usage(input=found[0], cached=min(found[1], found[0]), output=found[2])


def moment(value: Any) -> datetime | None:
    """A moment, in ISO 8601 or as seconds since 1970; one without a time zone is in UTC."""
    if (seconds := number(value)) is not None and 0 < seconds <= _LATEST:
        return datetime.fromtimestamp(seconds, UTC)
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def between(start: datetime | None, end: datetime | None) -> float:
    """Seconds from one moment to another; 0 where that is not known."""
    return max((end - start).total_seconds(), 0.0) if start is not None and end is not None else 0.0


def trace_id(kind: str, *parts: Any) -> str:
    """An id that follows from what a call is: 32 hexadecimal digits."""
    told = json.dumps([kind, *parts], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def id_of(kind: str, given: Any) -> str:
    """The trace id of what has a name: that of a UUID is the UUID, as `TraceRecorder` has it."""
    name = text(given)
    if not name:
        raise UnreadableError("it has no id")
    try:
        return UUID(name).hex
    except ValueError:
        return trace_id(kind, name)


def judged(call: ForeignCall, finish: Any, *, broken: bool = False) -> ForeignCall:
    """A call whose answer is none if it was cut off, or asks for a tool in a way that cannot be read."""
    call.reason = reason_of(finish) or ("not_json" if broken else "")
    if call.reason:
        call.detail = f"the model ended with {finish}" if reason_of(finish) else "a tool call cannot be read"
    return call


def kind_in(error: Any) -> str:
    """The kind of an error in what was said of it, which may quote a prompt, or a key."""
    found = _KIND.match(text(error))
    return found[0] if found else "error"
