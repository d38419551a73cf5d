"""People are asked before workers and tools do something, and for what models do not know."""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool as make_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel, SecretStr, field_validator

from stellwerk.budget import RunBudget
from stellwerk.decision import Decision
from stellwerk.effects import Effect, InMemoryEffectJournal, effect
from stellwerk.error_policy import ErrorPolicy
from stellwerk.errors import ConfigurationError, OutcomeUnknownError
from stellwerk.graphs import create_orchestrator, create_worker_graph
from stellwerk.nodes.decided import decisions_of
from stellwerk.nodes.people import APPROVE
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.rails import Rails
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from stellwerk.trace import AttemptTrace, RunTrace
from tests.fakes import (
    Said,
    Scripted,
    in_turn,
    job,
    ladder,
    make,
    mark_of,
    not_asked,
    plan,
    run,
    subtask,
    values,
    wants,
    worker,
)

GOOD, BAD = '{"text": "fine"}', '{"text": ""}'
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}
TEA = ("order", {"what": "tea"})


class Shop:
    """A tool that writes."""

    def __init__(self) -> None:
        self.ordered: list[str] = []

    def order(self, what: str, pieces: int = 1) -> str:
        """Order something."""
        self.ordered.append(f"{pieces} {what}")
        return f"ordered {pieces} {what}"


@pytest.fixture
def shop() -> Shop:
    return Shop()


class Office:
    """An orchestrator on a thread, whose output is kept."""

    output: dict[str, Any]

    def __init__(
        self, *workers: Any, models: Sequence[Any] = (make,), sync: bool, saver: bool = True, **options: Any
    ) -> None:
        self.models = [each if isinstance(each, Scripted) else Scripted(reply=each) for each in models]
        graph = create_orchestrator(workers, ladder(*self.models), synthesizer="join", **options)
        self.graph = graph.compile(checkpointer=InMemorySaver() if saver else None)
        self.sync = sync

    def start(self, **needs: str) -> dict[str, Any]:
        return self.go({"task": "Do it", "plan": plan(**needs)})

    def answer(self, said: Any) -> dict[str, Any]:
        return self.go(Command(resume=said))

    def go(self, given: Any) -> dict[str, Any]:
        self.output = run(self.graph, given, THREAD, sync=self.sync)
        return self.output

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = self.output["results"]["a"]
        return result

    @property
    def uses(self) -> list[dict[str, Any]]:
        calls = [call for attempt in self.result["attempts"] for call in attempt["calls"]]
        return [use for call in calls for use in call.get("tools", ())]


def asked(output: dict[str, Any]) -> dict[str, Any]:
    """The one question that is open, as a client is shown it."""
    # LangGraph shows an interrupt of a task inside a nested node twice, under one id.
    (question,) = {question.id: question for question in output["__interrupt__"]}.values()
    value: dict[str, Any] = question.value
    json.dumps(value)
    assert question.response_schema == value["response_schema"]
    (action,), (review,) = value["action_requests"], value["review_configs"]
    assert review == {"action_name": action["name"], "allowed_decisions": value["allowed"]}
    return value


def by_subtask(output: dict[str, Any]) -> dict[str, str]:
    """The ids of open questions."""
    return {question.value["subtask"]: question.id for question in output.get("__interrupt__", ())}


# Before a worker


@pytest.mark.parametrize("where", ["worker", "orchestrator"])
def test_a_worker_begins_once_a_person_approves_and_no_question_comes_again(where: str, sync: bool) -> None:
    """Neither for a repair, nor for a retry, nor for the larger model."""
    small = in_turn(ConnectionError("no"), BAD, BAD)
    policy = ErrorPolicy(retries=1, initial_interval=0.001)
    office = Office(
        worker(errors=policy, approve=where == "worker"),
        models=[small, in_turn(GOOD)],
        sync=sync,
        approve=["make"] if where == "orchestrator" else (),
    )
    question = asked(office.start(a=""))
    assert (question["kind"], question["worker"], question["tool"]) == ("approve_worker", "make", None)
    assert question["instruction"] == job("a")
    assert question["allowed"] == ["approve", "edit", "reject", "respond"]
    assert question["action_requests"][0]["args"] == {"instruction": question["instruction"]}
    assert sum(model.calls for model in office.models) == 0
    output = office.answer({"decisions": [{"type": "approve"}]})  # as LangChain's clients write it
    assert values(output) == {"a": {"text": "fine"}}
    (record,) = office.result["people"]
    assert (record["kind"], record["type"]) == ("approve_worker", "approve")
    assert "by" not in office.result
    decisions = [attempt["decision"].get("person") for attempt in office.result["attempts"]]
    assert decisions == ["approve", None, None]
    assert output["ledger"]["people"] == {"approve_worker": {"approve": 1}}


def test_an_edited_instruction_is_what_models_routers_and_traces_see(sync: bool) -> None:
    class Kept:
        def __init__(self) -> None:
            self.seen: list[AttemptTrace] = []

        def attempt(self, trace: AttemptTrace) -> None:
            self.seen.append(trace)

        def run(self, trace: RunTrace) -> None: ...

    kept = Kept()
    office = Office(
        worker(), models=[in_turn(BAD, BAD), in_turn(GOOD)], sync=sync, approve=["make"], traces=kept
    )
    office.start(a="")
    again = asked(office.answer({"type": "edit", "args": {"instruction": " "}}))
    assert "an edit needs a new instruction" in again["error"]
    output = office.answer({"type": "edit", "args": {"instruction": "Say it in French"}})
    for model in office.models:
        assert "Say it in French" in model.prompts[0]
        assert "[[a]]" not in model.prompts[0]
    assert [trace.context["instruction"] for trace in kept.seen if trace.context] == ["Say it in French"] * 2
    assert office.result["people"][0]["args"] == {"instruction": "Say it in French"}
    assert office.result["attempts"][0]["decision"]["person"] == "edit"
    assert output["answer"] == "Say it in French\nfine"


@pytest.mark.parametrize("policy", ["skip", "substitute"])
def test_a_rejection_fails_the_subtask_and_its_message_is_told(
    policy: Literal["skip", "substitute"], sync: bool
) -> None:
    instead = {"text": "instead"} if policy == "substitute" else None
    errors = ErrorPolicy(on_failure=policy, substitute=instead)
    office = Office(worker("make"), worker("ask", errors=errors), sync=sync, approve=["ask"])
    subtasks = [subtask("a", worker="ask"), subtask("b", "a"), subtask("c")]
    office.go({"task": "Do it", "plan": {"subtasks": subtasks}})
    output = office.answer({"type": "reject", "message": "too dear"})
    assert (office.result["reason"], office.result["by"]) == ("rejected", "person")
    failure = output["failure"]["subtasks"]["a"]
    assert (failure["reason"], failure["by"], failure["tier"]) == ("rejected", "person", None)
    assert failure["detail"] == "a person rejected it: too dear"
    statuses = {name: result["status"] for name, result in output["results"].items()}
    assert statuses == {"a": "failed", "b": "skipped" if policy == "skip" else "accepted", "c": "accepted"}
    assert "too dear" in output["answer"]


def test_a_value_of_a_person_is_checked_and_stands_in_for_the_models(sync: bool) -> None:
    def shouts(answer: Said, brief: Any) -> Said:
        if answer.text == "boo":
            raise ValueError("that is no answer")
        return Said(text=answer.text.upper())

    office = Office(worker(finish=shouts), models=[not_asked], sync=sync, approve=["make"])
    office.start(a="")
    for said, why in (
        ({"text": ""}, "text: String should have at least 1 character"),
        ({"text": "x", "colour": "red"}, "colour is no field; there are text"),
        ({"text": "boo"}, "that is no answer"),
        (17, "Input should be a valid dictionary"),
    ):
        question = asked(office.answer({"type": "respond", "value": said}))
        assert why in question["error"]
    # LangChain's clients have a field of text for it.
    output = office.answer({"type": "respond", "message": '{"text": "mine"}'})
    assert office.result["value"] == {"text": "MINE"}
    assert (office.result["by"], office.result["attempts"]) == ("person", [])
    assert output["failure"] is None
    assert output["ledger"]["total"]["calls"] == 0
    assert output["ledger"]["accepted"] == {}
    assert output["ledger"]["people"] == {"approve_worker": {"respond": 1}}


# Before a tool


@pytest.mark.parametrize("where", ["effect", "worker", "orchestrator", "orchestrator, in full"])
def test_a_call_is_asked_about_once_whoever_wants_it(where: str, shop: Shop, sync: bool) -> None:
    small = in_turn(wants(TEA), BAD, BAD, BAD)
    # In another order, and with its default spelt out, it is the same call.
    large = in_turn(wants(("order", {"pieces": 1, "what": "tea"})), GOOD)
    tools = [shop.order]
    if where == "effect":

        @effect("write", approve=True)
        def order(what: str, pieces: int = 1) -> str:
            """Order something."""
            return shop.order(what, pieces)

        tools = [order]
    office = Office(
        worker(tools=tools, approve=["order"] if where == "worker" else False),
        models=[small, large],
        sync=sync,
        approve={"orchestrator": ["order"], "orchestrator, in full": ["make.order"]}.get(where, ()),
    )
    question = asked(office.start(a=""))
    assert (question["kind"], question["tool"], question["subtask"]) == ("approve_tool", "order", "a")
    assert question["args"] == {"what": "tea", "pieces": 1}
    assert "[[a]]" in question["instruction"]
    assert shop.ordered == []
    output = office.answer("yes")
    assert shop.ordered == ["1 tea"]
    assert [use["output"] for use in office.uses] == ["ordered 1 tea"] * 2
    assert [record["type"] for record in office.result["people"]] == ["approve"]
    assert output["ledger"]["people"] == {"approve_tool": {"approve": 1}}
    assert sum(model.calls for model in office.models) == 6


def test_edited_arguments_are_checked_and_the_model_is_told(shop: Shop, sync: bool) -> None:
    model = Scripted(reply=in_turn(wants(TEA), BAD, BAD))
    large = Scripted(reply=in_turn(wants(TEA), GOOD))
    office = Office(
        worker(tools=[shop.order], repairs=0), models=[model, large], sync=sync, approve=["order"]
    )
    office.start(a="")
    for args, why in (
        ({"pieces": 2}, "arguments.what is missing"),
        ({"what": "tea", "price": 1}, "arguments.price is no parameter"),
        ({"what": "tea", "pieces": "many"}, "arguments.pieces is 'many'; it must be of type integer"),
    ):
        assert why in asked(office.answer({"type": "edit", "args": args}))["error"]
    edited = {"edited_action": {"name": "order", "args": {"what": "milk"}}}  # LangChain's form
    office.answer({"decisions": [{"type": "edit", **edited}]})
    assert shop.ordered == ["1 milk"]  # the larger model is given what it gave
    made_of = ({"what": "milk", "pieces": 1}, {"what": "tea"})
    assert [(use["args"], use["asked"]) for use in office.uses] == [made_of] * 2
    told = [message.text for message in model._calls[1][0] if isinstance(message, ToolMessage)]
    assert told[0].startswith("ordered 1 milk\n(a person changed the arguments of this call, which were")


def test_what_is_not_known_of_a_changed_call_is_asked_once_too(sync: bool) -> None:
    def order(what: str) -> str:
        """Order something."""
        raise OutcomeUnknownError("the connection broke off")

    models = [in_turn(wants(TEA), BAD, BAD, BAD), in_turn(wants(TEA), GOOD)]
    office = Office(worker(tools=[order]), models=models, sync=sync, approve=["order"])
    office.start(a="")
    question = asked(office.answer({"type": "edit", "args": {"what": "milk"}}))
    assert (question["kind"], question["args"]) == ("unknown_outcome", {"what": "milk"})
    output = office.answer("reject")
    assert [(use["problem"], use["args"]) for use in office.uses] == [
        ("unknown_outcome", {"what": "milk"})
    ] * 2
    assert output["ledger"]["people"] == {"approve_tool": {"edit": 1}, "unknown_outcome": {"reject": 1}}


def test_a_rejected_call_is_not_made_and_the_model_hears_why(shop: Shop, sync: bool) -> None:
    small = Scripted(reply=in_turn(wants(TEA), BAD, BAD, BAD))
    large = Scripted(reply=in_turn(wants(TEA), GOOD))
    journal = InMemoryEffectJournal()
    office = Office(
        worker(tools=[shop.order]), models=[small, large], sync=sync, approve=["order"], effects=journal
    )
    office.start(a="")
    output = office.answer({"type": "reject", "message": "we have enough"})
    assert shop.ordered == []
    assert not journal._claims  # nothing was intended
    for model in (small, large):
        told = [message.text for message in model._calls[1][0] if isinstance(message, ToolMessage)]
        assert told[0].endswith("called with these arguments: we have enough; go on without it")
    assert [(use["problem"], use["by"]) for use in office.uses] == [("rejected", "person")] * 2
    assert output["ledger"]["tools"]["rejected"] == 2
    assert office.result["status"] == "accepted"


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_person_gives_the_output_of_a_call_that_is_not_made(kind: str, shop: Shop, sync: bool) -> None:
    model = Scripted(reply=in_turn(wants(TEA), GOOD))
    tools = worker(tools=[shop.order], effects={"order": kind}, approve=["order"])
    office = Office(tools, models=[model], sync=sync)
    office.start(a="")
    output = office.answer({"type": "respond", "value": {"came": "by phone"}})
    assert shop.ordered == []
    (use,) = office.uses
    assert (use["output"], use["by"], use["failed"]) == ('{"came": "by phone"}', "person", False)
    assert output["ledger"]["tools"] == {"answered": 1}


def test_a_call_with_arguments_that_do_not_fit_is_nobodys_to_approve(shop: Shop, sync: bool) -> None:
    model = in_turn(wants(("order", {"pieces": 1})), wants(TEA), GOOD)
    office = Office(worker(tools=[shop.order]), models=[model], sync=sync, approve=["order"])
    assert asked(office.start(a=""))["args"] == {"what": "tea", "pieces": 1}
    office.answer("approve")
    assert [use.get("problem") for use in office.uses] == ["arguments", None]


@pytest.mark.parametrize("parallel", [True, False])
def test_calls_of_one_reply_are_asked_about_each_and_the_same_one_once(
    parallel: bool, shop: Shop, sync: bool
) -> None:
    milk = ("order", {"what": "milk"})
    made = worker(tools=[shop.order], parallel_tools=parallel)
    office = Office(made, models=[in_turn(wants(TEA, milk, TEA), GOOD)], sync=sync, approve=["order"])
    output = office.start(a="")
    questions = {question.value["args"]["what"]: question.id for question in output["__interrupt__"]}
    assert questions.keys() == ({"tea", "milk"} if parallel else {"tea"})
    if parallel:
        output = office.answer({questions["milk"]: "no"})
        assert asked(output)["args"]["what"] == "tea"
        office.answer("yes")
    else:
        assert asked(office.answer("yes"))["args"]["what"] == "milk"
        office.answer("no")
    assert shop.ordered == ["1 tea"]
    assert [use.get("problem") for use in office.uses] == [None, "rejected", "repeated"]


def test_a_tool_that_asks_for_itself_is_not_given_the_approval_for_an_answer(sync: bool) -> None:
    def order(what: str) -> str:
        """Order something."""
        return f"ordered in {interrupt('Which colour?')}"

    office = Office(worker(tools=[order]), models=[in_turn(wants(TEA), GOOD)], sync=sync, approve=["order"])
    office.start(a="")
    assert office.answer("approve")["__interrupt__"][0].value == "Which colour?"
    office.answer("green")
    assert office.uses[0]["output"] == "ordered in green"


@pytest.mark.parametrize("beside", ["a read", "a misfit", "a write of unknown outcome"])
def test_a_call_that_is_asked_about_stands_beside_one_that_is_not(
    beside: str, shop: Shop, sync: bool
) -> None:
    """One ends before the other, and the model is asked once, when both have."""

    @effect("read")
    def look(what: str) -> str:
        """Look."""
        return f"saw {what}"

    def pay(what: str) -> str:
        """Pay."""
        raise OutcomeUnknownError("the line broke")

    other = {
        "a read": ("look", {"what": "tea"}),
        "a misfit": ("look", {"wat": "tea"}),
        "a write of unknown outcome": ("pay", {"what": "tea"}),
    }[beside]
    model = Scripted(reply=in_turn(wants(other, TEA), GOOD))
    office = Office(
        worker(tools=[look, pay, shop.order], parallel_tools=True),
        models=[model],
        sync=sync,
        approve=["order"],
    )
    assert asked(office.start(a=""))["kind"] == "approve_tool"
    output = office.answer("approve")
    if beside == "a write of unknown outcome":
        assert asked(output)["kind"] == "unknown_outcome"
        office.answer("reject")
    assert shop.ordered == ["1 tea"]
    assert office.result["status"] == "accepted"
    problem = {"a read": None, "a misfit": "arguments"}.get(beside, "unknown_outcome")
    assert [use.get("problem") for use in office.uses] == [problem, None]
    assert model.calls == 2


def test_what_is_made_again_after_the_world_changed_is_asked_about_again(sync: bool) -> None:
    sent = list[str]()

    def send(what: str) -> str:
        """Send something."""
        sent.append(what)
        return "sent"

    @effect("write")
    def note(what: str) -> str:
        """Note something."""
        return "noted"

    tea = ("send", {"what": "tea"})
    model = in_turn(wants(tea), wants(("note", {"what": "x"})), wants(tea), GOOD)
    office = Office(worker(tools=[send, note]), models=[model], sync=sync, approve=["send"])
    office.start(a="")
    asked(office.answer("approve"))
    office.answer({"type": "reject", "message": "once is enough"})
    assert sent == ["tea"]
    assert [use.get("problem") for use in office.uses] == [None, None, "rejected"]


def test_what_a_tool_declares_is_not_lost_where_a_worker_says_what_kind_it_is(shop: Shop) -> None:
    def key(args: Any) -> str:
        return str(args["what"])

    write = effect("write", idempotency_key=key, approve=True)(make_tool(shop.order))
    read = effect("read", approve=True)(make_tool(shop.order))
    kept = worker(tools=[write], effects={"order": "write"}).effect_of("order")
    assert (kept.approve, kept.idempotency_key) == (True, key)
    for made in (
        worker(tools=[write], effects={"order": "read"}),
        worker(tools=[read], serial=["order"]),
        worker(tools=[read], effects={"order": "write"}),
    ):
        assert made.asks_before("order")
    assert not worker(tools=[read], effects={"order": Effect("read")}).asks_before("order")


def test_an_edit_cannot_name_another_tool(sync: bool) -> None:
    said = list[tuple[str, dict[str, Any]]]()

    class Act(BaseModel):
        action: str
        args: dict[str, Any]

    @make_tool(args_schema=Act)
    def act(action: str, args: dict[str, Any]) -> str:
        """Do something."""
        said.append((action, args))
        return "done"

    call = ("act", {"action": "draft", "args": {"id": 1}})
    office = Office(worker(tools=[act]), models=[in_turn(wants(call), GOOD)], sync=sync, approve=["act"])
    office.start(a="")
    other = {"type": "edit", "edited_action": {"name": "draft", "args": {"action": "x", "args": {}}}}
    assert "asked about 'act', and the edit is of 'draft'" in asked(office.answer(other))["error"]
    office.answer({"type": "edit", "args": {"action": "send", "args": {"id": 2}}})
    assert said == [("send", {"id": 2})]


def test_calls_that_differ_in_a_secret_are_two_calls(sync: bool) -> None:
    made = list[str]()

    class Login(BaseModel):
        user: str
        password: SecretStr

    @make_tool(args_schema=Login)
    def login(user: str, password: SecretStr) -> str:
        """Log in."""
        made.append(password.get_secret_value())
        return "in"

    first, second = (("login", {"user": "x", "password": word}) for word in "AB")
    model = in_turn(wants(first), wants(second), GOOD)
    office = Office(worker(tools=[login]), models=[model], sync=sync, approve=["login"])
    office.start(a="")
    assert asked(office.answer("approve"))["args"]["password"] == "B"
    office.answer("reject")
    assert made == ["A"]


def test_a_validator_that_breaks_is_told_to_the_model(sync: bool) -> None:
    class Order(BaseModel):
        what: str

        @field_validator("what")
        @classmethod
        def known(cls, what: str) -> str:
            return {"tea": "tea"}[what]

    made = list[str]()

    @make_tool(args_schema=Order)
    def order(what: str) -> str:
        """Order something."""
        made.append(what)
        return "ordered"

    model = in_turn(wants(("order", {"what": "milk"})), wants(TEA), GOOD)
    office = Office(worker(tools=[order]), models=[model], sync=sync, approve=["order"])
    assert asked(office.start(a=""))["args"] == {"what": "tea"}
    office.answer("approve")
    assert made == ["tea"]
    assert "KeyError" in office.uses[0]["output"]


def test_what_a_person_rejected_is_not_planned_in_another_way(sync: bool) -> None:
    planner = Scripted(reply=in_turn("{}"))
    office = Office(worker(), worker("other"), models=[make, planner], sync=sync, approve=["make"], replans=1)
    office.start(a="", b="a")
    output = office.answer({"type": "reject", "message": "never"})
    assert [result["status"] for result in output["results"].values()] == ["failed", "skipped"]
    assert planner.calls == 0


def test_a_call_of_a_checkpoint_of_before_is_still_known() -> None:
    old: Any = {"decisions": {"outcome": {"type": "reject"}}}
    assert [(each["kind"], each["type"]) for each in decisions_of(old)] == [("unknown_outcome", "reject")]


# What is not known


class Found(BaseModel):
    where: str
    when: int | None
    kind: Literal["tea", "milk", "unknown"] = "tea"
    note: str | None = None


LACKS = '{"where": "unknown", "when": null, "kind": "unknown"}'


@pytest.mark.parametrize("how", [True, ["make"], "worker"])
def test_a_person_gives_what_the_model_does_not_know(how: Any, sync: bool) -> None:
    made = worker(output=Found, ask=how == "worker")
    office = Office(made, models=[in_turn(LACKS)], sync=sync, ask=False if how == "worker" else how)
    question = asked(office.start(a=""))
    assert (question["kind"], question["unknown"]) == ("unknown_value", ["where", "kind", "when"])
    assert question["value"] == {"where": "unknown", "when": None, "kind": "unknown", "note": None}
    assert question["allowed"] == ["respond", "approve", "reject"]
    again = asked(office.answer({"type": "respond", "value": {"when": "soon"}}))
    assert "when: Input should be a valid integer" in again["error"]
    output = office.answer({"type": "respond", "value": {"where": "Rome", "when": 1999}})
    assert office.result["value"] == {"where": "Rome", "when": 1999, "kind": "unknown", "note": None}
    assert office.result["by"] == "person"
    assert [attempt["verdict"]["accepted"] for attempt in office.result["attempts"]] == [True]
    assert output["ledger"]["total"]["calls"] == 1
    assert output["ledger"]["rejected"] == {"unknown": 1}
    assert output["ledger"]["people"] == {"unknown_value": {"respond": 1}}


@pytest.mark.parametrize("said", ["approve", "reject"])
def test_what_nobody_knows_stays_unknown_or_fails(said: str, sync: bool) -> None:
    office = Office(worker(output=Found), models=[in_turn(BAD, BAD), in_turn(LACKS)], sync=sync, ask=True)
    office.start(a="", b="a")
    output = office.answer(said) if said == "approve" else office.answer({"type": said, "message": "useless"})
    assert len(office.result["attempts"]) == 2
    if said == "approve":
        assert office.result["value"]["where"] == "unknown"
        assert "by" not in office.result
    else:
        assert (office.result["status"], office.result["reason"]) == ("failed", "rejected")
        assert output["failure"]["subtasks"]["a"]["detail"] == "a person rejected it: useless"


def test_a_person_is_asked_when_no_model_knows(sync: bool) -> None:
    class Choice(BaseModel):
        label: Literal["tea", "milk"]

    made = worker(output=Choice, rails=Rails(unknown=True, repair=False))
    says = ['{"label": "unknown"}']
    for said, status in (({"type": "respond", "value": {"label": "tea"}}, "accepted"), ("approve", "failed")):
        office = Office(made, models=[in_turn(*says), in_turn(*says)], sync=sync, ask=True)
        question = asked(office.start(a=""))
        assert question["value"] is None
        assert "does not know: the answer" in question["question"]
        again = asked(office.answer({"type": "respond", "value": {}}))
        assert "label: Field required" in again["error"]
        office.answer(said)
        assert office.result["status"] == status
        assert len(office.result["attempts"]) == 2
        assert office.result["value"] == ({"label": "tea"} if status == "accepted" else None)


def test_of_a_router_that_cascades_it_is_what_is_served_that_lacks_something(sync: bool) -> None:
    class Both:
        cascades = True

        def decide(self, subtask: Any, worker: Any, ladder: Any, budget: Any, history: Any) -> Decision:
            tier = [*ladder][len(history)].name if len(history) < 2 else None
            return Decision(
                tier=tier, router="both", version="1", why="so", serve=0 if tier is None else None
            )

    models = [in_turn(LACKS), in_turn('{"where": "Rome", "when": 3}')]
    office = Office(worker(output=Found), models=models, sync=sync, router=Both(), ask=True)
    assert asked(office.start(a=""))["unknown"] == ["where", "kind", "when"]
    office.answer("approve")
    assert (office.result["value"]["where"], office.result["served"]) == ("unknown", 0)
    assert len(office.result["attempts"]) == 2


def test_nobody_is_asked_for_what_is_known(sync: bool) -> None:
    office = Office(
        worker(output=Found), models=[in_turn('{"where": "Rome", "when": 3}')], sync=sync, ask=True
    )
    assert "__interrupt__" not in office.start(a="")
    assert "people" not in office.result
    assert "people" not in office.output["ledger"]


# Several at once


def test_others_go_on_while_a_person_is_asked_and_the_places_of_tiers_are_free(sync: bool) -> None:
    """With one place on each tier, and two that wait."""
    model = Scripted(reply=make)
    tier = Tier(name="only", model=model, price=Price(input=1, output=1), max_concurrency=1)
    graph = create_orchestrator(
        [worker("make"), worker("ask")], Ladder([tier]), synthesizer="join", approve=["ask"]
    ).compile(checkpointer=InMemorySaver())
    subtasks = [subtask("a", worker="ask"), subtask("b", worker="ask"), subtask("c"), subtask("d", "c")]
    subtasks.append(subtask("e", "a", "d"))
    given = {"task": "Do it", "plan": {"subtasks": subtasks}}
    output = run(graph, given, THREAD, sync=sync)
    assert by_subtask(output).keys() == {"a", "b"}
    assert model.jobs == {"c": 1, "d": 1}
    answers = dict.fromkeys(by_subtask(output).values(), "approve")
    output = run(graph, Command(resume=answers), THREAD, sync=sync)
    assert {result["status"] for result in output["results"].values()} == {"accepted"}
    assert model.jobs == dict.fromkeys("abcde", 1)


class Case:
    """Two subtasks that ask a person, of each kind, beside two of whom nobody asks anything."""

    def __init__(self, kinds: tuple[str, str], sync: bool) -> None:
        self.shop, self.sync = Shop(), sync
        self.model = Scripted(reply=self.reply)
        workers = [
            worker("free"),
            worker("approved"),
            worker("shops", tools=[self.shop.order]),
            worker("finds", output=Found),
        ]
        graph = create_orchestrator(
            workers, ladder(self.model), synthesizer="join", approve=["approved", "order"], ask=["finds"]
        )
        self.graph = graph.compile(checkpointer=InMemorySaver())
        self.subtasks = [
            subtask("a", worker=kinds[0]),
            subtask("b", worker=kinds[1]),
            subtask("c", "a", worker="free"),
            subtask("d", worker="free"),
        ]
        self.kinds = dict(zip("ab", kinds, strict=True))

    def reply(self, messages: Any) -> Any:
        kind = self.kinds.get(mark_of(messages) or "", "free")
        if kind == "shops" and not any(isinstance(message, ToolMessage) for message in messages):
            return wants(("order", {"what": mark_of(messages)}))
        return LACKS if kind == "finds" else GOOD

    def answer_of(self, name: str) -> dict[str, Any]:
        if self.kinds[name] == "finds":
            return {"type": "respond", "value": {"where": f"in {name}"}}
        return {"type": "approve"}

    def go(self, given: Any) -> dict[str, Any]:
        output: dict[str, Any] = run(self.graph, given, THREAD, sync=self.sync)
        return output

    def ends(self, order: Sequence[str], wrong: bool) -> dict[str, Any]:
        """What the run ends in, answered in that order; or, without one, all at once."""
        output = self.go({"task": "Do it", "plan": {"subtasks": self.subtasks}})
        assert by_subtask(output).keys() == {"a", "b"}
        if not order:
            answers = {id: self.answer_of(name) for name, id in by_subtask(output).items()}
            output = self.go(Command(resume=answers))
        for number, name in enumerate(order):
            if wrong:  # asked again, while the other question stays open
                output = self.go(Command(resume={by_subtask(output)[name]: "perhaps"}))
                assert by_subtask(output).keys() == set(order[number:])
                errors = {each.value["subtask"]: each.value.get("error") for each in output["__interrupt__"]}
                assert "the type is 'perhaps'" in errors[name]
            output = self.go(Command(resume={by_subtask(output)[name]: self.answer_of(name)}))
            assert by_subtask(output).keys() == set(order[number + 1 :])
        return output


KINDS = [*itertools.combinations_with_replacement(["approved", "shops", "finds"], 2)]


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_every_order_of_answers_ends_the_same_with_each_call_made_once(
    kinds: tuple[str, str], sync: bool
) -> None:
    ends = []
    for order, wrong in [((), False), (("a", "b"), False), (("b", "a"), False), (("b", "a"), True)]:
        case = Case(kinds, sync)
        output = case.ends(order, wrong)
        expected = {name: 2 if case.kinds.get(name) == "shops" else 1 for name in "abcd"}
        assert case.model.jobs == expected
        assert sorted(case.shop.ordered) == [f"1 {n}" for n in "ab" if case.kinds[n] == "shops"]
        results = output["results"]
        decided = {
            name: [(record["kind"], record["type"]) for record in result.get("people", ())]
            for name, result in results.items()
        }
        ends.append((values(output), decided, output["ledger"]["people"], output["ledger"]["accepted"]))
    assert all(end == ends[0] for end in ends)
    assert {name: len(records) for name, records in ends[0][1].items()} == {"a": 1, "b": 1, "c": 0, "d": 0}


# Where it runs


def test_another_process_takes_the_answers(tmp_path: Path, shop: Shop, sync: bool) -> None:
    """On a file, and with graphs of its own for each answer."""
    url = f"sqlite:///{tmp_path / 'run.sqlite'}"
    model = Scripted(reply=in_turn(wants(TEA), GOOD))

    def go(given: Any) -> dict[str, Any]:
        made = worker(tools=[shop.order], approve=True)
        with SQLAlchemySaver.from_url(url) as saver:
            graph = create_orchestrator([made], ladder(model), synthesizer="join", approve=["order"])
            compiled = graph.compile(checkpointer=saver)
            if sync:
                return dict(compiled.invoke(given, THREAD))
            return dict(asyncio.run(compiled.ainvoke(given, THREAD)))

    assert asked(go({"task": "Do it", "plan": plan(a="")}))["kind"] == "approve_worker"
    edited = {"type": "edit", "args": {"instruction": "Order tea"}}
    question = asked(go(Command(resume=edited)))
    assert (question["kind"], question["instruction"]) == ("approve_tool", "Order tea")
    output = go(Command(resume="approve"))
    kinds = [record["kind"] for record in output["results"]["a"]["people"]]
    assert kinds == ["approve_worker", "approve_tool"]
    assert shop.ordered == ["1 tea"]


def test_a_node_in_another_graph_asks_through_it(sync: bool) -> None:
    inner = create_orchestrator([worker("make", approve=True)], ladder(make), synthesizer="join").compile()
    outer = StateGraph(MessagesState)
    outer.add_node("office", inner)
    outer.add_edge(START, "office")
    outer.add_edge("office", END)
    graph = outer.compile(checkpointer=InMemorySaver())
    given = {"messages": [("user", "Do it")]}
    output = run(graph, given, THREAD, sync=sync)
    assert asked(output)["kind"] == "approve_worker"
    output = run(graph, Command(resume="approve"), THREAD, sync=sync)
    assert "__interrupt__" not in output
    assert "made:" in output["messages"][-1].text


@pytest.mark.parametrize(
    ("said", "value", "calls"),
    [
        ("approve", {"text": "fine"}, 1),
        ({"type": "edit", "args": {"instruction": "other"}}, {"text": "fine"}, 1),
        ({"type": "reject", "message": "no"}, None, 0),
        ({"type": "respond", "value": {"text": "mine"}}, {"text": "mine"}, 0),
    ],
)
@pytest.mark.parametrize("with_tools", [True, False])
def test_a_worker_alone_asks_before_it_begins(
    said: Any, value: Any, calls: int, with_tools: bool, shop: Shop, sync: bool
) -> None:
    model = Scripted(reply=in_turn(*[GOOD] * 2))
    made = worker(approve=True, tools=[shop.order] if with_tools else ())
    graph = create_worker_graph(made, ladder(model)).compile(checkpointer=InMemorySaver())
    asked(run(graph, {"instruction": "first"}, THREAD, sync=sync))
    output = run(graph, Command(resume=said), THREAD, sync=sync)
    assert (output["value"], model.calls) == (value, calls)
    assert len(output["calls"]) == calls
    if isinstance(said, dict) and said["type"] == "edit":
        assert "other" in model.prompts[0]
    if value is None:
        assert (output["verdict"]["reason"], output["verdict"]["by"]) == ("rejected", "person")
    assert [record["kind"] for record in output["people"]] == ["approve_worker"]
    # With another input on the same thread, a person is asked anew.
    assert asked(run(graph, {"instruction": "second"}, THREAD, sync=sync))["instruction"] == "second"
    output = run(graph, Command(resume="approve"), THREAD, sync=sync)
    assert "second" in model.prompts[-1]
    assert [record["type"] for record in output["people"]] == ["approve"]


def test_a_worker_alone_asks_about_its_tools_and_for_what_it_does_not_know(shop: Shop, sync: bool) -> None:
    said: list[Any] = [wants(TEA), LACKS]
    model = Scripted(reply=in_turn(*said, *said))
    made = worker(output=Found, tools=[shop.order], approve=["order"], ask=True)
    graph = create_worker_graph(made, ladder(model)).compile(checkpointer=InMemorySaver())
    for _ in range(2):  # on one thread, the second time anew
        question = asked(run(graph, {"instruction": "go"}, THREAD, sync=sync))
        assert (question["kind"], question["instruction"]) == ("approve_tool", "go")
        assert asked(run(graph, Command(resume="approve"), THREAD, sync=sync))["kind"] == "unknown_value"
        answer = {"type": "respond", "value": {"where": "Rome"}}
        output = run(graph, Command(resume=answer), THREAD, sync=sync)
        assert output["value"]["where"] == "Rome"
        assert [record["kind"] for record in output["people"]] == ["approve_tool", "unknown_value"]
    assert model.calls == 4


@pytest.mark.parametrize(
    "options",
    [{"approve": ["make"]}, {"approve": ["order"]}, {"ask": True}],
    ids=["worker", "tool", "ask"],
)
def test_without_a_checkpointer_no_model_is_called(options: dict[str, Any], shop: Shop, sync: bool) -> None:
    office = Office(
        worker(tools=[shop.order]), worker("other"), models=[not_asked], sync=sync, saver=False, **options
    )
    with pytest.raises(ConfigurationError, match=r"Worker 'make' .* may have to ask a person.*checkpointer"):
        office.start(a="")
    if "approve" in options:
        alone = worker(tools=[shop.order], approve=options["approve"] == ["make"] or ["order"])
        graph = create_worker_graph(alone, ladder(not_asked)).compile()
        with pytest.raises(ConfigurationError, match="Worker 'make' may have to ask a person"):
            run(graph, {"instruction": "go"}, sync=sync)


def test_the_stream_says_who_decided(sync: bool) -> None:
    office = Office(worker(), sync=sync, approve=["make"])
    office.start(a="")
    options: dict[str, Any] = {"stream_mode": "updates", "subgraphs": True}

    async def collected() -> list[Any]:
        return [part async for part in office.graph.astream(Command(resume="approve"), THREAD, **options)]

    if sync:
        parts = list(office.graph.stream(Command(resume="approve"), THREAD, **options))
    else:
        parts = asyncio.run(collected())
    ((record,),) = (update[APPROVE]["people"] for _, update in parts if APPROVE in update)
    assert record["type"] == "approve"


def test_the_time_of_people_is_not_the_runs(sync: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(worker(), sync=sync, approve=["make"], run_budget=RunBudget(seconds=60))
    office.start(a="")
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 3600)
    office.answer("approve")
    assert office.result["status"] == "accepted"


# Names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"approve": ["pay"]},
            r"approve names 'pay', which is no worker and no tool; workers: make, other; "
            r"tools: make.order, other.order",
        ),
        ({"approve": ["make.pay"]}, "approve names 'make.pay', which is no worker and no tool"),
        ({"approve": ["nobody.order"]}, "approve names 'nobody.order', which is no worker and no tool"),
        ({"approve": "order"}, "'order', which several workers have; give make.order, other.order"),
        ({"ask": ["nobody"]}, "ask names 'nobody', which is no worker; workers: make, other"),
    ],
)
def test_a_name_that_is_none_is_refused(options: dict[str, Any], message: str, shop: Shop) -> None:
    workers = [worker(tools=[shop.order]), worker("other", tools=[shop.order])]
    with pytest.raises(ConfigurationError, match=message):
        create_orchestrator(workers, ladder(make), **options)
    with pytest.raises(ConfigurationError, match=r"worker 'make': approve names 'pay'; .*: order"):
        worker(tools=[shop.order], approve=["pay"])


def test_a_graph_in_which_nobody_is_asked_has_no_node_for_it() -> None:
    plain = create_orchestrator([worker()], ladder(make)).compile()
    asking = create_orchestrator([worker()], ladder(make), approve=["make"], ask=True).compile()

    def found(graph: Any) -> set[str]:
        return {str(name) for name in graph.get_graph(xray=True).nodes}

    assert found(asking) - found(plain) == {"execute:person-approves", "execute:person-answers"}
