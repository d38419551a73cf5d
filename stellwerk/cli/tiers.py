"""`stellwerk tiers`: what tiers there are, and what their servers really do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stellwerk.cli.database import (
    AsJson,
    Database,
    errors,
    existing_database,
    made_database,
    plain,
    settings_of,
)
from stellwerk.cli.serve import serve
from stellwerk.cli.tiers_table import LABELS, print_capabilities
from stellwerk.errors import InputError
from stellwerk.prices import age_notice

if TYPE_CHECKING:  # LangChain takes a second to import; `--help` does without
    from stellwerk.capabilities import CapabilityStore, FoundCapabilities
    from stellwerk.settings import Settings
    from stellwerk.tiers.ladder import Ladder
    from stellwerk.tiers.tier import Tier

app = typer.Typer(help="Show the tiers, find out what their servers do, and serve one.", no_args_is_help=True)
app.command("serve")(serve)


@app.command("list")
def list_tiers(*, as_json: AsJson = False, database: Database = None) -> None:
    """Show the tiers, cheapest first, and when their servers were last checked."""
    with errors():
        settings = settings_of(database)
        missing = {tier.name: tier.key_missing for tier in settings.tiers}
        keyless = {"tiers": tuple(tier.without_key() for tier in settings.tiers)}
        tiers = _ladder(settings.model_copy(update=keyless))
        with _stored(database) as store:
            rows = [{**_row(tier, store), "key_missing": missing.get(tier.name)} for tier in tiers]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    # A name is typed again, so it is never cut off.
    table = Table(
        Column("tier", no_wrap=True, overflow="fold"),
        Column("model", overflow="fold"),
        *("USD per 1M in / out", "context", "at once", "checked"),
        box=SIMPLE,
    )
    for row in rows:
        price = row["price"]
        usd = "not known" if price is None else f"{price['input']:.4g} / {price['output']:.4g}"
        cells = (row["name"], row["model"], usd, f"{row['context_window']:,}")
        limit = "no limit" if row["max_concurrency"] is None else str(row["max_concurrency"])
        table.add_row(*(Text(plain(cell)) for cell in (*cells, limit, _last_checked(row))))
    Console().print(table)
    for row in rows:
        typer.echo(plain(f"{row['name']}: {', '.join(each['where'] for each in row['servers'])}"))
    if notice := age_notice():
        typer.echo(notice, err=True)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Tiers to check; all of them by default.")] = None,
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the servers again, also what is known of them.")
    ] = False,
    limit: Annotated[float, typer.Option("--limit", help="Seconds for each server.", min=1)] = 60.0,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Find out what the tiers' servers really do; exit with 1 if one gives no answer.

    Each server is sent some fifteen short requests, unless its answers are known.

    Models in this process are known; --refresh asks them all the same.
    """
    with errors():
        from stellwerk.persistence.capabilities import SQLAlchemyCapabilityStore
        from stellwerk.tiers.probe import probe
        from stellwerk.tiers.probe_ladder import servers

        ladder = _ladder(settings_of(database))
        chosen = [ladder.tier(name) for name in dict.fromkeys(names or ladder.names)]
        found: list[tuple[str, FoundCapabilities]] = []
        with SQLAlchemyCapabilityStore.from_url(made_database(database)) as store, _progress() as watch:
            for tier in chosen:
                if problem := _absent(tier):
                    found.append((tier.name, _unavailable(tier, problem)))
                    continue
                starting, tell = watch(tier.name)
                for server in servers(tier):
                    seen = probe(server, store, refresh=refresh, limit=limit, starting=starting, tell=tell)
                    found.append((tier.name, seen))
    if as_json:
        typer.echo(json.dumps([_as_json(name, each) for name, each in found], indent=2))
    else:
        for name, each in found:
            print_capabilities(name, each)
    if not all(each.capabilities.chat for _, each in found):
        raise typer.Exit(1)


def _ladder(settings: Settings) -> Ladder:
    from stellwerk.graphs.default import default_ladder

    return default_ladder(settings)


@contextmanager
def _stored(database: str | None) -> Iterator[CapabilityStore | None]:
    """What is known of servers, if there is a database."""
    from stellwerk.persistence.capabilities import SQLAlchemyCapabilityStore

    try:
        url = existing_database(database)
    except InputError:
        yield None
        return
    with SQLAlchemyCapabilityStore.from_url(url) as store:
        yield store


def _row(tier: Tier, store: CapabilityStore | None) -> dict[str, Any]:
    from stellwerk.tiers.probe_ladder import servers

    price = tier.price
    each = [_server(server, store) for server in servers(tier)]
    return {
        "name": tier.name,
        **each[0],
        "price": price and {"input": price.input, "cached": price.cached, "output": price.output},
        "context_window": tier.context_window,
        "max_concurrency": tier.gate.limit,
        "servers": each,
    }


def _server(tier: Tier, store: CapabilityStore | None) -> dict[str, Any]:
    """What is known of a tier's server, or of one of its replicas."""
    from stellwerk.tiers.probe import IN_PROCESS
    from stellwerk.tiers.probe_reach import Endpoint

    endpoint = Endpoint.of(tier.model)
    where = endpoint.shown if endpoint else IN_PROCESS
    model = endpoint.model if endpoint else str(getattr(tier.model, "model_name", ""))
    known = store.find(where, model) if store and endpoint else None
    return {
        "model": model,
        "where": where,
        "server": known.capabilities.server if known else (tier.capabilities and tier.capabilities.server),
        "version": known.capabilities.version if known else None,
        "checked_at": known.probed_at.isoformat() if known else None,
    }


def _last_checked(row: dict[str, Any]) -> str:
    """The day since which every server of a tier was checked, or why none can be."""
    from stellwerk.tiers.probe import IN_PROCESS

    if row["key_missing"]:
        return f"key missing: {row['key_missing']}"
    if row["where"] == IN_PROCESS:
        return "no need"
    days = [(each["checked_at"] or "")[:10] for each in row["servers"]]
    if not all(days):
        return "in part" if any(days) else "never"
    return min(days)


def _absent(tier: Tier) -> str | None:
    """Why a model in this process cannot run, or None."""
    from importlib.util import find_spec

    from stellwerk.tiers.llamacpp import ChatLlamaCpp
    from stellwerk.tiers.model_files import MODEL_FILES, file_state, models_dir

    if not isinstance(tier.model, ChatLlamaCpp):
        return None
    if find_spec("xllamacpp") is None:
        return "xllamacpp is not installed; run: pip install 'stellwerk[embedded]'"
    name = tier.model.model_name
    if name in MODEL_FILES and file_state(name) == "absent":
        return f"no file of {name} in {models_dir()}; run: stellwerk models pull {name}"
    return None


def _unavailable(tier: Tier, problem: str) -> FoundCapabilities:
    from datetime import UTC, datetime

    from stellwerk.capabilities import Capabilities, FoundCapabilities
    from stellwerk.tiers.probe import IN_PROCESS

    nothing = Capabilities(details={"chat": problem})
    model = str(getattr(tier.model, "model_name", ""))
    return FoundCapabilities(url=IN_PROCESS, model=model, capabilities=nothing, probed_at=datetime.now(UTC))


def _as_json(name: str, found: FoundCapabilities) -> dict[str, Any]:
    return {
        "name": name,
        "where": found.url,
        "model": found.model,
        "reachable": bool(found.capabilities.chat),
        "checked_at": found.probed_at.isoformat() if found.capabilities.probe else None,
        "capabilities": found.capabilities.to_json(),
    }


@contextmanager
def _progress() -> Iterator[Callable[[str], tuple[Callable[[], None], Callable[[str], None]]]]:
    """For each tier, what to call when its server is asked, and for each answer."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status("", spinner="dots") as status:
        status.stop()

        def watch(name: str) -> tuple[Callable[[], None], Callable[[str], None]]:
            def starting() -> None:
                said = f"{plain(name)}: asking what its server can do"
                if console.is_terminal:
                    status.update(Text(said))
                    status.start()
                else:
                    typer.echo(said, err=True)

            def tell(field: str) -> None:
                status.update(Text(f"{plain(name)}: {LABELS.get(field, field)}"))

            return starting, tell

        yield watch
