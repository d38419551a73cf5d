"""Arguments that rest on the request: the JSON schema of a function, narrowed by what the request says.

A small model copies what is in front of it more reliably than it makes up what is not. So each argument may
only be a figure, a run of words or a list that stands in the request, or a choice that the function names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stellwerk.rails import Rails
from stellwerk.worker import Schema
from stellwerk.workers.literals import (
    Number,
    as_integers,
    dates,
    names,
    number_lists,
    numbers,
    placed_numbers,
    spans,
)
from stellwerk.workers.parameter import Parameter, parameters_of, spoken, stems

MOST_WORDS = 60  # of a request whose runs of words go into a schema; a longer one leaves its strings open
LONGEST_SPAN = 9
_NEAR = 4  # words between a parameter's name and its figure
_JOINS = re.compile(r"of|is|was|are|at|equals?|about|only|the|an?|[=:$€£]+", re.I)
_CITY_AND_STATE = re.compile(r"\bcity(?: name)?(?:,| and| \()\s?(?:and )?state|\b[A-Z]\w+, [A-Z]{2}\b")
_NEGATIONS = re.compile(r"\b(?:not|no|without|exclud\w+|except|omit\w*|don't|doesn't)\b", re.I)
_A_DATE = re.compile(r"\b(?:date|day|month|year)s?\b")
_MONTH = re.compile(
    r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b", re.I
)


@dataclass(frozen=True)
class RequestText:
    """A request, taken apart once for all parameters."""

    text: str
    shared: frozenset[str] = frozenset()  # words that the names of several parameters have

    @cached_property
    def stems(self) -> list[str]:
        """Its words."""
        return stems(self.text)

    @cached_property
    def numbers(self) -> list[Number]:
        """Its figures."""
        return numbers(self.text)

    @cached_property
    def lists(self) -> list[list[Number]]:
        """Its lists of figures."""
        return number_lists(self.text)

    def spans(self, longest: int = LONGEST_SPAN) -> list[str]:
        """Runs of its words; none of a request that is too long for a schema."""
        return spans(self.text, longest) if len(self.text.split()) <= MOST_WORDS else []

    def speaks_of(self, parameter: Parameter) -> list[str]:
        """The words of a parameter's name that it uses."""
        return spoken(parameter.words, self.stems)

    def chosen(self, parameter: Parameter) -> list[str]:
        """The choices of a parameter that it names."""
        return [
            choice
            for choice in dict.fromkeys(parameter.choices)
            if (words := stems(choice)) and len(spoken(words, self.stems)) == len(words)
        ]

    def figures_by(self, parameter: Parameter, *, joined: bool) -> list[list[Number]]:
        """The figures that follow the last word of a parameter's name by a few words: 'radius of 4'.

        A share is read in two ways, so each is a list. `joined` allows only words such as 'of' between them:
        not 'the velocity of a stone dropped from 100 m'.
        """
        last = parameter.words[-1] if parameter.words else ""
        places: dict[int, list[Number]] = {}
        for place, value in placed_numbers(self.text):
            places.setdefault(place, []).append(value)
        found, end = [], 0
        for place, readings in places.items():
            before = self.text[end:place].split()[-_NEAR:]
            if len(last) == 1:  # a letter is a name only in an equation
                named = bool(re.search(rf"\b{last}\s*=\s*$", self.text[:place], re.I))
            else:
                if joined:
                    while before and _JOINS.fullmatch(before[-1]):
                        before.pop()
                    before = before[-1:]
                named = last.isalpha() and bool(spoken([last], stems(" ".join(before))))
            if named:
                found.append(readings)
            end = place
        return found


def argument_schema(function: Mapping[str, Any], request: str, rails: Rails) -> Schema:
    """The schema of a function's arguments for one request.

    Args:
        function: name, description and parameters, as the OpenAI chat API has it, its schema flat.
        request: what the arguments have to come from.
        rails: which of `ground`, `omit` and `settle` are on.
    """
    parameters = parameters_of(function)
    counted = Counter(word for parameter in parameters for word in set(parameter.words))
    said = RequestText(request, frozenset(word for word, count in counted.items() if count > 1))
    needed = sum(parameter.required and parameter.kind in ("integer", "number") for parameter in parameters)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in parameters:
        asked = parameter.required
        if not asked and rails.omit:
            if not _is_spoken_of(parameter, said, needed):
                continue
            asked = True
        properties[parameter.name] = _values(parameter, said, rails)
        if asked:
            required.append(parameter.name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _is_spoken_of(parameter: Parameter, said: RequestText, needed: int) -> bool:
    """Whether a request gives an optional argument: by a choice, by the parameter's name, or as a date."""
    named, chosen = said.speaks_of(parameter), said.chosen(parameter)
    if chosen and (len(parameter.choices) > 1 or not parameter.is_default(chosen[0])):
        return True
    if parameter.closed:
        return False
    match parameter.kind:
        case "integer" | "number":
            if "year" in parameter.words and any(1900 <= value <= 2100 for value in said.numbers):
                return True
            return len(said.numbers) > needed and bool(said.figures_by(parameter, joined=False))
        case "boolean":
            return len(named) >= max(1, len(parameter.words) / 2)
        case _:
            spells_date = _A_DATE.search(parameter.name.replace("_", " "))
            return bool(named) or bool(spells_date and (dates(said.text) or _MONTH.search(said.text)))


def _values(parameter: Parameter, said: RequestText, rails: Rails) -> Schema:
    chosen = said.chosen(parameter) if rails.settle else []
    match parameter.kind:
        case "string" if chosen:
            return {"enum": chosen}
        case "array" if chosen and parameter.items.get("type", "string") == "string":
            return {
                "type": "array",
                "items": {"enum": chosen},
                "minItems": len(chosen),
                "maxItems": len(chosen),
            }
        case "boolean" if rails.settle:
            return _truth(parameter, said)
        case "array" if rails.settle and parameter.items.get("type") in ("integer", "number") and said.lists:
            return {"enum": said.lists}
        case _:
            pass
    return _grounded(parameter, said) if rails.ground else dict(parameter.schema)


def _truth(parameter: Parameter, said: RequestText) -> Schema:
    named = said.speaks_of(parameter)
    if len(named) >= max(1, len(parameter.words) / 2):
        return {"type": "boolean"} if _NEGATIONS.search(said.text) else {"enum": [True]}
    if not named and str(parameter.default).lower() in ("true", "false"):
        return {"enum": [str(parameter.default).lower() == "true"]}
    return {"type": "boolean"}


def _grounded(parameter: Parameter, said: RequestText) -> Schema:
    if "enum" in parameter.schema:
        return {"enum": parameter.enum}
    match parameter.kind:
        case "integer" | "number":
            return _figure(parameter, said)
        case "string":
            return _passage(parameter, said)
        case "array":
            element = Parameter(
                parameter.name, {**parameter.items, "description": parameter.description}, True
            )
            most = 1 + len(re.findall(r",|;| and | or ", said.text))
            if element.kind in ("integer", "number"):
                most = max(2, len(said.numbers))
            items = _grounded(element, said)
            return {"type": "array", "items": items, "minItems": 1, "maxItems": min(most, 12)}
        case "object" if parameter.schema.get("properties"):
            parts = {
                part.name: _grounded(part, said) for part in parameters_of({"parameters": parameter.schema})
            }
            needed = parameter.schema.get("required") or list(parts)
            return {"type": "object", "properties": parts, "required": needed, "additionalProperties": False}
        case _:
            return dict(parameter.schema)


def _figure(parameter: Parameter, said: RequestText) -> Schema:
    figures = said.numbers
    values: list[Any] = list(figures) if parameter.kind == "number" else list(as_integers(figures))
    if not values:
        return dict(parameter.schema)
    named = said.figures_by(parameter, joined=True)
    # Not 'between the years 1990 and 2000', for a start year and an end year.
    settled = len(named) == 1 and parameter.words[-1] not in said.shared
    if settled and (readings := [value for value in named[0] if value in values]):
        return {"enum": readings}
    return {"enum": list(dict.fromkeys(values))}


def _passage(parameter: Parameter, said: RequestText) -> Schema:
    if parameter.closed:
        return {"enum": list(dict.fromkeys(parameter.choices))}
    passages = list(dict.fromkeys([*said.spans(), *parameter.choices, *dates(said.text)]))
    if not said.spans():
        return dict(parameter.schema)
    if _CITY_AND_STATE.search(parameter.description) and (cities := names(said.text)):
        stated = [span for span in said.spans(6) if re.fullmatch(r"[A-Z][^,]*, [A-Z][\w. ]+", span)]
        if stated:
            return {"enum": stated}
        pattern = "|".join(re.escape(city) for city in cities)
        return {"type": "string", "pattern": f"^(?:{pattern}), [A-Z]{{2}}$"}
    return {"enum": passages}
