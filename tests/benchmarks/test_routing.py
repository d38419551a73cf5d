"""The routing benchmark chooses nothing on its test rows, and loads only what it was given."""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.routing import checking
from benchmarks.routing.corpus import Array, Corpus, Episodes, context, right
from benchmarks.routing.dollars import dollars
from benchmarks.routing.handed import Handed, LeakError
from benchmarks.routing.newcomer import EXPLORE, _logged
from benchmarks.routing.ranking import rank
from benchmarks.routing.report import markdown
from benchmarks.routing.routellm import GPT4, MIXTRAL, VERIFIERS, gsm8k
from benchmarks.routing.spending import Settings, spend
from benchmarks.routing.splits import Split, Unit, by_group, by_text, folds, random_split
from benchmarks.routing.tool_calls import connected
from stellwerk.errors import DocumentError
from stellwerk.routers.episode import Episode, Label, Outcome

TIERS = ("small", "middle", "large")
CHANCE = {"small": 0.5, "middle": 0.9, "large": 0.85}


def episodes(count: int, tiers: Sequence[str] = TIERS, seed: int = 0) -> tuple[Episode, ...]:
    """Questions whose words tell how hard they are; every third repeats another's text."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        hard = draw.random() < 0.4
        text = f"{'prove the theorem' if hard else 'add the numbers'} {number - number % 3}"
        gold = str(draw.randrange(1000))
        outcomes = []
        for place, tier in enumerate(tiers):
            chance = CHANCE.get(tier, 0.6 + 0.05 * place) - (0.3 if hard and place == 0 else 0.0)
            is_right = draw.random() < chance
            outcomes.append(
                Outcome(
                    tier=tier,
                    accepted=True,
                    usd=10.0**place * 1e-5 * draw.uniform(0.8, 1.2),
                    answer=gold if is_right else str(draw.randrange(1000)),
                    output=10,
                    label=Label(right=float(is_right), source="gold"),
                )
            )
        found.append(
            Episode(
                id=f"e{number}",
                context=context("solve", text, max_tokens=64),
                outcomes=tuple(outcomes),
                complete=True,
                group=f"g{number // 9}",
            )
        )
    return tuple(found)


def turned(rows: Episodes) -> tuple[Episode, ...]:
    """The rows with every label turned round."""
    return tuple(
        replace(
            episode,
            outcomes=tuple(
                replace(outcome, label=Label(right=1 - outcome.label.right, source="gold"))
                for outcome in episode.outcomes
                if outcome.label is not None
            ),
        )
        for episode in rows
    )


class Recording:
    """Predicts by a word of the text, and notes which rows it is handed, and for what."""

    name, kind = "recording", "plain"

    def __init__(self, tiers: int) -> None:
        self.fitted: set[str] = set()
        self.validated: set[str] = set()
        self.predicted: list[set[str]] = []
        self._tiers = tiers

    def fit(self, train: Episodes, validation: Episodes, tiers: Sequence[str]) -> None:
        self.fitted = {episode.id for episode in train}
        self.validated = {episode.id for episode in validation}
        self._means = right(train, tiers).mean(axis=0)

    def predict(self, rows: Episodes) -> Array:
        self.predicted.append({episode.id for episode in rows})
        hard = np.array(["prove" in episode.context["instruction"] for episode in rows])
        tilt = np.linspace(-0.3, 0.1, self._tiers)
        noise = np.array([int(episode.id[1:]) % 7 for episode in rows]) * 1e-3
        found = self._means[None, :] + hard[:, None] * tilt[None, :] + noise[:, None] * tilt[None, :]
        return np.asarray(found, dtype=np.float64)


def units(rows: Episodes, unit: Unit) -> set[str]:
    return {unit(episode) for episode in rows}


@pytest.mark.parametrize("unit", [by_text, by_group])
def test_no_unit_stands_on_two_sides(unit: Unit) -> None:
    rows = episodes(180)
    splits = [*folds(rows, 5, unit, 3), random_split(rows, (90, 30), unit, 3)]
    for split in splits:
        sides = [units(side, unit) for side in (split.train, split.validation, split.test)]
        assert all(sides)
        assert len(set.union(*sides)) == sum(map(len, sides))
        ids = [episode.id for side in (split.train, split.validation, split.test) for episode in side]
        assert sorted(ids) == sorted(episode.id for episode in rows)
    tested = Counter(episode.id for split in splits[:5] for episode in split.test)
    assert set(tested.values()) == {1}


def test_rows_on_two_sides_are_found() -> None:
    rows = episodes(60)
    split = Split(train=rows[:30], validation=rows[30:40], test=rows[39:])
    handed = Handed(split, by_text)
    handed.rows("train")
    handed.rows("threshold")
    with pytest.raises(LeakError, match="test and threshold share"):
        handed.rows("test")


@pytest.mark.parametrize("judge", [rank, spend])
def test_test_rows_are_handed_out_last_and_only_to_be_predicted(judge: Callable[..., object]) -> None:
    tiers = TIERS[::2] if judge is rank else TIERS
    corpus = Corpus("c", tiers, episodes(120, tiers))
    split = random_split(corpus.episodes, (60, 24), by_text, 0)
    method = Recording(len(tiers))
    judge(corpus, [split], by_text, method)
    test = {episode.id for episode in split.test}
    assert method.fitted == {episode.id for episode in split.train}
    assert method.validated == {episode.id for episode in split.validation}
    assert method.predicted[-1] == test
    assert not any(test & before for before in method.predicted[:-1])


def test_labels_of_test_rows_move_no_threshold() -> None:
    rows = episodes(300, TIERS[::2])
    split = random_split(rows, (150, 60), by_text, 0)
    corpus = Corpus("c", TIERS[::2], rows)
    as_they_are = rank(corpus, [split], by_text, Recording(2))
    turned_round = rank(corpus, [replace(split, test=turned(split.test))], by_text, Recording(2))
    shares = [[share for share, _ in figures["points"]] for figures in (as_they_are, turned_round)]
    assert shares[0] == shares[1]
    assert len(set(shares[0])) > 3
    assert as_they_are["apgr"] != turned_round["apgr"]


def test_labels_of_test_rows_pick_no_setting() -> None:
    rows = episodes(300)
    split = random_split(rows, (150, 60), by_text, 0)
    corpus = Corpus("c", TIERS, rows)
    as_they_are = spend(corpus, [split], by_text, Recording(3))
    turned_round = spend(corpus, [replace(split, test=turned(split.test))], by_text, Recording(3))
    assert as_they_are["held_saving"] == turned_round["held_saving"]
    assert as_they_are["held_saving"] > 0
    assert as_they_are["points"] != turned_round["points"]
    method = Recording(3)
    method.fit(split.train, split.validation, TIERS)
    picked = [
        Settings(method, split.train, validation, TIERS).as_good
        for validation in (split.validation, turned(split.validation))
    ]
    assert picked[0] != picked[1], "labels of validation rows do"


def test_labels_of_test_rows_change_no_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_DIALS", 60)
    monkeypatch.setattr(checking, "BUDGETS", (0.2, 0.5))
    tiers = (*VERIFIERS, MIXTRAL, GPT4)
    rows = episodes(150, tiers)
    rows = tuple(
        replace(e, context=context("solve", f"{e.context['instruction']} {e.id}", max_tokens=64))
        for e in rows
    )
    split = random_split(rows, (90, 30), by_text, 0)
    found = []
    for test in (split.test, turned(split.test)):
        corpus = Corpus("c", tiers, test)
        found.append(checking.learn(corpus, [replace(split, test=test)], by_text))
    assert found[0].keys() == found[1].keys()
    for name, figures in found[0].items():
        assert figures["costs"] == found[1][name]["costs"], name
        assert figures["right"] != found[1][name]["right"], name


def test_functions_connect_rows_also_through_others() -> None:
    groups = connected([["a"], ["a", "b"], ["c"], ["b", "d"], ["d"]])
    assert len({groups[0], groups[1], groups[3], groups[4]}) == 1
    assert groups[2] != groups[0]


def test_the_log_knows_how_likely_it_was() -> None:
    (episode,) = episodes(1)
    rejected = replace(
        episode,
        outcomes=tuple(replace(outcome, accepted=False, reason="check") for outcome in episode.outcomes),
    )
    draw = random.Random(1)
    logs = [_logged(rejected, TIERS, draw) for _ in range(4_000)]
    for place, tier in enumerate(TIERS):
        first = [log.outcomes[0] for log in logs if log.outcomes[0].tier == tier]
        assert len(first) / len(logs) == pytest.approx(first[0].propensity, abs=0.02)
        assert first[0].propensity == pytest.approx(EXPLORE / 3 + (1 - EXPLORE if place == 0 else 0))
    # An average of 1 / propensity over what was drawn counts the ways there are.
    assert np.mean([1 / np.prod([o.propensity for o in log.outcomes]) for log in logs]) == pytest.approx(
        6, rel=0.35
    )


@pytest.mark.parametrize(
    ("load", "where"), [(dollars, "ParetoBandit/ParetoBandit"), (gsm8k, "lm-sys/RouteLLM")]
)
def test_a_missing_file_names_its_source(
    load: Callable[[], Corpus], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STELLWERK_DATA", str(tmp_path))
    with pytest.raises(DocumentError, match=f"https://github.com/{where}"):
        load()


def test_rows_in_the_file_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.routing import __main__ as command
    from benchmarks.routing.jobs import Job

    def ranked() -> dict[str, float]:
        return {"apgr": 0.7, "apgr_fixed": 0.69, "cpt50": 0.3}

    def fail() -> dict[str, float]:
        raise AssertionError("this row is in the file")

    file = tmp_path / "routing.json"
    old = {"track": "A", "protocol": "p", "method": "old", "seed": 0, "seconds": 1.0, "figures": ranked()}
    file.write_text(json.dumps({"rows": [old]}))
    monkeypatch.setattr(
        command, "jobs", lambda *_: [Job("A", "p", "old", 0, fail), Job("A", "p", "new", 0, ranked)]
    )
    monkeypatch.setattr(command, "installed", lambda: ({}, {"somebody": "No module named 'somebody'"}))
    monkeypatch.setattr(sys, "argv", ["routing", "--json", str(file), "--track", "A"])
    command.main()
    shown = capsys.readouterr()
    assert "| new | plain | 1 | 0.700 |" in shown.out
    assert "| old | plain | 1 | 0.700 |" in shown.out
    assert "somebody is left out" in shown.err
    assert [row["method"] for row in json.loads(file.read_text())["rows"]] == ["old", "new"]


def test_every_kind_of_row_has_its_table() -> None:
    spent = {
        "capgr": 0.9,
        "saving": 0.4,
        "held_saving": 0.3,
        "held_right": -0.01,
        "points": [],
        "ece": [0.01, 0.02],
    }
    bound = {"capgr": 0.8, "saving": 0.0, "points": []}
    checked = {"right": 0.75, "cost": 0.3, "calls": 0.25, "rows": [1.0, 1.0, 0.0, 1.0], "costs": [0.3] * 4}
    other = {**checked, "rows": [1.0, 0.0, 0.0, 1.0]}
    broken = [0.02, 0.01, 0.03]
    floor = {"rows": 90, "proven": 1.0, "violated": broken, "below": broken, "coverage": 1.0}
    floor |= {"right": 0.8, "cost": 0.4, "unproven": 0.3}
    user = {"promoted": False, "right": [0.8, 0.79], "cost": [1.1, 1.0]}
    user |= {"right_difference": [0.01, -0.01, 0.03], "cost_difference": [0.1, 0.05, 0.15]}
    user |= {"equal_cost": [-0.01, -0.02, -0.001]}
    rows = [
        {"track": track, "protocol": protocol, "method": method, "seed": seed, "figures": figures}
        for track, protocol, method, seed, figures in (
            ("C", "calls", "bounds", 0, {"oracle": bound, "mix": bound}),
            ("C", "calls", "stellwerk", 0, spent),
            ("C", "calls", "stellwerk", 1, {**spent, "capgr": 0.92}),
            ("B", "GSM8K, verified", "rules", 0, {"always gpt": checked}),
            ("B", "GSM8K, verified", "stellwerk", 0, {"stellwerk, any, 30%": checked}),
            ("B", "GSM8K, verified", "stellwerk", 1, {"stellwerk, any, 30%": other}),
            ("A", "re-splits of rows", "stellwerk", 0, {"0.75": floor}),
            ("D", "500 traces of rows", "stellwerk", 0, user),
        )
    ]
    shown = markdown(rows)
    assert "| stellwerk | ours | 2 | 0.910 [0.783, 1.037] | 40% | 30% | -0.010 | 0.010 / 0.020 |" in shown
    assert "| mix by lot | bound | - | 0.800 | 0% | - | - | - |" in shown
    assert "| always gpt | - | 0.750 [0.194, 0.994] | 30.0% | 25.0% |" in shown
    assert "| stellwerk, any, 30% | 2 | 0.625 [" in shown
    assert (
        "| rows | 90 | 0.75 | 100.0% | 2.0% [1.0%, 3.0%] | 2.0% [1.0%, 3.0%] | 1.00 | 0.800 | 40.0% | 30.0% |"
        in shown
    )
    assert "| rows | 1 | 0.800 | 0.790 | 1.10 | -0.010 | 0 / 1 / 1 | 0 |" in shown
