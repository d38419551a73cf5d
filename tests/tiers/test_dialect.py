"""What reaches a server of which it is known what it does."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from pydantic import BaseModel

from stellwerk.capabilities import Capabilities
from stellwerk.graphs.worker import create_worker_graph
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.probe import probe
from stellwerk.tiers.probe_ladder import probe_ladder
from stellwerk.tiers.tier import Reply, Request, Tier
from stellwerk.workers.create import create_worker
from tests.fakes import Scripted, always
from tests.tiers.servers import Body, completion, serve_probed

SCHEMA = {"title": "said", "type": "object", "properties": {"text": {"enum": ["ä"]}}, "required": ["text"]}
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
SUB = {"type": "function", "function": {"name": "sub", "parameters": {"type": "object", "properties": {}}}}
PROMPT = [SystemMessage("Be exact."), HumanMessage("<page>\n\nJob: read it\nAnswer:")]
CALL = ToolCall(name="add", args={}, id="1")
NO_TOOLS: Any = {"auto_tool": False, "required_tool": False, "named_tool": False}
USED = [*PROMPT, AIMessage("", tool_calls=[CALL]), ToolMessage("3", tool_call_id="1")]

Sent = Callable[..., tuple[list[BaseMessage], dict[str, Any]]]


@pytest.fixture(params=["sync", "async"])
def sent(request: pytest.FixtureRequest) -> Sent:
    """What a model gets: messages, and what goes with them."""

    def send(able: Capabilities | None, **fields: Any) -> tuple[list[BaseMessage], dict[str, Any]]:
        model = Scripted(reply=always("{}"))
        tier = Tier(name="small", model=model, capabilities=able)
        asked = Request(**{"messages": PROMPT, **fields})
        if request.param == "sync":
            tier.call(asked)
        else:
            asyncio.run(tier.acall(asked))
        ((messages, options),) = model._calls
        return messages, options

    return send


@pytest.mark.parametrize("able", [None, Capabilities(), Capabilities(json_schema=True)])
def test_what_is_not_known_to_be_missing_is_used(sent: Sent, able: Capabilities | None) -> None:
    messages, options = sent(able, schema=SCHEMA)
    assert messages == PROMPT
    assert options["response_format"]["json_schema"]["schema"] == SCHEMA
    _, options = sent(able, tools=(ADD,), tool_choice="required")
    assert (options["tools"], options["tool_choice"]) == ([ADD], "required")


def test_a_schema_goes_into_the_form_that_is_enforced(sent: Sent) -> None:
    able = Capabilities(json_schema=False, structured_outputs=True)
    messages, options = sent(able, schema=SCHEMA)
    assert messages == PROMPT
    assert "response_format" not in options
    assert options["extra_body"] == {"structured_outputs": {"json": SCHEMA}}


@pytest.mark.parametrize("structured_outputs", [False, None])
def test_a_schema_that_no_form_enforces_goes_into_the_prompt(
    sent: Sent, structured_outputs: bool | None
) -> None:
    able = Capabilities(json_schema=False, structured_outputs=structured_outputs)
    messages, options = sent(able, schema=SCHEMA)
    assert not {"response_format", "extra_body"} & options.keys()
    assert messages[0] == PROMPT[0]
    text = messages[1].text
    assert text.startswith("<page>\n\nJob: read it\n")
    assert text.endswith("\nAnswer:")
    assert json.dumps(SCHEMA, ensure_ascii=False, separators=(",", ":")) in text
    assert PROMPT[1].text.count("schema") == 0  # the request itself is left alone


@pytest.mark.parametrize(
    "last",
    [
        HumanMessage("What is it?"),
        HumanMessage([{"type": "text", "text": "What is it?"}]),
        ToolMessage("3", tool_call_id="1"),
    ],
)
def test_a_schema_in_words_comes_last_in_any_prompt(sent: Sent, last: BaseMessage) -> None:
    able = Capabilities(json_schema=False, structured_outputs=False)
    messages, _ = sent(able, messages=[PROMPT[0], last], schema=SCHEMA)
    assert messages[0] == PROMPT[0]
    assert messages[1].text.startswith(last.text)
    assert '"title":"said"' in messages[-1].text
    assert isinstance(messages[-1], HumanMessage)


def test_without_a_schema_nothing_changes(sent: Sent) -> None:
    nothing = Capabilities(**dict.fromkeys(["json_schema", "auto_tool", "logprobs"], False))  # type: ignore[arg-type]
    assert sent(nothing) == (PROMPT, {})


def test_tools_and_a_schema_go_together_unless_that_is_refuted(sent: Sent) -> None:
    messages, options = sent(Capabilities(), schema=SCHEMA, tools=(ADD,))
    assert {"tools", "response_format"} <= options.keys()
    messages, options = sent(
        Capabilities(json_schema=True, tools_with_schema=False), schema=SCHEMA, tools=(ADD,)
    )
    assert options == {"tools": [ADD]}
    assert '"title":"said"' in messages[-1].text


class TestTools:
    def test_one_is_required_where_a_model_cannot_call_of_itself(self, sent: Sent) -> None:
        able = Capabilities(auto_tool=False, required_tool=True)
        assert sent(able, tools=(ADD, SUB))[1] == {"tools": [ADD, SUB], "tool_choice": "required"}

    def test_the_only_one_is_named_where_none_can_be_required(self, sent: Sent) -> None:
        able = Capabilities(auto_tool=False, required_tool=False, named_tool=True)
        named = {"type": "function", "function": {"name": "add"}}
        assert sent(able, tools=(ADD,))[1] == {"tools": [ADD], "tool_choice": named}
        assert sent(able, tools=(ADD, SUB))[1] == {"tools": [ADD, SUB]}

    def test_after_an_answer_of_a_tool_no_further_one_is_forced(self, sent: Sent) -> None:
        able = Capabilities(auto_tool=False, required_tool=True)
        assert sent(able, messages=USED, tools=(ADD,))[1] == {}
        another = [*USED, HumanMessage("And now?")]
        assert sent(able, messages=another, tools=(ADD,))[1]["tool_choice"] == "required"

    def test_where_neither_tools_nor_schemas_work_a_server_is_asked_as_before(self, sent: Sent) -> None:
        able = Capabilities(**NO_TOOLS, json_schema=False, structured_outputs=False)
        assert sent(able, tools=(ADD,))[1] == {"tools": [ADD]}

    def test_a_named_tool_is_offered_alone_and_required(self, sent: Sent) -> None:
        able = Capabilities(named_tool=False, required_tool=True)
        options = sent(able, tools=(ADD, SUB), tool_choice="sub")[1]
        assert options == {"tools": [SUB], "tool_choice": "required"}

    def test_a_required_tool_is_left_to_the_model(self, sent: Sent) -> None:
        able = Capabilities(required_tool=False, named_tool=False)
        assert sent(able, tools=(ADD,), tool_choice="required")[1] == {"tools": [ADD]}

    def test_none_stays_none(self, sent: Sent) -> None:
        able = Capabilities(auto_tool=False, required_tool=True)
        assert sent(able, tools=(ADD,), tool_choice="none")[1]["tool_choice"] == "none"

    def test_arguments_are_held_to_their_schema_where_that_takes_a_mark(self, sent: Sent) -> None:
        able = Capabilities(server="vllm", strict_tool=True)
        (tool,) = sent(able, tools=(ADD,))[1]["tools"]
        assert tool["function"]["strict"] is True
        assert "strict" not in ADD["function"]
        # Hosted models refuse many schemas under this mark.
        assert sent(Capabilities(strict_tool=True), tools=(ADD,))[1]["tools"] == [ADD]


class TestWrittenTools:
    def test_where_no_call_is_taken_it_is_an_answer_under_a_schema(self, sent: Sent) -> None:
        messages, options = sent(Capabilities(**NO_TOOLS, json_schema=True), tools=(ADD, SUB))
        assert options.keys() == {"response_format"}
        *calls, answer = options["response_format"]["json_schema"]["schema"]["anyOf"]
        assert [call["properties"]["name"]["enum"] for call in calls] == [["add"], ["sub"]]
        assert [call["properties"]["arguments"]["type"] for call in calls] == ["object", "object"]
        assert all(call["required"] == ["name", "arguments"] for call in calls)
        assert answer["properties"] == {"answer": {"type": "string"}}
        assert messages[0] == PROMPT[0]
        text = messages[1].text
        assert text.startswith("<page>\n\nJob: read it\nYou may call a tool first.")
        assert "- add: " in text
        assert text.endswith("\nAnswer:")

    def test_the_schema_of_a_call_takes_the_form_that_is_enforced(self, sent: Sent) -> None:
        able = Capabilities(**NO_TOOLS, json_schema=False, structured_outputs=True)
        options = sent(able, tools=(ADD,))[1]
        assert "anyOf" in options["extra_body"]["structured_outputs"]["json"]

    def test_a_call_and_its_result_are_shown_as_text(self, sent: Sent) -> None:
        messages, options = sent(Capabilities(**NO_TOOLS, json_schema=True), messages=USED, schema=SCHEMA)
        assert options["response_format"]["json_schema"]["schema"] == SCHEMA
        assert [message.type for message in messages] == ["system", "human", "ai", "human"]
        assert json.loads(messages[2].text) == {"name": "add", "arguments": {}}
        assert messages[3].text == "Result of add: 3"

    def test_several_results_and_what_is_said_after_them_are_one_turn(self, sent: Sent) -> None:
        calls = [CALL, ToolCall(name="sub", args={"a": 2}, id="2")]
        history = [
            *PROMPT,
            AIMessage("Let me see.", tool_calls=calls),
            ToolMessage("3", tool_call_id="1"),
            ToolMessage("1", tool_call_id="2"),
            HumanMessage("Now answer."),
        ]
        able = Capabilities(**NO_TOOLS, structured_outputs=True)
        messages = sent(able, messages=history)[0]
        assert [message.type for message in messages] == ["system", "human", "ai", "human"]
        assert messages[2].text.splitlines()[0] == "Let me see."
        assert messages[3].text == "Result of add: 3\n\nResult of sub: 1\n\nNow answer."

    def test_references_that_would_lead_nowhere_are_left_to_the_check(self, sent: Sent) -> None:
        parameters = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
        tool = {"type": "function", "function": {"name": "add", "parameters": parameters}}
        options = sent(Capabilities(**NO_TOOLS, json_schema=True), tools=(tool,))[1]
        call, _ = options["response_format"]["json_schema"]["schema"]["anyOf"]
        assert call["properties"]["arguments"] == {"type": "object"}

    def test_no_tools_are_offered_where_none_is_wanted(self, sent: Sent) -> None:
        able = Capabilities(**NO_TOOLS, json_schema=True)
        assert sent(able, tools=(ADD,), tool_choice="none") == (PROMPT, {})

    def test_a_worker_calls_its_tool_on_a_server_that_refuses_tools(self) -> None:
        """From the server's refusal to the tool's result in the answer."""

        def double(number: int) -> int:
            """Twice the number."""
            return 2 * number

        class Doubled(BaseModel):
            value: int

        def answer(body: Body) -> tuple[int, str] | None:
            text = body["messages"][-1]["content"]
            if "Result of double: 42" in text:
                return 200, completion(server, '{"value": 42}')
            call = '{"name": "double", "arguments": {"number": 21}}'
            return (200, completion(server, call)) if "Twice the number" in text else None

        ways: Any = dict.fromkeys(("named", "required", "auto", "both"), "refuse")
        worker = create_worker(
            "double", description="doubles", output=Doubled, prompt="Double it.", tools=[double]
        )
        with serve_probed(**ways) as server:
            ladder = probe_ladder(Ladder([openai_tier("small", model="m", base_url=server.url)]))
            server.special = answer
            server.forget()
            state = create_worker_graph(worker, ladder).compile().invoke({"instruction": "Double 21."})
        assert state["verdict"]["accepted"], state["verdict"]
        assert state["value"] == {"value": 42}
        assert not any("tools" in body for body in server.chats)


def test_what_the_model_adds_to_each_request_stays() -> None:
    """Such as a priority, which goes the same way as vLLM's own form of a schema."""
    with serve_probed(json_schema="ignore") as server:
        tier = openai_tier("small", model="m", base_url=server.url)
        able = probe(tier).capabilities
        server.forget()
        model = tier.model.model_copy(update={"extra_body": {"priority": 7}})
        reply = Tier(name="small", model=model, capabilities=able).call(
            Request(messages=PROMPT, schema=SCHEMA, max_tokens=9)
        )
    (body,) = server.chats
    assert body["structured_outputs"] == {"json": SCHEMA}
    assert body["priority"] == 7
    assert "response_format" not in body
    assert json.loads(reply.text) == {"text": "ä"}


def test_a_worker_is_answered_by_a_server_that_enforces_nothing() -> None:
    ways: Any = dict.fromkeys(("json_schema", "structured_outputs", "guided_json"), "ignore")

    with serve_probed(**ways) as server:
        tier = openai_tier("small", model="m", base_url=server.url)
        able = probe(tier).capabilities
        server.special = lambda body: (
            200,
            completion(server, '{"text": "ä"}' if "JSON schema" in body["messages"][-1]["content"] else "?"),
        )
        reply: Reply = Tier(name="small", model=tier.model, capabilities=able).call(
            Request(messages=PROMPT, schema=SCHEMA)
        )
    assert reply.text == '{"text": "ä"}'
