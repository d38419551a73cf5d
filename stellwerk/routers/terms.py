"""Terms: the words, pairs of words and pieces of words of an instruction, weighted by TF-IDF.

Plain dictionaries and numpy, so that a router decides without scikit-learn. The pieces of a word are looked
up once and kept, since most words come again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_TOKEN = re.compile(r"\w+|[^\w\s]")
_HEAD, _TAIL = 3_000, 1_000  # characters that are read of a long instruction: a bound on a decision's time
_SHORTEST, _LONGEST = 2, 5  # characters of a piece
_LONGEST_WORD = 40
_KEPT = 50_000


def tokens(text: str) -> list[str]:
    """Words and signs in lower case; of a long text its beginning and its end."""
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]} {text[-_TAIL:]}"
    return [token[:_LONGEST_WORD] for token in _TOKEN.findall(text.lower())]


def _pieces(word: str) -> set[str]:
    padded = f" {word} "
    size = len(padded)
    return {
        padded[start : start + length]
        for length in range(_SHORTEST, _LONGEST + 1)
        for start in range(max(size - length, 0) + 1)
    }


class Terms:
    """A vocabulary with its weights.

    Args:
        words: words and pairs of words; their place is their index.
        pieces: pieces of words; their index goes on after that of the words.
        idf: one weight a term.
    """

    def __init__(self, words: Sequence[str], pieces: Sequence[str], idf: Floats) -> None:
        self.words, self.pieces, self.idf = tuple(words), tuple(pieces), idf
        self._words = {word: index for index, word in enumerate(words)}
        self._pieces = {piece: index for index, piece in enumerate(pieces, len(words))}
        self._known: dict[str, tuple[int, ...]] = {}
        self._squared = (idf[: len(words)].astype(np.float64) ** 2).tolist()
        self._rarest = max(self._squared, default=1.0)  # what a word weighs that no text had

    def __len__(self) -> int:
        return len(self.words) + len(self.pieces)

    @classmethod
    def of(cls, texts: Iterable[str], *, most: int, least: int = 2) -> Terms:
        """The vocabulary of some texts.

        Args:
            texts: whose terms are counted.
            most: terms to keep, half of them words; the most frequent win.
            least: texts that a term has to be in.
        """
        words: Counter[str] = Counter()
        by_word: Counter[str] = Counter()
        count = 0
        for text in texts:
            count += 1
            found = tokens(text)
            alone = set(found)
            words.update(alone)
            words.update({f"{first} {second}" for first, second in pairwise(found)})
            by_word.update(alone)
        # A piece counts once a word that it is in, not once a text: cheap, and about as good a weight.
        pieces: Counter[str] = Counter()
        for word, times in by_word.items():
            for piece in _pieces(word):
                pieces[piece] += times
        kept_words = _most_frequent(words, most // 2, least)
        kept_pieces = _most_frequent(pieces, most - len(kept_words), least)
        frequencies = [words[word] for word in kept_words] + [
            min(pieces[piece], count) for piece in kept_pieces
        ]
        idf = np.log((1 + count) / (1 + np.asarray(frequencies, np.float64))) + 1
        return cls(kept_words, kept_pieces, idf.astype(np.float32))

    def name(self, index: int) -> str:
        """A term, as shown to a person."""
        if index < len(self.words):
            return f"“{self.words[index]}”"
        return f"“…{self.pieces[index - len(self.words)]}…”"

    def unknown(self, text: str) -> float:
        """The share of a text's words that the vocabulary lacks, by squared weight; 1 if it has no words."""
        known, strange = 0.0, 0
        for word in dict.fromkeys(tokens(text)):
            index = self._words.get(word)
            if index is None:
                strange += 1
            else:
                known += self._squared[index]
        lacked = strange * self._rarest
        return lacked / (known + lacked) if known or strange else 1.0

    def vector(self, text: str) -> tuple[Ints, Floats]:
        """Indices and weights of a text's terms. Words and pieces have length 1 each."""
        found = tokens(text)
        get = self._words.get
        ids = [index for token in found if (index := get(token)) is not None]
        ids += [index for pair in pairwise(found) if (index := get(f"{pair[0]} {pair[1]}")) is not None]
        for token in found:
            ids += self._known.get(token) or self._pieces_of(token)
        if not ids:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        indices, counts = np.unique(np.asarray(ids, np.int32), return_counts=True)
        weights = (1 + np.log(counts.astype(np.float32))) * self.idf[indices]
        border = int(np.searchsorted(indices, len(self.words)))
        for part in (weights[:border], weights[border:]):
            if part.size:
                part /= np.sqrt(part @ part)
        return indices, weights

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        if len(self._known) >= _KEPT:
            self._known.clear()
        found = tuple(sorted(self._pieces[piece] for piece in _pieces(word) if piece in self._pieces))
        self._known[word] = found
        return found


def _most_frequent(counts: Counter[str], most: int, least: int) -> list[str]:
    frequent = sorted((-times, term) for term, times in counts.items() if times >= least)
    return [term for _, term in frequent[: max(most, 0)]]
