"""Clusters keep their ids: new ones are matched with old ones by the members that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stellwerk.conversion.clusters import Change

SAME = 0.5  # of the members of both together that are in each: then it is the same cluster
_PART = 0.2  # of a cluster's members: what is more than a few strays


def matched(
    before: Sequence[str], now: Sequence[int], old: Sequence[str], *, same: float = SAME
) -> tuple[dict[int, str], list[Change]]:
    """Which new clusters are which old ones, and what became of the old ones.

    Args:
        before: for each example the id of the cluster that it belonged to, or empty.
        now: the new one's place.
        old: all ids of before.
        same: share of the members of both together that have to be in each, above 0 and up to 1.

    Returns:
        The old ids by the places of new clusters, without those that are new; and the changes, in which a
        new cluster without an old id is named by its place.
    """
    sizes_before, sizes_now = Counter(before), Counter(now)
    shared = Counter((then, here) for then, here in zip(before, now, strict=True) if then)
    pairs = sorted(
        (-both / (sizes_before[then] + sizes_now[here] - both), then, here)
        for (then, here), both in shared.items()
    )
    kept: dict[int, str] = {}
    for overlap, then, here in pairs:
        if -overlap >= same and here not in kept and then not in kept.values():
            kept[here] = then
    names = {here: kept.get(here, f"\0{here}") for here in sizes_now}
    changes = [Change(kind="kept", before=(then,), after=(then,)) for then in sorted(kept.values())]
    told: set[int] = set(kept)
    for then in sorted(old):
        parts = [here for here in sizes_now if shared[then, here] >= _PART * max(sizes_before[then], 1)]
        whole = [here for here in parts if shared[then, here] >= _PART * sizes_now[here]]
        if len(whole) > 1:
            changes.append(_change("split", [then], [names[here] for here in whole]))
            told.update(whole)
        elif then not in kept.values() and not _merged(then, sizes_before, sizes_now, shared):
            changes.append(_change("moved" if parts else "gone", [then], [names[here] for here in parts]))
    for here in sorted(sizes_now):
        sources = [then for then in sorted(old) if _from(then, here, sizes_before, sizes_now, shared)]
        if len(sources) > 1:
            changes.append(_change("merged", sources, [names[here]]))
            told.add(here)
        if here not in told:
            changes.append(_change("new", [], [names[here]]))
    return kept, changes


def _merged(then: str, before: Counter[str], now: Counter[int], shared: Counter[tuple[str, int]]) -> bool:
    return any(
        _from(then, here, before, now, shared)
        and sum(_from(other, here, before, now, shared) for other in before if other) > 1
        for here in now
    )


def _from(
    then: str, here: int, before: Counter[str], now: Counter[int], shared: Counter[tuple[str, int]]
) -> bool:
    """Whether most of an old cluster went into a new one, of which it is more than a few strays."""
    both = shared[then, here]
    return both > 0.5 * max(before[then], 1) and both >= _PART * now[here]


def _change(kind: str, before: Sequence[str], after: Sequence[str]) -> Change:
    return Change(kind=kind, before=tuple(before), after=tuple(sorted(after)))  # type: ignore[arg-type]  # by callers
