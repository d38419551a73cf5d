"""`stellwerk run` and `stellwerk resume`."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from stellwerk.cli.database import (
    AsJson,
    Database,
    errors,
    existing_database,
    made_database,
    settings_of,
    shown_place,
)
from stellwerk.document import MAX_BYTES, Document, read_document
from stellwerk.errors import (
    DocumentError,
    InputError,
    LeaseError,
    RunCancelledError,
)
from stellwerk.plan import Plan
from stellwerk.settings import Settings, config_file

if TYPE_CHECKING:  # LangGraph takes a second to import; `--help` does without
    from sqlalchemy import URL

    from stellwerk.cli.session import Session, Values

_THREAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def run(
    task: Annotated[str, typer.Argument(help="What to do.", show_default=False)],
    *,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="A text to work on; may be repeated; - reads standard input."),
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="A plan as JSON, instead of letting a model plan.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option("--thread", help="Name of the run; random by default.")
    ] = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Do a task: plan it, run each subtask on the smallest model that does it well, and merge the results."""
    with errors():
        if not task.strip():
            raise InputError("the task is empty; say what to do")
        documents = _documents(files or ())
        plan = Plan.parse(read_document(plan_file)["text"]) if plan_file else None
        settings = settings_of(database)

        from stellwerk.cli.session import check_models, new_thread
        from stellwerk.graphs.default import configured_workers

        if plan is not None:
            plan.check_workers([worker.name for worker in configured_workers(settings)])
        check_models(settings)
        thread = _thread(thread or new_thread())
        given: dict[str, Any] = {"task": task}
        if documents:
            given["documents"] = documents
        if plan is not None:
            given["plan"] = plan.model_dump(mode="json")

        async def start(session: Session, say: Callable[[str], None]) -> Values:
            command = _resume_command(thread, database)
            unfinished = InputError(f"thread {thread} is not finished; run: {command}")
            return await session.start(given, say, unfinished=unfinished)

        _follow(start, settings, made_database(database), thread, database, as_json)


def resume(
    thread: Annotated[str, typer.Argument(help="Name of the run.", show_default=False)],
    *,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Go on with a run that was broken off; what is done is not done again."""
    with errors():
        settings = settings_of(database)
        unknown = InputError(f"there is no thread {_thread(thread)} in {shown_place(settings)}")
        url = existing_database(database, older=True)

        async def known(session: Session) -> None:
            values, unfinished = await session.state()
            if not values and not unfinished:
                await session.check_free()
                raise unknown

        async def go_on(session: Session, say: Callable[[str], None]) -> Values:
            from stellwerk.cli.session import check_models

            values, unfinished = await session.state()
            if not unfinished:
                await session.check_free()
                say("this run is finished")
                return values
            check_models(settings)
            return await session.resume(say)

        _follow(go_on, settings, url, thread, database, as_json, known)


def _follow(
    work: Callable[[Session, Callable[[str], None]], Awaitable[Values]],
    settings: Settings,
    url: URL,
    thread: str,
    database: str | None,
    as_json: bool,
    check: Callable[[Session], Awaitable[None]] | None = None,
) -> None:
    from rich.console import Console

    from stellwerk.cli.render import (
        failure_lines,
        ledger_notes,
        ledger_table,
        plain,
        plan_tree,
        watch,
    )
    from stellwerk.cli.session import CANCELLED, InterruptedRun, open_session, run_until_signal

    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    async def go() -> Values:
        async with open_session(settings, url, thread) as session:
            if check is not None:  # before it is said how to resume the thread
                await check(session)
            errors.print(
                f"thread {thread}  (after an interruption: {_resume_command(thread, database)})", style="dim"
            )
            with watch(session.progress, errors) as say:
                values = await work(session, say)
            if errors.is_terminal and session.progress.rows:
                errors.print(plan_tree(session.progress), soft_wrap=False)
            return values

    try:
        values = run_until_signal(go())
    except InterruptedRun as interrupted:
        errors.print(f"interrupted; what is done is kept. To go on: {_resume_command(thread, database)}")
        _leave(interrupted.exit_code)
    except RunCancelledError:
        errors.print(f"cancelled; what is done is kept. To go on: {_resume_command(thread, database)}")
        _leave(CANCELLED)
    except LeaseError as lost:
        errors.print(f"stellwerk: {plain(str(lost))}")
        _leave(1)
    failure = values.get("failure")
    if as_json:
        names = ("answer", "results", "failure", "ledger", "final_plan")
        typer.echo(json.dumps({"thread": thread, **{name: values.get(name) for name in names}}, indent=2))
    else:
        _print_answer(plain(values["answer"]))
        if errors.is_terminal:
            errors.print()
        errors.print(ledger_table(values["ledger"]), soft_wrap=False)
        errors.print(ledger_notes(values["ledger"]), soft_wrap=False)
    if failure:
        errors.print("\n".join(failure_lines(failure)), style="red")
        raise typer.Exit(1)


def _print_answer(answer: str) -> None:
    from rich.console import Console
    from rich.text import Text

    if sys.stdout.isatty():
        Console().print(Text(answer), highlight=False)
    else:
        typer.echo(answer)


def _leave(code: int) -> NoReturn:
    # An embedded model cannot be stopped in the middle of an answer, and Python would wait for it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _thread(name: str) -> str:
    if not _THREAD.fullmatch(name):
        raise InputError(f"thread {name!r} is not usable; use at most 64 letters, digits, '.', '_' or '-'")
    return name


def _resume_command(thread: str, database: str | None) -> str:
    named = config_file.get()
    command = f"stellwerk {'' if named is None else f'--config {shlex.quote(named)} '}resume {thread}"
    if database is None:
        return command
    from stellwerk.persistence.urls import parse_url

    settings = settings_of(database)
    url = parse_url(settings.place)
    if url.password is not None or "password" in url.query:
        return f"{command} (with STELLWERK_DATABASE_URL set to the URL, which has a password)"
    return f"{command} --database {shlex.quote(shown_place(settings))}"


def _documents(files: Sequence[str]) -> list[Document]:
    documents: list[Document] = []
    for file in files:
        document = _standard_input() if file == "-" else read_document(file)
        if any(other["name"] == document["name"] for other in documents):
            document["name"] = file
        if any(other["name"] == document["name"] for other in documents):
            raise DocumentError(f"{file} is given twice; give it once")
        documents.append(document)
    return documents


def _standard_input() -> Document:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DocumentError(f"standard input has more than {MAX_BYTES:,} bytes; split it first")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"standard input is not UTF-8 text (at byte {error.start})") from error
    if "\0" in text:
        raise DocumentError("standard input is not text (it contains a NUL byte)")
    return Document(name="standard input", text=text)
