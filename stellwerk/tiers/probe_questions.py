"""What is asked of a model: each question has an answer that only the capability in question brings about.

Models obey requests by themselves, and large ones well. So the prompt asks for the one thing, and the schema
or the tool for another: two random words that the prompt does not hold.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from stellwerk.tiers.probe_exchange import (
    CHAT,
    Answer,
    Ask,
    Finding,
    Findings,
    Question,
    Said,
    Talk,
    found,
    names_any,
    refusal,
    said,
    unknown,
)

_TOKENS = 64  # of an answer
_HELLO = "Write the word hello and nothing else. Do not write JSON, and call no function."
_WEATHER = "What is the weather in Paris? Call the function get_weather to find out."
# Prefix caches work in blocks of up to 128 tokens, and this has some 300.
_LONG = " ".join(f"Shelf {number} holds {number * 37 % 91} boxes." for number in range(40))
# Common words take few tokens, and no two of them are likely together.
_FIRST = (
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
_TOOLS = ("tools", "tool_choice", "function")
_SILENCE = Said("", (), cut=False, choice={})
_SCHEMA = ("response_format", "json_schema", "schema", "grammar", "structured_outputs")


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


def plain(form: Form) -> Talk:
    """Whether a plain request is answered; where it is not, no refusal says anything about a capability."""
    answer = yield form.ask(tokens=8)
    if (finding := refusal(answer, form.limit, "temperature", "seed")) is not None:
        return {"chat": finding}
    if said(answer) is None:
        return {"chat": unknown(answer)}
    return {"chat": found(True, "a plain request was answered")}


def forms(model: str) -> tuple[Form, ...]:
    """The forms of a plain request, in the order in which they are tried."""
    return Form(model), Form(model, limit="max_completion_tokens", fixed=False)


def questions(form: Form) -> list[Question]:
    """Everything that is asked of a model that answers."""
    return [
        Question(("json_schema",), partial(_held, form, "json_schema", _as_response_format, _SCHEMA)),
        Question(
            ("structured_outputs",),
            partial(_held, form, "structured_outputs", _as_structured_outputs, ("structured_outputs",)),
        ),
        Question(("guided_json",), partial(_held, form, "guided_json", _as_guided_json, ("guided_json",))),
        Question(("unparsable_schema",), partial(_unparsable, form)),
        Question(("named_tool", "strict_tool"), partial(_named, form)),
        Question(("required_tool",), partial(_required, form)),
        Question(("auto_tool",), partial(_auto, form)),
        Question(("tools_with_schema",), partial(_both, form)),
        Question(("logprobs",), partial(_logprobs, form)),
        Question(("stream_usage",), partial(_stream, form)),
        Question(("cached_tokens",), partial(_cached, form)),
    ]


def _word() -> str:
    return f"{secrets.choice(_FIRST)}_{secrets.choice(_SECOND)}"


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "title": "answer",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _only(word: str) -> dict[str, Any]:
    return _object(code={"type": "string", "enum": [word]})


def _tool(name: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    function = {"name": name, "description": f"Call {name}.", "parameters": parameters, **more}
    return {"type": "function", "function": function}


def _as_response_format(schema: dict[str, Any]) -> dict[str, Any]:
    inner = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": inner}}


def _as_structured_outputs(schema: dict[str, Any]) -> dict[str, Any]:
    return {"structured_outputs": {"json": schema}}


def _as_guided_json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"guided_json": schema}


def _held(form: Form, name: str, written: Any, names: tuple[str, ...]) -> Talk:
    word = _word()
    answer = yield form.ask(**written(_only(word)))
    if (finding := refusal(answer, *names)) is not None:
        return {name: finding}
    heard = said(answer)
    return {name: unknown(answer) if heard is None else _follows(heard, word)}


def _follows(heard: Said, word: str) -> Finding:
    """Whether an answer follows `_only(word)`, as far as it goes."""
    wanted, written = f'{{"code":"{word}"}}', "".join(heard.text.split())
    if written == wanted:
        return found(True, "the only answer that the schema allows was given")
    if heard.cut and wanted.startswith(written):
        if word[:3] in written:
            return found(True, "the only answer that the schema allows was begun")
        return found(None, "the answer was cut off before it said anything")
    return found(False, f"accepted and ignored: the answer is {heard.text[:60]!r}")


def _unparsable(form: Form) -> Talk:
    """A schema with a back reference, which JSON Schema allows and no grammar of a server can express."""
    word = _word()
    mark = {"type": "string", "pattern": rf"^({'|'.join(_FIRST)})_\1$"}
    schema = _object(code={"type": "string", "enum": [word]}, mark=mark)
    answer = yield form.ask(**_as_response_format(schema))
    finding = refusal(answer, "pattern", "regex", *_SCHEMA)
    if finding is not None:
        refused = found("refused", finding.detail) if finding.value is False else finding
        return {"unparsable_schema": refused}
    heard = said(answer)
    if heard is None:
        return {"unparsable_schema": unknown(answer)}
    written = "".join(heard.text.split())
    wholes = [f'{{"code":"{word}","mark":"{each}_{each}"}}' for each in _FIRST]
    if written in wholes:
        return {"unparsable_schema": found("enforced", "a pattern with a back reference was kept")}
    if heard.cut and any(whole.startswith(written) for whole in wholes):
        return {"unparsable_schema": found(None, "the answer was cut off before the pattern")}
    part = "the pattern" if word in written else "the whole schema"
    detail = f"{part} was ignored without a word: the answer is {heard.text[:80]!r}"
    return {"unparsable_schema": found("ignored", detail)}


def _named(form: Form) -> Talk:
    name, word = _word(), _word()
    weather = _tool("get_weather", _object(city={"type": "string"}))
    choice = {"type": "function", "function": {"name": name}}
    answer = yield form.ask(tools=[weather, _tool(name, _only(word), strict=True)], tool_choice=choice)
    strict = None
    if names_any(answer, ("strict",)):
        strict = found(False, f"refused ({answer.status}): {answer.words}")
        answer = yield form.ask(tools=[weather, _tool(name, _only(word))], tool_choice=choice)
    finding = _called(answer, name)
    if strict is None and finding.value:
        (arguments,) = (each for called, each in (said(answer) or _SILENCE).calls[:1])
        kept = "".join(arguments.split()) == f'{{"code":"{word}"}}'
        strict = found(kept, f"the arguments are {arguments[:60]!r}")
    strict = strict or Finding(None, "no call to see it by", answered=finding.answered)
    return {"named_tool": finding, "strict_tool": strict}


def _required(form: Form) -> Talk:
    name, word = _word(), _word()
    answer = yield form.ask(tools=[_tool(name, _only(word))], tool_choice="required")
    return {"required_tool": _called(answer, name)}


def _called(answer: Answer, name: str) -> Finding:
    if (finding := refusal(answer, *_TOOLS)) is not None:
        return finding
    heard = said(answer)
    if heard is None:
        return unknown(answer)
    if heard.calls and heard.calls[0][0] == name:
        return found(True, "the tool was called, although the prompt forbids it")
    if heard.cut and (not heard.text.strip() or name in heard.text):
        return found(None, f"the answer was cut off: {heard.text[:60]!r}")
    return found(False, f"accepted and ignored: the answer is {heard.text[:60]!r}")


def _auto(form: Form) -> Talk:
    answer = yield form.ask(_WEATHER, tools=[_tool("get_weather", _object(city={"type": "string"}))])
    if (finding := refusal(answer, *_TOOLS)) is not None:
        return {"auto_tool": finding}
    heard = said(answer)
    if heard is None:
        return {"auto_tool": unknown(answer)}
    if any(name == "get_weather" for name, _ in heard.calls):
        return {"auto_tool": found(True, "a call that the model made of itself was parsed")}
    if "get_weather" in heard.text and "{" in heard.text:
        detail = f"the call was left in the text, where no parser saw it: {heard.text[:60]!r}"
        return {"auto_tool": found(False, detail)}
    return {"auto_tool": found(None, f"the model made no call: {heard.text[:60]!r}")}


def _both(form: Form) -> Talk:
    """A tool is required, and a schema given: where the schema wins, no tool can ever be called."""
    name, word = _word(), _word()
    tools = [_tool(name, _only(word))]
    answer = yield form.ask(tools=tools, tool_choice="required", **_as_response_format(_only(_word())))
    finding = refusal(answer, *_TOOLS, *_SCHEMA)
    if finding is not None:
        return {"tools_with_schema": finding}
    heard = said(answer)
    if heard is None:
        return {"tools_with_schema": unknown(answer)}
    if any(called == name for called, _ in heard.calls):
        return {"tools_with_schema": found(True, "a tool that is required was called in spite of a schema")}
    if heard.cut and (not heard.text.strip() or name in heard.text):
        return {"tools_with_schema": found(None, f"the answer was cut off: {heard.text[:60]!r}")}
    detail = f"a tool that is required is not called where there is a schema: {heard.text[:60]!r}"
    return {"tools_with_schema": found(False, detail)}


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
    ask = form.ask(f"{_LONG} {_word()}", tokens=1)
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
