"""What a probe asks and hears: requests, answers, and what an answer says of a capability."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

CHAT = "/chat/completions"
_LONGEST = 200  # characters of a detail
# What is wrong with a request; other statuses are about the key, the path, the load or the server.
_REFUSALS = (400, 405, 415, 422, 501)
_PASSING = (0, 408, 409, 425, 429)


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request: POST where there is a body. `root` is for paths beside `/v1`, not below it."""

    path: str
    body: Mapping[str, Any] | None = None
    root: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Status 0 means that nothing did, and `text` then says why."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body, or None if it is no JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    @property
    def words(self) -> str:
        """The message of an error, or the body as it is."""
        match self.json():
            case {"error": {"message": str(said)}} | {"message": str(said)} | {"error": str(said)}:
                return said
            case {"detail": said}:
                return said if isinstance(said, str) else json.dumps(said)
            case _:
                return self.text


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of one capability.

    `answered` is False if it is worth asking again: the server was busy, slow, or broken.
    """

    value: Any
    detail: str
    answered: bool = True


Findings = Mapping[str, Finding]
Talk = Generator[Ask, Answer, Findings]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked to find out about some fields of `Capabilities`."""

    fields: tuple[str, ...]
    talk: Callable[[], Talk]


@dataclass(frozen=True, slots=True)
class Said:
    """The first choice of an answer. `calls` are names of tools with arguments as they were written."""

    text: str
    calls: tuple[tuple[str, str], ...]
    cut: bool
    choice: Mapping[str, Any]


def found(value: Any, detail: str) -> Finding:
    """Something that was seen."""
    return Finding(value, line(detail))


def unknown(answer: Answer) -> Finding:
    """Nothing is known from an answer that is not the one asked for."""
    if answer.status == 200:
        return Finding(None, line(f"the answer cannot be read: {answer.text[:80]!r}"), answered=False)
    passing = answer.status in _PASSING or answer.status >= 500
    status = f" ({answer.status})" if answer.status else ""
    return Finding(None, line(f"no answer{status}: {answer.words}"), answered=not passing)


def refusal(answer: Answer, *names: str) -> Finding | None:
    """What the status of an answer says, or None if it is an answer.

    Only an error that names the parameter refutes it: others may have any cause.
    """
    if answer.status == 200:
        return None
    if answer.status in _REFUSALS and any(_flat(name) in _flat(answer.text) for name in names):
        return found(False, f"refused ({answer.status}): {answer.words}")
    return unknown(answer)


def names_any(answer: Answer, names: tuple[str, ...]) -> bool:
    """Whether it is an error about one of these parameters."""
    finding = refusal(answer, *names)
    return finding is not None and finding.value is False


def said(answer: Answer) -> Said | None:
    """What a chat completion says, or None if it is none."""
    match answer.json():
        case {"choices": [{"message": dict(message)} as choice, *_]}:
            pass
        case _:
            return None
    content = message.get("content")
    calls = []
    for call in message.get("tool_calls") or ():
        match call:
            case {"function": {"name": str(name), "arguments": str(arguments)}}:
                calls.append((name, arguments))
            case _:
                return None
    return Said(
        text=content if isinstance(content, str) else "",
        calls=tuple(calls),
        cut=choice.get("finish_reason") == "length",
        choice=choice,
    )


def line(text: str) -> str:
    """A text in one line of at most 200 characters, as it can be shown."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = " ".join(plain.split())
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def _flat(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
