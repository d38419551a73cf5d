"""The replicas of a tier, and which of them gets the next call.

Nothing here waits: who gets no replica gets a future, which is done when something may have changed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from stellwerk.tiers.failures import Failure
from stellwerk.tiers.replica import Replica

SLACK = 2  # calls that the replica with the prompt's beginning in its cache may have more than the idlest


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """A call that a replica was given; `succeed`, `fail` or `abandon` ends it."""

    replica: Replica
    epoch: int
    began: float


@dataclass(frozen=True, slots=True, eq=False)
class Blocked:
    """No replica takes a call now; `until` is when time alone will change that, or None."""

    until: float | None
    changed: Future[None] = field(default_factory=Future)


class Pool:
    """The replicas of a tier.

    A call goes to the replica that comes first in the order of its prompt's beginning (rendezvous hashing,
    Thaler and Ravishankar 1998), where that beginning is in the prefix cache; unless that one has markedly
    more calls than the idlest. What a replica says of its queue counts as calls.

    Args:
        replicas: at least one.
    """

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.replicas = tuple(replicas)
        self._lock = threading.Lock()
        self._changed: set[Future[None]] = set()

    def acquire(self, key: bytes, avoid: Collection[Replica], now: float) -> Lease | Blocked:
        """The replica for a call, preferably none of those to avoid."""
        with self._lock:
            able = [replica for replica in self.replicas if replica.admits(now)]
            if calm := [replica for replica in able if not _queues(replica, now)]:
                replica = _choose([each for each in calm if each not in avoid] or calm, key, now)
                replica.outstanding += 1
                return Lease(replica, replica.breaker.begin(now) if replica.breaker else 0, now)
            blocked = Blocked(self._until(able, now))
            self._changed.add(blocked.changed)
            return blocked

    def forget(self, blocked: Blocked) -> None:
        """Nobody waits for that change any more."""
        with self._lock:
            self._changed.discard(blocked.changed)

    def admits_another(self, avoid: Collection[Replica], now: float) -> bool:
        """Whether a replica takes a call that is none of those to avoid."""
        with self._lock:
            return any(each.admits(now) for each in self.replicas if each not in avoid)

    def succeed(self, lease: Lease, now: float) -> None:
        """The call was answered."""
        self._end(lease, lambda: lease.replica.succeed(lease.epoch, lease.began, now))

    def fail(self, lease: Lease, failure: Failure, now: float) -> None:
        """The call came to nothing."""
        self._end(lease, lambda: lease.replica.fail(failure, lease.epoch, lease.began, now))

    def abandon(self, lease: Lease) -> None:
        """The call was given up, which says nothing about the replica."""
        breaker = lease.replica.breaker
        self._end(lease, lambda: breaker.abandon(lease.epoch) if breaker else None)

    def notify(self) -> None:
        """Something may have changed: let everyone who waits look again."""
        with self._lock:
            self._notify()

    @property
    def answered(self) -> bool:
        """Whether any replica ever answered; one that never did may be no server at all."""
        return any(replica.answered for replica in self.replicas)

    def is_hopeless(self, now: float) -> bool:
        """Whether every replica is down and none ever answered: waiting would be for nothing."""
        return not self.answered and all(
            replica.breaker is not None and replica.breaker.state(now) != "closed"
            for replica in self.replicas
        )

    def outlook(self, now: float) -> str:
        """Why no replica takes a call, for a person."""
        said = []
        for replica in self.replicas:
            why = replica.outlook(now) if not replica.admits(now) else "its own queue is long"
            said.append(f"{replica.name}: {why}" if replica.name else why)
        return "; ".join(said)

    def _end(self, lease: Lease, tell: Callable[[], None]) -> None:
        with self._lock:
            tell()  # before the call is taken off: how many were on their way counts when one finds it busy
            lease.replica.outstanding -= 1
            self._notify()

    def _notify(self) -> None:
        waiting, self._changed = self._changed, set()
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _until(self, able: Collection[Replica], now: float) -> float | None:
        times = []
        for replica in self.replicas:
            if replica in able:  # it could, but for its own queue
                assert replica.load is not None
                times.append(max(replica.load.next_due(), now))
            elif (at := replica.free_at(now)) is None:
                return None
            else:
                times.append(at)
        return min(times)


def prompt_key(beginning: str) -> bytes:
    """A key for the beginning of a prompt; equal beginnings have equal keys."""
    return hashlib.blake2b(beginning.encode(errors="replace"), digest_size=16).digest()


def _queues(replica: Replica, now: float) -> bool:
    return replica.load is not None and replica.load.queues(now)


def _calls(replica: Replica, now: float) -> float:
    return replica.outstanding + (replica.load.waiting(now) if replica.load is not None else 0.0)


def _choose(replicas: Sequence[Replica], key: bytes, now: float) -> Replica:
    if len(replicas) == 1:
        return replicas[0]
    ranked = sorted(replicas, key=lambda each: _weight(key, each.name), reverse=True)
    least = min(_calls(replica, now) for replica in ranked)
    if _calls(ranked[0], now) <= least + SLACK:
        return ranked[0]
    return min(ranked, key=lambda each: _calls(each, now))


def _weight(key: bytes, name: str) -> bytes:
    return hashlib.blake2b(name.encode(), key=key, digest_size=8).digest()
