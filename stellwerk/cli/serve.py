"""`stellwerk tiers serve`."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from pydantic import SecretStr

from stellwerk.cli.database import errors, plain
from stellwerk.errors import ConfigurationError
from stellwerk.settings import Settings, TierSettings


def tier_names(incomplete: str) -> list[str]:
    """Names of the tiers that can be served, for the shell to complete."""
    try:
        tiers = Settings.load().tiers
    except ConfigurationError:
        return []
    return [tier.name for tier in tiers if tier.kind == "vllm" and tier.name.startswith(incomplete)]


def serve(
    name: Annotated[
        str, typer.Argument(help="The tier to serve.", show_default=False, autocompletion=tier_names)
    ],
    *,
    replica: Annotated[int, typer.Option("--replica", min=1, help="Which of its URLs to serve.")] = 1,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Address to listen on; that of its URL, if only this machine has it.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command and do nothing.")] = False,
) -> None:
    """Start vLLM for a tier with flags that follow from its settings, and keep it running.

    Waits until the server is healthy, and passes SIGINT and SIGTERM on.

    Starts it again if it dies, and ends with its exit code.
    """
    with errors():
        settings = Settings.load()
        tier = settings.tier(name)
        from stellwerk.tiers.vllm_command import vllm_command

        key = _stand_in(tier) if dry_run else None
        command = vllm_command(settings, tier, replica=replica, host=host, key=key)
        for note in command.notes:
            _say(f"{name}: {note}")
        if dry_run:
            typer.echo(command.shown())
            return
        if os.name != "posix":
            raise ConfigurationError("vLLM runs on Linux; start it there, and give the tier its URL")
        from stellwerk.tiers.supervisor import BackOff, Supervisor

        if len(tier.url) > 1:
            _say(
                f"{name}: serving {tier.url[replica - 1]}, {replica} of {len(tier.url)} URLs (see --replica)"
            )
        _say(f"{name}: {command.shown()}")
        supervisor = Supervisor(
            name=name,
            command=command,
            ready_timeout=tier.serve.ready_timeout,
            grace=tier.serve.grace,
            back_off=BackOff(limit=tier.serve.max_restarts),
            say=_say,
            log=_say,
        )
        code = supervisor.run()
    raise typer.Exit(code)


def _stand_in(tier: TierSettings) -> SecretStr | None:
    """A key that stands for one that is elsewhere: a command is often read where it will not run."""
    try:
        tier.api_key()
    except ConfigurationError as error:
        _say(f"{tier.name}: not to be started as it is: {error}")
        return SecretStr("elsewhere")
    return None


def _say(text: str) -> None:
    typer.echo(plain(text), err=True)
