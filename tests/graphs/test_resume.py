"""A run that is killed at any point resumes with every result where it belongs.

LangGraph matches the stored result of a `@task` by name and order of call, so a plan whose subtasks are
launched in another order on resume gets one subtask's result for another's, without an error. Hence every
order in which the subtasks of a plan can end, each killed at every point.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from stellwerk.effects import Effect, EffectJournal, InMemoryEffectJournal
from stellwerk.errors import StellwerkError
from stellwerk.graphs import create_orchestrator
from stellwerk.nodes.synthesize import Synthesizer
from stellwerk.plan import Plan
from tests.fakes import WAIT, Crash, Scripted, ladder, made, make, mark_of, plan, run, values, wants, worker
from tests.persistence.killed_graphs import World, told

THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}

DIAMOND = {"a": "", "b": "a", "c": "a", "d": "b c"}
ZIGZAG = {"a": "", "c": "a", "b": "", "e": "b", "z": "c e"}
LATE = {"a": "", "b": "", "c": "a b", "d": "a"}  # what is written last may end first
PLANS = {"diamond": DIAMOND, "zigzag": ZIGZAG, "late": LATE}


def orders(needs: Mapping[str, str], done: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every order in which the subtasks can end."""
    ready = [name for name in needs if name not in done and set(needs[name].split()) <= set(done)]
    if not ready:
        yield done
    for name in ready:
        yield from orders(needs, (*done, name))


EVERY_ORDER = [
    pytest.param(needs, order, id=f"{name} {''.join(order)}")
    for name, needs in PLANS.items()
    for order in orders(needs)
]


class Director:
    """Lets each subtask answer once the result of the one before it is stored, and kills at a point.

    A point is a place in the order: the subtask there dies when its model is asked, and with it all that
    are being asked.
    """

    def __init__(self, order: Sequence[str], point: int, kill: Callable[[], object] | None = None) -> None:
        self._turns: dict[str, Future[None]] = {name: Future() for name in order}
        self.order = list(order)
        self._kill = kill
        self._victim = order[point] if point < len(order) else ""
        self._turns[order[0]].set_result(None)
        self.model = Scripted(reply=make, before=self._before, abefore=self._abefore)

    def stored(self, name: str) -> None:
        """A subtask's result has been written to the checkpoint."""
        after = self.order.index(name) + 1
        if after < len(self.order) and not self._turns[self.order[after]].done():
            self._turns[self.order[after]].set_result(None)

    def _before(self, messages: Sequence[BaseMessage]) -> None:
        self._turns[mark_of(messages)].result(WAIT)
        self._strike(mark_of(messages))

    async def _abefore(self, messages: Sequence[BaseMessage]) -> None:
        turn = asyncio.wrap_future(self._turns[mark_of(messages)])
        await asyncio.wait_for(asyncio.shield(turn), WAIT)
        self._strike(mark_of(messages))

    def _strike(self, name: str) -> None:
        if name != self._victim:
            return
        if self._kill is not None:
            self._kill()
        for turn in self._turns.values():
            if not turn.done():
                turn.set_exception(Crash())
        raise Crash


def stored_results(writes: Sequence[tuple[str, Any]]) -> list[str]:
    """Subtasks whose results are among what is written."""
    return [value["id"] for channel, value in writes if channel == "__return__" and "attempts" in value]


@contextmanager
def saver(path: Path, stored: Callable[[str], object] = str) -> Iterator[SqliteSaver]:
    """A file of checkpoints that tells of each subtask's result when it is written."""

    class Watched(SqliteSaver):
        def put_writes(
            self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
        ) -> None:
            super().put_writes(config, writes, task_id, task_path)
            for name in stored_results(writes):
                stored(name)

    with SqliteSaver.from_conn_string(str(path)) as base:
        base.conn.execute("PRAGMA synchronous=OFF")  # a killed process loses nothing that it wrote
        yield Watched(base.conn)


@asynccontextmanager
async def asaver(path: Path, stored: Callable[[str], object] = str) -> AsyncIterator[AsyncSqliteSaver]:
    """As `saver`."""

    class Watched(AsyncSqliteSaver):
        async def aput_writes(
            self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
        ) -> None:
            await super().aput_writes(config, writes, task_id, task_path)
            for name in stored_results(writes):
                stored(name)

    async with AsyncSqliteSaver.from_conn_string(str(path)) as base:
        await base.conn.execute("PRAGMA synchronous=OFF")
        yield Watched(base.conn)


def work(
    model: Scripted,
    path: Path,
    given: Any,
    *,
    sync: bool,
    stored: Callable[[str], object] = str,
    synthesizer: Synthesizer = "join",
    planner: Scripted | None = None,
) -> dict[str, Any]:
    """Run or resume with a graph and a checkpointer of its own, as a new process would."""
    tiers = ladder(model, planner or model)
    graph = create_orchestrator([worker()], tiers, synthesizer=synthesizer)
    if sync:
        with saver(path, stored) as checkpointer:
            output = graph.compile(checkpointer=checkpointer).invoke(given, THREAD, durability="sync")
        return dict(output)

    async def run() -> dict[str, Any]:
        async with asaver(path, stored) as checkpointer:
            compiled = graph.compile(checkpointer=checkpointer)
            return dict(await compiled.ainvoke(given, THREAD, durability="sync"))

    return asyncio.run(run())


def given(needs: Mapping[str, str]) -> dict[str, Any]:
    return {"task": "Do it", "plan": plan(**needs)}


def right(needs: Mapping[str, str]) -> dict[str, Any]:
    return {name: made(name, *dependencies.split()) for name, dependencies in needs.items()}


@pytest.mark.parametrize(("needs", "order"), EVERY_ORDER)
def test_a_killed_run_resumes_with_every_result_where_it_belongs(
    needs: dict[str, str], order: tuple[str, ...], sync: bool, tmp_path: Path
) -> None:
    for point in range(len(order)):
        path = tmp_path / f"{point}.sqlite"
        director = Director(order, point)
        with pytest.raises(Crash):
            work(director.model, path, given(needs), sync=sync, stored=director.stored)
        again = Scripted(reply=make)
        output = work(again, path, None, sync=sync)
        assert values(output) == right(needs), f"killed at {point}"
        assert again.jobs == Counter(order[point:]), f"killed at {point}"
        assert output["failure"] is None
        assert output["ledger"]["accepted"] == {"small": len(order)}


def send_first(messages: Sequence[BaseMessage]) -> Any:
    """A subtask that writes before it answers."""
    if any(isinstance(message, ToolMessage) for message in messages):
        return make(messages)
    return wants(("send", {"what": mark_of(messages)}))


class WritingDirector(Director):
    """As `Director`, of subtasks that write as soon as they can, and answer in order.

    The victim dies before its answer, or in the tool, when the write is made and not written down.
    """

    def __init__(self, order: Sequence[str], point: int, world: World, *, in_tool: bool) -> None:
        super().__init__(order, point)
        self.model = Scripted(reply=send_first, before=self._before, abefore=self._abefore)
        self.world = world
        self._in_tool = in_tool

    def tool(self) -> BaseTool:
        def send(what: str) -> str:
            """Send something."""
            if self._dies_writing(what):
                self._turns[what].result(WAIT)
            return self._sent(what)

        async def asend(what: str) -> str:
            if self._dies_writing(what):
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._turns[what])), WAIT)
            return self._sent(what)

        return StructuredTool.from_function(send, asend)

    def _dies_writing(self, what: str) -> bool:
        return self._in_tool and what == self._victim

    def _sent(self, what: str) -> str:
        self.world.append(what)
        if self._dies_writing(what):
            self._strike(what)
        return f"sent {what}"

    def _before(self, messages: Sequence[BaseMessage]) -> None:
        if isinstance(messages[-1], ToolMessage):
            super()._before(messages)

    async def _abefore(self, messages: Sequence[BaseMessage]) -> None:
        if isinstance(messages[-1], ToolMessage):
            await super()._abefore(messages)


def writing(
    director: WritingDirector, *, effects: EffectJournal, declared: dict[str, Effect], saver: Any
) -> Any:
    sender = worker(tools=[director.tool()], effects=declared)
    made = create_orchestrator([sender], ladder(director.model), synthesizer="join", effects=effects)
    return made.compile(checkpointer=saver)


@pytest.mark.parametrize(("needs", "order"), [each for each in EVERY_ORDER if each.values[0] is not LATE])
def test_in_whatever_order_subtasks_end_each_write_is_made_once(
    needs: dict[str, str], order: tuple[str, ...], sync: bool, tmp_path: Path
) -> None:
    for point in range(len(order)):
        in_tool = point % 2 == sync  # the other half are those of the other way to run
        world, journal = World(tmp_path / f"{point}.world"), InMemoryEffectJournal()
        dying = WritingDirector(order, point, world, in_tool=in_tool)
        reviving = WritingDirector(order, len(order), world, in_tool=False)
        reviving.model = Scripted(reply=send_first)

        def log(line: str, dying: WritingDirector = dying) -> None:
            if (name := line.removeprefix("stored ")) in dying.order:
                dying.stored(name)

        saver, declared = told(InMemorySaver, log)(), {"send": Effect("write", reconcile=world.find)}

        graph = partial(writing, effects=journal, declared=declared, saver=saver)

        with pytest.raises(Crash):
            run(graph(dying), given(needs), THREAD, sync=sync, durability="sync")
        output = run(graph(reviving), None, THREAD, sync=sync, durability="sync")
        assert values(output) == right(needs), f"killed at {point}"
        assert world.lines == Counter(order), f"killed at {point}"
        assert set(reviving.model.jobs) == set(order[point:]), f"killed at {point}"


@pytest.mark.parametrize("name", PLANS)
def test_a_run_killed_one_way_resumes_the_other_way(name: str, sync: bool, tmp_path: Path) -> None:
    needs, path = PLANS[name], tmp_path / "run.sqlite"
    *_, order = orders(needs)
    director = Director(order, 2)
    with pytest.raises(Crash):
        work(director.model, path, given(needs), sync=sync, stored=director.stored)
    again = Scripted(reply=make)
    assert values(work(again, path, None, sync=not sync)) == right(needs)
    assert again.jobs == Counter(order[2:])


@pytest.mark.parametrize("name", PLANS)
def test_a_run_killed_again_and_again_gets_there(name: str, sync: bool, tmp_path: Path) -> None:
    """Killed at each subtask, and resumed in an order as unlike the first as may be."""
    needs, path = PLANS[name], tmp_path / "run.sqlite"
    first, *_, last = orders(needs)
    start: Any = given(needs)
    done: list[str] = []
    for round_ in range(len(needs)):
        wanted = first if round_ % 2 else last
        order = [*done, *(step for step in wanted if step not in done)]
        director = Director(order[len(done) :], 1)

        def stored(step: str, director: Director = director) -> None:
            if step not in done:
                done.append(step)
                director.stored(step)

        if round_ < len(needs) - 1:
            with pytest.raises(Crash):
                work(director.model, path, start, sync=sync, stored=stored)
        else:
            output = work(director.model, path, start, sync=sync, stored=stored)
        start = None
        assert len(done) == round_ + 1
    assert values(output) == right(needs)


@pytest.mark.parametrize("name", PLANS)
def test_a_run_killed_in_synthesize_runs_no_subtask_again(name: str, sync: bool, tmp_path: Path) -> None:
    def die(*_: object) -> str:
        raise Crash

    needs, path = PLANS[name], tmp_path / "run.sqlite"
    with pytest.raises(Crash):
        work(Scripted(reply=make), path, given(needs), sync=sync, synthesizer=die)
    again = Scripted(reply=make)
    output = work(again, path, None, sync=sync)
    assert values(output) == right(needs)
    assert again.calls == 0
    assert output["answer"].count("made:") == len(needs)


def test_a_run_killed_while_a_model_merges_merges_again(sync: bool, tmp_path: Path) -> None:
    def merge(messages: Sequence[BaseMessage]) -> str:
        if "made:a" in messages[-1].text:
            raise Crash
        return make(messages)

    path, needs = tmp_path / "run.sqlite", {"a": "", "b": ""}
    with pytest.raises(Crash):
        work(
            Scripted(reply=make),
            path,
            given(needs),
            sync=sync,
            synthesizer="model",
            planner=Scripted(reply=merge),
        )
    small, large = Scripted(reply=make), Scripted(reply=lambda messages: "merged")
    output = work(small, path, None, sync=sync, synthesizer="model", planner=large)
    assert (output["answer"], values(output)) == ("merged", right(needs))
    assert (small.calls, large.calls) == (0, 1)


def test_a_run_killed_while_a_model_plans_plans_again(sync: bool, tmp_path: Path) -> None:
    def die(messages: Sequence[BaseMessage]) -> str:
        raise Crash

    path, task = tmp_path / "run.sqlite", {"task": "Do it", "documents": ["Revenue was 5."]}
    with pytest.raises(Crash):
        work(Scripted(reply=make), path, task, sync=sync, planner=Scripted(reply=die))
    planner = Scripted(reply=lambda messages: json.dumps(plan(a="", b="a")))
    output = work(Scripted(reply=make), path, None, sync=sync, planner=planner)
    assert values(output) == right({"a": "", "b": "a"})
    assert "Do it" in planner.prompts[0]
    assert "Revenue was 5." in planner.prompts[0]


def test_a_failed_subtask_is_not_run_again_either(sync: bool, tmp_path: Path) -> None:
    def reply(messages: Sequence[BaseMessage]) -> str:
        return "no" if mark_of(messages) == "a" else make(messages)

    def die(*_: object) -> str:
        raise Crash

    path = tmp_path / "run.sqlite"
    with pytest.raises(Crash):
        work(Scripted(reply=reply), path, given({"a": "", "b": "a", "c": ""}), sync=sync, synthesizer=die)
    again = Scripted(reply=make)
    output = work(again, path, None, sync=sync)
    assert {name: result["status"] for name, result in output["results"].items()} == {
        "a": "failed",
        "b": "skipped",
        "c": "accepted",
    }
    assert again.calls == 0


def test_a_stored_result_in_the_place_of_another_is_refused(
    sync: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a version that calls subtasks in another order goes on with a run of this one."""
    needs, path = {"a": "", "b": "", "c": "a", "d": "b"}, tmp_path / "run.sqlite"
    director = Director(("a", "b", "c", "d"), 2)
    with pytest.raises(Crash):
        work(director.model, path, given(needs), sync=sync, stored=director.stored)
    in_order = Plan.in_order
    monkeypatch.setattr(Plan, "in_order", lambda self: tuple(in_order(self)[place] for place in (1, 0, 2, 3)))
    with pytest.raises(StellwerkError, match=r"'[ab]' got the stored result of '[ab]'.*start it anew"):
        work(Scripted(reply=make), path, None, sync=sync)


def test_documents_are_there_after_a_kill(sync: bool, tmp_path: Path) -> None:
    path, needs = tmp_path / "run.sqlite", {"a": "", "b": "a"}
    director = Director("ab", 1)
    start = given(needs) | {"documents": ["Revenue was 5."]}
    with pytest.raises(Crash):
        work(director.model, path, start, sync=sync, stored=director.stored)
    again = Scripted(reply=make)
    work(again, path, None, sync=sync)
    assert ["Revenue was 5." in prompt for prompt in again.prompts] == [True]


def test_an_escalation_goes_on_where_it_was(sync: bool, tmp_path: Path) -> None:
    """Killed while the large tier works: the small one is not asked again."""

    def die(messages: Sequence[BaseMessage]) -> str:
        raise Crash

    path = tmp_path / "run.sqlite"
    small = Scripted(reply=lambda messages: "no")
    with pytest.raises(Crash):
        work(small, path, given({"a": ""}), sync=sync, planner=Scripted(reply=die))
    output = work(small, path, None, sync=sync, planner=Scripted(reply=make))
    assert small.calls == 2  # tried and repaired, before the kill
    assert [attempt["tier"] for attempt in output["results"]["a"]["attempts"]] == ["small", "large"]
    assert output["ledger"]["total"]["calls"] == 3


# In processes that really end


def child(path: str, name: str, order: str, point: str, how: str) -> None:
    """Start a run and be killed; the code of the process that is killed."""
    director = Director(order, int(point), kill=lambda: os._exit(9))
    work(director.model, Path(path), given(PLANS[name]), sync=how == "sync", stored=director.stored)


@pytest.mark.parametrize(
    ("name", "order", "point"),
    [("diamond", "acbd", 2), ("zigzag", "bacez", 3), ("zigzag", "baecz", 4)],
)
def test_a_killed_process_is_resumed_by_another(
    name: str, order: str, point: int, sync: bool, tmp_path: Path
) -> None:
    path = tmp_path / "run.sqlite"
    code = (
        f"from tests.graphs.test_resume import child; child({str(path)!r}, {name!r}, {order!r}, '{point}', "
    )
    code += f"{'sync' if sync else 'async'!r})"
    killed = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert killed.returncode == 9, killed.stderr
    again = Scripted(reply=make)
    output = work(again, path, None, sync=sync)
    assert values(output) == right(PLANS[name])
    assert again.jobs == Counter(order[point:])
