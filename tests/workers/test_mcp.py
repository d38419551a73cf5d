"""Tools of real MCP servers: one that is a process of its own, and one behind a URL."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from stellwerk.budget import RunBudget
from stellwerk.errors import ConfigurationError, MissingExtraError
from stellwerk.graphs import create_orchestrator, create_worker_graph
from stellwerk.workers.mcp import mcp_tools
from stellwerk.workers.mcp_server import McpServer
from stellwerk.workers.mcp_session import McpConnectionError, McpSession
from tests.fakes import WAIT, Scripted, in_turn, ladder, plan, run, wants, worker

ROOT = Path(__file__).parents[2]
NAMES = ["add", "process", "fail", "die", "wait", "hang", "note", "books_count"]
SECRET = "sk-0123456789abcdef"

pytestmark = pytest.mark.server


def started(*args: str, **options: Any) -> dict[str, Any]:
    """A server that is started as a process."""
    return {"command": sys.executable, "args": ["-m", "tests.mcp_server", *args], "cwd": ROOT, **options}


@contextmanager
def served() -> Iterator[dict[str, Any]]:
    """A server behind a URL."""
    command = [sys.executable, "-m", "tests.mcp_server", "--http"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            yield {"url": f"http://127.0.0.1:{port}/mcp"}
        finally:
            server.kill()


@pytest.fixture(scope="module")
def shelf() -> Iterator[dict[str, BaseTool]]:
    with mcp_tools({"shelf": started()}) as tools:
        yield {tool.name: tool for tool in tools}


@pytest.fixture(scope="module", params=["stdio", "http"])
def either(request: pytest.FixtureRequest) -> Iterator[dict[str, BaseTool]]:
    if request.param == "stdio":
        yield request.getfixturevalue("shelf")
        return
    with served() as server, mcp_tools({"shelf": server}) as tools:
        yield {tool.name: tool for tool in tools}


def call(tool: BaseTool, **arguments: Any) -> ToolMessage:
    """Call a tool as a graph does."""
    message = tool.invoke({"type": "tool_call", "id": "1", "name": tool.name, "args": arguments})
    assert isinstance(message, ToolMessage)
    return message


def attempt(model: Scripted, *tools: BaseTool, sync: bool, **options: Any) -> tuple[Any, list[str]]:
    """The tool calls of an attempt, and what the model was told of them."""
    graph = create_worker_graph(worker(tools=tools, **options), ladder(model)).compile()
    output = run(graph, {"instruction": "go"}, sync=sync)
    assert output["verdict"] == {"accepted": True}
    told = [str(message.text) for message in model._calls[-1][0] if isinstance(message, ToolMessage)]
    return [use for made in output["calls"] for use in made.get("tools", ())], told


GOOD = '{"text": "fine"}'


def test_a_worker_calls_the_tools_of_a_server(either: dict[str, BaseTool], sync: bool) -> None:
    asking = wants(("add", {"a": 2, "b": 3}), ("books_count", {}), ("add", {"a": 5, "b": 5}))
    model = Scripted(reply=in_turn(asking, GOOD))
    uses, told = attempt(model, *either.values(), sync=sync)
    assert told == ["5", "12", "10"]
    assert not any(use["failed"] for use in uses)
    offered = {tool["function"]["name"]: tool["function"] for tool in model.options[0]["tools"]}
    assert list(offered) == NAMES
    assert offered["add"]["description"] == "Add two numbers."
    assert set(offered["add"]["parameters"]["properties"]) == {"a", "b"}


def test_arguments_that_a_server_refuses_are_told_to_the_model(
    shelf: dict[str, BaseTool], sync: bool
) -> None:
    model = Scripted(reply=in_turn(wants(("add", {"a": "two", "b": 3})), GOOD))
    (use,), (told,) = attempt(model, shelf["add"], sync=sync)
    assert (use["failed"], use["problem"]) == (True, "error")
    assert "unable to parse string as an integer" in told


def test_a_tool_that_a_server_says_changes_things_is_called_in_order(shelf: dict[str, BaseTool]) -> None:
    assert worker(tools=shelf.values()).serial == {"note"}


def test_one_server_serves_many_runs_and_loops_at_once(either: dict[str, BaseTool]) -> None:
    before = call(either["process"]).text

    async def many() -> list[Any]:
        return await asyncio.gather(*(either["add"].ainvoke({"a": number, "b": 1}) for number in range(10)))

    sums: list[list[Any]] = []
    threads = [threading.Thread(target=lambda: sums.append(asyncio.run(many()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [str(number + 1) for number in range(10)]
    assert [[blocks[0]["text"] for blocks in each] for each in sums] == [expected] * 3
    assert call(either["process"]).text == before


def test_async_code_opens_servers_too() -> None:
    async def go() -> str:
        async with mcp_tools({"shelf": started()}) as tools:
            by_name = {tool.name: tool for tool in tools}
            (block,) = await by_name["add"].ainvoke({"a": 1, "b": 1})
            return str(block["text"])

    assert asyncio.run(go()) == "2"


def test_a_session_for_each_call_is_a_process_for_each() -> None:
    with mcp_tools({"shelf": started(tools=["process"])}, session="call") as (process,):
        assert call(process).text != call(process).text


# Servers that go away


def test_a_server_that_dies_in_a_call_is_told_of_and_started_again(sync: bool, tmp_path: Path) -> None:
    environment = {"FOLDER": str(tmp_path)}
    with mcp_tools({"shelf": started(env=environment, tools=["note", "die"])}) as tools:
        asking = wants(("note", {"text": "before"})), wants(("die", {})), wants(("note", {"text": "after"}))
        uses, told = attempt(Scripted(reply=in_turn(*asking, GOOD)), *tools, sync=sync)
    assert [use["failed"] for use in uses] == [False, True, False]
    assert "MCP server 'shelf' went away while calling die; what it was doing may have been done" in told[1]
    assert (tmp_path / "notes").read_text().split() == ["before", "after"]


def test_a_server_behind_a_url_that_dies_in_a_call_is_told_of(sync: bool) -> None:
    with served() as server, mcp_tools({"shelf": server | {"tools": ["die", "add"]}}) as tools:
        asking = wants(("die", {})), wants(("add", {"a": 1, "b": 1}))
        uses, told = attempt(Scripted(reply=in_turn(*asking, GOOD)), *tools, sync=sync, tool_timeout=None)
    assert [use["problem"] for use in uses] == ["error", "error"]
    assert "went away while calling die" in told[0]
    assert "MCP server 'shelf' cannot be reached" in told[1]


def test_a_call_that_takes_too_long_is_given_up_and_the_server_started_again() -> None:
    with mcp_tools({"shelf": started(tools=["hang", "add"])}, call_timeout=1) as tools:
        asking = wants(("hang", {})), wants(("add", {"a": 1, "b": 1}))
        uses, told = attempt(Scripted(reply=in_turn(*asking, GOOD)), *tools, sync=True)
    assert [use["failed"] for use in uses] == [True, False]
    assert "did not answer within 1 seconds while calling hang; it may still be doing it" in told[0]


def test_a_call_that_is_given_up_takes_no_other_with_it(tmp_path: Path) -> None:
    server = McpServer.parse("shelf", started(env={"FOLDER": str(tmp_path)}))

    async def go() -> str:
        session = McpSession(server, keep=True, start_timeout=WAIT, call_timeout=WAIT)
        first = asyncio.create_task(session.call_tool("wait", {"name": "first"}))
        while not (tmp_path / "waits for first").exists():  # noqa: ASYNC110  # another process makes it
            await asyncio.sleep(0.01)
        session._call_timeout = 0.1  # for the second, so that it ends while the first goes on
        with pytest.raises(McpConnectionError, match=r"did not answer within 0\.1 seconds"):
            await session.call_tool("wait", {"name": "second"})
        (tmp_path / "first").touch()
        (part,) = (await first).content
        await session.close()
        return str(part.text)  # type: ignore[union-attr]

    assert asyncio.run(go()) == "first is there"


def test_the_worker_s_own_limit_ends_a_call_sooner(sync: bool) -> None:
    with mcp_tools({"shelf": started(tools=["hang"])}) as tools:
        (use,), _ = attempt(
            Scripted(reply=in_turn(wants(("hang", {})), GOOD)), *tools, sync=sync, tool_timeout=0.5
        )
    assert use["problem"] == "timeout"


def test_a_call_ends_with_the_run_s_time_and_nothing_waits_for_it(tmp_path: Path, sync: bool) -> None:
    server = started(tools=["wait", "add"], env={"FOLDER": str(tmp_path)})
    with mcp_tools({"shelf": server}) as tools:
        model = Scripted(reply=in_turn(wants(("wait", {"name": "never"}))))
        graph = create_orchestrator(
            [worker(tools=tools[:1])], ladder(model), synthesizer="join", run_budget=RunBudget(seconds=0.5)
        ).compile()
        output = run(graph, {"task": "t", "plan": plan(a="")}, sync=sync)
        (attempt,) = output["results"]["a"]["attempts"]
        (use,) = attempt["calls"][0]["tools"]
        assert (use["problem"], "as the run's time is over" in use["output"]) == ("budget", True)
        for thread in threading.enumerate():
            if thread.name == "tool":
                thread.join(WAIT)  # far less than the call's own 120 seconds
                assert not thread.is_alive()
        assert call(tools[1], a=1, b=1).text == "2"  # in the same session


def test_tools_of_a_closed_server_say_so(sync: bool) -> None:
    with mcp_tools({"shelf": started(tools=["add"])}) as tools:
        pass
    _, (told,) = attempt(Scripted(reply=in_turn(wants(("add", {"a": 1, "b": 1})), GOOD)), *tools, sync=sync)
    assert "the MCP server of 'add' is closed; use its tools inside the block" in told


def test_a_server_that_does_not_start_is_named_with_what_it_said() -> None:
    failing = {"command": sys.executable, "args": ["-c", "import sys; sys.exit('no such shelf')"]}
    with (
        pytest.raises(ConfigurationError, match=r"'shelf' cannot be reached .*standard error ends: no such"),
        mcp_tools({"shelf": failing}),
    ):
        pass
    with (
        pytest.raises(ConfigurationError, match=r"'shelf' cannot be reached \(FileNotFoundError"),
        mcp_tools({"shelf": {"command": "/no/such/program"}}),
    ):
        pass
    silent = {"command": sys.executable, "args": ["-c", "import time; time.sleep(60)"]}
    with (
        pytest.raises(ConfigurationError, match=r"'shelf' did not answer within 0.5 seconds"),
        mcp_tools({"shelf": silent}, start_timeout=0.5),
    ):
        pass


def test_one_server_that_does_not_start_leaves_no_other_running(tmp_path: Path) -> None:
    written = tmp_path / "pid"
    gives_up = f"import os, time\nwhile not os.path.exists({str(written)!r}): time.sleep(0.01)"
    servers = {
        "good": started(env={"FOLDER": str(tmp_path)}),
        "bad": {"command": sys.executable, "args": ["-c", gives_up]},
    }
    with pytest.raises(ConfigurationError, match="'bad' cannot be reached"), mcp_tools(servers):
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(int(written.read_text()), 0)


def test_the_end_of_the_block_ends_the_servers(tmp_path: Path) -> None:
    with mcp_tools({"shelf": started(env={"FOLDER": str(tmp_path)})}):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


# Names


def test_names_that_two_servers_share_get_the_server_in_front() -> None:
    servers = {"left": started(tools=["add", "process"]), "right": started(tools=["add"])}
    with mcp_tools(servers) as tools:
        assert [tool.name for tool in tools] == ["left_add", "process", "right_add"]
        assert [call(tool, a=1, b=1).text for tool in (tools[0], tools[2])] == ["2", "2"]


def test_a_tool_that_a_server_has_not_is_named() -> None:
    with (
        pytest.raises(ConfigurationError, match="'shelf' has no tool 'subtract'; its tools: add, process"),
        mcp_tools({"shelf": started(tools=["subtract"])}),
    ):
        pass


# Secrets


def test_a_secret_reaches_the_server_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sync: bool
) -> None:
    monkeypatch.setenv("SHELF_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    block = mcp_tools({"shelf": started(env={"KEY": "${SHELF_KEY}"}, tools=["fail"])})
    with block as tools:
        uses, told = attempt(Scripted(reply=in_turn(wants(("fail", {})), GOOD)), *tools, sync=sync)
    assert told == ["Error executing tool fail: refused: the key *** is not valid"]
    shown = [json.dumps(uses), caplog.text, repr(block), repr(vars(block)), repr(tools)]
    assert not any(SECRET in text for text in shown)


def test_a_secret_is_not_in_the_error_of_a_server_that_does_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SHELF_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    with (
        pytest.raises(ConfigurationError, match=r"cannot start with key \*\*\*") as raised,
        mcp_tools({"shelf": started(env={"REFUSE": "${SHELF_KEY}"})}),
    ):
        pass
    assert SECRET not in caplog.text + repr(raised.getrepr(showlocals=False))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({}, "MCP server 'shelf' needs a command or a url; give one of the two"),
        ({"command": "x", "url": "y"}, "needs a command or a url"),
        ({"command": "x", "arg": []}, r"no key 'arg'; did you mean 'args'\? keys: args, command, cwd, env"),
        ({"url": "x", "env": {}}, "no key 'env'"),
        ({"command": "x", "args": "one two"}, "args is a str; give a list of texts"),
        ({"command": "x", "env": {"KEY": 7}}, "env is a dict; give a mapping of texts"),
        (
            {"command": "x", "env": {"KEY": "${NOT_SET}"}},
            "env.KEY wants NOT_SET, which is not set; export it",
        ),
    ],
)
def test_a_wrong_declaration_is_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        mcp_tools({"shelf": declared})


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="server name 'my shelf' is not usable"):
        mcp_tools({"my shelf": started()})
    with pytest.raises(ConfigurationError, match="call_timeout is 0; give seconds above 0"):
        mcp_tools({}, call_timeout=0)
    with pytest.raises(ConfigurationError, match="session is 'run'; give 'kept' or 'call'"):
        mcp_tools({}, session="run")  # type: ignore[arg-type]


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_mcp_adapters.tools", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'stellwerk\[mcp\]'"), mcp_tools({}):
        pass
