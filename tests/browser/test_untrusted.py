"""What users and models wrote is shown as text, and whose it is."""

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage
from playwright.async_api import expect
from typer.testing import CliRunner

from stellwerk.cli import app
from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.traces import TraceStore
from tests.browser.looking import Window, shoot
from tests.fakes import ladder, worker
from tests.serving.served import RUN, new_thread, site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
Look = Callable[..., Awaitable[Window]]
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)><a href=javascript:alert(3)>go</a>"
SUBMIT = """url => {
    const form = Object.assign(document.createElement("form"), { method: "POST", action: url });
    document.body.append(form);
    form.submit();
}"""


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which task, instruction, thread, run and answer are such."""

    def says(messages: Sequence[BaseMessage]) -> str:
        return json.dumps({"text": EVIL})

    folder = tmp_path_factory.mktemp("evil")
    with TraceStore.from_url(folder / "runs.sqlite") as traces:
        graph = create_orchestrator([worker()], ladder(says), synthesizer="join", traces=traces).compile(
            checkpointer=SQLAlchemySaver(traces.database)
        )
        plan = {"subtasks": [{"id": "a", "worker": "make", "instruction": EVIL, "depends_on": []}]}
        graph.invoke(
            {"task": EVIL, "plan": plan},
            {"configurable": {"thread_id": EVIL}, "metadata": {"run_id": EVIL}},
        )
    return folder


async def test_it_is_text_on_a_served_page(look: Look, evil: Path, screenshots: Path) -> None:
    with site(evil) as place:
        shown = await look()
        await shown.page.goto(f"{place.url}/report/")
        await expect(shown.page.locator(".task")).to_have_text(EVIL)
        await shown.page.locator("table a").click()
        page = shown.page
        await page.locator("svg.plan a").click()
        await page.get_by_text("Contents of attempt 1").click()
        for where in (page.locator("pre", has_text="alert(1)"), page.locator(".said", has_text="alert(1)")):
            await expect(where.first).to_be_visible()
            assert EVIL in await where.first.inner_text()
        assert await page.locator("img, a[href^=javascript]").count() == 0
        shown.check_quiet()
        await shoot(shown.page, screenshots, "run-untrusted")


async def test_a_file_asks_nobody_for_anything(
    look: Look, filled: Path, screenshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STELLWERK_DATABASE", str(filled / "runs.sqlite"))
    path = filled / "report.html"
    made = CliRunner().invoke(app, ["report", "--html", str(path), "--contents", "--plans", "2"])
    assert made.exit_code == 0, made.stderr
    shown = await look()
    await shown.page.goto(path.as_uri())
    await shown.page.locator("svg.plan a").first.click()
    await expect(shown.page.locator("details[open]").get_by_role("table")).to_be_visible()
    await shoot(shown.page, screenshots, "standalone")
    asked = {address.partition("#")[0] for address in shown.asked}
    assert asked - {"data:,"} == {path.as_uri()}
    shown.check_quiet()


async def test_each_owner_sees_their_own_and_a_page_of_another_site_none(
    look: Look, tmp_path: Path, screenshots: Path
) -> None:
    with site(tmp_path, keys=True) as place:
        for name in ("ada", "bob"):
            with place.client(name) as client:
                task = {**RUN, "task": f"The secret of {name}"}
                assert client.post(f"/threads/{new_thread(client)}/runs", json=task).is_success
        ada, bob = [
            await look(http_credentials={"username": name, "password": place.keys[name]})
            for name in ("ada", "bob")
        ]
        nobody = await look(http_credentials={"username": "ada", "password": "sw_wrong"})
        for shown in (ada, bob):
            await shown.page.goto(f"{place.url}/report/")
            await expect(shown.page.locator("tbody .task")).to_have_count(1)
        await shoot(ada.page, screenshots, "overview-owner")
        await ada.page.locator("table a").click()
        await expect(ada.page.locator(".said").first).to_have_text("The secret of ada")
        ada.check_quiet()
        bob.check_quiet()
        for shown, status in ((bob, 404), (nobody, 401)):
            answer = await shown.page.goto(ada.page.url)
            assert answer is not None
            assert answer.status == status
            assert "secret" not in await shown.page.content()

        # Her own page may ask for more than is below its address, as a playground does.
        await ada.page.goto(f"{place.url}/report/")
        assert await ada.page.evaluate("fetch('/threads').then(answer => answer.status)") == 200
        # A page of another site, that Ada looks at in the same browser, and that has it send her password.
        with place.client("ada") as client:
            before = client.get("/threads").json()
            await ada.page.goto(f"{place.url.replace('127.0.0.1', 'localhost')}/healthz")
            async with ada.page.expect_response(f"{place.url}/threads") as answered:
                await ada.page.evaluate(SUBMIT, f"{place.url}/threads")
            assert (await answered.value).status == 403  # not 401: the password came with it
            assert client.get("/threads").json() == before
