"""The trace store: every attempt, every run and what people said of them, in any SQL database."""

from __future__ import annotations

import asyncio
import json
import math
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from sqlalchemy import URL, Engine, select
from typing_extensions import TypedDict, Unpack

from stellwerk.errors import ConfigurationError, InputError
from stellwerk.persistence import trace_units as units
from stellwerk.persistence.background import BackgroundWriter
from stellwerk.persistence.consents import Consents
from stellwerk.persistence.database import Database
from stellwerk.persistence.origins import OriginKeys
from stellwerk.persistence.retry import passes
from stellwerk.persistence.trace_codec import (
    BARE,
    Content,
    ToldRow,
    TraceCodec,
    content_size,
    read_attempt,
    read_bare_attempt,
    read_feedback,
    read_run,
)
from stellwerk.persistence.trace_units import Page, Row
from stellwerk.trace import (
    FEEDBACK_SOURCES,
    AttemptTrace,
    BareAttempt,
    FeedbackSource,
    RunOutcome,
    RunTrace,
    StoredAttempt,
    StoredFeedback,
    StoredRun,
)

if TYPE_CHECKING:
    from stellwerk.persistence.trace_export import Exported

T = TypeVar("T")
UnknownConsent = Literal["granted", "denied"]
_Rows = tuple[list[ToldRow], list[ToldRow]]
_PAGE = 200  # rows in memory at once while reading
_WAIT = 5.0  # seconds that a read waits for what is queued


class AttemptFilter(TypedDict, total=False):
    """Which attempts; what is absent or None asks for all. `until` is not included."""

    run_id: str | None
    thread_id: str | None
    worker: str | None
    tier: str | None
    accepted: bool | None
    reason: str | None
    since: datetime | None
    until: datetime | None


class TraceStore:
    """A `TraceSink` on SQLite, PostgreSQL, MySQL or MariaDB: `create_orchestrator(..., traces=store)`.

    Traces are written in the background, in batches. What the database does not take is dropped, counted in
    `dropped` and warned of once; a run never waits for a trace, nor fails for one. What is queued is written
    at the end of the process, which waits 5 seconds at most for it; a process that `fork` made ends without
    that, as does one that `os._exit` ends: call `close` there.

    The methods that read or wait have async ones, with an `a` in front.

    Example:
        ```python
        with TraceStore.from_url("runs.sqlite") as traces:
            graph = create_orchestrator(workers, ladder, traces=traces).compile()
            graph.invoke({"task": "..."})
            for attempt in traces.attempts(accepted=False):
                print(attempt["worker"], attempt["tier"], attempt["reason"])
        ```
    """

    def __init__(
        self,
        connect: Callable[[], Database],
        *,
        content: Content = "full",
        hash_key: bytes | None = None,
        max_queued: int = 10_000,
        origin_keys: Sequence[bytes] = (),
        unknown_consent: UnknownConsent = "granted",
    ) -> None:
        if unknown_consent not in ("granted", "denied"):
            raise ConfigurationError(f"unknown_consent is {unknown_consent!r}; use 'granted' or 'denied'")
        self._connect = connect
        self.keys = OriginKeys(origin_keys)
        self.codec = TraceCodec(content, hash_key, self.keys)
        self.keeps_unknown = unknown_consent == "granted"
        self._denied = 0
        self._connected: tuple[int, Database] | None = None
        self._connecting = threading.Lock()
        self._writer: BackgroundWriter[AttemptTrace | RunTrace] = BackgroundWriter(
            self._write, name="stellwerk-traces", max_items=max_queued
        )

    @classmethod
    def from_url(
        cls,
        url: str | URL | os.PathLike[str],
        *,
        content: Content = "full",
        hash_key: bytes | None = None,
        max_queued: int = 10_000,
        origin_keys: Sequence[bytes] = (),
        unknown_consent: UnknownConsent = "granted",
    ) -> Self:
        """A store on a database of its own pool; see `parse_url` for what a URL may be.

        Args:
            url: of the database.
            content: whether prompts, answers, tool calls and values are kept in `full`; only as keyed hashes
                (`hash`; of values nothing); or not at all (`none`). See `TraceCodec`.
            hash_key: for `hash`, at least 16 bytes.
            max_queued: traces that wait to be written, at most.
            origin_keys: secrets of at least 16 bytes, by which it is found again whom a trace is from; the
                first is used for what is written. Without one, persons are not stored.
            unknown_consent: what counts for threads of which `consents` knows nothing. Traces of a thread
                that is `denied` are never written.

        Raises:
            ConfigurationError: if the URL cannot be used, there is no key to hash with, or one is too short.
            MissingExtraError: if the URL's driver is not installed.
        """
        first = Database.from_url(url, pool_size=4)

        def connect() -> Database:
            nonlocal first
            made, first = first, None  # type: ignore[assignment]  # a forked process makes its own
            return made or Database.from_url(url, pool_size=4)

        return cls(
            connect,
            content=content,
            hash_key=hash_key,
            max_queued=max_queued,
            origin_keys=origin_keys,
            unknown_consent=unknown_consent,
        )

    @classmethod
    def from_engine(
        cls,
        engine: Engine,
        *,
        content: Content = "full",
        hash_key: bytes | None = None,
        max_queued: int = 10_000,
        origin_keys: Sequence[bytes] = (),
        unknown_consent: UnknownConsent = "granted",
    ) -> Self:
        """A store on the caller's engine, which is never disposed of; see `from_url`."""
        owner = os.getpid()

        def connect() -> Database:
            if os.getpid() != owner:
                engine.dispose(close=False)  # its connections are the parent's
            return Database.from_engine(engine)

        return cls(
            connect,
            content=content,
            hash_key=hash_key,
            max_queued=max_queued,
            origin_keys=origin_keys,
            unknown_consent=unknown_consent,
        )

    @property
    def denied(self) -> int:
        """How many attempts were not written for want of consent."""
        return self._denied

    @property
    def consents(self) -> Consents:
        """Whether the traces of threads may be kept, and for how long."""
        return Consents(lambda: self.database, self.keys)

    @property
    def dropped(self) -> int:
        """How many traces were not written, as the database did not take them or the queue was full."""
        return self._writer.dropped

    @property
    def database(self) -> Database:
        """The database; in a forked process another one than in its parent."""
        if self._connected is None or self._connected[0] != os.getpid():
            if self._connected is not None:
                self._connecting = threading.Lock()  # whoever held it is not in this process
            with self._connecting:
                if self._connected is None or self._connected[0] != os.getpid():
                    self._connected = os.getpid(), self._connect()
        return self._connected[1]

    def setup(self) -> None:
        """Create or migrate the tables; see `Database.setup`. The first write does so as well."""
        self.database.setup()

    def attempt(self, trace: AttemptTrace, /) -> None:
        """Queue an attempt. One that is stored already stays as it is."""
        self._writer.put(trace, content_size(trace))

    def run(self, trace: RunTrace, /) -> None:
        """Queue where a run stands. What was said of a later moment (`updated_at`) stays."""
        self._writer.put(trace, 2_000 + len(trace.task))

    def offered(self, digest: str) -> list[dict[str, Any]]:
        """The definitions of tools that an attempt names as `offered`; none where they are not kept.

        Raises:
            DatabaseError: if the database fails.
        """
        key = units.trace_key(digest)
        found = self.database.read(lambda c: units.definitions(c, key)) if key is not None else None
        return [] if found is None else cast("list[dict[str, Any]]", json.loads(found))

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until what is queued is written or dropped; False if that takes longer, in seconds."""
        return self._writer.flush(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Flush, and take no more; see `flush`."""
        done = self._writer.close(timeout)
        if done and self._connected is not None and self._connected[0] == os.getpid():
            self._connected[1].close()
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def attempts(
        self, *, limit: int | None = None, newest_first: bool = True, **only: Unpack[AttemptFilter]
    ) -> Iterator[StoredAttempt]:
        """Attempts in order of time; no connection is held while you work on one.

        Args:
            limit: how many at most.
            newest_first: or oldest first.
            **only: see `AttemptFilter`.

        Raises:
            DatabaseError: if the database fails.
            InputError: if the limit is negative.
        """
        return self._read(self._attempts(only, newest_first), read_attempt, limit)

    def bare_attempts(
        self, *, limit: int | None = None, newest_first: bool = True, **only: Unpack[AttemptFilter]
    ) -> Iterator[BareAttempt]:
        """As `attempts`, without prompts and answers, which most of the time goes into."""
        page = replace(self._attempts(only, newest_first), columns=BARE)
        return self._read(page, read_bare_attempt, limit)

    def runs(
        self,
        *,
        run_id: str | None = None,
        thread_id: str | None = None,
        outcome: RunOutcome | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        newest_first: bool = True,
    ) -> Iterator[StoredRun]:
        """Runs in order of their start; as `attempts`."""
        page = units.matching_runs(
            run_id=run_id,
            threads=None if thread_id is None else self.keys.names(thread_id),
            outcome=outcome,
            since=since,
            until=until,
            newest_first=newest_first,
        )
        return self._read(page, read_run, limit)

    def feedback(
        self,
        *,
        trace_id: str | None = None,
        run_id: str | None = None,
        limit: int | None = None,
        newest_first: bool = True,
    ) -> Iterator[StoredFeedback]:
        """Feedback in order of time; as `attempts`. `run_id` also finds that on the run's attempts."""
        page = units.matching_feedback(trace_id=trace_id, run_id=run_id, newest_first=newest_first)
        return self._read(page, read_feedback, limit)

    def add_feedback(
        self,
        id: str,
        *,
        score: float | None = None,
        label: str | None = None,
        comment: str | None = None,
        who: str | None = None,
        source: FeedbackSource = "person",
        thread_id: str | None = None,
    ) -> None:
        """Add what somebody thinks of an attempt or a run; what was said before stays.

        Args:
            id: of the attempt (`trace_id`) or of the run (`run_id`).
            score: a finite number; the higher the better. Routers learn from scores from 0, wrong, to 1.
            label: such as `right` or `wrong`, which go before the score where routers learn from them.
            comment: in words.
            who: said so.
            source: a known answer (`gold`), a `person`, or a judging model (`judge`).
            thread_id: of the run, where two threads have runs of the same id.

        Raises:
            InputError: if nothing has that id, or more than one run, if nothing is said, or by a source that
                there is not.
            DatabaseError: if the database fails.
        """
        if score is None and not label and not comment:
            raise InputError("the feedback says nothing; give a score, a label or a comment")
        if score is not None and not math.isfinite(score):
            raise InputError(f"score is {score}; give a finite number")
        if source not in FEEDBACK_SOURCES:
            raise InputError(f"source is {source!r}; give one of {', '.join(FEEDBACK_SOURCES)}")
        self.flush(_WAIT)
        threads = None if thread_id is None else self.keys.names(thread_id)
        found = self.database.read(lambda c: units.find(c, id, threads))
        if not found:
            raise InputError(f"no attempt and no run has the id {id!r}; see `stellwerk traces list`")
        if len(found) > 1:
            raise InputError(f"{len(found)} threads have a run {id!r}; say which with thread_id")
        row = {
            "feedback": secrets.token_bytes(16),
            "trace": found[0].trace,
            "run": found[0].run,
            "run_id": found[0].run_id,
            "thread_id": found[0].thread_id,
            "score": score,
            "label": label,
            "comment": comment,
            "who": who,
            "source": source,
            "created_at": datetime.now(UTC),
        }
        self.database.write(lambda c: units.add_feedback(c, row), one_statement=True)

    def export_parquet(self, path: str | os.PathLike[str], **only: Unpack[AttemptFilter]) -> Exported:
        """Write attempts to a Parquet file; see `stellwerk.persistence.trace_export.export_parquet`."""
        from stellwerk.persistence import trace_export  # which needs this module

        return trace_export.export_parquet(self, path, **only)

    def export_chat_jsonl(self, path: str | os.PathLike[str], **only: Unpack[AttemptFilter]) -> Exported:
        """Write attempts as chats; see `stellwerk.persistence.trace_export.export_chat_jsonl`."""
        from stellwerk.persistence import trace_export

        return trace_export.export_chat_jsonl(self, path, **only)

    async def aoffered(self, digest: str) -> list[dict[str, Any]]:
        """As `offered`."""
        return await asyncio.to_thread(self.offered, digest)

    async def asetup(self) -> None:
        """As `setup`."""
        await asyncio.to_thread(self.setup)

    async def aflush(self, timeout: float = 30.0) -> bool:  # noqa: ASYNC109  # as `flush`
        """As `flush`."""
        return await asyncio.to_thread(self.flush, timeout)

    async def aclose(self, timeout: float = 5.0) -> bool:  # noqa: ASYNC109  # as `close`
        """As `close`."""
        return await asyncio.to_thread(self.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aattempts(
        self, *, limit: int | None = None, newest_first: bool = True, **only: Unpack[AttemptFilter]
    ) -> AsyncIterator[StoredAttempt]:
        """As `attempts`."""
        async for attempt in _in_threads(self.attempts(limit=limit, newest_first=newest_first, **only)):
            yield attempt

    async def abare_attempts(
        self, *, limit: int | None = None, newest_first: bool = True, **only: Unpack[AttemptFilter]
    ) -> AsyncIterator[BareAttempt]:
        """As `bare_attempts`."""
        found = self.bare_attempts(limit=limit, newest_first=newest_first, **only)
        async for attempt in _in_threads(found):
            yield attempt

    async def aruns(
        self,
        *,
        run_id: str | None = None,
        thread_id: str | None = None,
        outcome: RunOutcome | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        newest_first: bool = True,
    ) -> AsyncIterator[StoredRun]:
        """As `runs`."""
        found = self.runs(
            run_id=run_id,
            thread_id=thread_id,
            outcome=outcome,
            since=since,
            until=until,
            limit=limit,
            newest_first=newest_first,
        )
        async for one in _in_threads(found):
            yield one

    async def afeedback(
        self,
        *,
        trace_id: str | None = None,
        run_id: str | None = None,
        limit: int | None = None,
        newest_first: bool = True,
    ) -> AsyncIterator[StoredFeedback]:
        """As `feedback`."""
        found = self.feedback(trace_id=trace_id, run_id=run_id, limit=limit, newest_first=newest_first)
        async for one in _in_threads(found):
            yield one

    async def aadd_feedback(
        self,
        id: str,
        *,
        score: float | None = None,
        label: str | None = None,
        comment: str | None = None,
        who: str | None = None,
        source: FeedbackSource = "person",
        thread_id: str | None = None,
    ) -> None:
        """As `add_feedback`."""
        await asyncio.to_thread(
            self.add_feedback,
            id,
            score=score,
            label=label,
            comment=comment,
            who=who,
            source=source,
            thread_id=thread_id,
        )

    async def aexport_parquet(self, path: str | os.PathLike[str], **only: Unpack[AttemptFilter]) -> Exported:
        """As `export_parquet`."""
        return await asyncio.to_thread(lambda: self.export_parquet(path, **only))

    async def aexport_chat_jsonl(
        self, path: str | os.PathLike[str], **only: Unpack[AttemptFilter]
    ) -> Exported:
        """As `export_chat_jsonl`."""
        return await asyncio.to_thread(lambda: self.export_chat_jsonl(path, **only))

    def _attempts(self, only: AttemptFilter, newest_first: bool) -> Page:
        thread_id = only.get("thread_id")
        return units.matching_attempts(
            run_id=only.get("run_id"),
            threads=None if thread_id is None else self.keys.names(thread_id),
            worker=only.get("worker"),
            tier=only.get("tier"),
            accepted=only.get("accepted"),
            reason=only.get("reason"),
            since=only.get("since"),
            until=only.get("until"),
            newest_first=newest_first,
        )

    def _read(self, page: Page, read: Callable[[Row], T], limit: int | None) -> Iterator[T]:
        if limit is not None and (type(limit) is not int or limit < 0):
            raise InputError(f"limit is {limit!r}; give a whole number from 0, or None for all")
        return self._rows(page, read, limit)

    def _rows(self, page: Page, read: Callable[[Row], T], limit: int | None) -> Iterator[T]:
        self.flush(_WAIT)
        after: Row | None = None
        while limit is None or limit > 0:
            size = _PAGE if limit is None else min(_PAGE, limit)
            query = page.query(after, size)
            rows = self.database.read(lambda c, query=query: c.execute(query).all())  # type: ignore[misc]
            yield from map(read, rows)
            if len(rows) < size:
                return
            after = rows[-1]
            limit = None if limit is None else limit - size

    def _write(self, batch: list[AttemptTrace | RunTrace]) -> int:
        told: list[ToldRow] = []
        began: dict[bytes, ToldRow] = {}
        left_out = 0
        for trace in batch:
            try:
                if isinstance(trace, AttemptTrace):
                    told.append(self.codec.attempt(trace))
                else:
                    run = self.codec.run(trace)
                    said = began.get(run.row["run"])
                    if said is None or run.row["updated_at"] >= said.row["updated_at"]:
                        began[run.row["run"]] = run
            except Exception:  # one that cannot be stored must not take the others along
                left_out += 1
        if told or began:
            left_out += self._save(told, list(began.values()))
        return left_out

    def _save(self, told: list[ToldRow], began: list[ToldRow]) -> int:
        try:
            denied = self.database.write(lambda c: units.save(c, told, began, unknown=self.keeps_unknown))
        except Exception as error:  # of the driver's own as well, as SQLite's OverflowError for 2**63
            if len(told) + len(began) == 1 or passes(error.__cause__ or error):
                raise
            refused = error
        else:
            self._denied += denied
            return 0
        # The database refuses a value of one of them, or it does not answer at all, which this raises.
        self.database.read(lambda c: c.execute(select(1)))
        one_by_one: list[_Rows] = [([row], []) for row in told]
        one_by_one += [([], [row]) for row in began]
        left_out = 0
        for done, one in enumerate(one_by_one):
            try:
                self._save(*one)
            except Exception as error:
                if passes(error.__cause__ or error):  # not to wait as long for each of the others
                    return left_out + len(one_by_one) - done
                left_out += 1
        if left_out == len(one_by_one):  # the file is read-only, or the disk full: no fault of the traces
            raise refused
        return left_out


async def _in_threads(rows: Iterator[T]) -> AsyncIterator[T]:
    """Each page is read in a thread, as reading would block the event loop."""
    while page := await asyncio.to_thread(lambda: list(islice(rows, _PAGE))):
        for row in page:
            yield row
