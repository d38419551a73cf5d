"""Which function of figures a job asks for, by its words."""

from __future__ import annotations

import re
from typing import Literal, get_args

Function = Literal["change", "percent_change", "average", "sum", "share", "ratio", "count"]

# What a job's words say of the function. The first that is said is the outermost: 'the change in average
# prices' is a change. 'Total' and 'number of' are part of many a row's name, and count if nothing else does.
_PERCENT = r"(?:percent(?:age)?s?|per\s+cent|%)"
_CHANGE = r"(?:change|increase|decrease|growth|drop|decline|rise|difference)"
_SAYS: dict[Function, re.Pattern[str]] = {
    "average": re.compile(r"\b(?:averages?|mean)\b", re.I),
    "percent_change": re.compile(
        rf"{_PERCENT}\s+(?:point\s+)?(?:\w+\s+)?{_CHANGE}|\bby\s+(?:what|how\s+many|how\s+much)\s+{_PERCENT}"
        rf"|growth\s+rate"
        rf"|\bwhat\s+{_PERCENT}\b[^.?]{{0,120}}\b(?:change|increase|decrease|grow|rise|fall|decline|drop)"
        rf"|\b(?:change|increased?|decreased?|grew|fell|rose)\b[^.?]{{0,120}}\bin\s+{_PERCENT}\W*$",
        re.I,
    ),
    "share": re.compile(
        rf"\bas\s+an?\s+{_PERCENT}|\bproportions?\b|{_PERCENT}\s+(?:of|constitut)|\bwhat\s+{_PERCENT}\b"
        r"|\bshare\s+of\b",
        re.I,
    ),
    "ratio": re.compile(r"\bratio\b", re.I),
    "change": re.compile(
        rf"\b(?:{_CHANGE}s?|increased|decreased"
        r"|how\s+(?:much|many)\s+(?:more|less|fewer|higher|lower|greater|larger|smaller))\b",
        re.I,
    ),
}
_SAYS_LAST: dict[Function, re.Pattern[str]] = {
    "sum": re.compile(r"\b(?:total|sum|combined|altogether|aggregate|together)\b", re.I),
    "count": re.compile(r"\b(?:how\s+many|number\s+of)\b", re.I),
}


def functions_of(instruction: str) -> tuple[Function, ...]:
    """The function that a job's words speak of; all of them where they speak of none."""
    for patterns in (_SAYS, _SAYS_LAST):
        said = {
            match.start(): function
            for function, pattern in reversed(patterns.items())
            if (match := pattern.search(instruction))
        }
        if said:
            return (said[min(said)],)
    return get_args(Function)
