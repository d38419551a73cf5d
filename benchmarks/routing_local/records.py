"""Records: what came of each subtask on each arm, a line of JSON each. No text of the data is in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from benchmarks.routing_local.jobs import Part
from stellwerk.errors import DocumentError
from stellwerk.outcome import answer_digest
from stellwerk.routing_context import RoutingContext
from stellwerk.trace import StoredAttempt

EXPLORE = "explore"
"""The arm of the exploring router; the others are called as the one tier that they use."""

_KEPT = ("mean", "min", "count", "entropy")  # of log-probabilities; the others follow from these


@dataclass(frozen=True, kw_only=True)
class Spent:
    """One call of a model: tokens, and seconds of the model's time. `input` includes `cached`."""

    input: int
    cached: int
    output: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attempt: what the checks said, whether it was right, and what it took.

    Args:
        tier: where it ran.
        accepted: by the worker's checks.
        reason: why not.
        right: by the known answer, from 0 to 1; 0 where it was rejected.
        calls: of the model.
        usd: by the prices of the ladder, as it ran.
        logprobs: summary, in nats.
        answer: digest of the value; equal values share it.
        propensity: with which the tier was picked.
        trace_id: of the stored attempt.
    """

    tier: str
    accepted: bool
    reason: str | None
    right: float
    calls: tuple[Spent, ...]
    usd: float
    logprobs: Mapping[str, float] | None
    answer: str
    propensity: float
    trace_id: str

    @classmethod
    def of(cls, stored: StoredAttempt, right: float) -> Self:
        """From a stored attempt."""
        decision, logprobs = stored["decision"], stored["logprobs"]
        return cls(
            tier=stored["tier"],
            accepted=stored["accepted"],
            reason=stored["reason"],
            right=right,
            calls=tuple(
                Spent(**call["usage"], seconds=round(call["seconds"], 4)) for call in stored["calls"]
            ),
            usd=stored["usd"] or 0.0,
            logprobs=logprobs and {name: round(logprobs[name], 5) for name in _KEPT if name in logprobs},
            answer="" if stored["value"] is None else answer_digest(stored["value"]),
            propensity=decision["propensity"] if decision else 1.0,
            trace_id=stored["trace_id"],
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """One subtask on one arm.

    Args:
        key: of the item.
        job: that it was part of.
        part: of the data.
        arm: `explore`, or a tier.
        context: as the router saw it, without the instruction.
        tries: in their order.
        stopped: with which propensity the router stopped after them.
    """

    key: str
    job: str
    part: Part
    arm: str
    context: RoutingContext
    tries: tuple[Try, ...]
    stopped: float = 1.0

    def line(self) -> str:
        """As a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def of_line(cls, line: str) -> Self:
        """From a line.

        Raises:
            ValueError: if it is cut off.
        """
        said = json.loads(line)
        tries = tuple(
            Try(**{**one, "calls": tuple(Spent(**call) for call in one["calls"])}) for one in said["tries"]
        )
        return cls(**{**said, "tries": tries})


def stop_propensity(last: StoredAttempt) -> float:
    """With which propensity a router stopped after its last attempt; 1.0 where it was not asked."""
    after = last["decision"].get("after") if last["decision"] is not None else None
    return after["propensity"] if after is not None else 1.0


def load_records(path: Path) -> list[Record]:
    """The records of a file, which may be compressed (`.gz`); a last line that was cut off is left out.

    Raises:
        DocumentError: there is no such file, or another line is broken.
    """
    if not path.is_file():
        raise DocumentError(f"{path} does not exist; make it with `collect --records {path}`")
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = content.decode(errors="replace").splitlines()
    found: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Record.of_line(line))
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise DocumentError(f"{path}: line {number} is broken: {error}; remove it") from error
    return found


def packed(records: Iterable[Record]) -> list[Record]:
    """Each subtask once on each arm, in a fixed order, without the ids of its traces."""
    by_name = {(record.key, record.arm): record for record in records}
    return [
        replace(record, tries=tuple(replace(one, trace_id="") for one in record.tries))
        for _, record in sorted(by_name.items())
    ]


def save_records(path: Path, records: Iterable[Record]) -> None:
    """Write a whole file; compressed where its name ends in `.gz`, and then the same bytes each time."""
    content = "".join(record.line() + "\n" for record in records).encode()
    scratch = path.with_suffix(".tmp")
    scratch.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    scratch.replace(path)


def append_records(path: Path, records: Sequence[Record]) -> None:
    """Add records at the end of a file that is not compressed."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(record.line() + "\n" for record in records))
