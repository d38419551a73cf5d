"""A worker whose attempts are made by a graph on another LangGraph server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langgraph.pregel.remote import RemoteGraph
from pydantic import BaseModel

from stellwerk.errors import ConfigurationError
from stellwerk.worker import Brief, Check, Worker
from stellwerk.workers.create import check_name


def remote_worker(
    name: str,
    graph: RemoteGraph,
    *,
    description: str,
    output: type[BaseModel],
    checks: Sequence[Check] = (),
    claims: Callable[[Brief], bool] | None = None,
    timeout: float | None = 300.0,
) -> Worker:
    """Specify a worker that is served elsewhere, as `create_worker_graph` makes it.

    It is routed, checked, escalated, billed and traced as any other. The tier of an attempt is passed on by
    its name, so the server's ladder has tiers of the same names as this one's. What comes back is not
    trusted: it has to fit `output` and pass `checks` here as well. A server that does not answer rejects the
    attempt as `unavailable` or `timeout`, one whose graph breaks off as `worker`. A person whom it asks is
    asked here, by an interrupt of this run.

    Args:
        name: lower case, at most 32 letters, digits or underscores; the planner uses it.
        graph: the worker on its server: `RemoteGraph("extract", url="https://...", api_key=...)`.
        description: one line for the planner.
        output: pydantic model of the worker's result.
        checks: each gets the result and the brief, and returns None or what is wrong.
        claims: whether a job is surely this worker's; see `create_worker`.
        timeout: seconds for an attempt, None for no limit.

    Raises:
        ConfigurationError: if the name, the description or the timeout is unusable.
    """
    check_name(name)
    if not description.strip():
        raise ConfigurationError(f"worker {name!r} has a blank description; say in a line what it does")
    if timeout is not None and not timeout > 0:
        raise ConfigurationError(
            f"worker {name!r}: timeout is {timeout}; give seconds above 0, or None for no limit"
        )
    return Worker(
        name=name,
        description=description.strip(),
        output=output,
        prompt="",
        checks=tuple(checks),
        claims=claims,
        repairs=0,  # it is the server that repairs
        remote=graph,
        remote_timeout=timeout,
    )
