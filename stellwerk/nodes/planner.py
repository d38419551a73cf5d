"""The planner: asks a tier for a plan, and once more with the error where it cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from stellwerk.document import Document
from stellwerk.errors import BudgetError, ContextOverflowError, PlanError, TierAccessError, TierError
from stellwerk.nodes.billing import bill, bill_error
from stellwerk.nodes.lines import lines_of
from stellwerk.nodes.plan_wire import lines_in, plan_schema, read_plan
from stellwerk.nodes.planning_prompt import plan_messages
from stellwerk.nodes.step import Ask
from stellwerk.nodes.terms import flow_of_run
from stellwerk.outcome import Call, Usage
from stellwerk.plan import Plan, Subtask
from stellwerk.tiers.tier import Reply, Request, Tier
from stellwerk.worker import Brief, Schema, Worker

_log = logging.getLogger(__name__)
_TRIES = 2


class Planned(NamedTuple):
    """A plan, or None with the problem; and the calls that it took."""

    plan: Plan | None
    calls: list[Call]
    problem: str = ""


Planning = Generator[Ask, Reply, Planned]


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Who plans, for whom, and how far.

    Args:
        workers: who can do what.
        tier: that plans.
        fallback: the worker that gets the whole task where there is no plan.
        max_subtasks: of a plan.
        max_tokens: of a plan.
    """

    workers: Mapping[str, Worker]
    tier: Tier
    fallback: str
    max_subtasks: int
    max_tokens: int

    def plan(self, task: str, documents: Sequence[Document]) -> Planning:
        """A plan of a task: if need be, of one subtask, and then with the problem.

        Raises:
            ContextOverflowError: if the task is too long for the tier.
            TierAccessError: if the tier's key is refused.
        """
        lines = lines_of(task)

        def read(text: str) -> Plan:
            plan = Plan.parse(read_plan(text, lines))
            plan.check_workers(self.workers)
            if left := _left_out(lines, text):
                raise PlanError(f"no subtask is about {', '.join(left)}; add one for each")
            if len(plan.subtasks) > self.max_subtasks:  # not every server holds a planner to the schema
                limit = self.max_subtasks
                raise PlanError(f"the plan has {len(plan.subtasks)} subtasks; the limit is {limit}")
            return plan

        messages = plan_messages(lines, documents, self.workers)
        schema = plan_schema(self.workers, self.max_subtasks, lines)
        planned = yield from self.ask(messages, schema, read)
        if planned.plan is not None:
            return planned._replace(plan=self.claimed(planned.plan, documents))
        single = Subtask(id="task", worker=self.fallback, instruction=task)
        return planned._replace(plan=Plan(subtasks=(single,)))

    def ask(
        self,
        messages: Sequence[BaseMessage],
        schema: Schema,
        read: Callable[[str], Plan | None],
        replan: int | None = None,
    ) -> Planning:
        """What a planner makes of a prompt; a plan that is refused is asked for again, once, with the error.

        Args:
            messages: the prompt.
            schema: of the answer.
            read: the plan in an answer, or None if the planner gives up; raises a `PlanError`.
            replan: which one this is, from 1, where it is not the first plan.

        Raises:
            ContextOverflowError: if the prompt is too long for the tier.
            TierAccessError: if the tier's key is refused.
        """
        calls: list[Call] = []
        problem = ""
        for _ in range(_TRIES):
            call = Call(
                step="plan",
                owner="supervisor",
                tier=self.tier.name,
                usage=Usage(input=0, cached=0, output=0),
                seconds=0.0,
            )
            if replan is not None:
                call["replan"] = replan
            calls.append(call)
            request = Request(
                messages=messages,
                schema=schema,
                max_tokens=self.max_tokens,
                flow=flow_of_run(),
                strict=False,  # which is for schemas of which nothing may be left out
            )
            try:
                reply = yield Ask(self.tier, request)
            except BudgetError as error:
                calls.pop()  # none was made
                return Planned(None, calls, str(error))
            except (ContextOverflowError, TierAccessError) as error:
                # Asking again helps nothing: the task itself is too long, or the key is wrong.
                if replan is None:
                    raise
                bill_error(calls, error, request)
                return Planned(None, calls, str(error))
            except TierError as error:
                problem = str(error)
                bill_error(calls, error, request)
                continue
            bill(calls, reply, request)
            try:
                plan = read(reply.text)
                return Planned(plan, calls, "" if plan else "the planner gave up")
            except PlanError as error:
                call["error"] = problem = str(error)
                refused = HumanMessage(f"That plan was refused: {error}\nPlan:")
                messages = [*messages, AIMessage(reply.text), refused]
        return Planned(None, calls, problem)

    def claimed(self, plan: Plan, documents: Sequence[Document]) -> Plan:
        """The plan, with each question given to the worker that claims it."""
        subtasks = []
        for subtask in plan.subtasks:
            if self.workers[subtask.worker].claims is not None and not subtask.depends_on:
                brief = Brief(instruction=subtask.instruction, documents=documents, inputs={})
                claimants = [name for name, worker in self.workers.items() if _claims(worker, brief)]
                if len(claimants) == 1:
                    subtask = subtask.model_copy(update={"worker": claimants[0]})
            subtasks.append(subtask)
        return Plan(subtasks=tuple(subtasks))


def _claims(worker: Worker, brief: Brief) -> bool:
    try:
        return worker.claims is not None and worker.claims(brief)
    except Exception:  # a worker's own code must not take the plan down
        _log.warning("claims of worker %s failed; it claims nothing", worker.name, exc_info=True)
        return False


def _left_out(lines: Sequence[str], text: str) -> list[str]:
    """The questions that no instruction points at, where the plan points at lines at all."""
    named = lines_in(text)
    asked = [number for number, line in enumerate(lines, 1) if line.endswith("?")]
    return [f"#{number}" for number in asked if number not in named] if named else []
