"""Where in a program a model is called, and which of these places talk to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

CALL_SITE = "stellwerk_call_site"
"""Key of a call's metadata: the name of its call site, where the program wants to give one."""

HCI = "stellwerk_hci"
"""Key of a call's metadata: true where it talks to a person."""

_GENERIC = ("Runnable", "LangGraph", "ChatPromptTemplate", "PromptTemplate", "ChannelWrite", "__")


class Persons:
    """Tells calls that talk to a person (HCI), which are not collected.

    Args:
        patterns: of their call sites, as `chat/*`; `*` stands for any text.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._matches = lru_cache(maxsize=1024)(self._match)

    def are_asked(self, call_site: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a call is one of these."""
        return bool(metadata.get(HCI)) or (bool(self._patterns) and self._matches(call_site))

    def _match(self, call_site: str) -> bool:
        return any(fnmatchcase(call_site, pattern) for pattern in self._patterns)


def named(name: object) -> str:
    """The name of a chain, or empty where it is only the kind of chain."""
    return name if isinstance(name, str) and not name.startswith(_GENERIC) else ""


def nodes_of(namespace: object) -> tuple[str, ...]:
    """The nodes that LangGraph's namespace of a step names, outermost first."""
    if not isinstance(namespace, str) or not namespace:
        return ()
    # A part that is a number counts the calls of a graph within one node.
    parts = (part for part in namespace.split("|") if not part.isdigit())
    return tuple(part.rpartition(":")[0] or part for part in parts)
