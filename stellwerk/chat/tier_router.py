"""A middleware for LangChain's agents: the tier of each model call is routed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NotRequired, cast

from stellwerk.budget import Budget
from stellwerk.chat.agent_call import STATE, AgentCall, Routing, Rules
from stellwerk.chat.record import Telling, thread_and_run
from stellwerk.chat.verdict import ReplyCheck
from stellwerk.errors import ConfigurationError, MissingExtraError, TierError
from stellwerk.routers.router import Router
from stellwerk.routers.smallest_first import SmallestFirst
from stellwerk.tiers.ladder import Ladder
from stellwerk.trace import TraceSink

if TYPE_CHECKING:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
    )

    _Base = AgentMiddleware[AgentState[Any], Any, Any]
else:
    _Base = object  # LangChain's agents are an extra, so the base is added when a middleware is made


class TierRouterMiddleware(_Base):
    """Routes each model call of an agent that `langchain.agents.create_agent` makes to a tier of a ladder.

    The agent's own model is not called. Each call is decided as `LadderChatModel` decides it, and its reply
    is checked in the same way: a call of a tool that is not there, or whose arguments do not follow the
    tool's schema, goes up the ladder before any tool is run.

    A thread stays on the tier of its last turn where the prompt cache there is worth more than what the
    router's cheaper choice would save; `prompt_cache.stays_cheaper` has the formula. What that needs to be
    known stands in the agent's state under `tier_routing`, so it follows the thread through checkpoints and
    is never shared between threads. Without a checkpointer it lasts for one run.

    The message has its record in `response_metadata["stellwerk"]`; `tier_routing` keeps the last twenty
    decisions. Whoever streams the agent's messages gets each in one piece, once it was checked.

    Args:
        ladder: the tiers.
        router: picks the tier of each attempt; `SmallestFirst` by default.
        budget: of each model call.
        worker: what routers and traces take the calls for; see `LadderChatModel`.
        check_replies: whether replies are checked. Without checks, and under a router that does not cascade,
            messages are streamed as they come.
        checks: further checks, which get the reply and return None or what is wrong in a sentence.
        cache_seconds: how long a server is taken to keep a prompt in its cache; 0 to follow the router only.
        traces: is told of each attempt.

    Raises:
        MissingExtraError: if LangChain's agents are not installed.
        ConfigurationError: if the tiers stand in no `Ladder`, or `cache_seconds` is below 0.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> TierRouterMiddleware:
        """An object that is an `AgentMiddleware` as well."""
        made: TierRouterMiddleware = object.__new__(_with_base(cast("Hashable", cls)))
        return made

    def __init__(
        self,
        ladder: Ladder,
        router: Router | None = None,
        *,
        budget: Budget | None = None,
        worker: str | None = None,
        check_replies: bool = True,
        checks: Sequence[ReplyCheck] = (),
        cache_seconds: float = 300.0,
        traces: TraceSink | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(ladder, Ladder):  # else only the first call would show it
            raise ConfigurationError(f"the ladder is a {type(ladder).__name__}; make it with Ladder([...])")
        if not cache_seconds >= 0:
            raise ConfigurationError(f"cache_seconds is {cache_seconds}; give seconds, or 0 for no cache")
        self._traces = traces
        self._rules = Rules(
            ladder=ladder,
            router=router or SmallestFirst(),
            budget=budget or Budget(),
            worker=worker,
            checks=tuple(checks) if check_replies else None,
            cache_seconds=cache_seconds,
        )

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ExtendedModelResponse[Any]:
        """Route a model call.

        Raises:
            TierError: if no tier answers.
        """
        from langchain.agents.structured_output import StructuredOutputError

        call = self._call(request)
        while (asked := call.next()) is not None:
            try:
                response = handler(asked)
            except TierError as error:
                call.failed(error)
            except StructuredOutputError as error:
                call.misfit(error)
            else:
                call.answered(response)
        return call.result()

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        """Route a model call; as `wrap_model_call`."""
        from langchain.agents.structured_output import StructuredOutputError

        call = self._call(request)
        while (asked := call.next()) is not None:
            try:
                response = await handler(asked)
            except TierError as error:
                call.failed(error)
            except StructuredOutputError as error:
                call.misfit(error)
            else:
                call.answered(response)
        return call.result()

    def _call(self, request: ModelRequest[Any]) -> AgentCall:
        thread_id, run_id = thread_and_run()
        telling = Telling(self._traces, self._rules.ladder, run_id=run_id, thread_id=thread_id)
        return AgentCall(request, self._rules, telling)


@cache
def _with_base(cls: Hashable) -> type:
    assert isinstance(cls, type)
    try:
        from langchain.agents.middleware import AgentMiddleware, AgentState, ExtendedModelResponse  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("langchain", "agents") from error
    if issubclass(cls, AgentMiddleware):
        return cls

    class RoutedState(AgentState[Any]):
        tier_routing: NotRequired[Routing]

    assert STATE in RoutedState.__annotations__
    own = {"state_schema": RoutedState, "__doc__": cls.__doc__, "__module__": cls.__module__}
    return type(cls.__name__, (cls, AgentMiddleware), own)
