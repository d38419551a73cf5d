"""The first step of the conversion: logs of other tools become traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from stellwerk.conversion.call_site import Persons
from stellwerk.conversion.imports.chat import UnreadableError
from stellwerk.conversion.imports.formats import FORMATS, PARSERS, Format, format_of
from stellwerk.conversion.imports.parsed import ImportOptions, Parsed
from stellwerk.conversion.imports.rows import Row, read_rows
from stellwerk.errors import InputError, StellwerkError
from stellwerk.persistence.conversions import ConversionStore
from stellwerk.persistence.trace_import import add_traces
from stellwerk.persistence.trace_units import Added
from stellwerk.persistence.traces import TraceStore
from stellwerk.trace import TRACED, AttemptTrace, FeedbackTrace, RunTrace

_BATCH = 200  # calls written at once
_LOOKED_AT = 100  # rows from which the format is told
_SHOWN = 100  # bad rows that are named


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read: of which file, on which line, and why."""

    file: str
    line: int
    why: str


@dataclass(slots=True)
class Collected:
    """What came of an import.

    Args:
        rows: that were read.
        bad: how many of these could not be.
        others: that hold no call of a model.
        hci: calls that talk to a person, which are left out.
        own: calls that Stellwerk told of itself, which are left out.
        added: what became of the others.
        sites: calls by call site, those that were known included.
        shown: the first of the bad rows.
    """

    rows: int = 0
    bad: int = 0
    others: int = 0
    hci: int = 0
    own: int = 0
    added: Added = field(default_factory=Added)
    sites: Counter[str] = field(default_factory=Counter)
    shown: list[BadRow] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """The figures, by their names."""
        return {
            "rows": self.rows,
            "bad": self.bad,
            "others": self.others,
            "hci": self.hci,
            "own": self.own,
            "new": self.added.new,
            "known": self.added.known,
            "denied": self.added.denied,
            "refused": self.added.refused,
        }


def collect(
    files: Sequence[Path],
    traces: TraceStore,
    *,
    format: Format | None = None,
    options: ImportOptions | None = None,
    tell: Callable[[Collected], None] | None = None,
) -> Collected:
    """Write the model calls of logs as traces. What was imported before is not written again.

    The log of the conversion, in the same database, says what was imported.

    Args:
        files: to read, each of any size.
        traces: to write to; its consents hold.
        format: of all files; if None, that of each is told from its first rows.
        options: what is asked of all formats.
        tell: hears how far it is, after each batch.

    Raises:
        InputError: if a file cannot be read, or its format not be told.
        DatabaseError: if the database fails; what was written until then stays, and is known next time.
    """
    options, done = options or ImportOptions(), Collected()
    log = ConversionStore(traces.database)
    step = log.begin("collect", {"files": [file.name for file in files], "format": format})
    try:
        for number, file in enumerate(files):
            for batch in _batches(_read(file, format, options, done)):
                done.added += add_traces(traces, batch.attempts, batch.runs, batch.feedback)
                log.progress(step.id, cursor={"file": number, "row": done.rows}, counts=done.counts())
                if tell is not None:
                    tell(done)
    except BaseException as error:
        with suppress(StellwerkError):  # a database that is gone is what is told of
            log.fail(step.id, type(error).__name__, counts=done.counts())
        raise
    log.finish(step.id, counts=done.counts(), report={"call_sites": dict(done.sites.most_common(1000))})
    return done


@dataclass(slots=True)
class _Batch:
    """What is written at once."""

    attempts: list[AttemptTrace] = field(default_factory=list)
    runs: list[RunTrace] = field(default_factory=list)
    feedback: list[FeedbackTrace] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.attempts) + len(self.runs) + len(self.feedback)


def _read(file: Path, format: Format | None, options: ImportOptions, done: Collected) -> Iterator[_Batch]:
    """What is in each row."""
    rows = read_rows(file)
    begin = list(islice(rows, _LOOKED_AT))
    chosen = format or _format(file, begin)
    parse, persons = PARSERS[chosen], Persons(options.hci)
    for row in chain(begin, rows):
        done.rows += 1
        try:
            if row.value is None:
                raise UnreadableError(row.problem)
            found = parse(row.value, options)
            batch = _Batch(_attempts(found, options, persons, done), found.runs, found.feedback)
        except Exception as error:  # whatever stands in a row must not end the import
            done.bad += 1
            if len(done.shown) < _SHOWN:
                why = str(error) if isinstance(error, UnreadableError) else f"it is no row of {chosen}"
                done.shown.append(BadRow(file.name, row.line, why))
            continue
        done.others += not (found.calls or found.runs or found.feedback)
        yield batch


def _attempts(found: Parsed, options: ImportOptions, persons: Persons, done: Collected) -> list[AttemptTrace]:
    attempts = []
    for call in found.calls:
        metadata = found.metadata.get(call.trace_id, {})
        call.call_site = f"{options.program}/{call.call_site}" if options.program else call.call_site
        if "stellwerk_worker" in metadata or metadata.get(TRACED):
            done.own += 1
        elif persons.are_asked(call.call_site, metadata):
            done.hci += 1
        else:
            attempts.append(call.attempt())
            done.sites[call.call_site] += 1
    return attempts


def _batches(parsed: Iterator[_Batch]) -> Iterator[_Batch]:
    whole = _Batch()
    for one in parsed:
        whole.attempts += one.attempts
        whole.runs += one.runs
        whole.feedback += one.feedback
        if whole.size >= _BATCH:
            yield whole
            whole = _Batch()
    if whole.size:
        yield whole


def _format(file: Path, rows: Sequence[Row]) -> Format:
    for row in rows:
        if row.value is not None and (found := format_of(row.value)) is not None:
            return found
    why = f"{rows[0].problem or 'its first rows look like none'}" if rows else "it is empty"
    raise InputError(f"{file.name}: the format cannot be told, as {why}; give one of {', '.join(FORMATS)}")
