"""Which format a file has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from stellwerk.conversion.imports import langfuse, langsmith, openai_log, trajectory
from stellwerk.conversion.imports.parsed import Parser

Format = Literal["openai", "langsmith", "langfuse", "trajectory"]
FORMATS: tuple[Format, ...] = get_args(Format)

PARSERS: Mapping[Format, Parser] = {
    "openai": openai_log.parse,
    "langsmith": langsmith.parse,
    "langfuse": langfuse.parse,
    "trajectory": trajectory.parse,
}


def format_of(row: Mapping[str, Any]) -> Format | None:
    """The format that a row looks like; None if like none."""
    if isinstance(row.get("run_type"), str):
        return "langsmith"
    if isinstance(row.get("observations"), list):
        return "langfuse"
    if isinstance(row.get("type"), str) and ("traceId" in row or "trace_id" in row):
        return "langfuse"
    if any(name in row for name in trajectory.LISTS[1:]):
        return "trajectory"
    if "messages" in row and any(name in row for name in trajectory.REWARDS):
        return "trajectory"
    return "openai" if "messages" in row or "request" in row else None
