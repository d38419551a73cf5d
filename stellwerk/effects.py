"""Side effects of tools: what a tool declares, and the journal that keeps a write to once.

Before a write is made, what is intended goes into the journal, and what came of it afterwards. Whoever
comes upon the same write again (a retry, a repair, a larger model, a resumed run, another process) is given
what came of it. Storage implements the protocol below.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeVar
from uuid import uuid4

from langchain_core.tools import BaseTool

from stellwerk.errors import ConfigurationError

T = TypeVar("T")

Kind = Literal["read", "write"]
Args = Mapping[str, Any]
Outcome = dict[str, Any]
"""What came of a write, as JSON: the fields of a `ToolUse` that tell it."""

IdempotencyKey = Callable[[Args], str]
Reconcile = Callable[[Args], Any] | Callable[[Args], Awaitable[Any]]

DECLARED = "stellwerk_effect"
"""Where a declaration is kept: the name in a tool's metadata, and of a function's attribute."""


class Effect(str):
    """What a tool does to the world: `read`, or `write`.

    It is a text, as a tool's metadata is shown to tracers that write JSON.

    Args:
        kind: `read`, or `write`.
        idempotency_key: of a write; gets the arguments, and gives what tells one write from another. Two
            calls of the tool with the same key are one write, in whatever run.
        reconcile: of a write; gets the arguments of one that may or may not have been done, looks, and gives
            its output, or None where it was not done. It may be async. What it raises means that it cannot
            tell.
        approve: whether a person is asked before each call.
    """

    idempotency_key: IdempotencyKey | None
    reconcile: Reconcile | None
    approve: bool

    def __new__(
        cls,
        kind: str,
        *,
        idempotency_key: IdempotencyKey | None = None,
        reconcile: Reconcile | None = None,
        approve: bool = False,
    ) -> Effect:
        """Declare.

        Raises:
            ConfigurationError: if the kind is neither, or a read is given what only a write has.
        """
        if kind not in ("read", "write"):
            raise ConfigurationError(f"the effect of a tool is {kind!r}; give 'read' or 'write'")
        if kind == "read" and (idempotency_key or reconcile):
            raise ConfigurationError("a tool that reads has no idempotency key and nothing to reconcile")
        made = super().__new__(cls, kind)
        made.idempotency_key, made.reconcile, made.approve = idempotency_key, reconcile, approve
        return made

    @classmethod
    def of(cls, declared: str) -> Effect:
        """The effect that a text names."""
        return declared if isinstance(declared, Effect) else cls(declared)

    @property
    def writes(self) -> bool:
        """Whether it is a write."""
        return self == "write"


UNDECLARED = Effect("write")
"""What a tool counts as that declares nothing."""


def effect(
    kind: Kind,
    *,
    idempotency_key: IdempotencyKey | None = None,
    reconcile: Reconcile | None = None,
    approve: bool = False,
) -> Callable[[T], T]:
    """Declare what a tool does to the world; around a function, or a LangChain tool.

        @effect("write", idempotency_key=lambda args: args["invoice"])
        def pay(invoice: str, euros: float) -> str: ...

    Args:
        kind: `read`, or `write`, which a tool that declares nothing counts as.
        idempotency_key: see `Effect`.
        reconcile: see `Effect`.
        approve: see `Effect`.

    Raises:
        ConfigurationError: if the declaration cannot be, or cannot be kept with that tool.
    """
    declared = Effect(kind, idempotency_key=idempotency_key, reconcile=reconcile, approve=approve)

    def declare(tool: T) -> T:
        if isinstance(tool, BaseTool):
            return tool.model_copy(update={"metadata": {**(tool.metadata or {}), DECLARED: declared}})
        try:
            setattr(tool, DECLARED, declared)
        except AttributeError:
            raise ConfigurationError(
                f"{tool!r} takes no declaration; give create_worker effects={{name: {kind!r}}} instead"
            ) from None
        return tool

    return declare


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """A write that is about to be made.

    Args:
        key: 32 hexadecimal digits; equal for what is the same write; see `effect_key`.
        thread_id: of the run, or empty.
        subtask: its id, or empty.
        tool: its name.
        args: as the tool gets them.
    """

    key: str
    thread_id: str
    subtask: str
    tool: str
    args: Args


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Where a write stands.

    Args:
        state: `ours` to make; `done`, with its `outcome`; `busy`, as somebody is making it; or `unknown`, as
            whoever made it died, or gave up waiting.
        id: of the claim of whoever made it last; what it writes under another's is refused.
        outcome: what came of it.
        begun_at: when it was begun.
    """

    state: Literal["ours", "done", "busy", "unknown"]
    id: str
    outcome: Outcome | None = None
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class EffectJournal(Protocol):
    """Keeps what was intended and what came of it. The methods with an `a` in front are for async code."""

    def begin(self, intent: Intent, *, again: str | None = None) -> Claim:
        """Claim a write, in one step: of several who try at once, one gets it.

        Args:
            intent: the write.
            again: the claim whose outcome is unknown, and that is known by now not to have been done.
        """
        ...

    def end(self, key: str, claim: str, outcome: Outcome) -> bool:
        """Keep what came of it; False if the claim is another's by now."""
        ...

    def undo(self, key: str, claim: str) -> None:
        """It was not done, and may be tried again."""
        ...

    def doubt(self, key: str, claim: str) -> None:
        """Nobody knows whether it was done."""
        ...

    async def abegin(self, intent: Intent, *, again: str | None = None) -> Claim:
        """As `begin`."""
        ...

    async def aend(self, key: str, claim: str, outcome: Outcome) -> bool:
        """As `end`."""
        ...

    async def aundo(self, key: str, claim: str) -> None:
        """As `undo`."""
        ...

    async def adoubt(self, key: str, claim: str) -> None:
        """As `doubt`."""
        ...


class InMemoryEffectJournal:
    """A journal of this process, for as long as it lives: it outlives neither a crash nor a restart.

    Args:
        most: writes that are kept; of more, those are forgotten that ended first.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._claims: OrderedDict[str, Claim] = OrderedDict()  # as others see them
        self._lock = threading.Lock()

    def begin(self, intent: Intent, *, again: str | None = None) -> Claim:
        """As `EffectJournal.begin`."""
        with self._lock:
            found = self._claims.get(intent.key)
            if found is not None and not (found.state == "unknown" and found.id == again):
                return found
            mine = Claim(state="ours", id=uuid4().hex)
            self._claims[intent.key] = replace(mine, state="busy")
            return mine

    def end(self, key: str, claim: str, outcome: Outcome) -> bool:
        """As `EffectJournal.end`."""
        with self._lock:
            if (found := self._mine(key, claim)) is None:
                return False
            self._claims[key] = replace(found, state="done", outcome=outcome)
            self._claims.move_to_end(key)
            if len(self._claims) > self._most:
                oldest = next(name for name, each in self._claims.items() if each.state == "done")
                del self._claims[oldest]
            return True

    def undo(self, key: str, claim: str) -> None:
        """As `EffectJournal.undo`."""
        with self._lock:
            if self._mine(key, claim) is not None:
                del self._claims[key]

    def doubt(self, key: str, claim: str) -> None:
        """As `EffectJournal.doubt`."""
        with self._lock:
            if (found := self._mine(key, claim)) is not None:
                self._claims[key] = replace(found, state="unknown")

    def _mine(self, key: str, claim: str) -> Claim | None:
        found = self._claims.get(key)
        return found if found is not None and found.id == claim and found.state != "done" else None

    async def abegin(self, intent: Intent, *, again: str | None = None) -> Claim:
        """As `begin`."""
        return self.begin(intent, again=again)

    async def aend(self, key: str, claim: str, outcome: Outcome) -> bool:
        """As `end`."""
        return self.end(key, claim, outcome)

    async def aundo(self, key: str, claim: str) -> None:
        """As `undo`."""
        self.undo(key, claim)

    async def adoubt(self, key: str, claim: str) -> None:
        """As `doubt`."""
        self.doubt(key, claim)


def effect_key(*parts: str) -> str:
    """32 hexadecimal digits that stand for some texts, in order (BLAKE2b)."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def canonical(args: Args) -> str:
    """The same text for equal arguments, in whatever order they were given."""
    return json.dumps(args, sort_keys=True, separators=(",", ":"), default=str)


def reconciled(reconcile: Reconcile, args: Args) -> Any:
    """What a `reconcile` finds, for sync code."""
    found: Any = reconcile(args)
    return asyncio.run(_awaited(found)) if isinstance(found, Awaitable) else found


async def _awaited(found: Awaitable[Any]) -> Any:
    return await found
