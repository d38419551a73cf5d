from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stellwerk.tiers.breaker import Breaker


def fail(breaker: Breaker, now: float, weight: int = 1) -> None:
    breaker.fail(breaker.begin(now), now, now, weight)


def succeed(breaker: Breaker, now: float) -> None:
    breaker.succeed(breaker.begin(now), now, now)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    while breaker.state(now) == "closed":
        fail(breaker, now)
    return breaker


def test_five_failures_in_a_row_open_it_and_a_success_between_does_not_let_them() -> None:
    breaker = Breaker()
    for _ in range(4):
        fail(breaker, 0)
    succeed(breaker, 0)
    for _ in range(4):
        fail(breaker, 0)
    assert breaker.admits(0)
    fail(breaker, 0)
    assert (breaker.state(0), breaker.admits(0)) == ("open", False)


def test_a_timeout_counts_twice() -> None:
    breaker = Breaker()
    for _ in range(3):
        fail(breaker, 0, weight=2)
    assert breaker.state(0) == "open"


def test_half_of_the_calls_failing_opens_it_and_a_tenth_does_not() -> None:
    steady, bad = Breaker(), Breaker()
    for number in range(200):
        (fail if number % 10 == 0 else succeed)(steady, 0)
    assert steady.state(0) == "closed"
    for number in range(10):
        (fail if number % 2 else succeed)(bad, 0)
    assert bad.state(0) == "open"


def test_calls_that_fail_while_later_ones_are_answered_are_no_sign_of_an_outage() -> None:
    breaker = Breaker()
    hung = [breaker.begin(0.0) for _ in range(6)]
    for _ in range(20):
        breaker.succeed(breaker.begin(1.0), 1.0, 2.0)
    for epoch in hung:
        breaker.fail(epoch, 0.0, 5.0, weight=2)
    assert breaker.state(5.0) == "closed"


def test_after_the_cool_down_one_call_goes_through_and_closes_it() -> None:
    breaker = opened()
    assert not breaker.admits(0.9)
    assert breaker.admits(1.0)
    epoch = breaker.begin(1.0)
    assert breaker.state(1.0) == "half-open"
    assert not breaker.admits(1.0)  # while the probe is on its way
    breaker.succeed(epoch, 1.0, 1.5)
    assert breaker.state(1.5) == "closed"


def test_each_probe_that_fails_doubles_the_cool_down_up_to_a_minute() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(9):
        waits.append(breaker.until - now)
        now = breaker.until
        fail(breaker, now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_cool_down_grows_on_if_it_fails_again_soon_and_starts_over_if_later() -> None:
    breaker = opened(0.0)
    succeed(breaker, 1.0)
    for _ in range(5):
        fail(breaker, 5.0)
    assert breaker.until == 5.0 + 2
    succeed(breaker, 7.0)
    for _ in range(5):
        fail(breaker, 20.0)
    assert breaker.until == 20.0 + 1


def test_a_probe_that_is_given_up_leaves_its_turn_to_the_next_call() -> None:
    breaker = opened()
    breaker.abandon(breaker.begin(1.0))
    assert breaker.admits(1.0)


def test_what_began_before_the_outage_says_nothing_about_its_end() -> None:
    breaker = Breaker()
    early = breaker.begin(0.0)
    while breaker.state(0.0) == "closed":
        fail(breaker, 0.0)
    breaker.succeed(early, 0.0, 0.5)
    assert breaker.state(0.5) == "open"
    probe = breaker.begin(1.0)
    breaker.fail(early, 0.0, 1.0)
    assert breaker.until == 1.0  # not opened anew
    breaker.succeed(probe, 1.0, 1.0)
    assert breaker.state(1.0) == "closed"


class Machine(RuleBasedStateMachine):
    """Calls begin and end in any order while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.calls: list[tuple[int, float, bool]] = []  # epoch, beginning, whether it is a probe

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.admits(self.now))
    @rule()
    def begin(self) -> None:
        probe = self.breaker.state(self.now) != "closed"
        self.calls.append((self.breaker.begin(self.now), self.now, probe))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), how=st.sampled_from(["succeed", "fail", "fail", "abandon"]))
    def end(self, data: st.DataObject, how: str) -> None:
        epoch, began, probe = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.breaker.state(self.now)
        match how:
            case "succeed":
                self.breaker.succeed(epoch, began, self.now)
                assert not probe or self.breaker.state(self.now) == "closed"
            case "fail":
                self.breaker.fail(epoch, began, self.now, weight=2)
                assert not probe or self.breaker.state(self.now) == "open"
            case _:
                self.breaker.abandon(epoch)
        if not probe and before != "closed":
            assert self.breaker.state(self.now) == before  # only a probe ends an outage

    @invariant()
    def one_probe_at_most(self) -> None:
        assert sum(probe for _, _, probe in self.calls) <= 1
        if self.breaker.state(self.now) == "half-open":
            assert self.breaker.admits(self.now) != any(probe for _, _, probe in self.calls)

    @invariant()
    def never_shut_for_good(self) -> None:
        assert self.breaker.until <= self.now + 60 or self.breaker.state(self.now) == "closed"


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
