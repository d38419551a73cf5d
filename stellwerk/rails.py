"""The rails: what keeps a small model's answer on the track, each with a switch of its own.

A rail that is off is not tried and not counted. What a rail catches is a reason in the verdict, so that the
ledger counts it. A tier says which rails its model needs; a worker that has rails of its own runs on those on
every tier. So the defaults are what serves any model, and what helps only the smallest is off.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rails:
    """Which rails an answer runs on.

    Args:
        fit: count the prompt before it is sent, and refuse one that cannot fit beside its answer.
        flatten: simplify the schema: references inlined, optional null, titles and defaults gone.
        unknown: offer `unknown` in each enum of the worker's own schema.
        constrain: have the tier hold the answer to the schema.
        salvage: find the one JSON value in an answer with text or a fence around it.
        echo: tell an answer that gives the schema back from one that breaks it.
        repetition: tell an answer that turns in circles from one that is merely long.
        refusal: tell a refusal from an answer that is no JSON.
        repair: ask once more, with the error.
        ground: offer for an argument only what the request says or what follows from it.
        omit: leave out optional arguments of which the request does not speak.
        settle: do not ask what the words of the request settle: the function, a choice they name, a list.
        solved: show two solved cases of other functions.
        shares: give '5%' as 0.05, to a number of which the function does not say that it is in percent.
    """

    fit: bool = True
    flatten: bool = True
    unknown: bool = False
    constrain: bool = True
    salvage: bool = True
    echo: bool = True
    repetition: bool = True
    refusal: bool = True
    repair: bool = True
    ground: bool = False
    omit: bool = False
    settle: bool = False
    solved: bool = False
    shares: bool = False
