"""Traces become episodes, with the label of whoever knows best."""

from datetime import timedelta
from typing import Any

import pytest

from stellwerk.errors import ConfigurationError
from stellwerk.routers.agreement import Agreement
from stellwerk.routers.episode import Episode, Label
from stellwerk.routers.labels import FEWEST_PAIRS, Trust
from stellwerk.routers.traced import Traced, read_episodes
from tests.routers.traces import NOON, Memory, context, name, said, stored


def labels(traced: Traced) -> list[Label | None]:
    return [outcome.label for episode in traced.episodes for outcome in episode.outcomes]


def test_attempts_at_a_subtask_are_one_episode() -> None:
    rejected = stored("a", 1, accepted=False, reason="schema", value_hash=None)
    found = read_episodes(Memory([stored("a", 2, tier="large"), rejected, stored("b")]))
    assert [episode.id for episode in found.episodes] == [name("a", 0), name("b", 0)]
    first = found.episodes[0]
    assert first.context == context()
    assert first.at == NOON.timestamp() + 1 - 1.5
    assert not first.complete
    assert [(one.tier, one.accepted, one.reason) for one in first.outcomes] == [
        ("small", False, "schema"),
        ("large", True, None),
    ]
    second = first.outcomes[1]
    assert (second.usd, second.seconds, second.input, second.output, second.calls) == (0.25, 1.5, 100, 7, 2)
    assert (second.logprobs, second.answer, second.propensity) == ({"mean": -0.5}, "ab" * 8, 0.5)
    assert second.trace_id == name("a", 2)
    assert first.outcomes[0].answer == ""


def test_how_likely_the_router_was_to_stop_is_known() -> None:
    decision = stored()["decision"]
    assert decision is not None
    after = {**decision, "tier": None, "propensity": 0.25}
    last = stored("a", 2, decision={**decision, "after": after})
    found = read_episodes(Memory([stored("a", 1, accepted=False), last, stored("b")]))
    assert [episode.stopped for episode in found.episodes] == [0.25, 1.0]


def test_attempts_that_cannot_be_learned_from_are_counted() -> None:
    older = stored("old", context=None, episode=None)
    traces = Memory([older, stored("a", 1), stored("a", 2), stored("b", 2)])
    found = read_episodes(traces)
    assert ([episode.id for episode in found.episodes], found.left_out) == ([name("a", 0)], 2)
    later = read_episodes(traces, since=NOON + timedelta(seconds=2))
    assert (later.episodes, later.left_out) == ((), 2)
    assert read_episodes(Memory()).record()["since"] is None


def test_episodes_of_a_thread_stay_together_unless_it_holds_them_all() -> None:
    def groups(found: Traced) -> list[str]:
        return [episode.group for episode in found.episodes]

    apart = [stored("a", thread_id=f"t{number}", run_id=f"r{number}") for number in range(20)]
    assert groups(read_episodes(Memory(apart))) == [f"t{number}" for number in range(20)]
    one_thread = [stored("a", run_id=f"r{number}") for number in range(20)]
    assert groups(read_episodes(Memory(one_thread))) == [f"thread/r{number}" for number in range(20)]
    alone = stored("", run_id="", thread_id="")
    assert groups(read_episodes(Memory([alone]))) == [alone["episode"]]


def test_attempts_with_a_gap_or_an_impossible_propensity_are_left_out() -> None:
    gap = [stored("a"), stored("a", 3, tier="large")]
    never: list[Any] = [stored("b"), stored("c"), stored("d")]
    for attempt, propensity in zip(never, (0.0, 1.5, float("nan")), strict=True):
        attempt["decision"] = {**attempt["decision"], "propensity": propensity}
    found = read_episodes(Memory([*gap, *never, stored("e")]))
    assert [episode.id for episode in found.episodes] == [name("e", 0)]
    assert (found.attempts, found.left_out) == (1, 5)


def test_the_strongest_source_wins_and_nothing_is_mixed() -> None:
    traces = Memory(
        [stored("a"), stored("b"), stored("c"), stored("d"), stored("e", accepted=False)],
        [
            said(name("a"), "wrong", source="judge"),
            said(name("a"), "right", source="person"),
            said(name("a"), "wrong", source="gold"),
            said(name("b"), "wrong", source="person"),
            said(name("b"), "right", source="judge"),
            said(name("c"), score=0.25, source="judge"),
        ],
    )
    found = read_episodes(traces)
    assert labels(found) == [
        Label(right=0.0, source="gold"),
        Label(right=0.0, source="person"),
        Label(right=0.25, source="judge", weight=0.5),
        None,
        Label(right=0.0, source="check"),
    ]
    assert found.labels == {"gold": 1, "person": 1, "judge": 1, "check": 1}
    assert found.overruled == {"person": 1, "judge": 1}
    assert found.unlabelled == 1


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ({"label": "right"}, 1.0),
        ({"label": " Wrong"}, 0.0),
        ({"label": "wrong", "score": 1.0}, 0.0),
        ({"score": 0.7}, 0.7),
        ({"score": 5.0}, None),
        ({"label": "nice"}, None),
        ({"comment": "hm"}, None),
    ],
)
def test_what_a_word_of_feedback_says(word: dict[str, Any], right: float | None) -> None:
    found = read_episodes(Memory([stored()], [said(name(), **word)]))
    (label,) = labels(found)
    assert (label and label.right, found.unread) == (right, int(right is None))


def test_the_last_word_of_each_voice_counts() -> None:
    words = [
        said(name(), "wrong", who="ada"),
        said(name(), "right", who="ada"),
        said(name(), "wrong", who="bob"),
    ]
    assert labels(read_episodes(Memory([stored()], words))) == [Label(right=0.5, source="person")]


def test_what_is_said_of_a_run_is_said_a_little_of_each_of_its_answers() -> None:
    attempts = [
        stored("a"),
        stored("b"),
        stored("c", run_id="other"),
        stored("d", thread_id="theirs"),
        stored("e", accepted=False),
    ]
    wrong = labels(read_episodes(Memory(attempts, [said(None, "wrong")])))
    assert wrong == [
        Label(right=0.5, source="run", weight=0.2),
        Label(right=0.5, source="run", weight=0.2),
        None,
        None,
        Label(right=0.0, source="check"),
    ]
    both = read_episodes(Memory(attempts[:2], [said(None, "right"), said(name("a"), "wrong")]))
    assert labels(both) == [Label(right=0.0, source="person"), Label(right=1.0, source="run", weight=0.2)]


def judged(pairs: list[tuple[str, str]]) -> Episode:
    """The episode that only the judge has judged, beside those where people said something too."""
    attempts = [stored(str(number)) for number in range(len(pairs))]
    words = [
        word
        for number, (judge, people) in enumerate(pairs)
        for word in (
            said(name(str(number)), judge, source="judge"),
            said(name(str(number)), people, source="person" if number % 2 else "gold"),
        )
    ]
    words.append(said(name("alone"), "right", source="judge"))
    return read_episodes(Memory([*attempts, stored("alone")], words)).episodes[-1]


def weight(pairs: list[tuple[str, str]]) -> float:
    label = judged(pairs).outcomes[0].label
    assert label is not None
    assert label.source == "judge"
    return label.weight


def test_a_judge_is_trusted_as_far_as_it_agrees_with_people_beyond_chance() -> None:
    same = [("right", "right")] * 15 + [("wrong", "wrong")] * 5
    assert weight(same) == 1.0
    assert weight(same[: FEWEST_PAIRS - 1]) == 0.5  # too few to tell
    assert weight([("right", "right")] * 100) == 0.5  # which a judge that always says right manages as well
    assert weight([("right", "right")] * 15 + [("right", "wrong")] * 5) == 0.0
    some = [("right", "right")] * 45 + [("wrong", "wrong")] * 25 + [("right", "wrong")] * 15
    some += [("wrong", "right")] * 15
    assert weight(some) == pytest.approx((0.7 - 0.52) / (1 - 0.52))
    assert weight([("right", "wrong"), ("wrong", "right")] * 20) == 0.0


def test_agreement_is_counted_in_its_four_ways() -> None:
    found = Agreement.of([(True, True)] * 4 + [(True, False)] * 3 + [(False, True)] * 2 + [(False, False)])
    assert found == Agreement(both_right=4, judge_right=3, people_right=2, both_wrong=1)
    assert (found.pairs, found.agreed, found.share) == (10, 5, 0.5)
    assert found.interval() == pytest.approx((0.187086, 0.812914), abs=1e-6)  # as R's binom.test(5, 10)
    assert (Agreement().share, Agreement().kappa, Agreement().interval()) == (None, None, (0.0, 1.0))


def test_trust_has_bounds() -> None:
    trusted = read_episodes(
        Memory([stored()], [said(name(), "right", source="judge")]), trust=Trust(judge=0.9)
    )
    assert labels(trusted) == [Label(right=1.0, source="judge", weight=0.9)]
    with pytest.raises(ConfigurationError, match="the trust in run is 2"):
        Trust(run=2)
