"""Counting tokens as a model does: by the server that runs it."""

from __future__ import annotations

from collections.abc import Callable

from stellwerk.errors import TierError

Tokenizer = Callable[[str], int]
SECONDS = 10.0


def served_tokenizer(base_url: str, *, model: str | None = None) -> Tokenizer:
    """The tokenizer of a vLLM or llama.cpp server: its `/tokenize`, which both have beside `/v1`.

    Args:
        base_url: of the server, with or without `/v1`.
        model: name of the model, where a vLLM server has several.

    Raises:
        TierError: when called, if the server does not count.
    """
    url = base_url.rstrip("/").removesuffix("/v1") + "/tokenize"

    def count(text: str) -> int:
        import httpx

        body = {"prompt": text, "content": text, "add_special_tokens": False}  # vLLM's name, and llama.cpp's
        if model is not None:
            body["model"] = model
        try:
            answer = httpx.post(url, json=body, timeout=SECONDS)
            found = answer.raise_for_status().json()
            return int(found["count"]) if "count" in found else len(found["tokens"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise TierError(f"{url} counts no tokens: {type(error).__name__}: {error}") from error

    return count
