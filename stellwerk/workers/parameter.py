"""A parameter of a function: what its JSON schema and its description say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_STOP = frozenset(
    re.findall(
        r"\w+",
        "a an the of in on for to and or is are be by with at as from this that it its if will should can "
        "may which what whether optional default value values parameter param use used using given format "
        "type name list data number num input",
    )
)
_ENDINGS = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "es", "ed", "ly", "s", "e", "y")
_CLOSED = re.compile(
    r"\b(?:can be|could be|choices?|options?|either|one of|must be|possible|available)\b", re.I
)
_EXAMPLES = re.compile(
    r"(?:\be\.g\.,?|\bsuch as|\bfor example,?) ([a-z-]+(?:(?:,? or |, )[a-z-]+)+)"
)  # words, not names
_DEFAULT = re.compile(r"\bdefaults?(?: value)?(?:\s+(?:is|to|of)|\s*[=:])*\s+['\"]?([\w.+-]*\w)", re.I)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a function."""

    name: str
    schema: Mapping[str, Any]
    required: bool

    @property
    def kind(self) -> str:
        """Its JSON type."""
        return str(self.schema.get("type", "string"))

    @property
    def description(self) -> str:
        """What its author says of it."""
        return str(self.schema.get("description", ""))

    @property
    def items(self) -> Mapping[str, Any]:
        """The schema of its elements, where it is an array."""
        items = self.schema.get("items")
        return items if isinstance(items, Mapping) else {}

    @cached_property
    def words(self) -> list[str]:
        """The stems of its name, without those that say nothing."""
        return stems(self.name)

    @cached_property
    def enum(self) -> list[Any]:
        """The values that its schema allows, or its elements'; empty where it leaves them open."""
        allowed = self.schema.get("enum") or self.items.get("enum") or []
        return list(allowed)

    @cached_property
    def choices(self) -> list[str]:
        """The values that its schema or its description names."""
        if self.enum:
            return [value for value in self.enum if isinstance(value, str)]
        quoted = re.findall(r"(?<!\w)'([^']{1,40})'(?!\w)|\"([^\"]{1,40})\"", self.description)
        if quoted:
            return [single or double for single, double in quoted]
        listed = re.search(r"\(([\w -]+(?:, ?[\w -]+)+(?:,? or [\w -]+)?)\)", self.description)
        if listed and not re.search(r"\b(?:in|optional|default)\b", listed[1]):
            return [part.strip() for part in re.split(r",? or |, ?", listed[1])]
        examples = _EXAMPLES.search(self.description)
        return re.split(r",? or |, ", examples[1]) if examples else []

    @property
    def closed(self) -> bool:
        """Whether no other value than its choices makes sense."""
        return bool(self.enum) or (len(self.choices) > 2 and bool(_CLOSED.search(self.description)))

    @property
    def default(self) -> Any:
        """The default that its schema or its description gives; None if neither does."""
        if "default" in self.schema:
            return self.schema["default"]
        said = _DEFAULT.search(self.description)
        return said[1] if said else None

    def is_default(self, value: object) -> bool:
        """Whether a value is the default, as far as letters go."""
        return str(value).lower() == str(self.default).lower()


def parameters_of(function: Mapping[str, Any]) -> list[Parameter]:
    """The parameters of a function, those first that it needs."""
    schema = function.get("parameters") or {}
    required = schema.get("required") or []
    found = [
        Parameter(name, part if isinstance(part, Mapping) else {}, name in required)
        for name, part in (schema.get("properties") or {}).items()
    ]
    return sorted(found, key=lambda parameter: not parameter.required)


def stems(text: str) -> list[str]:
    """The words of a text or of an identifier, lower case and without endings, but for the small ones."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ").lower()
    return [_stem(word) for word in re.findall(r"[a-z]+|\d+", apart) if word not in _STOP]


def spoken(words: Sequence[str], among: Sequence[str]) -> list[str]:
    """Those stems that are among others, or begin as one of them does."""
    return [word for word in words if any(_same(word, other) for other in among)]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _same(a: str, b: str) -> bool:
    return a == b or (min(len(a), len(b)) >= 4 and (a.startswith(b) or b.startswith(a)))
