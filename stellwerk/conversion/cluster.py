"""Finds clusters: call sites first, then what is asked and done inside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.embeddings import Embeddings

from stellwerk.conversion.clustering import Clustering
from stellwerk.conversion.clusters import Change, Cluster
from stellwerk.conversion.example import Example
from stellwerk.conversion.matching import SAME, matched
from stellwerk.conversion.naming import Namer, plain_name, typical_examples, typical_words
from stellwerk.errors import InputError, MissingExtraError

if TYPE_CHECKING:  # which needs scikit-learn
    from stellwerk.conversion.site_training import Learned

_MOST, _MOST_OF_ALL, _LEAST_OF_SITE = 12_000, 30_000, 1_500  # examples that are looked at


def cluster(
    examples: Sequence[Example],
    *,
    previous: Clustering | None = None,
    least: int = 100,
    false_alarms: float = 0.1,
    same: float = SAME,
    embeddings: Embeddings | None = None,
    namer: Namer = plain_name,
    keep_examples: bool = True,
    seed: int = 0,
) -> Clustering:
    """The clusters of some examples; the same for the same examples and seed.

    Args:
        examples: of any number of call sites, in any order.
        previous: clusters that were found before; what is still the same keeps its id.
        least: examples of a cluster; what would be smaller is joined with what is most like it.
        false_alarms: share of usual prompts that may be called novel, between 0 and 1.
        same: share of the members of an old and a new cluster together that have to be in both for the id to
            stay, above 0 and up to 1.
        embeddings: of what was asked, besides its words; run time will need the same.
        namer: makes the names.
        keep_examples: whether a typical example is kept with each cluster, and shown to `namer`.
        seed: of all that is drawn.

    Raises:
        InputError: if there are no examples, or a number is out of its range.
        MissingExtraError: if scikit-learn is not installed.
    """
    if not examples:
        raise InputError("no examples to find clusters in; collect some, or name another time")
    if not 0 < false_alarms < 1 or not 0 < same <= 1 or least < 1:
        raise InputError(
            f"false alarms are between 0 and 1, `same` is above 0 and up to 1, and `least` is 1 or more; not"
            f" {false_alarms}, {same} and {least}"
        )
    try:
        from threadpoolctl import threadpool_limits

        from stellwerk.conversion.site_training import learn_site
    except ImportError as error:
        raise MissingExtraError(error.name or "scikit-learn", "router") from error
    by_site: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda one: (one.trace_id, one.created_at)):
        by_site.setdefault(example.call_site, []).append(example)
    whole = Clustering(
        clusters=(),
        sites={},
        false_alarms=false_alarms,
        numbers=dict(previous.numbers) if previous else {},
        embeddings=embeddings,
    )
    for call_site in sorted(by_site):
        here = by_site[call_site]
        share = int(_MOST_OF_ALL * len(here) / len(examples))
        vectors = None
        if embeddings is not None:
            vectors = np.asarray(embeddings.embed_documents([one.asked for one in here]), np.float32)
        # Several threads add up in whatever order they end, so that results differ from run to run.
        with threadpool_limits(1):
            learned = learn_site(
                call_site,
                here,
                vectors,
                least=least,
                most=min(_MOST, max(share, _LEAST_OF_SITE)),
                seed=seed,
            )
            named = _named(learned, here, namer, keep_examples)
        whole = _with(whole, learned, here, named, previous, same)
    gone = [one.id for one in previous.clusters if one.call_site not in by_site] if previous else []
    changes = [*whole.changes, *(Change(kind="gone", before=(id,), after=()) for id in gone)]
    return replace(whole, changes=tuple(changes))


def _named(learned: Learned, examples: Sequence[Example], namer: Namer, keep_examples: bool) -> list[Cluster]:
    site = learned.site
    texts = typical_examples([one.asked for one in examples], learned.prompts, learned.jobs)
    words = typical_words(site.terms, learned.prompts, learned.jobs)
    sizes = np.bincount(learned.jobs, minlength=len(site.clusters)).tolist()
    return [
        Cluster(
            id=str(place),
            call_site=site.call_site,
            name=namer(site.call_site, words[place], texts[place] if keep_examples else ()),
            words=words[place],
            example=texts[place][0] if keep_examples and texts[place] else "",
            size=sizes[place],
        )
        for place in range(len(site.clusters))
    ]


def _with(
    whole: Clustering,
    learned: Learned,
    examples: Sequence[Example],
    found: Sequence[Cluster],
    previous: Clustering | None,
    same: float,
) -> Clustering:
    """The clustering with one call site more, whose clusters have ids."""
    call_site, jobs = learned.site.call_site, learned.jobs.tolist()
    kept: dict[int, str] = {}
    changes: list[Change] = []
    if previous is not None:
        places = [previous.assign(call_site, one.prompt) for one in examples]
        before = ["" if place.novel else place.cluster for place in places]
        old = [one.id for one in previous.clusters if one.call_site == call_site]
        kept, changes = matched(before, jobs, old, same=same)
    number = whole.numbers.get(call_site, 1)
    ids = {}
    for place in sorted(range(len(found)), key=lambda place: -found[place].size):
        if place not in kept:
            ids[place] = f"{call_site}#{number}"
            number += 1
    ids |= kept
    names = {f"\0{place}": id for place, id in ids.items()}
    changes = [replace(one, after=tuple(names.get(id, id) for id in one.after)) for one in changes]
    members: dict[str, list[str]] = {id: [] for id in ids.values()}
    for example, job in zip(examples, jobs, strict=True):
        members[ids[job]].append(example.trace_id)
    clusters = [replace(one, id=ids[place]) for place, one in enumerate(found)]
    return replace(
        whole,
        clusters=(*whole.clusters, *sorted(clusters, key=_number)),
        sites={
            **whole.sites,
            call_site: replace(learned.site, clusters=tuple(ids[place] for place in range(len(found)))),
        },
        numbers={**whole.numbers, call_site: number},
        members={**whole.members, **{id: tuple(traces) for id, traces in members.items()}},
        changes=(*whole.changes, *changes),
    )


def _number(cluster: Cluster) -> int:
    return int(cluster.id.rpartition("#")[2])
