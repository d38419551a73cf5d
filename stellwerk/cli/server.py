"""`stellwerk serve`: the graphs over HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from stellwerk.cli.database import Database, errors, settings_of
from stellwerk.errors import ConfigurationError, MissingExtraError

app = typer.Typer(help="Serve the graphs over HTTP.", invoke_without_command=True)


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for any.", show_default=False),
    ] = None,
    database: Database = None,
) -> None:
    """Serve the graphs over HTTP, until SIGINT or SIGTERM; then running requests have some seconds to end.

    Address, keys and limits are in the section [serve] of the settings.
    """
    if context.invoked_subcommand is not None:
        return
    with errors():
        settings = settings_of(database)
        told = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        settings = settings.model_copy(update={"serve": settings.serve.model_copy(update=told)})
        for package in ("fastapi", "uvicorn"):
            if find_spec(package) is None:
                raise MissingExtraError(package, "serve")
        from stellwerk.cli.session import check_models
        from stellwerk.serving.server import server_of

        check_models(settings)
        server = server_of(settings, alone=True)
        if settings.serve.port and find_spec("jinja2") is not None:
            host = f"[{settings.serve.host}]" if ":" in settings.serve.host else settings.serve.host
            typer.echo(f"what runs is shown at http://{host}:{settings.serve.port}/report/", err=True)
        server.run()
    if not server.started:
        raise typer.Exit(1)


@app.command("key")
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is.", show_default=False)],
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The file of keys, if not that of the settings.", show_default=False),
    ] = None,
) -> None:
    """Make an API key: it is printed once, and its SHA-256 is added to the file of keys."""
    with errors():
        path = file or settings_of(None).serve.api_keys_file
        if path is None:
            raise ConfigurationError(
                'there is no file of keys; set api_keys_file = "api_keys" in [serve], or give --file'
            )
        from stellwerk.serving.api_keys import new_key

        made = new_key(path, name)
    typer.echo(made)
    typer.echo(f"added to {path} as {name}; the key is not kept, and not shown again", err=True)
