"""A worker with tools that is killed, or that waits for a person, repeats no call that has ended."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from stellwerk.graphs import create_orchestrator, create_worker_graph
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from tests.fakes import WAIT, Scripted, in_turn, ladder, not_asked, plan, run, wants, worker
from tests.persistence.processes import process

GOOD = '{"text": "fine"}'
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Shop:
    """Tools with side effects: each leaves a line in a file, and `dies` names one that kills before it does.

    That one waits until what the other call gave is stored, as nobody can know it otherwise.
    """

    def __init__(self, folder: Path, dies: str = "") -> None:
        self.lines = folder / "lines"
        self.stored = threading.Event()
        self._dies = dies

    def order(self, what: str) -> str:
        """Order something."""
        if what == self._dies:
            assert self.stored.wait(WAIT)
            kill()
        with self.lines.open("a") as file:
            file.write(f"{what}\n")
        return f"ordered {what}"

    @property
    def ordered(self) -> list[str]:
        return sorted(self.lines.read_text().split())

    def saw(self, pending: Sequence[tuple[str, Any]]) -> None:
        """What is written to the checkpoint."""
        if any(channel == "uses" and value for channel, value in pending):
            self.stored.set()


def watched(saver: type[Any], shop: Shop) -> type[Any]:
    class Watched(saver):  # type: ignore[misc]
        def put_writes(self, config: RunnableConfig, pending: Any, task_id: str, path: str = "") -> None:
            super().put_writes(config, pending, task_id, path)
            shop.saw(pending)

        async def aput_writes(
            self, config: RunnableConfig, pending: Any, task_id: str, path: str = ""
        ) -> None:
            await super().aput_writes(config, pending, task_id, path)
            shop.saw(pending)

    return Watched


def work(shop: Shop, model: Scripted, given: Any, folder: Path, *, sync: bool, **options: Any) -> Any:
    """Run or resume an orchestrator on a file, with a graph and a checkpointer of its own."""
    url = f"sqlite:///{folder / 'run.sqlite'}"
    graph = create_orchestrator([worker(tools=[shop.order], **options)], ladder(model), synthesizer="join")
    if sync:
        with watched(SQLAlchemySaver, shop).from_url(url) as saver:
            return graph.compile(checkpointer=saver).invoke(given, THREAD, durability="sync")

    async def go() -> Any:
        async with watched(AsyncSQLAlchemySaver, shop).from_url(url) as asaver:
            return await graph.compile(checkpointer=asaver).ainvoke(given, THREAD, durability="sync")

    return asyncio.run(go())


def orders(*what: str) -> Any:
    return wants(*(("order", {"what": each}) for each in what))


START = {"task": "Do it", "plan": plan(a="")}


def dies_when_asked_again(folder: str, sync: bool, what: Sequence[str], ordered: bool) -> None:
    """The code of the process that is killed: after its tools, before the next answer of its model."""

    def answer(messages: Sequence[BaseMessage]) -> Any:
        if model.calls > 1:
            kill()
        return orders(*what)

    model = Scripted(reply=answer)
    work(Shop(Path(folder)), model, START, Path(folder), sync=sync, parallel_tools=not ordered)


def dies_in_a_tool(folder: str, sync: bool, what: Sequence[str], ordered: bool) -> None:
    """The code of the process that is killed: in its last call, when those before are stored."""
    model = Scripted(reply=in_turn(orders(*what)))
    shop = Shop(Path(folder), dies=what[-1])
    work(shop, model, START, Path(folder), sync=sync, parallel_tools=not ordered)


def killed(code: Callable[..., None], folder: Path, *arguments: Any) -> None:
    with process(code, str(folder), *arguments) as other:
        said, ended = other.ends()
        assert ended == -signal.SIGKILL, said


@pytest.mark.parametrize("ordered", [False, True], ids=["at once", "in order"])
def test_a_side_effect_is_not_repeated_after_a_kill_before_the_next_answer(
    ordered: bool, sync: bool, tmp_path: Path
) -> None:
    killed(dies_when_asked_again, tmp_path, sync, ["tea", "milk"], ordered)
    shop, again = Shop(tmp_path), Scripted(reply=in_turn(GOOD))
    output = work(shop, again, None, tmp_path, sync=sync)
    assert shop.ordered == ["milk", "tea"]
    assert output["results"]["a"]["status"] == "accepted"
    assert again.calls == 1
    (attempt,) = output["results"]["a"]["attempts"]
    assert [use["output"] for use in attempt["calls"][0]["tools"]] == ["ordered tea", "ordered milk"]


@pytest.mark.parametrize("ordered", [False, True], ids=["at once", "in order"])
def test_a_kill_in_one_call_repeats_that_call_alone(ordered: bool, sync: bool, tmp_path: Path) -> None:
    killed(dies_in_a_tool, tmp_path, sync, ["tea", "milk"], ordered)
    shop, again = Shop(tmp_path), Scripted(reply=in_turn(GOOD))
    assert shop.ordered == ["tea"]
    output = work(shop, again, None, tmp_path, sync=sync)
    assert shop.ordered == ["milk", "tea"]
    assert output["results"]["a"]["status"] == "accepted"
    assert again.calls == 1  # the model was not asked again what it wants


def test_a_run_killed_one_way_goes_on_the_other_way(sync: bool, tmp_path: Path) -> None:
    killed(dies_in_a_tool, tmp_path, sync, ["tea", "milk"], False)
    shop = Shop(tmp_path)
    output = work(shop, Scripted(reply=in_turn(GOOD)), None, tmp_path, sync=not sync)
    assert shop.ordered == ["milk", "tea"]
    assert output["results"]["a"]["status"] == "accepted"


class Diary:
    """What a run does, line by line in a file; the process is killed after so many lines."""

    def __init__(self, folder: Path, last: int | None = None) -> None:
        self._path = folder / "diary"
        self._left = last
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        with self._lock:
            with self._path.open("a") as file:
                file.write(f"{line}\n")
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    kill()

    @property
    def lines(self) -> list[str]:
        return self._path.read_text().splitlines()


ROUNDS = 2


def keep_diary(folder: str, sync: bool, last: int | None = None) -> Any:
    """Run or resume: two rounds of two calls at once."""
    diary = Diary(Path(folder), last)

    def order(what: str) -> str:
        """Order something."""
        diary.write(f"ran {what}")
        return f"ordered {what}"

    def reply(messages: Sequence[BaseMessage]) -> Any:
        had = sum(isinstance(message, ToolMessage) for message in messages) // 2
        diary.write(f"asked {had}")
        return orders(f"{had}a", f"{had}b") if had < ROUNDS else GOOD

    class Told(Shop):
        def saw(self, pending: Sequence[tuple[str, Any]]) -> None:
            for channel, value in pending:
                if channel == "uses" and value:
                    for use in value.values():
                        diary.write(f"stored {use['args']['what']}")

    shop = Told(Path(folder))
    shop.order = order  # type: ignore[method-assign]
    start = None if (Path(folder) / "run.sqlite").exists() else START
    return work(shop, Scripted(reply=reply), start, Path(folder), sync=sync)


@pytest.mark.slow
def test_a_run_killed_after_any_line_repeats_nothing_that_was_stored(sync: bool, tmp_path: Path) -> None:
    for last in range(1, 12):  # the twelfth line would be one of a run that nobody killed
        folder = tmp_path / str(last)
        folder.mkdir()
        with process(keep_diary, str(folder), sync, last) as other:
            said, ended = other.ends()
            assert ended == -signal.SIGKILL, said
        output = keep_diary(str(folder), not sync)
        (attempt,) = output["results"]["a"]["attempts"]
        given = [use["output"] for call in attempt["calls"] for use in call.get("tools", ())]
        assert given == [f"ordered {number}{each}" for number in range(ROUNDS) for each in "ab"]
        lines = Diary(folder).lines
        for number, line in enumerate(lines):
            done, what = line.split()
            if done == "stored":
                assert f"ran {what}" not in lines[number:], (last, lines)
                assert f"asked {what[0]}" not in lines[number:], (last, lines)
        again = [line for line in set(lines) if lines.count(line) > 1]
        assert len(again) <= 2, (last, lines)  # what was under way: one call of the model, or two of tools


# Waiting for a person


class Office:
    """A tool that asks, and one that does not."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def approve(self, what: str) -> str:
        """Approve."""
        answer: str = interrupt(f"May I {what}?")
        self.done.append(f"{what}: {answer}")
        return answer

    def note(self, text: str) -> str:
        """Note."""
        self.done.append(text)
        return "noted"


def asked(output: Any) -> dict[str, str]:
    """What is asked, with the id that answers it."""
    return {each.value: each.id for each in output["__interrupt__"]}


@pytest.mark.parametrize("alone", [True, False], ids=["worker alone", "in a plan"])
def test_a_call_that_asks_keeps_what_the_other_gave(alone: bool, sync: bool) -> None:
    office, saver = Office(), InMemorySaver()
    specialist = worker(tools=[office.approve, office.note])
    asking = wants(("note", {"text": "noted"}), ("approve", {"what": "pay"}), ("note", {"text": "again"}))

    def go(model: Scripted, given: Any) -> Any:
        if alone:
            graph: Any = create_worker_graph(specialist, ladder(model))
        else:
            graph = create_orchestrator([specialist], ladder(model), synthesizer="join")
        return run(graph.compile(checkpointer=saver), given, THREAD, sync=sync)

    first = Scripted(reply=in_turn(asking))
    start = {"instruction": "go"} if alone else START
    assert list(asked(go(first, start))) == ["May I pay?"]
    assert sorted(office.done) == ["again", "noted"]
    office.done.clear()
    second = Scripted(reply=in_turn(GOOD))
    output = go(second, Command(resume="yes"))
    assert office.done == ["pay: yes"]
    assert second.calls == 1
    calls = output["calls"] if alone else output["results"]["a"]["attempts"][0]["calls"]
    assert [use["output"] for use in calls[0]["tools"]] == ["noted", "yes", "noted"]


def test_two_calls_that_ask_are_answered_one_by_one_in_any_order(sync: bool) -> None:
    office = Office()
    model = Scripted(reply=in_turn(wants(("approve", {"what": "pay"}), ("approve", {"what": "leave"})), GOOD))
    graph = create_orchestrator([worker(tools=[office.approve])], ladder(model), synthesizer="join").compile(
        checkpointer=InMemorySaver()
    )
    both = asked(run(graph, START, THREAD, sync=sync))
    assert set(both) == {"May I pay?", "May I leave?"}
    left = run(graph, Command(resume={both["May I leave?"]: "no"}), THREAD, sync=sync)
    assert asked(left) == {"May I pay?": both["May I pay?"]}
    output = run(graph, Command(resume={both["May I pay?"]: "yes"}), THREAD, sync=sync)
    assert office.done == ["leave: no", "pay: yes"]
    assert model.calls == 2
    (attempt,) = output["results"]["a"]["attempts"]
    assert [use["output"] for use in attempt["calls"][0]["tools"]] == ["yes", "no"]


def test_each_call_is_a_step_of_the_thread(sync: bool) -> None:
    office, saver = Office(), InMemorySaver()
    model = Scripted(reply=in_turn(wants(("note", {"text": "a"}), ("note", {"text": "b"})), GOOD))
    graph = create_worker_graph(worker(tools=[office.note]), ladder(model)).compile(checkpointer=saver)
    run(graph, {"instruction": "go"}, THREAD, sync=sync)
    steps = [state.next for state in graph.get_state_history(THREAD)]
    assert steps[::-1] == [("__start__",), ("generate",), ("tools", "tools"), ("generate",), ("verify",), ()]
    # A step that is forked begins where it stood.
    before = next(state for state in graph.get_state_history(THREAD) if state.next == ("verify",))
    again = create_worker_graph(worker(tools=[office.note]), ladder(not_asked)).compile(checkpointer=saver)
    assert run(again, None, before.config, sync=sync)["value"] == json.loads(GOOD)
    assert office.done == ["a", "b"] or office.done == ["b", "a"]
