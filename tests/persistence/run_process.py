"""What the tests of leases run in processes of their own.

Each says `ready` and waits for a line before it goes on, and says at the end what became of it.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from stellwerk.errors import LeaseError
from stellwerk.persistence.runs import AsyncRunStore, RunStore
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver


class State(TypedDict, total=False):
    done: list[str]


def steps(saver: BaseCheckpointSaver[str], log: Path, *, wait_in: str = "") -> Any:
    """a → b → c; each leaves a line in the log, and one may wait for a line first."""

    def node(name: str) -> Any:
        def step(state: State) -> State:
            if name == wait_in:
                wait()
            with log.open("a") as lines:
                lines.write(f"{name}\n")
            return {"done": [*state.get("done", []), name]}

        return step

    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, node(name))
    builder.add_edge(START, "a").add_edge("a", "b").add_edge("b", "c").add_edge("c", END)
    return builder.compile(checkpointer=saver)


def wait() -> None:
    """Wait until the test says go."""
    print("ready", flush=True)
    sys.stdin.readline()


def claim(url: str) -> str:
    """Claim the thread."""
    with RunStore.from_url(url) as store:
        store.setup()
        wait()
        return f"token {store.claim('t', task='x').token}"


def resume(url: str, log: str) -> str:
    """Resume the thread, and hold it until the test has heard of everybody."""
    with SQLAlchemySaver.from_url(url) as saver:
        store = RunStore(saver.database)
        wait()
        with store.running("t", task="x") as hold:
            values = steps(saver, Path(log)).invoke(None, hold.config, durability="sync")
            print(f"done {''.join(values['done'])}", flush=True)
            sys.stdin.readline()
    return "released"


def run(url: str, log: str) -> str:
    """Run the thread, and wait in the middle of it."""
    with SQLAlchemySaver.from_url(url) as saver, RunStore(saver.database).running("t", task="x") as hold:
        steps(saver, Path(log), wait_in="b").invoke({"done": []}, hold.config, durability="sync")
    return "done"


def arun(url: str, log: str) -> str:
    """As `run`, in async code."""

    async def go() -> None:
        async with (
            AsyncSQLAlchemySaver.from_url(url) as saver,
            AsyncRunStore(saver.database).running("t", task="x", interval=0.2) as hold,
        ):
            await steps(saver, Path(log), wait_in="b").ainvoke({"done": []}, hold.config, durability="sync")

    asyncio.run(go())
    return "done"


WHAT: dict[str, Callable[..., str]] = {"claim": claim, "resume": resume, "run": run, "arun": arun}


def said(what: str, *arguments: object) -> None:
    """Do one of these, and say what became of it."""
    try:
        print(WHAT[what](*map(str, arguments)))
    except LeaseError as error:
        print(f"LeaseError: {error}")
