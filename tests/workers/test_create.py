from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import pytest
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, tool

from stellwerk.errors import ConfigurationError
from stellwerk.worker import Worker
from stellwerk.workers.create import create_worker
from tests.fakes import Said


def make(*tools: Any, **options: Any) -> Worker:
    return create_worker("make", output=Said, prompt="Make it.", tools=tools, **options)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def names(worker: Worker) -> list[str]:
    return [schema["function"]["name"] for schema in worker.tool_schemas]


def test_functions_and_tools_are_both_tools() -> None:
    @tool
    def subtract(a: int, b: int) -> int:
        """Subtract."""
        return a - b

    both = make(add, subtract)
    assert names(both) == ["add", "subtract"]
    assert all(isinstance(each, BaseTool) for each in both.tools)
    assert both.tool_schemas[0] == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }


def test_the_version_changes_with_the_tools() -> None:
    def other(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    def worded(a: int, b: int) -> int:
        """Add two small numbers."""
        return a + b

    def typed(a: float, b: int) -> float:
        """Add two numbers."""
        return a + b

    worded.__name__ = typed.__name__ = "add"
    workers = [make(), make(add), make(other), make(worded), make(typed), make(add, max_tool_rounds=2)]
    assert len({worker.version for worker in workers}) == len(workers)
    assert make(add).version == make(tool(add)).version


def test_limits_of_tools_do_not_concern_a_worker_without() -> None:
    assert make(max_tool_rounds=2).version == make().version


@pytest.mark.parametrize("limit", ["max_tool_rounds", "max_tool_output"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_below_one_is_refused(limit: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=f"worker 'make': {limit} is {value}; it must be at least 1"):
        make(add, **{limit: value})


def silent(a: int) -> int:
    return a


def opaque(a: Callable[[], int]) -> int:
    """Call it."""
    return a()


def film(runtime: int) -> str:
    """Find a film."""
    return f"{runtime} minutes"


def state(a: int, whole: Annotated[dict[str, Any], InjectedToolArg]) -> int:
    """Use the state."""
    return a


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([add, add], "worker 'make' has two tools named 'add'; rename one"),
        ([7], "worker 'make': 7 is no tool; pass a function or a LangChain tool"),
        (["add"], "worker 'make': 'add' is no tool"),
        ([silent], "'silent' cannot be made a tool .*; give its arguments types of JSON, and it a docstring"),
        ([opaque], "'opaque' cannot be made a tool"),
        ([partial(add, 1)], "cannot be made a tool"),
        ([tool("add numbers")(add)], "tool name 'add numbers' is not usable; use at most 64 of"),
        ([film], "tool 'film' has an argument named 'runtime', which LangGraph fills by itself"),
        ([state], "tool 'state' wants whole injected, and a worker has nothing to inject"),
    ],
    ids=["twice", "number", "text", "undocumented", "no JSON", "partial", "name", "runtime", "injected"],
)
def test_an_unusable_tool_is_refused(tools: list[Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make(*tools)


def test_the_id_of_a_call_is_there_to_inject() -> None:
    @tool
    def echo(number: Annotated[str, InjectedToolCallId]) -> str:
        """Echo."""
        return number

    assert names(make(echo)) == ["echo"]
