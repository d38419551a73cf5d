"""Drift of the mix: whether subtasks are still of the kinds that a router was trained on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stellwerk.errors import InputError

_SHUFFLES = 1_999

_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class MixDrift:
    """Whether subtasks are of the kinds that the router was trained on.

    Args:
        alarm: whether they are not.
        p_values: per feature, of 'the mix is the same', before any correction.
        level: at which a p-value raises the alarm.
        why: one sentence for a person.
    """

    alarm: bool
    p_values: dict[str, float]
    level: float
    why: str


def mix_drift(
    before: Mapping[str, Sequence[float] | Sequence[str]],
    now: Mapping[str, Sequence[float] | Sequence[str]],
    *,
    groups_before: Sequence[Hashable] | None = None,
    groups_now: Sequence[Hashable] | None = None,
    false_alarms: float = 0.01,
    seed: int = 0,
) -> MixDrift:
    """Tests whether two sets of subtasks are of one kind.

    By permutation, so exact for exchangeable groups: names by the chi-square statistic, numbers by the
    largest distance of their distributions (Kolmogorov-Smirnov). Features share the rate (Bonferroni).

    Args:
        before: per feature, its values in the training window; names or numbers.
        now: likewise, lately; the same features.
        groups_before: groups that are shuffled as a whole; None makes each subtask its own.
        groups_now: likewise.
        false_alarms: chance of an alarm without drift, at each look at new subtasks.
        seed: of the shuffles.

    Raises:
        InputError: the features differ, one has no values, or `false_alarms` is out of its range.
    """
    if set(before) != set(now) or not before or not all(len(v) for v in (*before.values(), *now.values())):
        raise InputError(
            f"features with values on both sides are compared, not {sorted(before)} and {sorted(now)}"
        )
    if not 0 < false_alarms < 1:
        raise InputError(f"false alarms are between 0 and 1, not {false_alarms}")
    level = false_alarms / len(before)
    # A p-value is at least one over the number of orders tried.
    shuffles = max(_SHUFFLES, int(np.ceil(2 / level)))
    first = next(iter(before))
    sides = _sides(len(before[first]), len(now[first]), groups_before, groups_now)
    p_values = {}
    for name in sorted(before):
        values = np.array([*before[name], *now[name]])
        if len(values) != len(sides[0]):
            raise InputError(f"feature {name} has {len(values)} values for {len(sides[0])} subtasks")
        p_values[name] = _permuted(values, sides, shuffles, np.random.default_rng(seed))
    moved = sorted((p, name) for name, p in p_values.items() if p <= level)
    why = (
        f"{', '.join(name for _, name in moved)} moved (false alarm rate {false_alarms:.3g});"
        " check the router on new labels"
        if moved
        else f"no feature of {len(p_values)} moved (alarm rate {false_alarms:.3g})"
    )
    return MixDrift(alarm=bool(moved), p_values=p_values, level=level, why=why)


Sides = tuple[NDArray[np.int64], NDArray[np.bool_]]


def _sides(
    before: int, now: int, groups_before: Sequence[Hashable] | None, groups_now: Sequence[Hashable] | None
) -> Sides:
    """Per subtask the number of its group, and per group whether it is of now."""
    numbers: dict[tuple[bool, Hashable], int] = {}
    keys = [(False, key) for key in (groups_before if groups_before is not None else range(before))]
    keys += [(True, key) for key in (groups_now if groups_now is not None else range(now))]
    group = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return group, np.array([late for late, _ in numbers], dtype=np.bool_)


def _permuted(values: NDArray[np.generic], sides: Sides, shuffles: int, draw: np.random.Generator) -> float:
    """The share of random divisions that differ as much as the real one."""
    group, late = sides
    apart = _numbers_apart if np.issubdtype(values.dtype, np.number) else _names_apart
    seen = apart(values, late[None][:, group])[0]
    beyond = 0
    for start in range(0, shuffles, _AT_ONCE):
        orders = np.array([draw.permutation(late) for _ in range(min(_AT_ONCE, shuffles - start))])
        beyond += int((apart(values, orders[:, group]) >= seen - 1e-12).sum())
    return (1 + beyond) / (1 + shuffles)


def _numbers_apart(values: NDArray[np.generic], late: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Per division, the largest distance between the shares of both sides up to any value."""
    order = np.argsort(values, kind="stable")
    ends = np.append(values[order][1:] != values[order][:-1], True)
    of_now = np.cumsum(late[:, order], axis=1)[:, ends]
    up_to = np.flatnonzero(ends) + 1
    size = of_now[:, -1:]
    return np.asarray(np.abs(of_now / size - (up_to - of_now) / (len(values) - size)).max(axis=1))


def _names_apart(values: NDArray[np.generic], late: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Per division, the chi-square statistic of names by side."""
    _, name, total = np.unique(values, return_inverse=True, return_counts=True)
    of_now = late.astype(np.float64) @ np.eye(len(total))[name]
    size = of_now.sum(axis=1, keepdims=True)
    expected = size * total / len(values)
    # The other side's differences are the same with the sign turned.
    other = (len(values) - size) * total / len(values)
    return np.asarray(((of_now - expected) ** 2 * (1 / expected + 1 / other)).sum(axis=1))
