"""What is asked of the server, beside its model: what it is, and which paths it has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from stellwerk.tiers.probe_exchange import Answer, Ask, Finding, Question, Talk, found, line, unknown

_ABSENT = (404, 405, 501)
_KINDS = {"llamacpp": "llama.cpp"}
# Of a model in the list of models: vLLM, OpenRouter and Together, Groq.
_WINDOWS = ("max_model_len", "context_length", "context_window")


def identity(model: str) -> Question:
    """What the server is, and what it says of the model; or, of `chat`, that it cannot be reached."""
    return Question(("server", "version", "adapters_listed", "context_window"), partial(_identity, model))


def paths(model: str) -> list[Question]:
    """Which paths the server has."""
    return [
        Question(("tokenizer",), partial(_tokenizer, model)),
        Question(("metrics",), _metrics),
        Question(("adapters_loadable",), _loadable),
    ]


def _identity(model: str) -> Talk:
    models = yield Ask("/models")
    if models.status == 0:
        return {"chat": unknown(models)}
    version = yield Ask("/version", root=True)
    props = yield Ask("/props", root=True)
    cards = _cards(models)
    card = next((card for card in cards if card.get("id") == model), {})
    told, properties = _object(version), _object(props)
    header = {name.lower(): value for name, value in models.headers.items()}.get("server", "")
    owner = str((card or next(iter(cards), {})).get("owned_by") or "")
    kind = "llama.cpp" if "llama.cpp" in header else _KINDS.get(owner, owner)
    spoken = str(told.get("version") or properties.get("build_info") or "")
    window, source = _window(card, properties)
    findings = {
        "server": found(line(kind), "the list of models or a header says so"),
        "version": found(line(spoken), "/version or /props says so" if spoken else "it does not say"),
        "adapters_listed": _listed(models, cards),
    }
    if window is not None:
        findings["context_window"] = found(window, source)
    return findings


def _cards(models: Answer) -> list[Mapping[str, Any]]:
    match models.json() if models.status == 200 else None:
        case {"data": [*cards]}:
            return [card for card in cards if isinstance(card, dict)]
        case _:
            return []


def _object(answer: Answer) -> Mapping[str, Any]:
    value = answer.json() if answer.status == 200 else None
    return value if isinstance(value, dict) else {}


def _window(card: Mapping[str, Any], properties: Mapping[str, Any]) -> tuple[int | None, str]:
    for name in _WINDOWS:
        if type(size := card.get(name)) is int and size > 0:
            return size, f"the list of models says {name}"
    match properties:
        # Of one slot, of which a server may have several: `n_ctx` in the list of models is that of all.
        case {"default_generation_settings": {"n_ctx": int(size)}} if size > 0:
            return size, "/props says n_ctx"
        case _:
            return None, ""


def _listed(models: Answer, cards: list[Mapping[str, Any]]) -> Finding:
    if models.status != 200:
        return _absent(models, "/models")
    number = sum(1 for card in cards if card.get("parent"))
    if any("parent" in card for card in cards):
        return found(True, f"the list of models tells adapters from models; it has {number}")
    return found(False, "the list of models does not tell adapters from models")


def _tokenizer(model: str) -> Talk:
    # vLLM reads `prompt`, llama.cpp `content`.
    answer = yield Ask("/tokenize", {"model": model, "prompt": "one two", "content": "one two"}, root=True)
    match answer.json() if answer.status == 200 else None:
        case {"tokens": [_, *_] as tokens}:
            return {"tokenizer": found(True, f"/tokenize finds {len(tokens)} tokens in two words")}
        case _:
            return {"tokenizer": _absent(answer, "/tokenize")}


def _metrics() -> Talk:
    answer = yield Ask("/metrics", root=True)
    for prefix in ("vllm:", "llamacpp:"):
        if answer.status == 200 and prefix in answer.text:
            return {"metrics": found(True, f"/metrics has names that begin with {prefix}")}
    if answer.status == 200:
        return {"metrics": found(False, "/metrics has none of the names of vLLM or llama.cpp")}
    return {"metrics": _absent(answer, "/metrics")}


def _loadable() -> Talk:
    """With empty names, which no server loads."""
    answer = yield Ask("/load_lora_adapter", {"lora_name": "", "lora_path": ""})
    if answer.status in (400, 422):
        return {"adapters_loadable": found(True, "/v1/load_lora_adapter wants a name and a path")}
    return {"adapters_loadable": _absent(answer, "/v1/load_lora_adapter")}


def _absent(answer: Answer, path: str) -> Finding:
    if answer.status in _ABSENT:
        return found(False, f"there is no {path} ({answer.status})")
    return unknown(answer)
