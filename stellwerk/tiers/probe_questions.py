"""What is asked of a model: each question has an answer that only the capability in question brings about.

Models obey requests by themselves, and large ones well. So the prompt asks for the one thing, and the schema
or the tool for another: two random words that the prompt does not hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from stellwerk.tiers.probe_exchange import (
    Answer,
    Finding,
    Findings,
    Question,
    Talk,
    found,
    names_any,
    refusal,
    said,
    unknown,
)
from stellwerk.tiers.probe_form import Form, random_word
from stellwerk.tiers.probe_schemas import schema_questions
from stellwerk.tiers.probe_tools import tool_questions

# Prefix caches work in blocks of up to 128 tokens, and this has some 400.
_LONG = " ".join(f"Shelf {number} holds {number * 37 % 91} boxes." for number in range(40))


def plain(form: Form) -> Talk:
    """Whether a plain request is answered; where it is not, no refusal says anything about a capability."""
    answer = yield form.ask(tokens=8)
    if (finding := refusal(answer, form.limit, "temperature", "seed")) is not None:
        return {"chat": finding}
    if said(answer) is None:
        return {"chat": unknown(answer)}
    return {"chat": found(True, "a plain request was answered")}


def questions(form: Form) -> list[Question]:
    """Everything that is asked of a model that answers."""
    return [
        *schema_questions(form),
        *tool_questions(form),
        Question(("logprobs",), partial(_logprobs, form)),
        Question(("stream_usage",), partial(_stream, form)),
        Question(("cached_tokens",), partial(_cached, form)),
    ]


def _logprobs(form: Form) -> Talk:
    answer = yield form.ask(tokens=4, logprobs=True, top_logprobs=1)
    if (finding := refusal(answer, "logprobs")) is not None:
        return {"logprobs": finding}
    heard = said(answer)
    if heard is None:
        return {"logprobs": unknown(answer)}
    match heard.choice.get("logprobs"):
        case {"content": [{"logprob": float() | int()}, *_] as tokens}:
            return {"logprobs": found(True, f"given for {len(tokens)} tokens")}
        case _:
            return {"logprobs": found(False, "accepted and ignored: the answer has none")}


def _stream(form: Form) -> Talk:
    answer = yield form.ask(tokens=4, stream=True, stream_options={"include_usage": True})
    if (finding := refusal(answer, "stream")) is not None:
        return {"stream_usage": finding}
    pieces = [
        piece
        for each in answer.text.splitlines()
        if each.startswith("data:") and (piece := _piece(each.removeprefix("data:"))) is not None
    ]
    if not pieces:
        return {"stream_usage": unknown(answer)}
    for piece in pieces:
        match piece.get("usage"):
            case {"completion_tokens": int(written)}:
                return {"stream_usage": found(True, f"the stream ends with its usage, {written} tokens")}
    return {"stream_usage": found(False, "accepted and ignored: no piece of the stream has the usage")}


def _piece(written: str) -> Mapping[str, Any] | None:
    try:
        piece = json.loads(written)
    except ValueError:  # [DONE]
        return None
    return piece if isinstance(piece, dict) else None


def _cached(form: Form) -> Talk:
    """The same prompt twice, which is long enough to be cached in part."""
    ask = form.ask(f"{_LONG} {random_word()}", tokens=1)
    finding: Findings = {}
    for _ in range(2):
        answer = yield ask
        if (problem := refusal(answer)) is not None:
            return {"cached_tokens": problem}
        match answer.json():
            case {"usage": {"prompt_tokens_details": {"cached_tokens": int(cached)}, "prompt_tokens": total}}:
                detail = f"{cached} of {total} tokens of a repeated prompt were cached"
                finding = {"cached_tokens": found(True, detail)}
            case {"usage": {"prompt_tokens": int()}} if said(answer) is not None:
                detail = "no cached tokens in the usage of a prompt that was given twice"
                finding = {"cached_tokens": found(False, detail)}
            case _:
                return {"cached_tokens": unknown(answer)}
    return finding


def too_many_tokens(form: Form) -> Talk:
    """The context window, as an error tells it: a short prompt, and far too many tokens wanted.

    A server that takes any number stops at the first of the usual letters.
    """
    answer = yield form.ask(tokens=10_000_000, stop=[" ", "\n", "e", "o"])
    return {"context_window": _window(answer)}


def _window(answer: Answer) -> Finding:
    for limit in _limits(answer.words) if names_any(answer, ("context", "max_model_len")) else ():
        return found(limit, f"an error tells it: {answer.words}")
    if answer.status == 200:
        return found(None, "the server does not say")
    return unknown(answer)


def _limits(words: str) -> list[int]:
    pattern = r"(?:context (?:length|window|size)|max_model_len)\D{0,25}(\d[\d,]*)"
    return [int(number.replace(",", "")) for number in re.findall(pattern, words.lower())]
