"""LangServe's routes, by its own client over a real connection."""

import json
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.serving.remote import aremote, hashed, on, remote, told
from tests.serving.served import ASKING, DOCUMENTS, RUN, Site, new_thread, refused
from tests.serving.test_threads import ANSWER

JOB = {"instruction": "What were sales?", "documents": DOCUMENTS}
APPROVED: Any = {"resume": {"type": "approve"}}


class TestOrchestrator:
    def test_a_task_is_done_on_a_new_thread_which_the_output_names(self, place: Site) -> None:
        with remote(place) as graph, place.client("ada") as ada:
            found = graph.invoke(RUN)
            assert found["answer"] == ANSWER
            assert found["ledger"]["total"]["calls"] == 3
            shown = ada.get(f"/threads/{found['thread_id']}").json()
        assert (shown["status"], shown["answer"]) == ("done", ANSWER)
        assert "__interrupt__" not in found

    def test_a_thread_takes_one_task_after_the_other(self, place: Site) -> None:
        with remote(place) as graph, place.client("ada") as ada:
            thread = new_thread(ada)
            first = graph.invoke(RUN, on(thread))
            again = graph.with_config(on(thread)).invoke({"task": "Sales and rent?"})
        assert (first["thread_id"], again["thread_id"], again["answer"]) == (thread, thread, ANSWER)

    def test_a_stream_tells_of_each_subtask_and_ends_with_the_output(self, place: Site) -> None:
        with remote(place) as graph:
            *steps, last = graph.stream(RUN)
        assert [next(iter(step)) for step in steps] == [
            "supervisor",
            *["run_subtask"] * 3,
            "execute",
            "supervisor",
            "synthesize",
        ]
        assert {step["run_subtask"]["id"] for step in steps[1:4]} == {"sales", "rent", "text"}
        assert (last["answer"], len(last["thread_id"])) == (ANSWER, 32)

    @pytest.mark.parametrize("way", ["invoke", "stream"])
    def test_a_question_is_answered_on_the_thread_that_it_came_from(self, place: Site, way: str) -> None:
        with remote(place) as graph:

            def done(given: Any, config: Any = None) -> Any:
                return graph.invoke(given, config) if way == "invoke" else [*graph.stream(given, config)][-1]

            asking = done(ASKING)
            (question,) = asking["__interrupt__"]
            assert question["value"]["question"] == "May this be ordered?"
            assert asking.keys() == {"thread_id", "__interrupt__"}
            again = done({"resume": None}, on(asking["thread_id"]))  # which answers nothing
            assert [each["id"] for each in again["__interrupt__"]] == [question["id"]]
            found = done(APPROVED, on(asking["thread_id"]))
        assert found["results"]["b"]["status"] == "accepted"

    def test_an_answer_may_name_its_question(self, place: Site) -> None:
        with remote(place) as graph:
            asking = graph.invoke(ASKING)
            (question,) = asking["__interrupt__"]
            found = graph.invoke({"resume": {question["id"]: APPROVED["resume"]}}, on(asking["thread_id"]))
        assert found["results"]["b"]["status"] == "accepted"

    def test_a_batch_is_a_run_for_each_with_its_config(self, place: Site) -> None:
        with remote(place) as graph, place.client("ada") as ada:
            thread = new_thread(ada)
            configs: Any = [on(thread), {}, {"configurable": {"largest_tier": "small"}}]
            found = graph.batch([RUN, ASKING, RUN], configs)
        assert [each.get("answer") for each in found] == [ANSWER, None, ANSWER]
        assert found[1]["__interrupt__"]
        assert found[0]["thread_id"] == thread
        assert len({each["thread_id"] for each in found}) == 3

    def test_what_a_config_chooses_holds(self, place: Site) -> None:
        one = {**RUN, "plan": {"subtasks": [{"id": "a", "worker": "write", "instruction": "Say both"}]}}
        with remote(place) as graph:
            found = graph.invoke(one, {"configurable": {"smallest_tier": "large", "run_calls": 1}})
            path = f"orchestrator/c/{hashed({'configurable': {'smallest_tier': 'large'}})}"
            with remote(place, path) as chosen:
                by_path = chosen.invoke(one, {"configurable": {"run_calls": 5}})
                instead = chosen.invoke(one, {"configurable": {"smallest_tier": "small"}})
        tiers = [list(each["ledger"]["by_tier"]) for each in (found, by_path, instead)]
        assert tiers == [["large"], ["large"], ["small"]]

    def test_a_conversation_is_taken_and_given(self, place: Site) -> None:
        with remote(place) as graph:
            given = {
                "messages": [HumanMessage("Sales and rent?")],
                "documents": DOCUMENTS,
                "plan": RUN["plan"],
            }
            found = graph.invoke(given)
        asked, said = found["messages"]
        assert (asked.content, said.content) == ("Sales and rent?", ANSWER)
        assert (type(asked), type(said)) == (HumanMessage, AIMessage)

    async def test_all_of_it_goes_in_async_code_too(self, place: Site) -> None:
        async with aremote(place) as graph:
            assert (await graph.ainvoke(RUN))["answer"] == ANSWER
            assert [each["answer"] for each in await graph.abatch([RUN, RUN])] == [ANSWER, ANSWER]
            assert [step async for step in graph.astream(RUN)][-1]["answer"] == ANSWER
            asking = await graph.ainvoke(ASKING)
            found = await graph.ainvoke(APPROVED, on(asking["thread_id"]))
            assert found["results"]["b"]["status"] == "accepted"

    async def test_its_events_and_its_log_are_whole(self, place: Site) -> None:
        async with aremote(place) as graph:
            events = [event async for event in graph.astream_events(RUN)]
            log: Any = None
            async for patch in graph.astream_log(RUN):
                log = patch if log is None else log + patch
        root, last = events[0], events[-1]
        assert (root["event"], root["name"], last["event"]) == (
            "on_chain_start",
            "orchestrator",
            "on_chain_end",
        )
        assert root["data"]["input"] == RUN
        assert last["data"]["output"]["answer"] == ANSWER
        kinds = {(event["event"], event["name"]) for event in events}
        assert {("on_chain_start", "execute"), ("on_chain_end", "extract")} <= kinds
        assert any(event["event"] == "on_chat_model_end" for event in events)
        assert log.state["final_output"]["answer"] == ANSWER
        assert "synthesize" in log.state["logs"]

    async def test_events_can_be_chosen(self, place: Site) -> None:
        async with aremote(place) as graph:
            events = [event async for event in graph.astream_events(RUN, include_types=["chat_model"])]
        assert events
        assert all(event["event"].startswith("on_chat_model") for event in events)

    @pytest.mark.parametrize("route", ["stream", "stream_log", "stream_events"])
    def test_an_interrupt_is_told_in_every_stream(self, place: Site, route: str) -> None:
        with (
            place.client("ada") as ada,
            ada.stream("POST", f"/orchestrator/{route}", json={"input": ASKING}) as response,
        ):
            assert response.headers["Content-Type"].startswith("text/event-stream")
            found = told(response)
        assert found[-1] == ("end", None)
        assert "__interrupt__" in json.dumps(found)

    async def test_it_is_a_node_of_a_graph_whose_thread_is_another(self, place: Site) -> None:
        class State(TypedDict):
            task: str
            answer: str

        async with aremote(place) as graph, aremote(place, "workers/extract") as extract:

            async def ask(state: State) -> dict[str, Any]:
                job = await extract.ainvoke(JOB)  # the thread means nothing to a worker
                assert job["verdict"]["accepted"]
                found = await graph.ainvoke({**RUN, "task": state["task"]}, {"configurable": {}})
                return {"answer": found["answer"]}

            builder = StateGraph(State)
            builder.add_node("ask", ask)
            builder.add_edge(START, "ask")
            outer = builder.compile(checkpointer=InMemorySaver())
            found = await outer.ainvoke({"task": "Sales and rent?", "answer": ""}, on("outer"))
        assert found["answer"] == ANSWER


class TestWorkers:
    async def test_one_makes_one_attempt(self, place: Site) -> None:
        async with aremote(place, "workers/extract") as extract:
            found = extract.invoke({**JOB, "tier": "large"})
            assert found["value"]["answer"] == ["100 dollars"]
            assert [call["tier"] for call in found["calls"]] == ["large"]
            assert [each["verdict"] for each in await extract.abatch([JOB, JOB])] == [{"accepted": True}] * 2
            *steps, last = [step async for step in extract.astream(JOB)]
            assert [next(iter(step)) for step in steps] == ["generate", "verify"]
            assert last["value"]["answer"] == ["100 dollars"]
            events = [event async for event in extract.astream_events(JOB)]
            assert (events[0]["name"], events[-1]["data"]["output"]["verdict"]) == (
                "extract",
                {"accepted": True},
            )

    def test_the_routes_that_were_there_stay(self, place: Site) -> None:
        with place.client("ada") as ada:
            assert ada.post("/workers/extract/runs", json=JOB).json()["verdict"] == {"accepted": True}
            assert ada.get("/workers").status_code == 200

    def test_one_that_there_is_not_is_no_route(self, place: Site) -> None:
        with place.client("ada") as ada:
            for path in ("invoke", "stream"):
                refused(ada.post(f"/workers/none/{path}", json={"input": JOB}), 404)
            refused(ada.get("/workers/none/input_schema"), 404)
            refused(ada.get("/workers/none/playground/"), 404)


CONFIGS: list[tuple[Any, str]] = [
    ({"configurable": {"run_cals": 3}}, "did you mean run_calls"),
    ({"configurable": {"run_calls": 0}}, "run_calls"),
    ({"configurable": {"largest_tier": "huge"}}, "no tier 'huge'"),
    ({"configurable": {"thread_id": 7}}, "thread_id"),
    ({"configurable": {"checkpoint_id": "1f1ea339"}}, "checkpoint_id"),
    ({"configurable": {"user": "x\0"}}, "NUL"),
    ({"configurable": "thread"}, "configurable"),
    ("thread", "config"),
]
INPUTS: list[tuple[Any, str]] = [
    ("Sales and rent?", "input"),
    ({}, "give a task"),
    ({"task": " "}, "task"),
    ({"task": "t", "resume": True}, "resume alone"),
    ({"task": "t", "messages": [{"type": "human", "content": "t"}]}, "give a task, or messages"),
    ({"messages": [{"type": "ai", "content": "t"}]}, "task"),
    ({"messages": [{"type": "remove", "content": "", "id": "x"}]}, "messages.0.type"),
    ({"task": "t", "thread_id": "x"}, "thread_id"),
    ({"task": "t", "budget": {"euros": 1}}, "euros"),
    ({"task": "t", "documents": [DOCUMENTS[0], DOCUMENTS[0]]}, "report.txt"),
    ({"task": "t", "plan": {"subtasks": [{"id": "a", "worker": "x", "instruction": "i"}]}}, "worker"),
    ({"resume": {"type": "approve"}}, "thread_id"),
]


class TestWhatCannotBeUsed:
    @pytest.mark.parametrize("route", ["invoke", "stream", "stream_log", "stream_events"])
    @pytest.mark.parametrize(("given", "named"), INPUTS)
    def test_an_input_is_refused_with_what_is_wrong(
        self, place: Site, route: str, given: Any, named: str
    ) -> None:
        with place.client("ada") as ada:
            found = refused(ada.post(f"/orchestrator/{route}", json={"input": given}), 422)
        assert named in found["detail"]
        assert "Traceback" not in str(found)

    @pytest.mark.parametrize("where", ["body", "path"])
    @pytest.mark.parametrize(("config", "named"), CONFIGS)
    def test_a_config_is_refused_with_what_is_wrong(
        self, place: Site, where: str, config: Any, named: str
    ) -> None:
        with place.client("ada") as ada:
            if where == "body":
                found = ada.post("/orchestrator/invoke", json={"input": RUN, "config": config})
            else:
                found = ada.post(f"/orchestrator/c/{hashed(config)}/invoke", json={"input": RUN})
        detail = refused(found, 422)["detail"]
        assert named in detail or "no config that LangServe's playground made" in detail

    @pytest.mark.parametrize(
        "path", ["", "%25%25", "zzzz" * 50, "a" * 3_000, hashed("x" * 4_000_000), hashed([]), "%C3%A9%FF"]
    )
    def test_a_hash_that_is_none_is_refused_wherever_it_stands(self, place: Site, path: str) -> None:
        with place.client("ada") as ada:
            for found in (
                ada.post(f"/orchestrator/c/{path}/invoke", json={"input": RUN}),
                ada.get(f"/orchestrator/c/{path}/config_schema"),
            ):
                refused(found, 422 if path else 404)

    def test_nothing_of_a_batch_is_begun_where_one_cannot_be_used(self, place: Site) -> None:
        with place.client("bob") as bob:
            before = {one["id"] for one in bob.get("/threads").json()["threads"]}
            thread = new_thread(bob)
            for body, named in (
                ({"inputs": [RUN, {"task": ""}]}, "task"),
                ({"inputs": [RUN, RUN], "config": [{}]}, "1 for 2"),
                ({"inputs": [RUN, RUN], "config": on(thread)}, "one thread"),
                ({"inputs": [{"task": "t"}] * 300}, "256"),
            ):
                assert named in refused(bob.post("/orchestrator/batch", json=body), 422)["detail"]
            refused(
                bob.post("/orchestrator/batch", json={"inputs": [RUN, RUN], "config": [{}, on("0" * 32)]}),
                404,
            )
            assert bob.get(f"/threads/{thread}").json()["status"] == "new"
            # Newest first, and a page of them.
            assert {one["id"] for one in bob.get("/threads").json()["threads"]} - before == {thread}

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ("yes", "no decision"),
            ({"type": "yes"}, "approve or edit"),
            ({"f" * 32: {"type": "approve"}}, "no decision"),
            ({"type": "edit", "args": {"what": "tea", "pieces": "two"}}, "pieces"),
        ],
    )
    def test_an_answer_that_does_not_fit_changes_nothing(self, place: Site, answer: Any, said: str) -> None:
        with remote(place) as graph, place.client("ada") as ada:
            asking = graph.invoke(ASKING)
            body = {"input": {"resume": answer}, "config": on(asking["thread_id"])}
            for route in ("invoke", "stream"):
                assert said in refused(ada.post(f"/orchestrator/{route}", json=body), 422)["detail"]
            again = graph.invoke({"resume": None}, on(asking["thread_id"]))
            assert again["__interrupt__"] == asking["__interrupt__"]

    def test_a_thread_in_another_state_is_a_conflict(self, place: Site) -> None:
        with remote(place) as graph, place.client("ada") as ada:
            asking = graph.invoke(ASKING)["thread_id"]
            for route in ("invoke", "stream_events"):
                for given, thread in ((RUN, asking), ({"resume": None}, new_thread(ada))):
                    body = {"input": given, "config": on(thread)}
                    refused(ada.post(f"/orchestrator/{route}", json=body), 409)
            with pytest.raises(httpx.HTTPStatusError, match="unfinished run"):
                graph.invoke(RUN, on(asking))


class TestPages:
    @pytest.mark.parametrize("path", ["orchestrator", "workers/extract"])
    def test_schemas_say_what_is_taken_and_given(self, place: Site, path: str) -> None:
        with place.client("ada") as ada:
            found = {
                name: ada.get(f"/{path}/{name}_schema").json()["properties"]
                for name in ("input", "output", "config")
            }
            again = ada.get(f"/{path}/c/{hashed({})}/input_schema").json()["properties"]
            chosen = ada.get("/orchestrator/config_schema").json()["$defs"]["Configurable"]["properties"]
        assert again == found["input"]
        if path == "orchestrator":
            assert {"task", "documents", "plan", "budget", "messages", "resume"} == found["input"].keys()
            assert {"answer", "results", "ledger", "thread_id", "__interrupt__"} <= found["output"].keys()
            assert chosen["largest_tier"]["enum"] == ["small", "large"]
            assert "thread_id" in chosen
        else:
            assert {"instruction", "documents", "inputs", "tier"} == found["input"].keys()
            assert {"value", "verdict", "calls"} == found["output"].keys()
            assert found["config"] == {}

    @pytest.mark.parametrize("path", ["orchestrator", "workers/extract", f"orchestrator/c/{hashed({})}"])
    def test_the_playground_and_its_files_are_served(self, place: Site, path: str) -> None:
        with place.client("ada") as ada:
            page = ada.get(f"/{path}/playground/")
            assert page.headers["Content-Type"].startswith("text/html")
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
            base = path.split("/c/")[0]
            names = [part.split('"')[0] for part in page.text.split(f'"/{base}/playground/')[1:]]
            assert {name.rpartition(".")[2] for name in names} == {"ico", "js", "css"}
            kinds = {"ico": "image/", "js": "application/javascript", "css": "text/css"}
            for name in names:
                file = ada.get(f"/{base}/playground/{name}")
                assert file.status_code == 200
                assert file.headers["Content-Type"].startswith(kinds[name.rpartition(".")[2]])
            assert ada.get(f"/{path}/playground", follow_redirects=True).status_code == 200

    def test_the_forms_of_the_playground_have_no_null(self, place: Site) -> None:
        with place.client("ada") as ada:
            for path in ("orchestrator", "workers/extract"):
                for name in ("input", "config"):
                    schema = ada.get(f"/{path}/{name}_schema").json()
                    fields = schema.get("$defs", {}).get("Configurable", schema)
                    assert '"null"' not in json.dumps(fields)
                    assert ": null" not in json.dumps(fields)

    @pytest.mark.parametrize(
        "name",
        ["assets", "..%2f..%2fserver.py", "%00", "nothing.js", "index.html%00", "a" * 5_000, "//etc/passwd"],
    )
    def test_nothing_else_is_a_file_of_it(self, place: Site, name: str) -> None:
        with place.client("ada") as ada:
            refused(ada.get(f"/orchestrator/playground/{name}"), 404)
