"""`stellwerk config`: what is set and where, whether it can be used, and a file to begin with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, SecretStr

from stellwerk.cli.database import AsJson, errors
from stellwerk.errors import ConfigurationError, MissingExtraError, ModelFileError, StellwerkError
from stellwerk.prices import AS_OF, age_notice
from stellwerk.settings import Declared, Settings, TierSettings
from stellwerk.settings.declared import declare

app = typer.Typer(help="Show, check and begin the settings.", no_args_is_help=True)

Row = tuple[str, Any, str]  # key, value, where it comes from
HIDDEN = "***"


@app.command("show")
def show(*, as_json: AsJson = False) -> None:
    """Show each setting and where it comes from; secrets as ***."""
    with errors():
        declared = declare(Settings, {})
        settings = Settings.read(declared)
    rows = list(setting_rows(settings, declared))
    notice = age_notice()
    if as_json:
        shown = [{"key": key, "value": value, "from": origin} for key, value, origin in rows]
        file = None if declared.file is None else str(declared.file)
        prices = {"as_of": AS_OF.isoformat(), "notice": notice}
        typer.echo(json.dumps({"file": file, "settings": shown, "price_list": prices}, indent=2))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    key_column = Column("key", no_wrap=True, overflow="fold")  # a key is searched for
    table = Table(key_column, *(Column(name, overflow="fold") for name in ("value", "from")), box=SIMPLE)
    for key, value, origin in rows:
        told = value if isinstance(value, str) else json.dumps(value)
        # The whole path stands below.
        short = declared.file.name if declared.file and origin == str(declared.file) else origin
        table.add_row(Text(key), Text(told), Text(short))
    Console().print(table)
    typer.echo(f"file: {declared.file or 'none; make one with: stellwerk config init'}")
    if notice:
        typer.echo(notice, err=True)


@app.command("check")
def check(
    *,
    imports: Annotated[
        bool, typer.Option("--imports", help="Also import the workers, which runs their modules.")
    ] = False,
) -> None:
    """Check the settings without calling a server; exit with 2 if a run could not start with them."""
    with errors():
        declared = declare(Settings, {})
        settings = Settings.read(declared)
        problems = list(_problems(settings, imports))
        if problems:
            raise ConfigurationError("\n".join(problems))
    typer.echo(f"{declared.file or 'no file; the environment and defaults'}: good")
    unpriced = [tier.name for tier in settings.tiers if _price(tier)[0] == "none"]
    if unpriced:
        typer.echo(f"without a price, and counted apart in the ledger: {', '.join(unpriced)}")
    if not imports and (paths := [path for path in settings.workers if ":" in path]):
        typer.echo(f"not imported without --imports: {', '.join(paths)}")
    for hint in _to_run_here(settings):
        typer.echo(f"before a run on this machine: {hint}")
    if notice := age_notice():
        typer.echo(notice, err=True)


@app.command("init")
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("stellwerk.toml"),
) -> None:
    """Write a file to begin with: all of it commented out, so that nothing changes yet."""
    text = (files("stellwerk.cli") / "template.toml").read_text(encoding="utf-8")
    with errors():
        try:
            # Not for everybody to write, whatever the umask: such a file would be refused.
            with open(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="utf-8"
            ) as file:
                file.write(text)
        except FileExistsError:
            raise ConfigurationError(f"{path} is there already; edit it, or name another file") from None
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None
    typer.echo(f"wrote {path}; edit it, then run: stellwerk config check")


def setting_rows(settings: Settings, declared: Declared) -> Iterator[Row]:
    """Each setting with its value, secrets hidden, and where it comes from."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name == "tiers":
            for index, tier in enumerate(value):
                for name in type(tier).model_fields:
                    # How vLLM would be started says nothing of a tier for which it is not.
                    if name != "name" and (name != "serve" or tier.kind == "vllm"):
                        yield from _rows(("tiers", index, name), getattr(tier, name), declared)
                yield (declared.dotted(("tiers", index, "price")), *_price(tier))
                if (key := _key(tier)) is not None:
                    yield (declared.dotted(("tiers", index, "api_key")), *key)
        else:
            yield from _rows((name,), value, declared)


def _rows(path: tuple[str | int, ...], value: Any, declared: Declared) -> Iterator[Row]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _rows((*path, name), getattr(value, name), declared)
        return
    if isinstance(value, Mapping) and any(isinstance(each, BaseModel) for each in value.values()):
        for name, each in value.items():
            for key in type(each).model_fields:
                if key in each.model_fields_set:  # the rest is as of all
                    yield from _rows((*path, name, key), getattr(each, key), declared)
        return
    origin = declared.origin(path)
    if origin is None and value in (None, (), {}):
        return
    told = "default" if origin is None else origin.name or origin.kind
    yield declared.dotted(path), _plain(value), told


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _price(tier: TierSettings) -> tuple[str, str]:
    if tier.input_price is not None:
        return f"{tier.input_price:g} in, {tier.output_price:g} out", "its own prices"
    if tier.kind == "embedded":
        return "as hosted models of its size", "the embedded models"
    if (listed := tier.listed) is not None:
        return f"{listed.input:g} in, {listed.output:g} out", f"the price list of {AS_OF}, {listed.name}"
    return "none", "not in the price list; counted apart, not as free"


def _key(tier: TierSettings) -> tuple[str, str] | None:
    if tier.api_key_env is not None:
        return (HIDDEN if os.environ.get(tier.api_key_env) else "not set"), tier.api_key_env
    if tier.api_key_file is not None:
        return (HIDDEN if tier.api_key_file.is_file() else "not there"), str(tier.api_key_file)
    if tier.kind != "embedded" and not tier.url:
        return (HIDDEN if os.environ.get("OPENAI_API_KEY") else "not set"), "OPENAI_API_KEY"
    return None


def _to_run_here(settings: Settings) -> Iterator[str]:
    """What the models in this process lack on this machine; settings are often checked on another one."""
    from stellwerk.cli.session import check_models

    try:
        check_models(settings)
    except (MissingExtraError, ModelFileError) as error:
        yield str(error)


def _problems(settings: Settings, imports: bool) -> Iterator[str]:
    from stellwerk.graphs.declared import check_names
    from stellwerk.graphs.default import default_ladder, default_orchestrator
    from stellwerk.persistence.urls import parse_url

    found = []
    for tier in settings.tiers:
        try:
            tier.api_key()
        except ConfigurationError as error:
            found.append(str(error))
    for check in (lambda: parse_url(settings.place), settings.conversion.origin_keys):
        try:
            check()
        except StellwerkError as error:
            found.append(str(error))
    yield from found
    if found:
        return
    try:
        if imports or not any(":" in path for path in settings.workers):
            default_orchestrator(settings, plans=None, cache=None, effects=None)  # which open the database
        else:
            check_names(settings, default_ladder(settings))
    except ConfigurationError as error:
        yield str(error)
