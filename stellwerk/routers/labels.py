"""Labels: what is known of answers' being right, from all who said something of them.

The strongest source wins, and the others are not mixed into it: a judge's mistakes would count as much as a
person's corrections of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stellwerk.errors import ConfigurationError
from stellwerk.routers.agreement import Agreement
from stellwerk.routers.episode import Label, Source
from stellwerk.trace import FEEDBACK_SOURCES, FeedbackSource, StoredFeedback

FEWEST_PAIRS = 20  # that a judge has to share with people before its agreement is taken for its trust
RunKey = tuple[str, str]
"""Thread and run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """How far each source is believed, from 0 to 1: the weight of its labels.

    Args:
        gold: a known answer.
        person: somebody's word.
        judge: a judging model's; None for what its agreement with the two says, corrected for chance.
        judge_unmeasured: a judging model's as long as too little of that is known.
        run: what was said of a whole run, for each of the answers in it.

    Raises:
        ConfigurationError: if one is not from 0 to 1.
    """

    gold: float = 1.0
    person: float = 1.0
    judge: float | None = None
    judge_unmeasured: float = 0.5
    run: float = 0.2

    def __post_init__(self) -> None:
        for name in ("gold", "person", "judge", "judge_unmeasured", "run"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigurationError(f"the trust in {name} is {value}; it is from 0 to 1")

    def of_judge(self, agreement: Agreement) -> float:
        """The weight of a judge's labels, given how it agrees with people."""
        if self.judge is not None:
            return self.judge
        if agreement.pairs < FEWEST_PAIRS or agreement.kappa is None:
            return self.judge_unmeasured
        return max(0.0, agreement.kappa)


Said = dict[FeedbackSource, dict[str, float]]
"""By source, what each of its voices said last."""


@dataclass(slots=True)
class Opinions:
    """What was said, of attempts by their trace id, and of runs. `unread` counts what is no label."""

    attempts: dict[str, Said] = field(default_factory=dict)
    runs: dict[RunKey, Said] = field(default_factory=dict)
    unread: int = 0

    def of(self, trace_id: str, source: FeedbackSource) -> float | None:
        """How right that source says an answer is, from 0 to 1: the mean of its voices."""
        return _mean(self.attempts.get(trace_id, {}).get(source, {}))

    def of_run(self, run: RunKey) -> float | None:
        """How right the strongest source says a run was."""
        said = self.runs.get(run, {})
        found = (_mean(said.get(source, {})) for source in FEEDBACK_SOURCES)
        return next((right for right in found if right is not None), None)

    def agreement(self) -> Agreement:
        """How the judge agrees with known answers and people, where there is both."""
        both = []
        for said in self.attempts.values():
            judge = _mean(said.get("judge", {}))
            truth = _mean(said.get("gold") or said.get("person") or {})
            if judge is not None and truth is not None:
                both.append((judge >= 0.5, truth >= 0.5))
        return Agreement.of(both)


def opinions(feedback: Iterable[StoredFeedback]) -> Opinions:
    """What was said, from feedback in order of time, oldest first; each voice's last word counts."""
    found = Opinions()
    for one in feedback:
        right = reading(one)
        if right is None:
            found.unread += 1
            continue
        voice = one["who"] or ""
        if one["trace_id"] is not None:
            said = found.attempts.setdefault(one["trace_id"], {})
        else:
            said = found.runs.setdefault((one["thread_id"], one["run_id"] or ""), {})
        said.setdefault(one["source"], {})[voice] = right
    return found


def reading(feedback: StoredFeedback) -> float | None:
    """How right an answer is by a word of feedback; None if that does not say.

    The labels `right` and `wrong` say it, else a score from 0 to 1. Other scores, such as stars, do not.
    """
    word = (feedback["label"] or "").strip().casefold()
    if word in ("right", "wrong"):
        return float(word == "right")
    score = feedback["score"]
    return score if score is not None and 0 <= score <= 1 else None


@dataclass(frozen=True, slots=True)
class Labelling:
    """Makes labels of opinions, and counts them.

    Args:
        opinions: what was said.
        trust: how far each source is believed.
        judge: the weight of a judge's labels.
        counts: attempts by the source of their label.
        overruled: attempts of which a weaker source said otherwise, by that source.
    """

    opinions: Opinions
    trust: Trust
    judge: float
    counts: Counter[Source] = field(default_factory=Counter)
    overruled: Counter[Source] = field(default_factory=Counter)

    def label(self, trace_id: str, *, accepted: bool, run: RunKey, served: int) -> Label | None:
        """The label of an attempt; None where nobody said anything and the checks took the answer.

        That the checks took it is no label: they take wrong answers too, and how many is just what is asked.

        Args:
            trace_id: of the attempt.
            accepted: whether the checks took the answer.
            run: that it belongs to.
            served: how many answers the run made use of, of which one at least is wrong if the run is.
        """
        found: list[Label] = []
        weights: Mapping[FeedbackSource, float] = {
            "gold": self.trust.gold,
            "person": self.trust.person,
            "judge": self.judge,
        }
        for source, weight in weights.items():
            if (right := self.opinions.of(trace_id, source)) is not None:
                found.append(Label(right=right, source=source, weight=weight))
        if not accepted:
            found.append(Label(right=0.0, source="check"))
        elif (whole := self.opinions.of_run(run)) is not None:
            blame = (1.0 - whole) / max(1, served)
            found.append(Label(right=1.0 - blame, source="run", weight=self.trust.run))
        if not found:
            return None
        return self._strongest(found)

    def _strongest(self, found: Sequence[Label]) -> Label:
        first, *others = found
        self.counts[first.source] += 1
        for other in others:
            if other.source != "run" and (other.right >= 0.5) != (first.right >= 0.5):
                self.overruled[other.source] += 1
        return first


def _mean(voices: Mapping[str, float]) -> float | None:
    return sum(voices.values()) / len(voices) if voices else None
