"""Examples that teach the same: asked word for word, or nearly."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from stellwerk.conversion.example import Example
from stellwerk.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

SHINGLE = 5  # characters
BANDS, ROWS = 16, 8  # finds 99.4 % of those that are 85 % alike, and 6 % of those that are half
LONGEST = 20_000  # characters; longer texts are compared word for word only
CHECKED = 16  # candidates that are compared, so that texts of one pattern do not make it slow

_FIGURE = re.compile(r"\d[\d.,]*")
_APART = re.compile(r"[\W_]+")

Likeness = Literal["new", "duplicate", "near duplicate"]


class Place(NamedTuple):
    """Where an example belongs: a group's number, and how it is like the group's first one."""

    group: int
    likeness: Likeness


@dataclass(slots=True)
class _Bucket:
    """The first examples of groups in which only the wording of what is asked may differ."""

    texts: list[tuple[int, str]] = field(default_factory=list)
    index: MinHashLSH | None = None


class Duplicates:
    """Puts examples into groups that teach the same, one by one.

    A group is what was asked at one call site in the same conversation, system prompts aside. Texts are alike
    where their shingles of five characters are (Broder, 'On the resemblance and containment of documents',
    1997; candidates by locality-sensitive hashing, and the share itself then counted). Lines that two texts
    share, such as a document before the question, count as the same conversation and not as likeness; texts
    with other figures ask something else.

    Args:
        similarity: least share of common shingles, above 0 and up to 1; at 1 only what is word for word.

    Raises:
        ConfigurationError: The similarity is not in that range.
        MissingExtraError: It is below 1, and the extra `conversion` is not installed.
    """

    def __init__(self, *, similarity: float = 0.85) -> None:
        if not 0 < similarity <= 1:
            raise ConfigurationError(f"similarity is above 0 and at most 1, not {similarity}")
        if similarity < 1:
            try:
                import datasketch  # noqa: F401  # that it is there is asked before the work begins
            except ImportError as error:
                raise MissingExtraError("datasketch", "conversion") from error
        self._similarity = similarity
        self._exact: dict[bytes, int] = {}
        self._buckets: dict[bytes, _Bucket] = {}
        self._groups = 0

    def place(self, example: Example) -> Place:
        """The group of the example, a new one where it is like no example before."""
        around = _around(example)
        asked = example.asked
        exact = _digest(around, asked)
        known = self._exact.get(exact)
        if known is not None:
            return Place(known, "duplicate")
        near = self._near(around, asked) if self._similarity < 1 and len(asked) <= LONGEST else None
        group = self._exact[exact] = self._new() if near is None else near
        return Place(group, "new" if near is None else "near duplicate")

    def _near(self, around: bytes, asked: str) -> int | None:
        """The group that is nearly the same; a new one is entered under the number that it will get."""
        figures = sorted(_FIGURE.findall(asked))
        bucket = self._buckets.setdefault(_digest(around, "\n".join(figures)), _Bucket())
        signature: MinHash | None = None
        if bucket.texts:
            if bucket.index is None:  # most have one text, and an index takes some kilobytes
                bucket.index = _index()
                bucket.index.insert(0, _signature(bucket.texts[0][1]), check_duplication=False)
            signature = _signature(asked)
            candidates: list[int] = sorted(bucket.index.query(signature))
            for candidate in candidates[:CHECKED]:
                group, text = bucket.texts[candidate]
                if likeness(text, asked) >= self._similarity:
                    return group
            bucket.index.insert(len(bucket.texts), signature, check_duplication=False)
        bucket.texts.append((self._groups, asked))
        return None

    def _new(self) -> int:
        self._groups += 1
        return self._groups - 1


def likeness(one: str, other: str) -> float:
    """The share of common shingles, from 0 to 1, of what two texts say in lines that they do not share."""
    ours, theirs = Counter(one.splitlines()), Counter(other.splitlines())
    shared = ours & theirs
    a, b = (set(_shingles("\n".join((lines - shared).elements()))) for lines in (ours, theirs))
    return len(a & b) / len(a | b) if a or b else 1.0


def _around(example: Example) -> bytes:
    """What was said before it was asked; without system prompts, as they often have the date."""
    said = [message for message in example.prompt if message.get("role") not in ("system", "developer")]
    for place in range(len(said) - 1, -1, -1):
        if said[place].get("role") != "assistant":
            del said[place]
            break
    return _digest(b"", json.dumps([example.call_site, said], sort_keys=True, default=str))


def _shingles(text: str) -> Iterator[str]:
    plain = _APART.sub(" ", text.casefold()).strip()
    return (plain[place : place + SHINGLE] for place in range(max(1, len(plain) - SHINGLE + 1)) if plain)


@cache
def _empty() -> MinHash:
    """Whose permutations are drawn once: drawing them takes longer than using them."""
    from datasketch import MinHash

    return MinHash(num_perm=BANDS * ROWS, seed=1, hashfunc=zlib.crc32)


def _signature(text: str) -> MinHash:
    signature = _empty().copy()
    signature.update_batch([shingle.encode() for shingle in set(_shingles(text))])
    return signature


def _index() -> MinHashLSH:
    from datasketch import MinHashLSH

    return MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))


def _digest(around: bytes, text: str) -> bytes:
    return hashlib.blake2b(around + text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
