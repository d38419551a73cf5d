"""To forget a person, or threads: all that the database holds of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from stellwerk.errors import InputError
from stellwerk.persistence import forget_units as units
from stellwerk.persistence import store_units
from stellwerk.persistence.conversions import ConversionStore
from stellwerk.persistence.database import Database
from stellwerk.persistence.forget_units import Known
from stellwerk.persistence.origins import OriginKeys
from stellwerk.persistence.schema.columns import digest

Tell = Callable[["Forgotten"], None]


@dataclass(slots=True)
class Forgotten:
    """What was deleted, or would be.

    Args:
        counts: rows of `traces`, `runs`, `feedback`, `examples`, `members` (places in clusters), `items` of
            the store and `cached` answers and plans; `threads` with checkpoints, runs or writes of tools.
        adapters: that have seen examples of those who were forgotten, and are to be trained again.
        held: threads that a run holds, and that are left: to be forgotten once it has ended.
        shared: threads in which others took part, and that are left: to be forgotten by their ids.
    """

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("traces", "runs", "feedback", "examples", "members", "threads", "items", "cached"), 0
        )
    )
    adapters: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)

    def add(self, counts: dict[str, int]) -> None:
        """More was deleted."""
        for name, number in counts.items():
            self.counts[name] += number


class Forgetting:
    """Forgets persons and threads in a database.

    Of a person it finds what their user id leads to: the traces, runs and examples that came from them, the
    threads in which they took part, and items of the store under that id as a namespace or a key. Answers and
    plans that are kept to be used again do not say whose they are, so that all of these are deleted; each
    costs a call. What is known of consent stays, as a denial has to hold.

    Args:
        database: to forget in.
        keys: those of origins, without which no trace leads to a person.
    """

    def __init__(self, database: Database, keys: OriginKeys) -> None:
        self._database = database
        self._keys = keys

    def find(self, person: str = "", threads: Sequence[str] = ()) -> Forgotten:
        """What `forget` would delete.

        Raises:
            InputError: if neither is given, or a person of whom nothing can be known for want of a key.
            DatabaseError: if the database fails.
        """
        known, done = self._known(person, threads), Forgotten()
        there = self._names(known, threads, done)
        names = self._aliases([*threads, *there])
        adapters: set[str] = set()
        for part, some in units.parts(known, names):
            done.add(self._database.read(lambda c, part=part, some=some: units.count(c, part, some)))  # type: ignore[misc]
            adapters |= self._database.read(lambda c, part=part, some=some: units.adapters_of(c, part, some))  # type: ignore[misc]
        done.adapters = sorted(adapters)
        done.counts["threads"] = len(there)
        done.counts["items"] = sum(len(page) for page in self._items(person, threads))
        done.counts["cached"] = self._database.read(units.count_cached)
        return done

    def forget(self, person: str = "", threads: Sequence[str] = (), *, tell: Tell | None = None) -> Forgotten:
        """Delete all that is known of a person, or of threads.

        It can be broken off and asked again: the log of the conversion says how far it was.

        Args:
            person: their id, as the programs have it.
            threads: ids of threads.
            tell: hears what was deleted, after each step.

        Raises:
            InputError: as `find`.
            DatabaseError: if the database fails; what was deleted until then stays so.
        """
        known = self._known(person, threads)
        log, asked = ConversionStore(self._database), self._asked(person, threads)
        step = log.begin("forget", {"subjects": asked})
        done = Forgotten()
        done.add({name: number for name, number in step.counts.items() if name in done.counts})
        try:
            for _ in self._steps(known, person, threads, done):
                log.progress(step.id, counts=done.counts)
                if tell is not None:
                    tell(done)
        except BaseException as error:
            log.fail(step.id, type(error).__name__, counts=done.counts)
            raise
        log.finish(step.id, counts=done.counts, report={"adapters": done.adapters})
        return done

    async def afind(self, person: str = "", threads: Sequence[str] = ()) -> Forgotten:
        """As `find`."""
        return await asyncio.to_thread(self.find, person, threads)

    async def aforget(
        self, person: str = "", threads: Sequence[str] = (), *, tell: Tell | None = None
    ) -> Forgotten:
        """As `forget`."""
        return await asyncio.to_thread(lambda: self.forget(person, threads, tell=tell))

    def _steps(self, known: Known, person: str, threads: Sequence[str], done: Forgotten) -> Iterator[None]:
        database, now = self._database, datetime.now(UTC)
        there = self._names(known, threads, done)
        names = self._aliases([*threads, *there])
        for part, some in units.parts(known, names):
            database.write(lambda c, part=part, some=some: units.mark_adapters(c, part, some, now))  # type: ignore[misc]
        for part, some in units.parts(known, names):
            delete = partial(units.delete_page, found=part, names=some)
            while any((gone := database.write(delete)).values()):
                done.add(gone)
                yield
        for name in there:
            if database.write(lambda c, name=name: units.delete_thread(c, name)):  # type: ignore[misc]
                done.counts["threads"] += 1
            else:
                done.held.append(name)
            yield
        for page in self._items(person, threads):
            database.write(lambda c, page=page: store_units.remove(c, page))  # type: ignore[misc]
            done.counts["items"] += len(page)
            yield
        while kept := database.read(units.cached):
            database.write(lambda c, kept=kept: store_units.remove(c, kept))  # type: ignore[misc]
            done.counts["cached"] += len(kept)
            yield
        if not done.held and not done.shared:  # or they would not be found the next time
            database.write(lambda c: units.delete_origins(c, known.origins))
        done.adapters = database.read(units.to_retrain)

    def _names(self, known: Known, threads: Sequence[str], done: Forgotten) -> list[str]:
        """Ids of the threads of whom there is something; those that are shared are told of, and left out."""
        wanted = {digest(name) for name in threads}
        found: dict[str, None] = {}
        for table in units.THREADED:
            after = b""
            while page := self._database.read(
                lambda c, table=table, after=after: units.thread_names(c, table, after)  # type: ignore[misc]
            ):
                for thread, name in page:
                    hashes = set(self._keys.threads(name))
                    if thread in wanted or hashes & (known.threads - known.shared):
                        found[name] = None
                    elif hashes & known.shared and name not in done.shared:
                        done.shared.append(name)
                after = page[-1][0]
        return list(found)

    def _aliases(self, threads: Sequence[str]) -> list[str]:
        """Every name under which traces may have threads."""
        return list(dict.fromkeys(alias for name in threads for alias in self._keys.names(name)))

    def _items(self, person: str, threads: Sequence[str]) -> Iterator[list[bytes]]:
        labels, after = frozenset({*threads, *([person] if person else [])}), b""
        while True:
            named, after = self._database.read(
                lambda c, after=after: units.items_named(c, after, labels)  # type: ignore[misc]
            )
            if not after:
                return
            if named:
                yield named

    def _asked(self, person: str, threads: Sequence[str]) -> list[str]:
        """Whom to forget, so that who reads the log does not learn it."""
        hashes = [*self._keys.persons(person)[:1], *(self._keys.threads(name)[0] for name in threads)]
        return sorted(found.hex() for found in hashes)

    def _known(self, person: str, threads: Sequence[str]) -> Known:
        if not person and not threads:
            raise InputError("nobody is named; give a person's id, or threads")
        if person and not self._keys.keyed and not threads:
            raise InputError(
                "without a key of origins no trace leads to a person; set conversion.origin_key_file, or "
                "name their threads"
            )
        persons = self._keys.persons(person)
        hashes = [found for name in threads for found in self._keys.threads(name)]
        return self._database.read(lambda c: units.known(c, persons, hashes))
