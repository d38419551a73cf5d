"""Names of clusters that a person can read, made without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stellwerk.routers.terms import Floats, Terms

if TYPE_CHECKING:  # which needs scikit-learn
    from stellwerk.conversion.grouping import Numbers

Namer = Callable[[str, Sequence[str], Sequence[str]], str]
"""Makes a name of a call site, typical words and typical examples."""

_WORDS = 5
_IN_NAME = 3
_EXAMPLES = 5
_SHORTEST = 3  # characters of a word that says something
_LONGEST = 200  # characters of an example


def plain_name(call_site: str, words: Sequence[str], examples: Sequence[str]) -> str:
    """The call site and the most typical words."""
    return f"{call_site}: {', '.join(words[:_IN_NAME])}" if words else call_site


def typical_words(terms: Terms, rows: Any, jobs: Numbers) -> list[tuple[str, ...]]:
    """Per cluster the words that are more usual in it than in the others; in a sole one, usual ones."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    kept = [
        place
        for place, word in enumerate(terms.words)
        if word.isalpha() and len(word) >= _SHORTEST and word not in ENGLISH_STOP_WORDS
    ]
    means = [
        np.asarray(rows[np.flatnonzero(jobs == job)][:, kept].mean(axis=0)).ravel()
        for job in range(int(jobs.max()) + 1)
    ]
    found = []
    for own, mean in enumerate(means):
        others = np.mean([other for place, other in enumerate(means) if place != own] or [0 * mean], axis=0)
        typical = np.argsort(others - mean, kind="stable")[:_WORDS].tolist()
        found.append(tuple(terms.words[kept[place]] for place in typical if mean[place] > 0))
    return found


def typical_examples(asked: Sequence[str], rows: Any, jobs: Numbers) -> list[list[str]]:
    """Per cluster what was asked in those examples that are most like all of them."""
    found = []
    for job in range(int(jobs.max()) + 1):
        here = np.flatnonzero(jobs == job)
        centre: Floats = np.asarray(rows[here].mean(axis=0)).ravel()
        near = here[np.argsort(-(rows[here] @ centre), kind="stable")]
        texts = dict.fromkeys(" ".join(asked[index].split())[:_LONGEST] for index in near[:200].tolist())
        found.append(list(texts)[:_EXAMPLES])
    return found
