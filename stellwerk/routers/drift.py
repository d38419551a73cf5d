"""Drift of calibration: whether answers are still right as often as a router believes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stellwerk.errors import InputError

_STAKES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the capital that are bet side by side: large ones find large shifts sooner, small ones small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationDrift:
    """Whether answers are right as often as was believed.

    Args:
        alarm: whether they are not.
        at: number of the record, from 0, with which the alarm went off; None without one.
        evidence: the most that betting on a shift ever won; the alarm goes off at one over the alarm rate.
        shift: how much more often answers are right than believed, on average from `since` to the alarm, or
            to the end.
        since: number of the record from which the bets won most.
        why: one sentence for a person.
    """

    alarm: bool
    at: int | None
    evidence: float
    shift: float
    since: int
    why: str


def calibration_drift(
    believed: Sequence[float],
    right: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    false_alarms: float = 0.01,
    tolerance: float = 0.05,
) -> CalibrationDrift:
    """Tests labels against beliefs, in the order in which they came.

    While the expected label of each record, given all before, is within the tolerance of what was believed,
    the chance that the alarm *ever* goes off is at most `false_alarms`, whether one looks once or after each
    record. Bets on a shift up and one down (Waudby-Smith and Ramdas 2024), begun anew at each record with a
    shrinking share of the capital, so that a long calm time does not use it up.

    Args:
        believed: per record, the probability with which the served answer was believed to be right.
        right: per record, its label, from 0 to 1.
        groups: records of one group in a row are one observation, as they stand and fall together.
        false_alarms: chance of an alarm without drift, between 0 and 1.
        tolerance: a shift up to this is no drift, from 0 to 1, exclusive.

    Raises:
        InputError: the sequences differ in length, or a value is out of its range.
    """
    if len(believed) != len(right) or (groups is not None and len(groups) != len(right)):
        raise InputError(f"{len(believed)} beliefs and {len(right)} labels: each record has one of each")
    if not 0 < false_alarms < 1 or not 0 <= tolerance < 1:
        raise InputError(
            f"false alarms are between 0 and 1, a tolerance is from 0 and below 1; not {false_alarms} and"
            f" {tolerance}"
        )
    shifts, ends = _observations(believed, right, groups)
    if not len(shifts):
        return CalibrationDrift(alarm=False, at=None, evidence=1.0, shift=0.0, since=0, why="no labels yet")
    if np.abs(shifts).max() > 1:
        raise InputError("a belief or a label is not from 0 to 1")
    stakes = np.array(_STAKES) / (1 + tolerance)
    won = np.zeros((2, len(stakes)))
    most, at, idle = 1.0, None, 1.0
    for number, shift in enumerate(shifts):
        # 1/(n(n+1)) of the capital enters at record n, so 1/(n+1) of it has not been bet yet.
        entering = 1.0 / ((number + 1) * (number + 2))
        idle -= entering
        gains = np.stack([1 + stakes * (shift - tolerance), 1 + stakes * (-shift - tolerance)])
        won = (won + entering) * gains
        wealth = float(won.mean()) + idle
        most = max(most, wealth)
        if wealth >= 1 / false_alarms:
            at = number
            break
    seen = shifts[: len(shifts) if at is None else at + 1]
    since = _since(seen, tolerance)
    shift = float(seen[since:].mean())
    record = int(ends[since - 1]) + 1 if since else 0
    more = "more" if shift > 0 else "less"
    if at is None:
        why = f"{len(seen)} observations show no shift beyond {tolerance:.3g} (alarm rate {false_alarms:.3g})"
    else:
        why = (
            f"answers are right {abs(shift):.3f} {more} often than believed since record {record}"
            f" (false alarm rate {false_alarms:.3g}, tolerance {tolerance:.3g}); train the router anew"
        )
    return CalibrationDrift(
        alarm=at is not None,
        at=None if at is None else int(ends[at]),
        evidence=most,
        shift=shift,
        since=record,
        why=why,
    )


def _observations(
    believed: Sequence[float], right: Sequence[float], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Differences, averaged over each group in a row, and the number of the last record of each."""
    shifts = np.asarray(right, dtype=np.float64) - np.asarray(believed, dtype=np.float64)
    places = range(len(shifts))
    if groups is None:
        return shifts, np.arange(len(shifts))
    starts = [place for place in places if place == 0 or groups[place] != groups[place - 1]]
    ends = np.array([*starts[1:], len(shifts)], dtype=np.int64)
    return np.array([shifts[a:b].mean() for a, b in zip(starts, ends, strict=True)]), ends - 1


def _since(shifts: NDArray[np.float64], tolerance: float) -> int:
    """Where a run of shifts in one direction began that outweighs the tolerance most, by Page's sums."""
    best, since = 0.0, 0
    for sign in (1.0, -1.0):
        total, start = 0.0, 0
        for number, shift in enumerate(shifts):
            if total <= 0:
                total, start = 0.0, number
            total += sign * float(shift) - tolerance
        if total > best:
            best, since = total, start
    return since
