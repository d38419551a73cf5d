"""One model call of an agent, from the decision to the reply. It does no call itself."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langgraph.constants import TAG_NOSTREAM
from langgraph.types import Command
from typing_extensions import TypedDict

from stellwerk.budget import Budget
from stellwerk.chat.climb import Climb, Try
from stellwerk.chat.offered import Offered, named
from stellwerk.chat.prompt_cache import Prompt, Warm, stays_cheaper
from stellwerk.chat.record import Telling, new_call, routed, with_record
from stellwerk.chat.subject import subject_of
from stellwerk.chat.tier_chat import TierChat
from stellwerk.chat.verdict import ReplyCheck, judged, value_of
from stellwerk.decision import Decision
from stellwerk.errors import TierError
from stellwerk.outcome import DecisionRecord, Reason, Verdict
from stellwerk.routers.router import Router, cascades
from stellwerk.tiers.ladder import Ladder
from stellwerk.trace import TRACED

if TYPE_CHECKING:
    from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
    from langchain.agents.structured_output import StructuredOutputError

STATE = "tier_routing"
"""The key of the agent's state that holds a `Routing`."""

MOST_DECISIONS = 20  # that a thread keeps; checkpoints hold them all


class Routing(TypedDict):
    """What a thread keeps of its routing; plain JSON.

    `tier` answered last, `warm` is what each tier has cached, and `decisions` are the last `MOST_DECISIONS`,
    oldest first, those of attempts that were rejected included.
    """

    tier: str
    warm: dict[str, Warm]
    decisions: list[DecisionRecord]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a middleware was made with; see `TierRouterMiddleware`."""

    ladder: Ladder
    router: Router
    budget: Budget
    worker: str | None
    checks: Sequence[ReplyCheck] | None
    cache_seconds: float


class AgentCall:
    """A call on its way.

    Args:
        request: of the agent.
        rules: of the middleware.
        telling: tells of the attempts.
    """

    def __init__(self, request: ModelRequest[Any], rules: Rules, telling: Telling) -> None:
        self._request = request
        self._rules = rules
        self._telling = telling
        system = [request.system_message] if request.system_message is not None else []
        self._messages: list[BaseMessage] = [*system, *request.messages]
        self._offered = offered_by(request)
        self._subject = subject_of(self._messages, self._offered, rules.worker)
        before = [str(message.text) for message in system]
        before.append(json.dumps([self._offered.tools, self._offered.schema], default=str))
        self._prompt = Prompt(before, request.messages)
        state = cast("Mapping[str, Any]", request.state)
        self._kept: Routing = state.get(STATE) or Routing(tier="", warm={}, decisions=[])
        self._warm = dict(self._kept["warm"])
        self._climb = Climb(self._subject, rules.ladder, rules.router, rules.budget, self._held)
        self._chat: TierChat | None = None
        self._responses: list[ModelResponse[Any] | Exception] = []

    def next(self) -> ModelRequest[Any] | None:
        """The agent's request, with the tier to ask as its model; None once there is a reply to serve."""
        try:
            step = self._climb.next()
        finally:
            self._telling.flush()  # now that it is known whether the router stops
        if step is None:
            return None
        self._chat = self._chat_for(step)
        return self._request.override(model=self._chat)

    def answered(self, response: ModelResponse[Any]) -> None:
        """The attempt was answered."""
        message = next((each for each in response.result if isinstance(each, AIMessage)), AIMessage(""))
        self._note(message, self._parsed(response), response)

    def misfit(self, error: StructuredOutputError) -> None:
        """The attempt was answered with what is no value of the agent's response format."""
        why = f"{type(error).__name__}: {error}"[:1000]
        self._note(error.ai_message, Verdict(accepted=False, reason=Reason.SCHEMA.value, detail=why), error)

    def failed(self, error: TierError) -> None:
        """The attempt was not answered."""
        assert self._chat is not None
        place = len(self._climb.attempts)
        attempt = self._climb.fail(error, self._chat.calls)
        self._responses.append(error)
        self._telling.attempt(self._subject, attempt, place, self._messages, None, None)

    def result(self) -> ExtendedModelResponse[Any]:
        """The reply to serve, and what the thread keeps.

        Raises:
            TierError: if no tier gave one.
            StructuredOutputError: if none fits the response format, and the agent is to raise then.
        """
        from langchain.agents.middleware import ExtendedModelResponse

        served = self._climb.served()
        record = routed(self._climb, served, self._telling)
        response = self._responses[served.place]
        if isinstance(response, Exception):
            raise response
        message = with_record(served, record, is_nested=False)
        result = [message if each is served.message else each for each in response.result]
        decisions = [*self._kept["decisions"], *(attempt["decision"] for attempt in self._climb.attempts)]
        kept = Routing(tier=record["tier"], warm=self._warm, decisions=decisions[-MOST_DECISIONS:])
        return ExtendedModelResponse(
            model_response=replace(response, result=result), command=Command(update={STATE: kept})
        )

    def _chat_for(self, step: Try) -> TierChat:
        # What may yet be rejected is not for whoever watches the agent's messages as they come.
        is_whole = self._rules.checks is not None or cascades(self._rules.router)
        return TierChat(
            step=step,
            owner=self._subject.worker.name,
            flow=self._telling.thread_id,
            tags=[TAG_NOSTREAM] if is_whole else None,
            disable_streaming=is_whole,
            metadata={TRACED: True} if self._telling.sink is not None else None,
        )

    def _parsed(self, response: ModelResponse[Any]) -> Verdict | None:
        """What is wrong with a value that the agent could not parse, and tells the model of."""
        told = [str(message.text) for message in response.result[1:]]
        if self._request.response_format is None or response.structured_response is not None or not told:
            return None
        return Verdict(accepted=False, reason=Reason.SCHEMA.value, detail=told[0][:1000])

    def _note(
        self, message: AIMessage, verdict: Verdict | None, response: ModelResponse[Any] | Exception
    ) -> None:
        assert self._chat is not None
        # As the model was told of it: another middleware may have chosen among the tools.
        offered = self._chat.offered or self._offered
        if verdict is None:
            verdict = Verdict(accepted=True)
            if self._rules.checks is not None:
                subject = subject_of(self._messages, offered, self._rules.worker)
                verdict = judged(message, offered, subject, self._messages, self._rules.checks)
        calls, tier = self._chat.calls, self._chat.step.tier.name
        if not calls:  # answered by another middleware, from a cache say
            calls = [new_call(self._subject.worker.name, tier)]
        usage = calls[-1]["usage"]
        if usage["input"]:
            self._warm[tier] = self._prompt.warmed(
                self._warm.get(tier), usage, time.time(), self._rules.cache_seconds
            )
        value = value_of(message, offered)
        place = len(self._climb.attempts)
        attempt = self._climb.take(message, calls, verdict, value)
        self._responses.append(response)
        self._telling.attempt(self._subject, attempt, place, self._messages, message, value)

    def _held(self, decision: Decision) -> Decision:
        """The decision, or to stay where the thread's prompt cache is, if that is worth more."""
        ladder, last = self._rules.ladder, self._kept["tier"]
        if not self._rules.cache_seconds or last not in ladder.names or decision.tier is None:
            return decision
        here, there = ladder.tier(last), ladder.tier(decision.tier)
        costs = stays_cheaper(here, there, self._prompt, self._warm, time.time(), self._rules.cache_seconds)
        if costs is None:
            return decision
        why = (
            f"{last} has the conversation cached, and costs {costs[0]:.2g} USD for this turn; "
            f"{there.name}, which {decision.router} picked, {costs[1]:.2g} USD"
        )
        # Under a name of its own: its propensity is not that of the router's draw.
        return Decision(tier=last, router="prompt-cache", version="1", why=why, estimates=decision.estimates)


def offered_by(request: ModelRequest[Any]) -> Offered:
    """What an agent's request offers, its structured output included."""
    tools = [convert_to_openai_tool(tool) for tool in request.tools]
    schema = None
    form: Any = request.response_format
    if (specs := getattr(form, "schema_specs", None)) is not None:
        tools += [_as_tool(spec.name, spec.json_schema) for spec in specs]
    elif (spec := getattr(form, "schema_spec", None)) is not None:
        schema = named(spec.json_schema, spec.name)
    elif form is not None:
        given = getattr(form, "schema", form)
        name = convert_to_openai_tool(given)["function"]["name"]
        tools.append(_as_tool(name, convert_to_json_schema(given)))
    return Offered.of(
        {
            **request.model_settings,
            "tools": tools,
            "tool_choice": request.tool_choice,
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}} if schema else None,
        }
    )


def _as_tool(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}
