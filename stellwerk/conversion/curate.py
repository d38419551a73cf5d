"""Curate: from all that was collected to what may be learned from.

Step two of Belcak et al. (arXiv 2506.02153, section 6): what identifies people and opens doors goes, and so
does what failed, and what is there twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from stellwerk.conversion.curation import Curation, CurationReport, Reason, Shelf
from stellwerk.conversion.duplicates import Duplicates
from stellwerk.conversion.example import Example, text_of
from stellwerk.conversion.redaction.placeholders import Placeholders
from stellwerk.conversion.redaction.redactor import Redactor

_SHOWN = 200  # characters of a sample
_NO_SCORE = 0.5  # where an example without a score stands among those that have one


@dataclass(frozen=True, slots=True)
class _Kept:
    """The best example of its group so far."""

    rank: tuple[bool, bool, float, datetime, str]
    place: int
    site: str
    tokens: int
    asked: str


def curate(
    examples: Iterable[Example],
    *,
    redactor: Redactor | None = None,
    stable: Literal["example", "origin"] = "example",
    person_facing: Collection[str] = (),
    consent: Callable[[Example], bool] | None = None,
    min_score: float = 0.0,
    max_tokens: int = 32_000,
    similarity: float = 0.85,
    samples: int = 3,
    on_redacted: Callable[[str, Placeholders], None] | None = None,
) -> Curation:
    """Leave out what nothing is to be learned from, redact the rest, and keep the best of what is alike.

    Examples are taken one at a time. In memory stay what was asked in one example of each group, and, with
    `stable="origin"`, the values that were redacted, until this returns.

    Args:
        examples: what was collected, in any order.
        redactor: rules alone if not given; see `name_detector` for names.
        stable: `[EMAIL_1]` is the same person within an `example`, or in all that have the same `origin`.
        person_facing: call sites that talk to a person, and are left out.
        consent: whether an example may be used; all may if not given.
        min_score: examples with a lower score are left out; those without one stay.
        max_tokens: examples that read and wrote more are left out.
        similarity: share of common shingles above which two are nearly the same; see `Duplicates`.
        samples: how many of those left out the report shows, redacted, for each reason.
        on_redacted: gets the trace's id and the way back to what was redacted, where anything was. Keep it
            apart from the examples, if at all.

    Returns:
        The examples that are left and the report; close it when you have done with them.
    """
    redactor = redactor if redactor is not None else Redactor()
    report = CurationReport()
    duplicates = Duplicates(similarity=similarity)
    held: defaultdict[str, Placeholders] = defaultdict(Placeholders)
    best: dict[int, _Kept] = {}
    shelf = Shelf()

    def drop(reason: Reason, asked: Callable[[], str]) -> None:
        report.dropped[reason] += 1
        shown = report.samples.setdefault(reason, [])
        if len(shown) < samples:
            shown.append(_cut(asked()))

    try:
        for example in examples:
            tokens = tokens_of(example)
            report.read += 1
            report.tokens_read += tokens
            site = report.sites.setdefault(example.call_site, {"read": 0, "kept": 0})
            site["read"] += 1
            reason = _reason(example, tokens, person_facing, consent, min_score, max_tokens)
            if reason is not None:
                drop(reason, lambda: redactor.redact_text(example.asked))  # noqa: B023  # called at once
                continue
            together = stable == "origin" and example.origin
            redacted = redactor.redact(example, held[example.origin] if together else None)
            report.redacted += bool(redacted.found)
            report.found += redacted.found
            if on_redacted is not None and redacted.found:
                on_redacted(example.trace_id, redacted.placeholders)
            example = redacted.example
            group, likeness = duplicates.place(example)
            before = best.get(group)
            rank = _rank(example)
            if before is not None and likeness != "new":
                drop(likeness, lambda: before.asked if rank > before.rank else example.asked)  # noqa: B023
            if before is None or rank > before.rank:
                best[group] = _Kept(rank, shelf.put(example), example.call_site, tokens, _cut(example.asked))
    except BaseException:
        shelf.close()
        raise
    for kept in best.values():
        report.kept += 1
        report.tokens_kept += kept.tokens
        report.sites[kept.site]["kept"] += 1
    return Curation(shelf, sorted(kept.place for kept in best.values()), report)


def tokens_of(example: Example) -> int:
    """Tokens read and written, as counted; a quarter of the characters where nobody counted."""
    if example.input or example.output:
        return example.input + example.output
    return (sum(len(text_of(message)) for message in example.prompt) + len(example.answer or "")) // 4


def _reason(
    example: Example,
    tokens: int,
    person_facing: Collection[str],
    consent: Callable[[Example], bool] | None,
    min_score: float,
    max_tokens: int,
) -> Reason | None:
    """Why nothing is to be learned from the example by itself."""
    if consent is not None and not consent(example):
        return "no consent"
    if example.call_site in person_facing:
        return "talks to a person"
    if not example.accepted:
        return "rejected"
    if example.succeeded is False:
        return "run failed"
    if example.score is not None and example.score < min_score:
        return "low score"
    if not example.asked.strip() or not (example.answer or example.tool_calls or example.value is not None):
        return "no content"
    if any(_is_other(part) for message in example.prompt for part in _parts(message)):
        return "not text"
    return "too long" if tokens > max_tokens else None


def _parts(message: Mapping[str, object]) -> Iterator[object]:
    content = message.get("content")
    return iter(content) if isinstance(content, list | tuple) else iter(())


def _is_other(part: object) -> bool:
    """A picture or a sound, into which redaction cannot look."""
    return isinstance(part, Mapping) and not isinstance(part.get("text"), str)


def _rank(example: Example) -> tuple[bool, bool, float, datetime, str]:
    score = _NO_SCORE if example.score is None else example.score
    created = example.created_at
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    return (example.accepted, example.succeeded is True, score, created, example.trace_id)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
