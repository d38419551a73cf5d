"""What a server was seen to do, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from stellwerk.cli.database import plain

if TYPE_CHECKING:
    from stellwerk.capabilities import FoundCapabilities

LABELS = {
    "chat": "answers",
    "json_schema": "JSON schema enforced",
    "structured_outputs": "structured_outputs enforced",
    "guided_json": "guided_json enforced",
    "unparsable_schema": "schema it cannot parse",
    "named_tool": "named tool called",
    "required_tool": "required tool called",
    "auto_tool": "own tool calls parsed",
    "strict_tool": "strict arguments",
    "tools_with_schema": "tools beside a schema",
    "logprobs": "log-probabilities",
    "stream_usage": "usage in streams",
    "cached_tokens": "cached tokens told",
    "adapters_listed": "adapters listed",
    "adapters_loadable": "adapters loadable",
    "tokenizer": "counts tokens",
    "metrics": "metrics",
    "context_window": "context window",
}


def print_capabilities(name: str, found: FoundCapabilities) -> None:
    """Print what a tier's server does, and how that was seen."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    able = found.capabilities
    if not able.chat:
        why = able.details.get("chat", "why is not known")
        typer.echo(plain(f"{name} cannot be used: {found.model}, {found.url}: {why}"))
        return
    server = " ".join(part for part in (able.server, able.version) if part) or "a server of no known kind"
    when = f"checked {found.probed_at:%Y-%m-%d %H:%M} UTC" if able.probe else "known without a check"
    typer.echo(plain(f"{name}: {found.model} on {server}, {found.url}, {when}"))
    table = Table("", "", "seen", box=SIMPLE)
    for field, label in LABELS.items():
        shown = _shown(getattr(able, field))
        style = {"yes": "green", "no": "red", "not known": "dim"}.get(shown, "")
        table.add_row(label, Text(shown, style=style), Text(plain(able.details.get(field, ""))))
    Console().print(table)


def _shown(value: bool | int | str | None) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else value
