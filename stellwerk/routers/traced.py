"""Episodes from stored traces: what a router is trained on, and judged by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stellwerk.routers.agreement import Agreement
from stellwerk.routers.episode import Episode, Label, Outcome, Source
from stellwerk.routers.labels import Labelling, Trust, opinions
from stellwerk.trace import BareAttempt, TraceReader

_MOST = 0.1  # of all episodes that one thread may hold before its runs are told apart


@dataclass(frozen=True, kw_only=True, slots=True)
class Traced:
    """Episodes, and what they come from.

    Args:
        episodes: oldest first.
        attempts: how many they have.
        labels: how many of those got their label from each source.
        overruled: by source, how many of its labels a stronger source contradicted.
        unlabelled: accepted attempts of which nobody said anything.
        unread: opinions that are no label: neither `right` nor `wrong`, nor a score from 0 to 1.
        left_out: attempts without a context, which an older version stored, of a subtask of which one before
            is missing, or one has a propensity that is none.
        agreement: of the judge with people.
        judge_weight: weight of the judge's labels that followed from it.
        since: when the first attempt ended; None without any.
        until: when the last one ended.
    """

    episodes: tuple[Episode, ...]
    attempts: int = 0
    labels: Mapping[Source, int] = field(default_factory=dict)
    overruled: Mapping[Source, int] = field(default_factory=dict)
    unlabelled: int = 0
    unread: int = 0
    left_out: int = 0
    agreement: Agreement = field(default_factory=Agreement)
    judge_weight: float = 0.0
    since: datetime | None = None
    until: datetime | None = None

    def record(self) -> dict[str, Any]:
        """What the card of a router says of its traces; plain JSON."""
        return {
            "episodes": len(self.episodes),
            "attempts": self.attempts,
            "labels": dict(self.labels),
            "overruled": dict(self.overruled),
            "unlabelled": self.unlabelled,
            "unread_feedback": self.unread,
            "left_out": self.left_out,
            "judge": {
                "pairs": self.agreement.pairs,
                "agreed": self.agreement.agreed,
                "kappa": self.agreement.kappa,
                "weight": self.judge_weight,
            },
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
        }


def read_episodes(
    traces: TraceReader,
    *,
    trust: Trust | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Traced:
    """Episodes of the attempts that ended in a time, with their labels.

    Args:
        traces: to read from, such as a `TraceStore`.
        trust: how far each source of labels is believed; `Trust()` if None.
        since: from this moment on.
        until: before this moment.

    Raises:
        DatabaseError: if the database fails.
    """
    said = opinions(traces.feedback(newest_first=False))
    trust, agreement = trust or Trust(), said.agreement()
    found: dict[str, list[BareAttempt]] = {}
    left_out = 0
    for attempt in traces.bare_attempts(newest_first=False, since=since, until=until):
        if attempt["context"] is None or attempt["episode"] is None:
            left_out += 1
        else:
            found.setdefault(attempt["episode"], []).append(attempt)
    whole: dict[str, list[BareAttempt]] = {}
    for name, attempts in found.items():
        attempts.sort(key=lambda attempt: attempt["number"])
        # Of one that is missing nobody knows how likely it was.
        is_whole = [attempt["number"] for attempt in attempts] == list(range(1, len(attempts) + 1))
        if is_whole and all(map(_is_likely, attempts)):
            whole[name] = attempts
        else:
            left_out += len(attempts)
    labelling = Labelling(said, trust, trust.of_judge(agreement))
    served = Counter(_run(attempts[0]) for attempts in whole.values() if any(a["accepted"] for a in attempts))
    threads = Counter(attempts[0]["thread_id"] for attempts in whole.values())
    episodes = []
    for name, attempts in whole.items():
        thread, run = _run(attempts[0])
        crowded = threads[thread] > max(1.0, _MOST * len(whole))
        labels = [
            labelling.label(
                a["trace_id"], accepted=a["accepted"], run=(thread, run), served=served[thread, run]
            )
            for a in attempts
        ]
        # Documents stay with a thread, so its episodes resemble each other.
        group = thread if thread and not crowded else f"{thread}/{run}" if run else name
        episodes.append(_episode(name, attempts, labels, group))
    kept = [attempt for attempts in whole.values() for attempt in attempts]
    moments = [attempt["created_at"] for attempt in kept]
    return Traced(
        episodes=tuple(sorted(episodes, key=lambda episode: episode.at)),
        attempts=len(kept),
        labels=dict(labelling.counts),
        overruled=dict(labelling.overruled),
        unlabelled=len(kept) - labelling.counts.total(),
        unread=said.unread,
        left_out=left_out,
        agreement=agreement,
        judge_weight=labelling.judge,
        since=min(moments, default=None),
        until=max(moments, default=None),
    )


def outcome(attempt: BareAttempt, label: Label | None = None) -> Outcome:
    """What came of a stored attempt, as a router may know it; one without a price counts as free."""
    decision = attempt["decision"]
    return Outcome(
        tier=attempt["tier"],
        accepted=attempt["accepted"],
        reason=attempt["reason"],
        usd=attempt["usd"] or 0.0,
        seconds=attempt["seconds"],
        input=attempt["input"],
        output=attempt["output"],
        calls=len(attempt["calls"]),
        logprobs=attempt["logprobs"],
        answer=(attempt["value_hash"] or "") if attempt["accepted"] else "",
        propensity=decision["propensity"] if decision is not None else 1.0,
        label=label,
        trace_id=attempt["trace_id"],
    )


def _episode(
    name: str, attempts: Sequence[BareAttempt], labels: Sequence[Label | None], group: str
) -> Episode:
    first = attempts[0]
    assert first["context"] is not None
    return Episode(
        id=name,
        context=first["context"],
        outcomes=tuple(outcome(attempt, label) for attempt, label in zip(attempts, labels, strict=True)),
        group=group,
        at=first["created_at"].timestamp() - first["seconds"],
        stopped=_stopped(attempts[-1]),
    )


def _is_likely(attempt: BareAttempt) -> bool:
    """Whether its propensity is one; a router of somebody's own may say anything."""
    return attempt["decision"] is None or 0 < attempt["decision"]["propensity"] <= 1


def _stopped(last: BareAttempt) -> float:
    """With which propensity the router stopped; 1.0 where it was not asked, or drew no lots."""
    after = last["decision"].get("after") if last["decision"] is not None else None
    return after["propensity"] if after is not None else 1.0


def _run(attempt: BareAttempt) -> tuple[str, str]:
    return attempt["thread_id"], attempt["run_id"]
