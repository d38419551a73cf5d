"""Questions about schemas: whether an answer is held to one, and what becomes of one that is too much."""

from __future__ import annotations

from functools import partial
from typing import Any

from stellwerk.tiers.dialect import response_format
from stellwerk.tiers.probe_exchange import Finding, Question, Said, Talk, found, refusal, said, unknown
from stellwerk.tiers.probe_form import FIRST, Form, object_schema, only, random_word

NAMES = ("response_format", "json_schema", "schema", "grammar", "structured_outputs")
"""By which errors call the parameter."""


def schema_questions(form: Form) -> list[Question]:
    """Each form of a schema, and a schema that no grammar can express."""
    return [
        Question(("json_schema",), partial(_held, form, "json_schema", as_response_format, NAMES)),
        Question(
            ("structured_outputs",),
            partial(_held, form, "structured_outputs", _as_structured_outputs, ("structured_outputs",)),
        ),
        Question(("guided_json",), partial(_held, form, "guided_json", _as_guided_json, ("guided_json",))),
        Question(("unparsable_schema",), partial(_unparsable, form)),
    ]


def as_response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """In the form of the OpenAI chat API."""
    return {"response_format": response_format(schema)}


def _as_structured_outputs(schema: dict[str, Any]) -> dict[str, Any]:
    return {"structured_outputs": {"json": schema}}


def _as_guided_json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"guided_json": schema}


def _held(form: Form, name: str, written: Any, names: tuple[str, ...]) -> Talk:
    word = random_word()
    answer = yield form.ask(**written(only(word)))
    if (finding := refusal(answer, *names)) is not None:
        return {name: finding}
    heard = said(answer)
    return {name: unknown(answer) if heard is None else _follows(heard, word)}


def _follows(heard: Said, word: str) -> Finding:
    """Whether an answer follows `only(word)`, as far as it goes."""
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
    word = random_word()
    mark = {"type": "string", "pattern": rf"^({'|'.join(FIRST)})_\1$"}
    schema = object_schema(code={"type": "string", "enum": [word]}, mark=mark)
    answer = yield form.ask(**as_response_format(schema))
    finding = refusal(answer, "pattern", "regex", *NAMES)
    if finding is not None:
        refused = found("refused", finding.detail) if finding.value is False else finding
        return {"unparsable_schema": refused}
    heard = said(answer)
    if heard is None:
        return {"unparsable_schema": unknown(answer)}
    written = "".join(heard.text.split())
    wholes = [f'{{"code":"{word}","mark":"{each}_{each}"}}' for each in FIRST]
    if written in wholes:
        return {"unparsable_schema": found("enforced", "a pattern with a back reference was kept")}
    if heard.cut and any(whole.startswith(written) for whole in wholes):
        return {"unparsable_schema": found(None, "the answer was cut off before the pattern")}
    part = "the pattern" if word in written else "the whole schema"
    detail = f"{part} was ignored without a word: the answer is {heard.text[:80]!r}"
    return {"unparsable_schema": found("ignored", detail)}
