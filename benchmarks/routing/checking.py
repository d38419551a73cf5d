"""Track B: what it takes to be as right as GPT-4 where small models answer first; every call is charged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.routing.cascade import Checked, charged, verdicts
from benchmarks.routing.corpus import Array, Corpus, Episodes, right, usd
from benchmarks.routing.handed import Handed
from benchmarks.routing.ours import learned
from benchmarks.routing.routellm import GPT4, MIXTRAL, VERIFIERS
from benchmarks.routing.splits import Split, Unit
from stellwerk.routers.belief import Believes
from stellwerk.routers.episode import Episode
from stellwerk.routers.family import family
from stellwerk.routers.goal import CostBudget
from stellwerk.routers.policy import Policy
from stellwerk.routers.replay_table import replay_table

Figures = dict[str, Any]
BUDGETS = (0.02, 0.05, 0.10, 0.20, 0.30, 0.35, 0.43, 0.60)
"""Shares of GPT-4's cost that a policy may cost on the validation rows."""

_DIALS = 600  # finer than the default, as costs of the two tiers lie far apart
_WAYS: dict[str, tuple[tuple[str, ...], bool]] = {
    "stellwerk, four verifiers": (tuple(VERIFIERS), True),
    "stellwerk, Llama-3-8B verifies": (("llama-3-8b",), True),
    "stellwerk, any answer may be served": ((), False),
}


def fixed(corpus: Corpus) -> dict[str, Figures]:
    """Rules that learn nothing: one tier always, and GPT-4 where answers differ."""
    known, costs = right(corpus.episodes, corpus.tiers), usd(corpus.episodes, corpus.tiers)
    place = {tier: number for number, tier in enumerate(corpus.tiers)}
    answers = np.array([[outcome.answer for outcome in episode.outcomes] for episode in corpus.episodes])
    large = costs[:, place[GPT4]].mean()
    found = {
        f"always {tier}": _figures(known[:, place[tier]], costs[:, place[tier]] / large, tier == GPT4)
        for tier in corpus.tiers
    }
    either = known[:, [place[MIXTRAL], place[GPT4]]].max(axis=1)
    buy = either > known[:, place[MIXTRAL]]
    cost = costs[:, place[MIXTRAL]] + buy * costs[:, place[GPT4]]
    found["oracle of Mixtral and GPT-4"] = _figures(either, cost / large, buy)
    same = {tier: answers[:, place[tier]] == answers[:, place[MIXTRAL]] for tier in VERIFIERS}
    rules: dict[str, tuple[tuple[str, ...], Any]]
    rules = {f"GPT-4 where {tier} differs": ((tier,), ~same[tier]) for tier in VERIFIERS}
    agreeing = np.sum(list(same.values()), axis=0)
    rules["GPT-4 where all four differ"] = (tuple(VERIFIERS), agreeing == 0)
    rules["GPT-4 where three of four differ"] = (tuple(VERIFIERS), agreeing <= 1)
    for name, (called, buy) in rules.items():
        cost = (
            costs[:, [place[tier] for tier in (*called, MIXTRAL)]].sum(axis=1) + buy * costs[:, place[GPT4]]
        )
        served = np.where(buy, known[:, place[GPT4]], known[:, place[MIXTRAL]])
        found[name] = _figures(served, cost / large, buy)
    return found


def learn(corpus: Corpus, splits: Sequence[Split], unit: Unit) -> dict[str, Figures]:
    """Policies on the trained model, one a budget; all folds' test rows together, in the order of the
    corpus."""
    served: dict[str, dict[str, tuple[float, float, bool]]] = {}
    for split in splits:
        handed = Handed(split, unit)
        model = learned(handed.rows("train"), corpus.tiers)
        validation = handed.rows("threshold")
        policies = {way: set_policies(way, model, validation) for way in _WAYS}
        test = handed.rows("test")
        large = usd(corpus.episodes, [GPT4]).mean()
        for way, chosen in policies.items():
            believes, rows = _seen(way, model)(test)
            table = replay_table(chosen, believes, rows)
            for row, budget in enumerate(BUDGETS):
                own = served.setdefault(f"{way}, {budget:.0%}", {})
                for column, episode in enumerate(rows):
                    cost = float(table.usd[row, column]) / large
                    own[episode.id] = (
                        float(table.right[row, column]),
                        cost,
                        _bought(episode, table.usd[row, column]),
                    )
    ids = [episode.id for episode in corpus.episodes]
    return {
        name: _figures(*(np.array([own[one][part] for one in ids]) for part in range(3)))
        for name, own in served.items()
    }


def set_policies(way: str, model: Any, validation: Episodes) -> list[Policy]:
    """One policy a budget, on the validation rows alone."""
    believes, rows = _seen(way, model)(validation)
    large = usd(validation, [GPT4]).mean()
    base = Policy(price=0.0, agreement=True, cascade_only=_WAYS[way][1])
    dials = _DIALS if _WAYS[way][1] else _DIALS // 5
    table = replay_table(family(believes, rows, base, dials=dials), believes, rows)
    return [CostBudget(usd=budget * large).pick(table).policy for budget in BUDGETS]


def _seen(way: str, model: Any) -> Callable[[Episodes], tuple[Believes, Sequence[Episode]]]:
    """The model and the episodes as one way of serving sees them."""
    verifiers, checked = _WAYS[way]

    def see(episodes: Episodes) -> tuple[Believes, Sequence[Episode]]:
        if not checked:
            return model, episodes
        return Checked(model, verifiers, verdicts(episodes, verifiers)), charged(episodes, verifiers)

    return see


def _bought(episode: Episode, cost: float) -> bool:
    """Whether GPT-4 was called: nothing else costs as much."""
    outcome = episode.outcome(GPT4)
    return outcome is not None and cost >= outcome.usd


def _figures(served: Array, cost: Array, bought: Any) -> Figures:
    return {
        "right": float(served.mean()),
        "cost": float(cost.mean()),
        "calls": float(np.mean(bought)),
        "rows": [round(float(value), 4) for value in served],
        "costs": [round(float(value), 4) for value in cost],
    }
