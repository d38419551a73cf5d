import base64
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage

from stellwerk.graphs import create_orchestrator
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.traces import TraceStore
from stellwerk.report.overview import overview
from stellwerk.report.page import seconds, share, standalone, static, usd
from stellwerk.report.router import Alarm, Bin, Point, RouterView, TierFigures
from stellwerk.report.run import run_view
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from tests.fakes import Scripted, worker
from tests.report.pages import Page

EVIL = '</title></pre></style><script>alert(1)</script>"\' onload="alert(2)" <img src=x onerror=alert(3)>'


def page_of(traces: TraceStore, *, plans: int = 3, contents: bool = False) -> str:
    found = overview(traces, contents=contents)
    views = [
        run_view(traces, run.run_id, thread_id=run.thread_id, contents=contents) for run in found.runs[:plans]
    ]
    return standalone(overview=found, views=[view for view in views if view is not None])


def test_the_page_says_what_ran_and_what_it_saved(traces: TraceStore) -> None:
    page = Page(page_of(traces))
    page.check(scripts=False)
    found = overview(traces)
    assert f"Saved estimate {share(found.totals.saving.share)} " in page.text
    assert f"Cost {usd(found.totals.usd)} USD" in page.text
    for one in found.workers:
        assert f"{one.worker} {one.subtasks}" in page.text
    assert page.text.count("Model time") == sum(
        len([one for one in view.subtasks if one.attempts])
        for run in found.runs[:3]
        if (view := run_view(traces, run.run_id)) is not None
    )


def test_the_plan_is_drawn_and_tiers_are_told_by_name_and_not_by_colour_alone(traces: TraceStore) -> None:
    run = overview(traces).runs[0]
    view = run_view(traces, run.run_id)
    assert view is not None
    page = Page(standalone(views=[view]))
    page.check(scripts=False)
    nodes = [attributes for attributes in page.all("g") if "node" in attributes.get("class", "").split()]
    assert len(nodes) == len(view.subtasks)
    assert len([one for one in page.all("path") if one.get("class") == "edge"]) == sum(
        len(one.depends_on) for one in view.subtasks
    )
    drawn = [said for tag, said in page.texts if tag == "text"]
    for one in view.subtasks:
        assert one.id in drawn
        assert one.tier is None or one.tier in drawn


def test_the_file_allows_nothing_but_its_own_style(traces: TraceStore) -> None:
    source = page_of(traces)
    (style,) = re.findall(r"<style>(.*?)</style>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(meta["content"] for meta in Page(source).all("meta") if "http-equiv" in meta)
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert not re.search(r"url\(|@import", style)


def test_what_users_and_models_wrote_stays_text(tmp_path: Path) -> None:
    def says(messages: Sequence[BaseMessage]) -> str:
        return json.dumps({"text": EVIL})

    tier = Tier(name="<b>'\"tier", model=Scripted(reply=says), price=Price(input=1, output=2))
    with TraceStore.from_url(tmp_path / "runs.sqlite") as traces:
        graph = create_orchestrator([worker()], Ladder([tier]), synthesizer="join", traces=traces).compile(
            checkpointer=SQLAlchemySaver(traces.database)
        )
        plan = [
            {"id": "a", "worker": "make", "instruction": EVIL, "depends_on": []},
            {"id": "b", "worker": "make", "instruction": EVIL, "depends_on": ["a"]},
        ]
        graph.invoke(
            {"task": EVIL, "plan": {"subtasks": plan}},
            {"configurable": {"thread_id": EVIL}, "metadata": {"run_id": EVIL}},
        )
        plain = page_of(traces)
        told = page_of(traces, contents=True)
    for source in (plain, told):
        page = Page(source)
        page.check(scripts=False)
        assert not page.all("img")
        assert not page.all("b")
        assert "<script" not in source
    page = Page(told)
    # In a title of the drawing, the answer, the prompt, the task and the instruction.
    assert any(EVIL in said for tag, said in page.texts if tag == "title")
    assert any(EVIL in said for tag, said in page.texts if tag == "pre")
    # Names are no contents.
    assert not any("alert(2)" in said for tag, said in Page(plain).texts if tag in ("title", "pre"))


def contrast(first: str, second: str) -> float:
    """As WCAG 2 defines it."""

    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((light(first), light(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(scheme: int) -> None:
    sets = re.findall(r":root \{(.*?)\}", static("report.css"), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", sets[scheme]))
    for text in ("ink", "quiet", "link", "good", "bad"):
        for ground in ("ground", "card", "warn-ground") if text == "ink" else ("ground", "card"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for tier in ("t1", "t2", "t3", "t4", "t5", "accent"):
        assert contrast(colours[tier], colours["card"]) >= 3, tier


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (usd(0.0), "0"), (usd(1234.5), "1,234.50"), (usd(0.0123), "0.0123"), (usd(0.000123), "0.000123"),
        (usd(0.00000123), "0.0000012"), (usd(None), "–"), (usd(-0.5), "-0.5000"),
        (seconds(0.0421), "42 ms"), (seconds(7.25), "7.2 s"), (seconds(600.0), "10 min"),
        (seconds(7200.0), "2.0 h"), (share(0.999), "99.9 %"), (share(1.0), "100 %"), (share(-0.25), "-25 %"),
        (share(0.001), "0.1 %"),
    ],
)  # fmt: skip
def test_figures_are_short(shown: str, expected: str) -> None:
    assert shown == expected


def test_a_database_without_runs_has_a_page(tmp_path: Path) -> None:
    with TraceStore.from_url(tmp_path / "empty.sqlite") as traces:
        page = Page(page_of(traces))
    page.check(scripts=False)
    assert "No run has left a trace in this time." in page.text


def test_the_router_is_drawn_and_its_drift_is_an_alarm(traces: TraceStore) -> None:
    router = RouterView(
        version="f" * 32,
        state="active",
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        goal="0.01 USD a failure",
        met=True,
        why="a failure costs 0.01 USD",
        tiers=[
            TierFigures(
                tier="small",
                outcomes=100,
                labels=90,
                right=0.7,
                auc=None,
                brier=0.1,
                calibration_error=0.02,
                bins=[Bin(believed=0.2, right=0.25, cases=40), Bin(believed=0.9, right=0.88, cases=50)],
            )
        ],
        curve=[Point(usd=0.1, right=0.7), Point(usd=0.3, right=0.9), Point(usd=0.8, right=0.95)],
        largest=Point(usd=1.0, right=0.95),
        smallest=None,
        limits=["large: 3 traces only"],
        drift=[Alarm(of="answers", alarm=True, why="answers are right 0.2 less often than believed")],
        problems=[],
    )
    page = Page(standalone(overview=overview(traces), router=router))
    page.check(scripts=False)
    assert "Alarms" in page.text
    assert "Drift of answers: answers are right 0.2 less often than believed" in page.text
    charts = [svg for svg in page.all("svg") if svg.get("class") == "chart"]
    assert [chart["aria-label"] for chart in charts] == [
        "Share of right answers from 70 % at 0.1000 USD to 95 % at 0.8000 USD per 1,000 subtasks",
        "believed 20 %, right 25 %; believed 90 %, right 88 %",
    ]
    places = [(float(dot["cx"]), float(dot["cy"])) for dot in page.all("circle")]
    assert len(places) == 5
    assert all(56 <= x <= 400 and 10 <= y <= 210 for x, y in places)
    assert "all on the largest" in page.text
