from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellwerk.tiers.gate import Gate, Ticket
from stellwerk.tiers.rate import MINUTE, Rate


def granted(*tickets: Ticket) -> list[bool]:
    return [ticket.state == "granted" and ticket.future.done() for ticket in tickets]


def test_as_many_get_in_as_there_are_places() -> None:
    gate = Gate(2)
    a, b, c = (gate.enter("run", 0, 0.0) for _ in range(3))
    assert granted(a, b, c) == [True, True, False]
    gate.leave(a, 0.0)
    assert granted(c) == [True]
    assert (gate.held, gate.waiting) == (2, 0)


def test_without_a_limit_everyone_gets_in() -> None:
    gate = Gate()
    assert all(granted(*(gate.enter("run", 0, 0.0) for _ in range(1000))))


def test_a_large_run_does_not_starve_a_small_one() -> None:
    gate = Gate(1)
    holder = gate.enter("large", 0, 0.0)
    large = [gate.enter("large", 0, 0.0) for _ in range(100)]
    small = [gate.enter("small", 0, 0.0) for _ in range(3)]
    order = []
    for _ in range(6):
        gate.leave(holder, 0.0)
        (holder,) = [ticket for ticket in [*large, *small] if ticket.state == "granted"]
        order.append(holder.flow)
    assert order == ["large", "small"] * 3
    assert [ticket.state for ticket in large[:4]] == ["gone", "gone", "gone", "waiting"]  # in their order


def test_one_who_gives_up_waiting_takes_no_place() -> None:
    gate = Gate(1)
    holder, quitter, patient = (gate.enter("run", 0, 0.0) for _ in range(3))
    gate.leave(quitter, 0.0)
    gate.leave(holder, 0.0)
    assert granted(quitter, patient) == [False, True]
    assert (gate.held, gate.waiting) == (1, 0)


def test_one_who_gives_up_as_the_place_is_granted_hands_it_on() -> None:
    gate = Gate(1)
    holder, quitter, patient = (gate.enter("run", 0, 0.0) for _ in range(3))
    gate.leave(holder, 0.0)
    gate.leave(quitter, 0.0)  # it has the place by now, but does not know
    assert granted(patient) == [True]


def test_a_future_that_was_cancelled_by_its_event_loop_takes_no_place() -> None:
    gate = Gate(1)
    holder, lost, patient = (gate.enter("run", 0, 0.0) for _ in range(3))
    lost.future.cancel()
    gate.leave(holder, 0.0)
    assert granted(patient) == [True]
    gate.leave(lost, 0.0)
    assert (gate.held, gate.waiting) == (1, 0)


def test_the_rate_holds_back_who_has_a_place() -> None:
    gate = Gate(None, Rate(requests=2))
    a, b, c = (gate.enter("run", 0, now) for now in (0.0, 1.0, 2.0))
    assert granted(a, b, c) == [True, True, False]
    gate.pump(MINUTE - 0.1)
    assert granted(c) == [False]
    assert gate.wake(MINUTE - 0.1) == pytest.approx(0.1)
    gate.pump(MINUTE)
    assert granted(c) == [True]


def test_another_try_counts_as_another_request() -> None:
    gate = Gate(None, Rate(requests=2))
    ticket = gate.enter("run", 0, 0.0)
    assert gate.again(ticket, 1.0) == 0
    assert gate.again(ticket, 2.0) == pytest.approx(MINUTE - 2)


def test_tokens_that_were_not_taken_let_the_next_one_in() -> None:
    gate = Gate(None, Rate(tokens=100))
    a, b = gate.enter("run", 80, 0.0), gate.enter("run", 80, 0.0)
    assert granted(a, b) == [True, False]
    gate.correct(a, 20, 1.0)
    assert granted(b) == [True]


@settings(max_examples=150, deadline=None)
@given(
    limit=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.sampled_from("eeexlc"), st.integers(0, 7), st.sampled_from("abcd")), max_size=80
    ),
)
def test_no_place_is_lost_and_none_too_many_given_and_runs_take_turns(
    limit: int, steps: list[tuple[str, int, str]]
) -> None:
    """Against a model that does the same in the plainest way."""
    gate = Gate(limit)
    tickets: list[Ticket] = []
    flows: dict[str, deque[Ticket]] = {}  # in the order of their turns
    holders: list[Ticket] = []
    ends: list[Ticket] = []

    def let_in() -> None:
        while flows and len(holders) < limit:
            name = next(iter(flows))
            queue = flows.pop(name)
            ticket = queue.popleft()
            if queue:
                flows[name] = queue  # to the end
            holders.append(ticket)

    def take_out(ticket: Ticket) -> None:
        queue = flows[ticket.flow]
        queue.remove(ticket)
        if not queue:
            del flows[ticket.flow]

    for kind, number, flow in steps:
        if kind == "e":
            ticket = gate.enter(flow, 0, 0.0)
            tickets.append(ticket)
            flows.setdefault(flow, deque()).append(ticket)
        elif kind == "l" and holders:
            ticket = holders.pop(number % len(holders))
            ends.append(ticket)
            gate.leave(ticket, 0.0)
        elif kind in "xc" and (waiting := [t for queue in flows.values() for t in queue]):
            ticket = waiting[number % len(waiting)]
            take_out(ticket)
            ends.append(ticket)
            if kind == "c":  # an event loop cancels the future first
                ticket.future.cancel()
            gate.leave(ticket, 0.0)
        let_in()
        assert [t for t in tickets if t.state == "granted"] == [t for t in tickets if t in holders]
        assert gate.held == len(holders) <= limit
        assert gate.waiting == sum(map(len, flows.values()))
        assert not (gate.waiting and gate.held < limit)
    for ticket in [*holders, *(t for queue in flows.values() for t in queue)]:
        gate.leave(ticket, 0.0)
    assert (gate.held, gate.waiting) == (0, 0)
