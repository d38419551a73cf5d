"""Questions about tools: which ways there are to have one called."""

from __future__ import annotations

from functools import partial
from typing import Any

from stellwerk.tiers import probe_schemas
from stellwerk.tiers.probe_exchange import (
    Answer,
    Finding,
    Question,
    Said,
    Talk,
    found,
    names_any,
    refusal,
    said,
    unknown,
)
from stellwerk.tiers.probe_form import Form, object_schema, only, random_word
from stellwerk.tiers.probe_schemas import as_response_format

_NAMES = ("tools", "tool_choice", "function")
_SILENCE = Said("", (), cut=False, choice={})
_WEATHER = "What is the weather in Paris? Call the function get_weather to find out."


def tool_questions(form: Form) -> list[Question]:
    """Whether a tool is called that is named, required, or wanted by the model, and one beside a schema."""
    return [
        Question(("named_tool", "strict_tool"), partial(_named, form)),
        Question(("required_tool",), partial(_required, form)),
        Question(("auto_tool",), partial(_auto, form)),
        Question(("tools_with_schema",), partial(_both, form)),
    ]


def _tool(name: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    function = {"name": name, "description": f"Call {name}.", "parameters": parameters, **more}
    return {"type": "function", "function": function}


def _named(form: Form) -> Talk:
    name, word = random_word(), random_word()
    weather = _tool("get_weather", object_schema(city={"type": "string"}))
    choice = {"type": "function", "function": {"name": name}}
    answer = yield form.ask(tools=[weather, _tool(name, only(word), strict=True)], tool_choice=choice)
    strict = None
    if names_any(answer, ("strict",)):
        strict = found(False, f"refused ({answer.status}): {answer.words}")
        answer = yield form.ask(tools=[weather, _tool(name, only(word))], tool_choice=choice)
    finding = _called(answer, name)
    if strict is None and finding.value:
        (arguments,) = (each for called, each in (said(answer) or _SILENCE).calls[:1])
        kept = "".join(arguments.split()) == f'{{"code":"{word}"}}'
        strict = found(kept, f"the arguments are {arguments[:60]!r}")
    strict = strict or Finding(None, "no call to see it by", answered=finding.answered)
    return {"named_tool": finding, "strict_tool": strict}


def _required(form: Form) -> Talk:
    name, word = random_word(), random_word()
    answer = yield form.ask(tools=[_tool(name, only(word))], tool_choice="required")
    return {"required_tool": _called(answer, name)}


def _called(answer: Answer, name: str) -> Finding:
    if (finding := refusal(answer, *_NAMES)) is not None:
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
    answer = yield form.ask(_WEATHER, tools=[_tool("get_weather", object_schema(city={"type": "string"}))])
    if (finding := refusal(answer, *_NAMES)) is not None:
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
    name, word = random_word(), random_word()
    tools = [_tool(name, only(word))]
    answer = yield form.ask(tools=tools, tool_choice="required", **as_response_format(only(random_word())))
    finding = refusal(answer, *_NAMES, *probe_schemas.NAMES)
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
