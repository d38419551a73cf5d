"""How a probe puts a request to a model, and what it wants of it that the prompt does not say."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from stellwerk.tiers.probe_exchange import CHAT, Ask

# Common words take few tokens, and no two of them are likely together.
FIRST = (
    "amber",
    "cold",
    "crooked",
    "copper",
    "dusty",
    "empty",
    "frozen",
    "hollow",
    "marble",
    "naked",
    "pale",
)
_SECOND = (
    "anchor",
    "basket",
    "cactus",
    "ferry",
    "hammer",
    "lemon",
    "monk",
    "panther",
    "saddle",
    "violin",
    "walrus",
)
_TOKENS = 64  # of an answer
_HELLO = "Write the word hello and nothing else. Do not write JSON, and call no function."


@dataclass(frozen=True, slots=True)
class Form:
    """How a plain request has to be put: newer hosted models refuse the older names."""

    model: str
    limit: str = "max_tokens"
    fixed: bool = True

    def ask(self, prompt: str = _HELLO, tokens: int = _TOKENS, **more: Any) -> Ask:
        """A request for a chat completion."""
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], self.limit: tokens}
        if self.fixed:
            body |= {"temperature": 0, "seed": 0}
        return Ask(CHAT, body | more)


def forms(model: str) -> tuple[Form, ...]:
    """The forms of a plain request, in the order in which they are tried."""
    return Form(model), Form(model, limit="max_completion_tokens", fixed=False)


def random_word() -> str:
    """Two words that no prompt here holds and no free model would write."""
    return f"{secrets.choice(FIRST)}_{secrets.choice(_SECOND)}"


def object_schema(**properties: Any) -> dict[str, Any]:
    """An object with these properties and no others."""
    return {
        "title": "answer",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def only(word: str) -> dict[str, Any]:
    """The schema of a single answer."""
    return object_schema(code={"type": "string", "enum": [word]})
