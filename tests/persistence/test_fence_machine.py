"""Leases and writes in any order: what is stored was written under the token that was current."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from stellwerk.errors import LeaseError
from stellwerk.persistence.lease import Lease
from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.saver import SQLAlchemySaver
from tests.persistence.leases import expire

holders = st.sampled_from(["one", "two", "three"])


class Machine(RuleBasedStateMachine):
    """Three holders and one thread, beside a model of who may write."""

    saver: SQLAlchemySaver

    def __init__(self) -> None:
        super().__init__()
        self.thread = str(uuid4())
        self.store = RunStore(self.saver.database)
        self.leases: dict[str, Lease] = {}
        self.token = 0
        self.live = False
        self.released: set[int] = set()
        self.kept: list[int] = []
        self.saved = 0
        base: RunnableConfig = {"configurable": {"thread_id": self.thread, "checkpoint_ns": ""}}
        self.base = self._checkpoint(base)

    def may(self, holder: str) -> bool:
        return self.live and self.leases[holder].token == self.token

    @rule(holder=holders)
    def claim(self, holder: str) -> None:
        if self.live:
            with pytest.raises(LeaseError):
                self.store.claim(self.thread, task=holder)
            return
        self.leases[holder] = self.store.claim(self.thread, task=holder)
        assert self.leases[holder].token == self.token + 1
        self.token, self.live = self.token + 1, True

    @rule(holder=holders)
    def renew(self, holder: str) -> None:
        if holder in self.leases:
            self._tried(self.may(holder), lambda: self.store.renew(self.leases[holder]))

    @rule()
    def time_passes(self) -> None:
        if self.token:
            expire(self.saver.database, self.thread)
            self.live = False

    @rule(holder=holders)
    def release(self, holder: str) -> None:
        # Once each: a release that is repeated, as after a connection that broke, is no error.
        if holder in self.leases and self.leases[holder].token not in self.released:
            mine = self.leases[holder].token == self.token
            self._tried(mine, lambda: self.store.release(self.leases[holder]))
            self.live = self.live and not mine
            self.released.add(self.leases[holder].token)

    @rule(holder=holders)
    def write(self, holder: str) -> None:
        if holder in self.leases:
            token, config = self.leases[holder].token, self.leases[holder].bind(self.base)
            may = self.may(holder)
            self._tried(may, lambda: self.saver.put_writes(config, [("token", token)], str(uuid4())))
            self.kept += [token] * may

    @rule(holder=holders)
    def save(self, holder: str) -> None:
        if holder in self.leases:
            may = self.may(holder)
            self._tried(may, lambda: self._checkpoint(self.leases[holder].bind(self.base)))

    @invariant()
    def what_is_stored_was_written_by_those_who_might(self) -> None:
        found = self.saver.get_tuple(self.base)
        assert found is not None
        assert sorted(value for _, _, value in found.pending_writes or ()) == sorted(self.kept)
        stored = list(self.saver.list({"configurable": {"thread_id": self.thread}}))
        assert len(stored) == self.saved

    def _checkpoint(self, config: RunnableConfig) -> RunnableConfig:
        put = self.saver.put(config, empty_checkpoint(), {"source": "input", "step": -1, "parents": {}}, {})
        self.saved += 1
        return {"configurable": {**config["configurable"], **put["configurable"]}}

    def _tried(self, may: bool, work: Any) -> None:
        if may:
            work()
        else:
            with pytest.raises(LeaseError):
                work()


def test_what_is_stored_was_written_under_the_token_that_was_current(url: str) -> None:
    with SQLAlchemySaver.from_url(url) as saver:
        run_state_machine_as_test(
            type("Machine", (Machine,), {"saver": saver}),
            settings=settings(
                max_examples=40 if url == "sqlite://" else 5,
                stateful_step_count=20,
                deadline=None,
                phases=[Phase.generate],  # to make a failure smaller would take minutes on a disk
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
