"""Learns a call site: kinds of prompts, jobs, and what is usual. Needs scikit-learn.

Whether a prompt is novel is judged by two signs: how sure a linear classifier is of its kind, and how much of
it is words that no example had. The threshold is a conformal one (Vovk et al., 'Algorithmic learning in a
random world', 2005; one for each cluster, as in their Mondrian form), on examples that the classifier was not
fitted on. An example and its nearest neighbour are left out together: traces come in near copies, and a
classifier that has seen a copy is surer than it will be of what comes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.sparse.csgraph import connected_components
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from stellwerk.conversion.actions import action_of, labels_of
from stellwerk.conversion.example import Example
from stellwerk.conversion.grouping import Numbers, jobs_of, kinds_of, rows_of, without_small
from stellwerk.conversion.site import Doubles, Site, distances, unit
from stellwerk.routers import ridge
from stellwerk.routers.terms import Floats, Terms

_TERMS = 20_000
_COMMON = 128  # directions in which texts are compared
_FOLDS = 4
_KEPT = 2_000  # distances that are kept for each cluster
FEWEST = 20  # examples of a call site that is known at all
_COST = 0.5  # of the classifier's errors beside the size of its weights


@dataclass(frozen=True, slots=True)
class Learned:
    """A site whose clusters have no names yet, and the place of each example's cluster."""

    site: Site
    jobs: Numbers
    prompts: Any


def learn_site(
    call_site: str,
    examples: Sequence[Example],
    vectors: Floats | None,
    *,
    least: int,
    most: int,
    seed: int,
) -> Learned:
    """The site of some examples, which are all from there.

    Args:
        call_site: its name.
        examples: at least one.
        vectors: embeddings of what they asked, if there are any.
        least: examples of a cluster.
        most: examples that are looked at; the others are assigned.
        seed: of all that is drawn.
    """
    draw = np.random.default_rng(seed)
    some = np.sort(draw.permutation(len(examples))[:most])
    shown = [examples[index] for index in some.tolist()]
    texts = [example.asked for example in shown]
    embedded = unit(vectors[some]) if vectors is not None else None
    terms = Terms.of(texts, most=_TERMS)
    rows = _joined(rows_of(terms, texts), embedded)
    places = _places(rows, draw)
    labels = labels_of(shown)
    actions, together = None, places
    if labels is None:
        done = [action_of(example) for example in shown]
        if sum(map(bool, done)) >= len(done) / 2:
            actions = rows_of(Terms.of(done, most=_TERMS // 2), done)
            together = unit(np.hstack([places, _places(actions, draw)]))
    kinds = kinds_of(together, labels, seed)
    owners = without_small(jobs_of(kinds, together, rows, actions, seed), kinds, rows, least)
    weights, bias = _classifier(rows, kinds, int(kinds.max()) + 1, seed)
    mean, scale, usual = np.zeros(2), np.ones(2), (np.zeros(0),) * (int(owners.max()) + 1)
    if len(shown) >= FEWEST:
        signs, best = _held_out(texts, embedded, kinds, _apart(places, seed), seed)
        mean, scale = signs.mean(axis=0), np.maximum(signs.std(axis=0), 1e-3)
        usual = _usual(distances(signs, mean, scale), owners[best], len(usual), least)
    site = Site(
        call_site=call_site,
        clusters=tuple(str(place) for place in range(len(usual))),
        terms=terms,
        weights=weights,
        bias=bias,
        owners=owners.astype(np.int32),
        mean=mean,
        scale=scale,
        usual=usual,
        embedding=0 if embedded is None else embedded.shape[1],
    )
    asked = [example.asked for example in examples]
    every = _joined(rows_of(terms, asked), None if vectors is None else unit(vectors))
    # In parts, as all at once would be hundreds of numbers for each example.
    parts = range(0, len(asked), 4_096)
    found = [(every[start : start + 4_096] @ weights + bias).argmax(axis=1) for start in parts]
    jobs = owners[np.concatenate(found)]
    jobs[some] = owners[kinds]
    return Learned(site, jobs, every)


def _joined(rows: Any, embedded: Floats | None) -> Any:
    return rows if embedded is None else hstack([rows, csr_matrix(embedded)], format="csr")


def _places(rows: Any, draw: np.random.Generator) -> Floats:
    size = min(_COMMON, rows.shape[1], max(rows.shape[0] // 4, 1))
    if not rows.nnz:
        return np.zeros((rows.shape[0], 1), np.float32)
    return unit(np.asarray(rows @ ridge.space(rows, size, draw), np.float32))


def _classifier(rows: Any, kinds: Numbers, count: int, seed: int) -> tuple[Floats, Floats]:
    """Weights and biases, one column a kind; kinds that do not occur are never likely."""
    weights = np.zeros((rows.shape[1], count), np.float32)
    bias = np.full(count, -10.0, np.float32)
    present = np.unique(kinds)
    if len(present) == 1:
        bias[present] = 0
        return weights, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is left to gain is too small to matter
        model = LinearSVC(C=_COST, tol=0.1, random_state=seed).fit(rows, kinds)
    columns, constants = model.coef_.T, model.intercept_
    if len(present) == 2:  # for which there is one column
        columns, constants = np.hstack([-columns, columns]), np.array([-constants[0], constants[0]])
    # As the file has it, so that what was read decides as what was written.
    weights[:, present] = columns.astype(np.float16)
    bias[present] = constants
    return weights, bias


def _apart(places: Floats, seed: int) -> Numbers:
    """Folds in which an example is together with its nearest neighbour."""
    nearest = np.empty(len(places), np.int64)
    for start in range(0, len(places), 1_000):
        alike = places[start : start + 1_000] @ places.T
        here = np.arange(len(alike))
        alike[here, start + here] = -2
        nearest[start : start + 1_000] = alike.argmax(axis=1)
    links = (np.ones(len(places)), (np.arange(len(places)), nearest))
    count, groups = connected_components(csr_matrix(links, shape=(len(places),) * 2), directed=False)
    if count < _FOLDS:  # all are near each other
        count, groups = len(places), np.arange(len(places))
    folds: Numbers = (np.random.default_rng(seed).permutation(count) % _FOLDS)[groups]
    return folds


def _held_out(
    texts: Sequence[str], embedded: Floats | None, kinds: Numbers, folds: Numbers, seed: int
) -> tuple[Doubles, Numbers]:
    """The signs of novelty and the likely kind of each example, by what was learned of the other folds."""
    signs, best = np.zeros((len(texts), 2)), kinds.copy()
    for fold in np.unique(folds):
        out = np.flatnonzero(folds == fold)
        rest = np.flatnonzero(folds != fold)
        terms = Terms.of((texts[index] for index in rest.tolist()), most=_TERMS)
        parts = [
            _joined(
                rows_of(terms, [texts[index] for index in part.tolist()]),
                None if embedded is None else embedded[part],
            )
            for part in (rest, out)
        ]
        weights, bias = _classifier(parts[0], kinds[rest], int(kinds.max()) + 1, seed)
        likely = parts[1] @ weights + bias
        best[out] = likely.argmax(axis=1)
        signs[out, 0] = -likely.max(axis=1)
        signs[out, 1] = [terms.unknown(texts[index]) for index in out.tolist()]
    return signs, best


def _usual(far: Doubles, jobs: NDArray[Any], count: int, least: int) -> tuple[Doubles, ...]:
    """Ascending distances of each cluster; those of the whole site where a cluster has few."""
    every = [far[jobs == job] for job in range(count)]
    return tuple(_thinned(np.sort(own if len(own) >= least else far)) for own in every)


def _thinned(values: Doubles) -> Doubles:
    if len(values) <= _KEPT:
        return values
    # Rounded up in rank: a threshold between two that are kept lets through no more than it ought to.
    return values[np.ceil(np.linspace(0, len(values) - 1, _KEPT)).astype(np.int64)]
