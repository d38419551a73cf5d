"""Replay: what a policy would have done on subtasks whose outcome is known on every tier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.routing_local.charge import Charges
from benchmarks.routing_local.jobs import Job
from benchmarks.routing_local.records import EXPLORE, Record, Try
from stellwerk.routers.episode import Episode, Label, Outcome


@dataclass(frozen=True, kw_only=True)
class Case:
    """One subtask with all that is known of it.

    Args:
        key: of its item.
        track: the data set.
        unit: whose prompts begin alike.
        group: that stands together on one side of a split.
        part: of the data.
        episode: as routers learn from it.
        tries: in the same order as the episode's outcomes.
    """

    key: str
    track: str
    unit: str
    group: str
    part: str
    episode: Episode
    tries: Sequence[Try]


@dataclass(frozen=True, kw_only=True)
class Trip:
    """What a policy did with one subtask: the tiers in turn, and the one whose answer it gave."""

    tiers: Sequence[str]
    served: str | None


Policy = Callable[[Case], Trip]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One subtask under a policy, or its mean over several. `served` is the share of each tier's answers."""

    right: float
    usd: float
    seconds: float
    served: Mapping[str, float]


def cases_of(records: Iterable[Record], jobs: Iterable[Job], tiers: Sequence[str]) -> list[Case]:
    """Cases in the order of the jobs; those that are to be run on every tier and were not are left out.

    Args:
        records: what was collected.
        jobs: with the items behind the records, whose instructions are in no record.
        tiers: of the ladder, cheapest first.
    """
    by_key: dict[str, dict[str, Record]] = {}
    for record in records:
        by_key.setdefault(record.key, {})[record.arm] = record
    found = []
    for job in jobs:
        for item in job.items:
            own = by_key.get(item.key, {})
            complete = all(tier in own for tier in tiers)
            if complete:
                tries = [own[tier].tries[0] for tier in tiers]
            elif EXPLORE in own:
                tries = list(own[EXPLORE].tries)
            else:
                continue
            first = next(iter(own.values()))
            episode = Episode(
                id=item.key,
                context={**first.context, "instruction": item.instruction},
                outcomes=tuple(outcome_of(one) for one in tries),
                complete=complete,
                group=item.group,
                stopped=1.0 if complete else own[EXPLORE].stopped,
            )
            found.append(
                Case(
                    key=item.key,
                    track=job.track,
                    unit=job.unit,
                    group=item.group,
                    part=job.part,
                    episode=episode,
                    tries=tries,
                )
            )
    return found


def outcome_of(one: Try) -> Outcome:
    """An attempt as routers learn from it: with the known answer for a label."""
    return Outcome(
        tier=one.tier,
        accepted=one.accepted,
        reason=one.reason,
        usd=one.usd,
        seconds=sum(call.seconds for call in one.calls),
        input=sum(call.input for call in one.calls),
        output=sum(call.output for call in one.calls),
        calls=len(one.calls),
        logprobs=one.logprobs,
        answer=one.answer,
        propensity=one.propensity,
        label=Label(right=one.right, source="gold"),
        trace_id=one.trace_id,
    )


def replay(policy: Policy, cases: Sequence[Case], charges: Charges) -> list[Result]:
    """The policy on each case, in their order; each is complete."""
    read: set[tuple[str, str]] = set()
    results = []
    for case in cases:
        by_tier: Mapping[str, Try] = {one.tier: one for one in case.tries}
        trip = policy(case)
        usd = seconds = 0.0
        for tier in trip.tiers:
            more = charges.charge(case.unit, by_tier[tier], first=(case.unit, tier) not in read)
            read.add((case.unit, tier))
            usd, seconds = usd + more[0], seconds + more[1]
        right = by_tier[trip.served].right if trip.served is not None else 0.0
        served = {} if trip.served is None else {trip.served: 1.0}
        results.append(Result(right=right, usd=usd, seconds=seconds, served=served))
    return results


def only(tier: str) -> Policy:
    """One tier, once."""

    def policy(case: Case) -> Trip:
        (one,) = (one for one in case.tries if one.tier == tier)
        return Trip(tiers=[tier], served=tier if one.accepted else None)

    return policy


def smallest_first(tiers: Sequence[str]) -> Policy:
    """From the smallest tier up, until the checks take an answer."""

    def policy(case: Case) -> Trip:
        by_tier = {one.tier: one for one in case.tries}
        tried: list[str] = []
        for tier in tiers:
            tried.append(tier)
            if by_tier[tier].accepted:
                return Trip(tiers=tried, served=tier)
        return Trip(tiers=tried, served=None)

    return policy


def by_worker(tier_of: Mapping[str, str], otherwise: str) -> Policy:
    """One tier for each worker."""
    return lambda case: only(tier_of.get(case.episode.context["worker"], otherwise))(case)
