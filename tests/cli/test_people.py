import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stellwerk.cli.people import questions_shown
from stellwerk.cli.prompt import answers_of
from stellwerk.cli.render import plain
from stellwerk.graphs.questions import Asked
from stellwerk.nodes.people import Question
from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.urls import parse_url
from tests.cli.test_run import stellwerk
from tests.cli.test_runs import listed
from tests.fake_openai import Body, FakeOpenAI, ToolCalls, serve_openai

ONE, BOTH, OWN = [("b", "boss")], [("b", "boss"), ("a", "shopper")], [("t", "taker")]


def answer(body: Body) -> object:
    """Call the tool, and then say what it gave."""
    told = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if body.get("tools") and not told:
        return ToolCalls([(body["tools"][0]["function"]["name"], '{"what": "tea"}')])
    return {"text": told[-1] if told else "nothing"}


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with serve_openai(answer) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "STELLWERK_TIERS": json.dumps([server.tier("small", input_price=0.1, output_price=0.2)]),
        "STELLWERK_DATABASE": str(tmp_path / "runs.sqlite"),
        "STELLWERK_WORKERS": json.dumps(
            [f"tests.cli.asking:{name}" for name in ("boss", "taker", "shopper")]
        ),
        "ORDERS": str(tmp_path / "orders"),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def run_words(tmp_path: Path, plan: Sequence[tuple[str, str]]) -> list[str]:
    path = tmp_path / "plan.json"
    subtasks = [{"id": name, "worker": worker, "instruction": "Tea"} for name, worker in plan]
    path.write_text(json.dumps({"subtasks": subtasks}))
    return ["run", "Tea", "--plan", str(path), "--thread", "mine"]


def started(tmp_path: Path, plan: Sequence[tuple[str, str]] = ONE) -> list[dict[str, Any]]:
    """The questions of a run that waits."""
    result = stellwerk(*run_words(tmp_path, plan), "--json")
    assert result.exit_code == 4, result.stderr
    waiting = json.loads(result.stdout)
    assert (waiting["thread"], waiting["status"]) == ("mine", "waiting")
    questions: list[dict[str, Any]] = waiting["questions"]
    return questions


def decide(*decisions: str) -> dict[str, Any]:
    words = [word for decision in decisions for word in ("--decision", decision)]
    result = stellwerk("resume", "mine", "--json", *words)
    assert result.exit_code in (0, 4), result.stderr
    ended: dict[str, Any] = json.loads(result.stdout)
    return ended


def said(ended: dict[str, Any], name: str = "b") -> Any:
    return ended["results"][name]["value"]["text"]


class TestWithoutATerminal:
    def test_the_run_ends_with_its_questions_and_what_to_type(self, tmp_path: Path) -> None:
        result = stellwerk(*run_words(tmp_path, BOTH))
        assert (result.exit_code, result.stdout) == (4, "")
        shown = result.stderr
        assert "b: asks a person" in shown
        assert "May this be ordered?" in shown
        assert "asked by  shopper, subtask a" in shown
        assert re.search(r"^  what +tea", shown, re.MULTILINE)
        assert re.search(r"^([0-9a-f]{6})=edit:\{JSON\} +order it with other arguments", shown, re.MULTILINE)
        command = shlex.split(shown.splitlines()[-1].removeprefix("or by options, as in: "))
        assert command[:3] == ["stellwerk", "resume", "mine"]
        assert [word.split("=")[1] for word in command[4::2]] == ["approve", "respond:VALUE"]
        result = stellwerk(*command[1:])
        assert result.exit_code == 0, result.stderr

    def test_json_has_the_questions_whole(self, tmp_path: Path) -> None:
        first, second = started(tmp_path, BOTH)
        assert first["value"]["args"] == {"what": "tea", "pieces": 3, "note": "a\x1b[2Jred\u202e"}
        assert (second["value"]["kind"], second["value"]["tool"]) == ("unknown_outcome", "order")
        assert second["value"]["response_schema"]["oneOf"]

    def test_what_models_write_is_shown_and_cannot_drive_the_terminal(self, tmp_path: Path) -> None:
        shown = stellwerk(*run_words(tmp_path, ONE)).stderr
        assert r'"a\u001b[2Jred\u202e"' in shown
        assert not set("\x1b\u202e") & set(shown)

    @pytest.mark.parametrize(
        ("decision", "told"),
        [
            ("approve", {"type": "approve"}),
            ("reject", {"type": "reject", "message": ""}),
            ("reject:too dear: wait", {"type": "reject", "message": "too dear: wait"}),
            ("respond:17", {"type": "respond", "value": 17}),
            (
                'edit:{"what": "a=b", "pieces": 2}',
                {"type": "edit", "args": {"what": "a=b", "pieces": 2}},
            ),
        ],
    )
    def test_where_one_question_is_open_a_decision_needs_no_id(
        self, tmp_path: Path, decision: str, told: dict[str, Any]
    ) -> None:
        started(tmp_path)
        ended = decide(decision)
        assert ended["status"] == "done"
        assert json.loads(said(ended)) == told

    def test_an_answer_to_one_leaves_the_other_open(self, tmp_path: Path) -> None:
        first, second = started(tmp_path, BOTH)
        waiting = decide(f"{second['id'][:6]}=respond:it came")
        assert [question["id"] for question in waiting["questions"]] == [first["id"]]
        ended = decide("approve")
        assert said(ended, "a") == "it came"
        assert Path(os.environ["ORDERS"]).read_text() == "tea\n"

    def test_what_nobody_knows_is_done_on_approval(self, tmp_path: Path) -> None:
        started(tmp_path, [("a", "shopper")])
        assert said(decide("approve"), "a") == "ordered tea"
        assert Path(os.environ["ORDERS"]).read_text() == "tea\ntea\n"

    @pytest.mark.parametrize(
        ("given", "took"), [("yes, do", "'yes, do'"), ('{"pieces": 2}', "{'pieces': 2}")]
    )
    def test_a_question_in_a_tools_own_words(self, tmp_path: Path, given: str, took: str) -> None:
        (question,) = started(tmp_path, OWN)
        assert question["value"] == "May I take tea?"
        assert said(decide(f"respond:{given}"), "t") == f"took {took}"

    def test_the_settings_say_before_what_a_person_is_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STELLWERK_PEOPLE__APPROVE", '["taker", "order"]')
        first, second = started(tmp_path, [*OWN, ("a", "shopper")])
        assert (first["value"]["kind"], first["value"]["subtask"]) == ("approve_worker", "t")
        assert (second["value"]["kind"], second["value"]["args"]) == ("approve_tool", {"what": "tea"})
        waiting = decide(f'{first["id"][:6]}=respond:{{"text": "none left"}}')
        assert [question["id"] for question in waiting["questions"]] == [second["id"]]
        ended = decide("reject:too dear")
        assert (said(ended, "t"), ended["results"]["t"]["by"]) == ("none left", "person")
        assert "a person does not want order called with these arguments: too dear" in said(ended, "a")
        assert not Path(os.environ["ORDERS"]).exists()
        assert ended["ledger"]["people"] == {"approve_tool": {"reject": 1}, "approve_worker": {"respond": 1}}
        monkeypatch.setenv("STELLWERK_PEOPLE__APPROVE", '["nobody"]')
        result = stellwerk(*run_words(tmp_path, OWN)[:-1], "other")
        assert result.exit_code == 2
        assert "approve names 'nobody', which is no worker and no tool" in result.stderr

    def test_an_answer_that_the_run_refuses_is_asked_for_again(self, tmp_path: Path) -> None:
        started(tmp_path)
        result = stellwerk("resume", "mine", "--decision", 'edit:{"what": "tea", "pieces": 99}')
        assert result.exit_code == 4
        assert "does not fit: more than 9 pieces are never ordered" in " ".join(result.stderr.split())
        assert json.loads(said(decide("approve"))) == {"type": "approve"}

    @pytest.mark.parametrize(
        ("decisions", "message"),
        [
            (["abc=approve"], "there is no open question 'abc'; open are "),
            (["approve"], "2 questions are open; say which is answered"),
            (["{0}=approve", "{0}=reject"], "is answered twice"),
            (
                ["{0}=approve", "{1}=edit:{{}}"],
                "'edit' is no decision here; give respond or approve or reject",
            ),
            (["{1}=yes"], "'yes' is no decision here"),
            (["{0}=edit"], "an edit needs all arguments as JSON"),
            (["{0}=edit:{{'a'}}"], "(as JSON: Expecting property name"),
            (['{0}=edit:{{"what": "tea"}}'], "arguments.pieces is missing"),
            (["{0}=respond:many"], "the value is 'many'; it must be of type integer"),
            (["{1}=respond"], "a response needs a value"),
            (["{0}=approve:gladly"], "approve takes nothing more"),
        ],
    )
    def test_a_wrong_decision_resumes_nothing(
        self, tmp_path: Path, server: FakeOpenAI, decisions: list[str], message: str
    ) -> None:
        ids = [question["id"][:8] for question in started(tmp_path, BOTH)]
        asked = len(server.requests)
        words = [word for decision in decisions for word in ("--decision", decision.format(*ids))]
        result = stellwerk("resume", "mine", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr
        assert len(server.requests) == asked
        (run,) = listed()
        assert len(run["questions"]) == 2

    def test_a_run_that_waits_for_nobody_takes_no_decision(self, tmp_path: Path) -> None:
        started(tmp_path)
        decide("approve")
        result = stellwerk("resume", "mine", "--decision", "approve")
        assert result.exit_code == 2
        assert "no question of this run is open" in result.stderr

    def test_a_run_that_was_broken_off_goes_on_before_it_is_answered(self, tmp_path: Path) -> None:
        started(tmp_path)
        with RunStore.from_url(parse_url(os.environ["STELLWERK_DATABASE"])) as store:
            store.release(store.claim("mine", task="Tea"), status="interrupted", error="SystemExit: 1")
        assert json.loads(said(decide("respond:5"))) == {"type": "respond", "value": 5}
        assert [run["status"] for run in listed()] == ["done", "interrupted", "interrupted", "interrupted"]


class TestRuns:
    def test_a_run_that_waits_says_so_and_shows_its_questions(self, tmp_path: Path) -> None:
        (question,) = started(tmp_path)
        assert re.search(r"mine +waiting ", stellwerk("runs", "list").stdout)
        shown = stellwerk("runs", "show", "mine").stdout
        assert "waits for an answer of a person" in shown
        assert "May this be ordered?" in shown
        assert "stellwerk resume mine --decision " in shown
        (run,) = listed("--status", "interrupted")
        assert run["questions"] == [question]
        assert json.loads(stellwerk("runs", "show", "mine", "--json").stdout) == run

    def test_a_run_that_was_answered_waits_no_more(self, tmp_path: Path) -> None:
        started(tmp_path)
        decide("approve")
        assert [(run["status"], run["questions"]) for run in listed()] == [("done", []), ("interrupted", [])]
        assert "waiting" not in stellwerk("runs", "list").stdout


# At the prompt


def payload() -> dict[str, Any]:
    question = Question(
        kind="approve_tool",
        question="May it be done?",
        worker="boss",
        instruction="",
        tool="order",
        args={"what": "tea", "pieces": 3},
        args_schema={
            "type": "object",
            "properties": {
                "what": {"type": "string"},
                "pieces": {"$ref": "#/$defs/few"},
                "gift": {"type": "boolean"},
            },
            "required": ["what", "pieces"],
            "$defs": {"few": {"type": "integer"}},
        },
        meanings={"approve": "do it", "edit": "with others", "reject": "do not", "respond": "done by hand"},
    )
    return question.payload()


def typed_in(lines: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """What two questions get, and what was shown meanwhile."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    monkeypatch.setattr(sys, "stderr", shown)
    console = Console(file=shown, width=60, highlight=False, markup=False, soft_wrap=True)
    asked = [Asked("aa" * 16, payload()), Asked("bb" * 16, "Which?", {"type": "integer"})]
    return answers_of(asked, console), shown.getvalue()


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        ("approve\n", {"type": "approve"}),
        ("\nReject\n\n", {"type": "reject", "message": ""}),
        ("reject: too dear\n", {"type": "reject", "message": "too dear"}),
        ("respond\nit came, at 5\n", {"type": "respond", "value": "it came, at 5"}),
        ('respond: ""\n', {"type": "respond", "value": ""}),
        ("edit\nmilk\nmany\n5\n\n\n", {"type": "edit", "args": {"what": "milk", "pieces": 5}}),
        ("edit\n\n\ntrue\n\n", {"type": "edit", "args": {"what": "tea", "pieces": 3, "gift": True}}),
        ("edit\nmilk\n\n\nno\napprove\n", {"type": "approve"}),
        ('edit: {"what": "milk", "pieces": 1}\n', {"type": "edit", "args": {"what": "milk", "pieces": 1}}),
        ("perhaps\nedit: {\nedit: {}\napprove\n", {"type": "approve"}),
        ("later\n", None),
    ],
)
def test_what_is_typed_is_answered(lines: str, first: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, shown = typed_in(f"{lines}respond: two\nrespond: 2\n", monkeypatch)
    assert answers.pop("bb" * 16) == 2
    assert answers == ({} if first is None else {"aa" * 16: first})
    assert "the value is 'two'; it must be of type integer" in " ".join(shown.split())


def test_the_end_of_the_input_leaves_the_rest_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed_in("approve\n", monkeypatch)[0] == {"aa" * 16: {"type": "approve"}}
    assert typed_in("edit\nmilk\n", monkeypatch)[0] == {}


# In a terminal


class Terminal:
    """A process in a terminal; `redirected` is where its standard output goes instead."""

    def __init__(self, words: Sequence[str], redirected: Path | None = None) -> None:
        self._master, slave = pty.openpty()
        stdout = redirected.open("wb") if redirected else None
        environment = {**os.environ, "TERM": "dumb", "COLUMNS": "60", "LINES": "40"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stellwerk.cli", *words],
            env=environment, stdin=slave, stdout=stdout or slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        if stdout:
            stdout.close()
        self.seen = ""

    def until(self, text: str) -> str:
        """What is shown up to a text."""
        ends = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < ends, self.seen
            try:
                piece = os.read(self._master, 65536)
            except OSError:
                piece = b""
            assert piece, f"it ended without {text!r}: {self.seen}"
            self.seen += piece.decode()
        before, _, self.seen = self.seen.partition(text)
        return plain(before)

    def types(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    def ends(self) -> int:
        """Its exit code."""
        while True:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # nobody has the other end any more
                break
            if not piece:
                break
            self.seen += piece.decode()
        os.close(self._master)
        return self.process.wait(30)


@contextmanager
def terminal(words: Sequence[str], redirected: Path | None = None) -> Iterator[Terminal]:
    shown = Terminal(words, redirected)
    try:
        yield shown
    finally:
        shown.process.kill()
        shown.process.wait()


@pytest.mark.slow
def test_a_run_is_answered_where_it_is_watched_and_goes_on(tmp_path: Path) -> None:
    with terminal(run_words(tmp_path, BOTH)) as shown:
        first = shown.until("approve, edit, reject, respond or later: ")
        assert "question 1 of 2" in first
        assert "May this be ordered?" in first
        shown.types('edit: {"what": "tea", "pieces": 99}')
        assert "was begun on" in shown.until("respond, approve, reject or later: ")
        shown.types("later")
        # The run goes on, refuses the one, and does not ask the other again.
        assert "more than 9 pieces are" in shown.until("approve, edit, reject, respond or later: ")
        shown.types("approve")
        assert "the run waits for a person" in plain(shown.until("or by options"))
        assert shown.ends() == 4
    with terminal(["resume", "mine"], tmp_path / "answer") as shown:
        assert "question 1 of 1" in shown.until("respond, approve, reject or later: ")
        shown.types("respond")
        shown.until("value: ")
        shown.types("it came")
        assert shown.ends() == 0
    assert json.loads((tmp_path / "answer").read_text()) == {"text": "nothing"}
    assert Path(os.environ["ORDERS"]).read_text() == "tea\n"


@pytest.mark.slow
def test_who_leaves_the_prompt_answers_nothing(tmp_path: Path) -> None:
    started(tmp_path, BOTH)
    with terminal(["resume", "mine"], tmp_path / "answer") as shown:
        shown.until("or later: ")
        shown.types("approve")
        shown.until("or later: ")
        shown.process.send_signal(signal.SIGINT)
        assert shown.ends() == 130
        assert "To go on: stellwerk resume mine" in shown.seen
    assert len(listed()[0]["questions"]) == 2


def test_all_that_a_decision_rests_on_is_shown_and_nothing_of_it_hides() -> None:
    value = {
        "kind": "unknown_value",
        "question": "Do you know?",
        "worker": "finder",
        "args": {"to": "boss\u200b@x.org", "by": "a\u061cb", "lines": "one\ntwo"},
        "inputs": {"page": {"total": 3}},
        "value": {"where": "Rome", "when": None},
        "unknown": ["when"],
        "meanings": {"respond": "the value"},
        "allowed": ["respond"],
    }
    output = io.StringIO()
    console = Console(file=output, width=100)
    console.print(questions_shown([Asked("a" * 32, value, None)]))
    said = output.getvalue()
    assert r'"boss\u200b@x.org"' in said
    assert r'"a\u061cb"' in said
    assert re.search(r"given by page +\{\"total\": 3\}", said)
    assert re.search(r'what was found +\{"where": "Rome", "when": null\}', said)
    assert re.search(r"not known +when", said)


def test_an_empty_response_is_no_value(tmp_path: Path) -> None:
    started(tmp_path, OWN)
    result = stellwerk("resume", "mine", "--decision", "respond:")
    assert result.exit_code == 2
    assert 'an empty text is respond:""' in result.stderr
