"""What curating examples came to: the examples that are left, and a report of those that are not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Any, Literal, Self, get_args

from stellwerk.conversion.example import Example

Reason = Literal[
    "no consent",
    "talks to a person",
    "rejected",
    "run failed",
    "low score",
    "no content",
    "not text",
    "too long",
    "duplicate",
    "near duplicate",
]
"""Why an example is left out, in the order in which it is asked."""

REASONS: tuple[Reason, ...] = get_args(Reason)

_FIELDS = tuple(each.name for each in fields(Example))
_IN_MEMORY = 32 * 2**20  # bytes of redacted examples; more go to a file that has no name


@dataclass(kw_only=True, slots=True)
class CurationReport:
    """How many examples were kept, and why the others were not.

    Args:
        read: examples that came in.
        kept: examples that are left.
        dropped: how many were left out, by reason.
        samples: some of what was asked in them, redacted and cut short, by reason.
        sites: examples read and kept, by call site.
        redacted: of those that came so far, how many had anything to redact.
        found: how many places were redacted in them, by kind.
        tokens_read: of all that came in, read and written; a quarter of the characters where nobody counted.
        tokens_kept: of those that are left.
    """

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)
    sites: dict[str, dict[str, int]] = field(default_factory=dict)
    redacted: int = 0
    found: Counter[str] = field(default_factory=Counter)
    tokens_read: int = 0
    tokens_kept: int = 0

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON has it, reasons and kinds in a fixed order."""
        record = asdict(self)
        record["dropped"] = {reason: self.dropped[reason] for reason in REASONS if self.dropped[reason]}
        record["samples"] = {reason: self.samples[reason] for reason in REASONS if reason in self.samples}
        record["sites"] = {site: dict(self.sites[site]) for site in sorted(self.sites)}
        record["found"] = dict(sorted(self.found.items()))
        return record


class Curation:
    """The examples that are left, redacted, in the order in which they came, and the report.

    They lie in memory, or where there are many in a temporary file, which goes when this is closed; iterate
    as often as you like before. No placeholder's value is in it.
    """

    def __init__(self, shelf: Shelf, places: Sequence[int], report: CurationReport) -> None:
        self._shelf = shelf
        self._places = places
        self.report = report

    def __iter__(self) -> Iterator[Example]:
        return map(self._shelf.take, self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the examples."""
        self._shelf.close()


class Shelf:
    """Redacted examples, one line of JSON each, until it is known which of them stay."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # closed with the curation

    def put(self, example: Example) -> int:
        """Keep the example; where it lies."""
        # Not `asdict`, which copies every message and takes longer than the rest of it.
        record = {name: getattr(example, name) for name in _FIELDS}
        record["created_at"] = example.created_at.isoformat()
        place = self._file.seek(0, 2)
        self._file.write(json.dumps(record, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n")
        return place

    def take(self, place: int) -> Example:
        """The example that lies there."""
        self._file.seek(place)
        record = json.loads(self._file.readline())
        return Example(**record | {"created_at": datetime.fromisoformat(record["created_at"])})

    def close(self) -> None:
        self._file.close()
