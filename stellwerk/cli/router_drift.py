"""`stellwerk router drift`: whether what a router learned still holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from stellwerk.cli.database import AsJson, Database, errors
from stellwerk.cli.router_stores import Version, finite, stores
from stellwerk.cli.status import status

ALARM = 3  # exit code, so that a script can tell an alarm from an error


def drift(
    version: Version = None,
    *,
    false_alarms: Annotated[
        float, typer.Option("--false-alarms", help="Chance of an alarm without drift.")
    ] = 0.01,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="A shift up to this is no drift, from 0 to 1.")
    ] = 0.05,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Look for drift since a router was trained: are answers still right as often as believed, are the
    subtasks of the same kinds? Exits with 3 if not.
    """
    with errors(), stores(database) as at:
        from stellwerk.graphs.drift import find_drift

        stored = at.router(version) if version else at.registry.in_state("active") or at.router(None)
        with status("looking at the traces"):
            found = find_drift(at.traces, at.registry, stored, false_alarms=false_alarms, tolerance=tolerance)
    if as_json:
        told = {
            "router": stored.version,
            "subtasks": found.subtasks,
            "alarm": found.alarm,
            "calibration": asdict(found.calibration),
            "mix": asdict(found.mix),
        }
        typer.echo(json.dumps(finite(told), indent=2))
    else:
        typer.echo(f"router {stored.version[:12]}, {found.subtasks:,} subtasks since it was trained")
        for name, part in (("answers", found.calibration), ("subtasks", found.mix)):
            typer.echo(f"{'ALARM' if part.alarm else 'calm'}  {name}: {part.why}")
    if found.alarm:
        raise typer.Exit(ALARM)
