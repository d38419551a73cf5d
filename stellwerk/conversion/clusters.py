"""A cluster, what a prompt's place among clusters is, and what became of them at a refit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Examples that are one recurring job.

    Args:
        id: stays when clusters are found anew and most of its members are together again.
        call_site: where its examples come from.
        name: for people.
        words: those most typical of it, the most typical first.
        example: what was asked in a typical one; empty if no examples are kept.
        size: how many examples it was found in.
    """

    id: str
    call_site: str
    name: str
    words: tuple[str, ...]
    example: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """Where a prompt belongs.

    Args:
        cluster: the id of the most likely one; empty where the call site is not known.
        distance: how far the prompt is from what is usual at its call site, in standard deviations of the
            examples there; 0 is average. Infinite where nothing is known.
        novel: whether it fits nowhere, so that the large tier ought to answer.
        p_value: of 'it is like the cluster's examples'.
    """

    cluster: str
    distance: float
    novel: bool
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What became of a cluster when clusters were found anew.

    Args:
        kind: `kept`; `new`; `gone`: nothing is like it now; `moved`: its members are spread over others;
            `split` into several; `merged` from several.
        before: ids of then.
        after: ids of now. One that was split or merged is not served by what was proven of it.
    """

    kind: Literal["kept", "new", "gone", "moved", "split", "merged"]
    before: tuple[str, ...]
    after: tuple[str, ...]
