import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cli.test_run import PLAN
from tests.serving.served import ASKING, DOCUMENTS, RUN, Site, events, new_thread, refused

ANSWER = "Sales were 100 dollars and rent 20 dollars."
AS_JSON = {"Content-Type": "application/json"}


@pytest.fixture
def ada(place: Site) -> Iterator[httpx.Client]:
    with place.client("ada") as client:
        yield client


def waiting(client: httpx.Client) -> tuple[str, dict[str, Any]]:
    """A thread that asks, and its question."""
    thread = new_thread(client)
    asked = client.post(f"/threads/{thread}/runs", json=ASKING)
    assert asked.status_code == 202, asked.text
    assert asked.json()["status"] == "waiting"
    (question,) = asked.json()["questions"]
    return thread, question


class TestRun:
    def test_a_task_is_done_and_its_thread_shows_it(self, ada: httpx.Client) -> None:
        thread = new_thread(ada)
        assert ada.get(f"/threads/{thread}").json() == {"thread": thread, "status": "new", "run": None}
        ended = ada.post(f"/threads/{thread}/runs", json=RUN)
        assert ended.status_code == 200, ended.text
        found = ended.json()
        assert (found["thread"], found["status"], found["answer"]) == (thread, "done", ANSWER)
        assert found["results"]["sales"]["value"]["answer"] == ["100 dollars"]
        assert found["ledger"]["total"]["calls"] == 3
        shown = ada.get(f"/threads/{thread}").json()
        run = shown.pop("run")
        assert shown == found
        assert (run["status"], run["totals"]["calls"]) == ("done", 3)

    def test_a_thread_takes_one_task_after_the_other(self, ada: httpx.Client) -> None:
        thread = new_thread(ada)
        ada.post(f"/threads/{thread}/runs", json=RUN)
        # Its documents stay, and without a plan a model makes one.
        again = ada.post(f"/threads/{thread}/runs", json={"task": "Sales and rent?"})
        assert again.json()["answer"] == ANSWER
        assert again.json()["ledger"]["planning"]["calls"] == 1

    def test_a_stream_tells_of_subtasks_and_attempts_and_ends_with_the_values(
        self, ada: httpx.Client
    ) -> None:
        thread = new_thread(ada)
        with ada.stream("POST", f"/threads/{thread}/runs/stream", json=RUN) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            told = events(response)
        name, values = told[-1]
        assert (name, values["answer"], values["status"]) == ("values", ANSWER, "done")
        progress = [value for name, value in told if name == "progress"]
        assert progress[0]["message"] == "plan: 3 subtasks"
        assert {row["id"]: row["state"] for row in progress[0]["subtasks"]} == dict.fromkeys(
            ("sales", "rent", "text"), "waiting"
        )
        assert "sales: extract on small, attempt 1" in [each["message"] for each in progress]
        last = {row["id"]: row for each in progress for row in each["subtasks"]}
        assert (last["text"]["state"], last["text"]["tier"], last["text"]["attempt"]) == (
            "accepted",
            "small",
            1,
        )

    def test_a_stream_shows_that_it_lives(self, place: Site, ada: httpx.Client) -> None:
        thread = new_thread(ada)
        with (
            place.models.held_up(),
            ada.stream("POST", f"/threads/{thread}/runs/stream", json=RUN) as response,
        ):
            said = ""
            for text in response.iter_text():
                said += text
                if "\n: heartbeat\n\n" in said:
                    place.models.go_on.set()
        assert "event: values" in said

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({"task": "t", "config": {"configurable": {"thread_id": "x"}}}, "config"),
            ({"task": "t", "thread_id": "x"}, "thread_id"),
            ({"task": "t", "budget": {"euros": 1}}, "budget.euros"),
            ({"task": "t", "budget": {"calls": 0}}, "budget.calls"),
            ({"task": "t", "documents": [{"name": "a", "text": "b", "path": "/etc/passwd"}]}, "path"),
            ({"task": "t", "documents": [{"name": "a", "text": 1}]}, "documents.0.text"),
            ({"task": "t", "documents": [DOCUMENTS[0], DOCUMENTS[0]]}, "report.txt"),
            ({"task": "t", "plan": {"subtasks": []}}, "plan"),
            ({"task": "t", "plan": {"subtasks": [{"id": "a", "worker": "x", "instruction": "i"}]}}, "worker"),
            ({"task": "t", "plan": {**PLAN, "code": "x"}}, "code"),
            ({"task": " "}, "task"),
            ({"task": "a\0b"}, "NUL"),
            ({"task": "\ud800"}, "surrogate"),
            ({}, "task"),
        ],
    )
    def test_what_cannot_be_used_is_named_and_leaves_the_thread_alone(
        self, ada: httpx.Client, body: dict[str, Any], named: str
    ) -> None:
        thread = new_thread(ada)
        sent = ada.post(f"/threads/{thread}/runs", content=json.dumps(body), headers=AS_JSON)
        assert named in refused(sent, 422)["detail"]
        assert ada.get(f"/threads/{thread}").json()["status"] == "new"

    def test_a_body_that_is_no_json_is_refused(self, ada: httpx.Client) -> None:
        thread = new_thread(ada)
        refused(ada.post(f"/threads/{thread}/runs", content=b"{", headers=AS_JSON), 422)
        refused(ada.post(f"/threads/{thread}/runs", data={"task": "t"}), 415)

    def test_one_run_at_a_time(self, place: Site, ada: httpx.Client) -> None:
        thread = new_thread(ada)
        with place.models.held_up(), ada.stream("POST", f"/threads/{thread}/runs/stream", json=RUN) as first:
            assert place.models.busy.acquire(timeout=20)
            assert "running" in refused(ada.post(f"/threads/{thread}/runs", json=RUN), 409)["title"]
            refused(ada.post(f"/threads/{thread}/runs/stream", json=RUN), 409)
            refused(ada.post(f"/threads/{thread}/resume"), 409)
            refused(ada.delete(f"/threads/{thread}"), 409)
            assert ada.get(f"/threads/{thread}").json()["status"] == "running"
            place.models.go_on.set()
            assert events(first)[-1][1]["answer"] == ANSWER


class TestQuestions:
    def test_a_question_is_answered_by_its_id(self, ada: httpx.Client) -> None:
        thread, question = waiting(ada)
        assert question["value"]["question"] == "May this be ordered?"
        assert ada.get(f"/threads/{thread}").json()["questions"] == [question]
        refused(ada.post(f"/threads/{thread}/runs", json=RUN), 409)
        decision = {"type": "edit", "args": {"what": "milk", "pieces": 2}}
        ended = ada.post(f"/threads/{thread}/resume", json={"answers": {question["id"]: decision}})
        assert ended.status_code == 200, ended.text
        assert '"milk"' in ended.json()["results"]["b"]["value"]["text"]
        refused(ada.post(f"/threads/{thread}/resume"), 409)

    def test_the_stream_ends_with_the_questions(self, ada: httpx.Client) -> None:
        thread = new_thread(ada)
        with ada.stream("POST", f"/threads/{thread}/runs/stream", json=ASKING) as response:
            told = events(response)
        assert told[-1][1]["status"] == "waiting"
        assert any(row["state"] == "asking" for _, each in told[:-1] if each for row in each["subtasks"])
        (question,) = told[-1][1]["questions"]
        answers = {"answers": {question["id"]: {"type": "approve"}}}
        with ada.stream("POST", f"/threads/{thread}/resume/stream", json=answers) as response:
            assert events(response)[-1][1]["status"] == "done"

    @pytest.mark.parametrize(
        ("decision", "said"),
        [
            ({"type": "yes"}, "approve or edit or reject or respond"),
            ({"type": "approve", "args": {}}, "takes no 'args'"),
            ({"type": "edit"}, "needs 'args'"),
            ({"type": "edit", "args": {"what": "tea", "pieces": "two"}}, "pieces"),
            ({"type": "respond", "value": "many"}, "value"),
            ({"type": "reject", "message": 1}, "text"),
            ({}, "no decision"),
        ],
    )
    def test_a_decision_that_does_not_fit_changes_nothing(
        self, ada: httpx.Client, decision: dict[str, Any], said: str
    ) -> None:
        thread, question = waiting(ada)
        answers = {"answers": {question["id"]: decision}}
        assert said in refused(ada.post(f"/threads/{thread}/resume", json=answers), 422)["detail"]
        assert ada.get(f"/threads/{thread}").json()["questions"] == [question]

    def test_an_id_that_is_not_open_is_named(self, ada: httpx.Client) -> None:
        thread, question = waiting(ada)
        answers = {"answers": {"f" * 32: {"type": "approve"}}}
        assert question["id"] in refused(ada.post(f"/threads/{thread}/resume", json=answers), 422)["detail"]


class TestThreads:
    def test_they_are_listed_and_deleted(self, place: Site) -> None:
        with place.client("bob") as bob:
            self._listed_and_deleted(bob)

    def _listed_and_deleted(self, bob: httpx.Client) -> None:
        first, second = new_thread(bob), new_thread(bob)
        assert {first, second} <= {each["id"] for each in bob.get("/threads").json()["threads"]}
        assert len(bob.get("/threads", params={"limit": 1}).json()["threads"]) == 1
        bob.post(f"/threads/{first}/runs", json=RUN)
        assert bob.delete(f"/threads/{first}").status_code == 204
        refused(bob.get(f"/threads/{first}"), 404)
        refused(bob.delete(f"/threads/{first}"), 404)
        assert first not in {each["id"] for each in bob.get("/threads").json()["threads"]}

    def test_a_run_is_cancelled_and_goes_on(self, place: Site, ada: httpx.Client) -> None:
        thread = new_thread(ada)
        refused(ada.post(f"/threads/{thread}/cancel"), 409)
        with place.models.held_up(), ada.stream("POST", f"/threads/{thread}/runs/stream", json=RUN) as first:
            assert place.models.busy.acquire(timeout=20)
            assert ada.post(f"/threads/{thread}/cancel").status_code == 202
            name, problem = events(first)[-1]
            assert (name, problem["title"]) == ("error", "The run was cancelled")
        assert ada.get(f"/threads/{thread}").json()["status"] == "interrupted"
        assert ada.post(f"/threads/{thread}/resume").json()["answer"] == ANSWER

    def test_feedback_is_kept_of_a_run_and_of_a_subtask(self, place: Site, ada: httpx.Client) -> None:
        thread = new_thread(ada)
        refused(ada.post(f"/threads/{thread}/feedback", json={"score": 1.0}), 409)
        ada.post(f"/threads/{thread}/runs", json=RUN)
        one = ada.post(f"/threads/{thread}/feedback", json={"subtask": "rent", "label": "wrong"})
        assert one.status_code == 201, one.text
        assert (
            ada.post(f"/threads/{thread}/feedback", json={"score": 0.5, "comment": "well"}).status_code == 201
        )
        refused(ada.post(f"/threads/{thread}/feedback", json={}), 422)
        refused(ada.post(f"/threads/{thread}/feedback", json={"subtask": "none", "score": 1.0}), 404)
        traces = place.server._app.state.service.traces
        (run,) = list(traces.runs(limit=1))
        said = list(traces.feedback(run_id=run["run_id"], newest_first=False))
        assert [(each["label"], each["score"], each["who"]) for each in said] == [
            ("wrong", None, "key:ada"),
            (None, 0.5, "key:ada"),
        ]
        assert said[0]["trace_id"]
        assert said[1]["trace_id"] is None


class TestHealth:
    def test_whoever_asks_is_told_whether_it_is_up(self, place: Site) -> None:
        with place.client() as nobody:
            assert nobody.get("/healthz").json() == {"status": "ok"}
            ready = nobody.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")

    def test_without_metrics_it_is_said_how_to_have_them(self, place: Site, ada: httpx.Client) -> None:
        assert "observability.prometheus" in refused(ada.get("/metrics"), 404)["detail"]

    def test_an_address_that_there_is_not(self, ada: httpx.Client) -> None:
        refused(ada.get("/nothing"), 404)
        refused(ada.put("/threads"), 405)
