"""`stellwerk tiers`."""

import typer

from stellwerk.cli.serve import serve

app = typer.Typer(help="Serve the tiers.", no_args_is_help=True)
app.command("serve")(serve)
