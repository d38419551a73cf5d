"""The version of a foreign call: the same for calls that are worded alike."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

# What programs write into a system prompt anew for each call: a prompt with today's date is no new one.
_VARIES = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"  # UUID
    r"|\b\d{4}-\d{1,2}-\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?"  # ISO date, with or without time
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* \d{1,2}(?:, \d{4})?\b"
    r"|\b\d{1,2}:\d{2}(?::\d{2})?\b"
    r"|\b\d{6,}\b",  # ids, seconds since 1970
    re.IGNORECASE,
)
_LONGEST = 200_000  # characters that are looked through for dates; the hash covers all


def wording(
    system: str, tools: Sequence[Mapping[str, Any]] = (), form: Mapping[str, Any] | None = None
) -> str:
    """16 hexadecimal digits: the same for calls with the same instructions, tools and form of the answer.

    Dates, times and long numbers in the instructions do not count.

    Args:
        system: text of the system messages.
        tools: definitions of the tools that are offered.
        form: JSON schema of the answer; None for free text.
    """
    offered = json.dumps([list(tools), form], sort_keys=True, default=str) if tools or form else ""
    return _digest(system, offered)


@lru_cache(maxsize=512)
def _digest(system: str, offered: str) -> str:
    head, rest = system[:_LONGEST], system[_LONGEST:]
    told = f"{_VARIES.sub('#', head)}{rest}\n{offered}"
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
