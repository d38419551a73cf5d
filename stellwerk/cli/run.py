"""`stellwerk run` and `stellwerk resume`."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from stellwerk.budget import RunBudget
from stellwerk.cli.database import (
    AsJson,
    Database,
    errors,
    existing_database,
    made_database,
    plain,
    settings_of,
    shown_place,
)
from stellwerk.cli.options import Cache, Overrides, Replans, ReusePlans
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
    from rich.console import Console
    from sqlalchemy import URL

    from stellwerk.graphs.questions import Asked
    from stellwerk.graphs.session import Session, Values

    Work = Callable[[Session, Callable[[str], None]], Awaitable[Values]]

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
    usd: Annotated[
        float | None, typer.Option("--max-usd", help="What the run may cost; it ends with what it has.")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--max-seconds", help="How long the run may work.")] = None,
    tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="How many tokens its calls may read and write.")
    ] = None,
    calls: Annotated[
        int | None, typer.Option("--max-calls", help="How many calls of models it may make.")
    ] = None,
    replans: Replans = None,
    reuse_plans: ReusePlans = None,
    cache: Cache = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Do a task: plan it, run each subtask on the smallest model that does it well, and merge the results."""
    with errors():
        if not task.strip():
            raise InputError("the task is empty; say what to do")
        documents = _documents(files or ())
        budget = _budget(usd=usd, seconds=seconds, tokens=tokens, calls=calls)
        plan = Plan.parse(read_document(plan_file)["text"]) if plan_file else None
        options = Overrides(replans=replans, reuse_plans=reuse_plans, cache=cache)
        settings = options.over(settings_of(database))

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
        if budget:
            given["budget"] = budget

        async def start(session: Session, say: Callable[[str], None]) -> Values:
            command = resume_command(thread, database, *options.words())
            unfinished = InputError(f"thread {thread} is not finished; run: {command}")
            return await session.start(given, say, unfinished=unfinished)

        _follow(start, settings, made_database(database), thread, database, options, as_json)


def resume(
    thread: Annotated[str, typer.Argument(help="Name of the run.", show_default=False)],
    *,
    decisions: Annotated[
        list[str] | None,
        typer.Option(
            "--decision",
            metavar="[ID=]DECISION",
            help="Answer to a question: approve, edit:JSON, reject:WHY or respond:VALUE; may be repeated. "
            "The ID may be left out where one question is open.",
            show_default=False,
        ),
    ] = None,
    replans: Replans = None,
    reuse_plans: ReusePlans = None,
    cache: Cache = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Go on with a run that was broken off, or waits for a person; what is done is not done again.

    In a terminal, questions are asked at a prompt. Elsewhere they are listed, and the exit code is 4.

    \b
    Examples:
      stellwerk resume outlook
      stellwerk resume outlook --decision approve
      stellwerk resume outlook --decision 3f2a91='edit:{"pieces": 2}'
      stellwerk resume outlook --decision 3f2a91=approve --decision 77c0de=respond:17
    """
    with errors():
        options = Overrides(replans=replans, reuse_plans=reuse_plans, cache=cache)
        settings = options.over(settings_of(database))
        unknown = InputError(f"there is no thread {_thread(thread)} in {shown_place(settings)}")
        url = existing_database(database, older=True)

        async def known(session: Session) -> None:
            values, unfinished = await session.state()
            if not values and not unfinished:
                await session.check_free()
                raise unknown
            if decisions:
                from stellwerk.cli.people import decided

                answers.update(decided(decisions, await session.questions()))

        answers: dict[str, Any] = {}

        async def go_on(session: Session, say: Callable[[str], None]) -> Values:
            from stellwerk.cli.session import check_models

            values, unfinished = await session.state()
            if not unfinished:
                await session.check_free()
                say("this run is finished")
                return values
            check_models(settings)
            return await session.resume(say, answers)

        _follow(go_on, settings, url, thread, database, options, as_json, known, prompting=not decisions)


def _follow(
    work: Work,
    settings: Settings,
    url: URL,
    thread: str,
    database: str | None,
    options: Overrides,
    as_json: bool,
    check: Callable[[Session], Awaitable[None]] | None = None,
    *,
    prompting: bool = True,
) -> None:
    from rich.console import Console

    from stellwerk.cli.prompt import answers_of, somebody_is_there
    from stellwerk.cli.render import plan_tree, watch
    from stellwerk.cli.session import CANCELLED, InterruptedRun, open_session, run_until_signal
    from stellwerk.graphs.default import default_ladder
    from stellwerk.observing.configured import finish_exporting

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    command = resume_command(thread, database, *options.words())
    ladder = default_ladder(settings)  # one, so that embedded models stay loaded while a person answers

    async def go(work: Work, first: bool) -> tuple[Values, list[Asked]]:
        async with open_session(settings, url, thread, ladder) as session:
            if first:
                if check is not None:  # before it is said how to resume the thread
                    await check(session)
                console.print(f"thread {thread}  (after an interruption: {command})", style="dim")
            with watch(session.progress, console) as say:
                values = await work(session, say)
            if console.is_terminal and session.progress.rows:
                console.print(plan_tree(session.progress), soft_wrap=False)
            return values, session.asked

    put_off: set[str] = set()  # they have been seen as well

    def to_the_end() -> tuple[Values, list[Asked]]:
        values, asked = run_until_signal(go(work, True))
        while prompting and not as_json and somebody_is_there():
            new = [one for one in asked if one.id not in put_off]
            # Nobody holds the thread while a person thinks.
            answers = answers_of(new, console) if new else {}
            put_off.update({one.id for one in new} - answers.keys())
            if not answers:
                break
            values, asked = run_until_signal(go(_answering(answers), False))
        return values, asked

    try:
        try:
            values, asked = to_the_end()
        finally:
            finish_exporting()  # `_leave` does nothing that is to be done at exit
    except KeyboardInterrupt:  # at the prompt
        console.print(f"\ninterrupted; no answer of now is kept. To go on: {command}")
        raise typer.Exit(128 + signal.SIGINT) from None
    except InterruptedRun as interrupted:
        console.print(f"interrupted; what is done is kept. To go on: {command}")
        _leave(interrupted.exit_code)
    except RunCancelledError:
        console.print(f"cancelled; what is done is kept. To go on: {command}")
        _leave(CANCELLED)
    except LeaseError as lost:
        console.print(f"stellwerk: {plain(str(lost))}")
        _leave(1)
    if asked:
        _wait(asked, thread, database, options, as_json, console, seen=bool(put_off))
    _end(values, thread, as_json, console)


def _answering(answers: Mapping[str, Any]) -> Work:
    async def go_on(session: Session, say: Callable[[str], None]) -> Values:
        return await session.resume(say, answers)

    return go_on


def _wait(
    asked: Sequence[Asked],
    thread: str,
    database: str | None,
    options: Overrides,
    as_json: bool,
    console: Console,
    *,
    seen: bool,
) -> NoReturn:
    """End as a run that waits for a person."""
    from stellwerk.cli.people import questions_shown
    from stellwerk.cli.session import WAITING
    from stellwerk.graphs.session import ended

    if as_json:
        typer.echo(json.dumps(ended(thread, {}, asked), indent=2, default=str))
    else:
        if not seen:
            console.print(questions_shown(asked), soft_wrap=False)
        console.print("\nthe run waits for a person.")
        console.print("\n".join(how_to_answer(asked, thread, database, *options.words())))
    raise typer.Exit(WAITING)


def _end(values: Values, thread: str, as_json: bool, console: Console) -> None:
    from stellwerk.cli.render import failure_lines, ledger_notes, ledger_table
    from stellwerk.graphs.session import ended

    failure = values.get("failure")
    if as_json:
        typer.echo(json.dumps(ended(thread, values, ()), indent=2))
    else:
        _print_answer(plain(values["answer"]))
        if console.is_terminal:
            console.print()
        console.print(ledger_table(values["ledger"]), soft_wrap=False)
        console.print(ledger_notes(values["ledger"]), soft_wrap=False)
    if failure:
        console.print("\n".join(failure_lines(failure)), style="red")
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


def _budget(**limits: float | None) -> dict[str, Any]:
    given = {name: limit for name, limit in limits.items() if limit is not None}
    RunBudget().within(given)  # or it says what is wrong, before a model is loaded
    return given


def _thread(name: str) -> str:
    if not _THREAD.fullmatch(name):
        raise InputError(f"thread {name!r} is not usable; use at most 64 letters, digits, '.', '_' or '-'")
    return name


def resume_command(thread: str, database: str | None, *words: str) -> str:
    """What to type to go on with a run."""
    named = config_file.get()
    config = [] if named is None else ["--config", named]
    command = shlex.join(["stellwerk", *config, "resume", thread, *words])
    if database is None:
        return command
    from stellwerk.persistence.urls import parse_url

    settings = settings_of(database)
    url = parse_url(settings.place)
    if url.password is not None or "password" in url.query:
        return f"{command} (with STELLWERK_DATABASE_URL set to the URL, which has a password)"
    return f"{command} --database {shlex.quote(shown_place(settings))}"


def how_to_answer(asked: Sequence[Asked], thread: str, database: str | None, *words: str) -> list[str]:
    """What to type to answer questions, in lines."""
    from stellwerk.cli.people import example

    return [
        f"To answer in a terminal: {resume_command(thread, database, *words)}",
        f"or by options, as in: {resume_command(thread, database, *words, *example(asked))}",
    ]


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
