"""Tool calls that a model wrote into its text.

Small models often have the form right and the marks around it wrong, so that their server takes the call for
an answer: Qwen2.5-Coder of 0.5 and 1.5 billion parameters under llama.cpp does so every time.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from langchain_core.messages import ToolCall

_DECODER = json.JSONDecoder()


def written_calls(text: str, tools: Collection[str]) -> list[ToolCall]:
    """The calls that a text consists of; none if there is anything else in it, or another tool's name."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.removeprefix("```").removeprefix("json").removesuffix("```").strip()
    calls: list[ToolCall] = []
    while text:
        doubled = text.startswith("{{")  # as the chat template of Qwen2.5-Coder shows it, by mistake
        try:
            value, end = _DECODER.raw_decode(text, int(doubled))
        except (ValueError, RecursionError):
            return []
        match value:
            case {"name": str(name), "arguments": dict(args)} if len(value) == 2 and name in tools:
                calls.append(ToolCall(name=name, args=args, id=None))
            case _:
                return []
        text = text[end:].removeprefix("}" if doubled else "").lstrip()
    return calls
