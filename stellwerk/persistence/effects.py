"""What tools wrote, in any SQL database: `SQLAlchemyEffectJournal`."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self, TypeVar
from uuid import uuid4

from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy import URL, Engine

from stellwerk.effects import Claim, Intent, Outcome
from stellwerk.errors import InputError, StellwerkError
from stellwerk.persistence import effect_units as units
from stellwerk.persistence.checkpoint_codec import thread_key
from stellwerk.persistence.database import Database
from stellwerk.persistence.effect_units import Wanted
from stellwerk.persistence.runs import holder
from stellwerk.persistence.serde import StrictSerializer

T = TypeVar("T")

_log = logging.getLogger(__name__)
_THREADS = 4  # for async code: a claim takes a millisecond


class SQLAlchemyEffectJournal:
    """An `EffectJournal` on SQLite, PostgreSQL, MySQL or MariaDB.

    A claim counts by the database's own clock, and is renewed while its process lives. Of one that was not,
    nobody knows what came of it.

    Example:
        ```python
        with SQLAlchemySaver.from_url("runs.sqlite") as saver:
            journal = SQLAlchemyEffectJournal(saver.database)
            graph = create_orchestrator(workers, ladder, effects=journal).compile(checkpointer=saver)
        ```

    Args:
        database: where; to share a pool, give it a saver's `database`.
        serde: writes arguments and outcomes; give the encrypting serializer of a saver to encrypt them.
        ttl: seconds for which a claim is good unless it is renewed, which it is three times in that; whoever
            finds the claim of a process that died waits for so long.

    Raises:
        InputError: if `ttl` is not above 0.
    """

    def __init__(
        self, database: Database, *, serde: SerializerProtocol | None = None, ttl: float = 30.0
    ) -> None:
        if not ttl > 0:
            raise InputError(f"ttl is {ttl!r}; give the seconds for which a claim is good, above 0")
        self.database = database
        self._serde = serde or StrictSerializer()
        self._ttl = ttl
        self._begin_process()

    @classmethod
    def from_url(
        cls,
        url: str | URL | os.PathLike[str],
        *,
        serde: SerializerProtocol | None = None,
        ttl: float = 30.0,
    ) -> Self:
        """On a database of its own pool; a path is a SQLite file. Use it in a `with`, or call `close`.

        Raises:
            ConfigurationError: if the URL cannot be used.
            MissingExtraError: if the database's driver is not installed.
        """
        return cls(Database.from_url(url, pool_size=_THREADS), serde=serde, ttl=ttl)

    @classmethod
    def from_engine(
        cls, engine: Engine, *, serde: SerializerProtocol | None = None, ttl: float = 30.0
    ) -> Self:
        """On an engine of yours, which is never disposed of."""
        return cls(Database.from_engine(engine), serde=serde, ttl=ttl)

    def setup(self) -> None:
        """Create or migrate the tables; the first call of any method does so by itself."""
        self.database.setup()

    def close(self) -> None:
        """Close the pool, if it is its own."""
        self._ended.set()
        if self._threads is not None and self._pid == os.getpid():
            self._threads.shutdown(wait=False)
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, intent: Intent, *, again: str | None = None) -> Claim:
        """As `EffectJournal.begin`.

        Raises:
            DatabaseError: if the database fails.
        """
        wanted = self._wanted(intent, again)
        claim = self._claim(self.database.write(lambda c: units.begin(c, wanted)), wanted)
        if claim.state == "ours":
            self._hold(wanted.effect, wanted.claim)
        return claim

    def end(self, key: str, claim: str, outcome: Outcome) -> bool:
        """As `EffectJournal.end`.

        Raises:
            DatabaseError: if the database fails.
        """
        stored = self._serde.dumps_typed(outcome)
        effect, own = self._let_go(key, claim)
        return self.database.write(lambda c: units.end(c, effect, own, stored))

    def undo(self, key: str, claim: str) -> None:
        """As `EffectJournal.undo`.

        Raises:
            DatabaseError: if the database fails.
        """
        effect, own = self._let_go(key, claim)
        self.database.write(lambda c: units.undo(c, effect, own))

    def doubt(self, key: str, claim: str) -> None:
        """As `EffectJournal.doubt`.

        Raises:
            DatabaseError: if the database fails.
        """
        effect, own = self._let_go(key, claim)
        self.database.write(lambda c: units.doubt(c, effect, own))

    async def abegin(self, intent: Intent, *, again: str | None = None) -> Claim:
        """As `begin`."""
        beginning = self._executor.submit(self.begin, intent, again=again)
        try:
            return await asyncio.shield(asyncio.wrap_future(beginning))
        except asyncio.CancelledError:
            # It goes on by itself, and the write would stay claimed for nobody.
            beginning.add_done_callback(lambda done: self._unwanted(intent.key, done))
            raise

    async def aend(self, key: str, claim: str, outcome: Outcome) -> bool:
        """As `end`."""
        return await self._in_thread(lambda: self.end(key, claim, outcome))

    async def aundo(self, key: str, claim: str) -> None:
        """As `undo`."""
        await self._in_thread(lambda: self.undo(key, claim))

    async def adoubt(self, key: str, claim: str) -> None:
        """As `doubt`."""
        await self._in_thread(lambda: self.doubt(key, claim))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Whoever is cancelled meanwhile has written it down all the same.
        return await asyncio.shield(asyncio.wrap_future(self._executor.submit(work)))

    def _unwanted(self, key: str, beginning: Future[Claim]) -> None:
        with suppress(StellwerkError):  # then the claim ends by itself
            if (claim := beginning.result()).state == "ours":
                self.undo(key, claim.id)

    def _wanted(self, intent: Intent, again: str | None) -> Wanted:
        return Wanted(
            effect=bytes.fromhex(intent.key),
            claim=uuid4().bytes,
            again=None if again is None else bytes.fromhex(again),
            thread=thread_key(intent.thread_id),
            thread_id=intent.thread_id.encode("utf-8", "surrogatepass"),
            subtask=intent.subtask,
            tool=intent.tool,
            holder=holder(),
            args=self._serde.dumps_typed(dict(intent.args)),
            ttl=self._ttl,
        )

    def _claim(self, found: units.Found, wanted: Wanted) -> Claim:
        name = found.claim.hex()
        if found.state == "done":
            outcome: Any = None if found.outcome is None else self._serde.loads_typed(found.outcome)
            return Claim(state="done", id=name, outcome=outcome, begun_at=found.begun_at)
        if found.claim == wanted.claim:
            return Claim(state="ours", id=name, begun_at=found.begun_at)
        busy = found.state == "running" and found.live
        return Claim(state="busy" if busy else "unknown", id=name, begun_at=found.begun_at)

    # Claims are renewed by one thread for all of them, which is there while there are some.

    def _begin_process(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._held: set[tuple[bytes, bytes]] = set()
        self._ended = threading.Event()
        self._beat: threading.Thread | None = None
        self._threads: ThreadPoolExecutor | None = None

    @property
    def _executor(self) -> ThreadPoolExecutor:
        self._look_at_process()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="stellwerk-effects")
        return self._threads

    def _look_at_process(self) -> None:
        if os.getpid() != self._pid:  # a fork: what is held is the parent's, and its threads are not here
            self._begin_process()

    def _hold(self, effect: bytes, claim: bytes) -> None:
        self._look_at_process()
        with self._lock:
            self._held.add((effect, claim))
            if self._beat is None:
                self._beat = threading.Thread(target=self._renew, name="stellwerk-effects-beat", daemon=True)
                self._beat.start()

    def _let_go(self, key: str, claim: str) -> tuple[bytes, bytes]:
        own = bytes.fromhex(key), bytes.fromhex(claim)
        with self._lock:
            self._held.discard(own)
        return own

    def _renew(self) -> None:
        while not self._ended.wait(self._ttl / 3):
            with self._lock:
                held = sorted(self._held)
                if not held:
                    self._beat = None
                    return
            try:
                self.database.write(lambda c: units.renew(c, held, self._ttl))  # noqa: B023  # it is used at once
            except StellwerkError as error:
                if self.database.closed:
                    return
                _log.warning("claims of writes could not be renewed: %s", error)
