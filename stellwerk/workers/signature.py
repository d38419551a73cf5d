"""How a function is shown to a small model: a line for each parameter, not its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stellwerk.workers.parameter import Parameter, parameters_of


def signature(function: Mapping[str, Any]) -> str:
    """Name and description, then a line for each parameter."""
    lines = [f"Function {function['name']}: {' '.join(str(function.get('description', '')).split())}"]
    return "\n".join(lines + [_line(parameter) for parameter in parameters_of(function)])


def _line(parameter: Parameter) -> str:
    kind = parameter.kind
    if kind == "array":
        kind = f"array of {parameter.items.get('type', 'string')}"
    marks = [kind] if parameter.required else [kind, "optional"]
    if parameter.enum:
        marks.append(f"one of {json.dumps(parameter.enum, ensure_ascii=False)}")
    if "default" in parameter.schema:
        marks.append(f"default {json.dumps(parameter.default, ensure_ascii=False)}")
    line = f"- {parameter.name} ({', '.join(marks)}): {' '.join(parameter.description.split())}".rstrip(": ")
    if inner := parameter.schema.get("properties"):
        parts = [f"{name}: {part.get('description', '')}".rstrip(": ") for name, part in inner.items()]
        line += f" {{{'; '.join(parts)}}}"
    return line
