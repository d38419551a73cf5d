"""Whom traces come from, as keyed hashes, and whether they may be kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from stellwerk.errors import ConfigurationError
from stellwerk.persistence.schema.columns import digest
from stellwerk.trace import Origin

ConsentState = Literal["granted", "denied", "unknown"]
"""What is known of whether the traces of a thread may be kept."""

_SHORTEST = 16  # bytes


@dataclass(frozen=True, slots=True)
class Gate:
    """What says whether a trace may be kept, and whom it is from.

    Args:
        threads: the hashes under which the thread's consent may be.
        consent: what the program says; None where it says nothing.
        row: of the origins; None where neither person nor thread is known.
    """

    threads: tuple[bytes, ...]
    consent: bool | None
    row: Mapping[str, Any] | None

    def opens(self, states: Mapping[bytes, str], *, unknown: bool) -> bool:
        """Whether the trace may be kept.

        Args:
            states: what is stored of threads.
            unknown: whether one may be kept of which nothing is known.
        """
        found = {states[thread] for thread in self.threads if thread in states}
        if "denied" in found:
            return False
        if self.consent is not None:
            return self.consent
        return unknown or "granted" in found


class OriginKeys:
    """Makes the hashes of persons and threads.

    Without a key, persons are not stored at all, as a name can be guessed from a hash that everybody can
    make, and threads are known by what the tables know them by anyway.

    Args:
        keys: secrets of at least 16 bytes; the first is used for what is written, the others still find what
            was written under them.

    Raises:
        ConfigurationError: if one is shorter.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        if any(len(key) < _SHORTEST for key in keys):
            raise ConfigurationError(
                f"a key of origins has fewer than {_SHORTEST} bytes; make one with: openssl rand -hex 32"
            )
        self._keys = tuple(hashlib.sha256(key).digest() for key in keys)

    @property
    def keyed(self) -> bool:
        """Whether there is a key."""
        return bool(self._keys)

    def known_as(self, thread_id: str, *, private: bool = True) -> str:
        """What the id of a thread is stored as."""
        if not private or not self._keys or not thread_id:
            return thread_id
        return _hash(self._keys[0], b"thread", thread_id).hex()

    def gate(self, thread_id: str, origin: Origin) -> Gate:
        """Of a trace."""
        return Gate(self.threads(thread_id), origin.consent, self._row(thread_id, origin.user))

    def names(self, thread_id: str) -> list[str]:
        """Every id under which a thread may be stored."""
        names = [_hash(key, b"thread", thread_id).hex() for key in self._keys if thread_id]
        return [thread_id, *names]

    def threads(self, thread_id: str) -> tuple[bytes, ...]:
        """Every hash of a thread, the one that is written first; none of no thread."""
        if not thread_id:
            return ()
        return (*(_hash(key, b"thread", thread_id) for key in self._keys), digest(thread_id))

    def persons(self, user: str) -> tuple[bytes, ...]:
        """Every hash of a person, the one that is written first; none without a key."""
        return tuple(_hash(key, b"person", user) for key in self._keys) if user else ()

    def _row(self, thread_id: str, user: str) -> dict[str, Any] | None:
        person = next(iter(self.persons(user)), None)
        thread = next(iter(self.threads(thread_id)), None)
        if person is None and thread is None:
            return None
        if person is None:
            origin = thread
        else:
            origin = _hash(self._keys[0], b"origin", f"{len(user)}:{user}{thread_id}")
        return {"origin": origin, "person": person, "thread": thread, "created_at": datetime.now(UTC)}


def _hash(key: bytes, what: bytes, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, key=key, digest_size=16, person=what).digest()
