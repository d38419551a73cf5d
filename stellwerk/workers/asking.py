"""Workers of which somebody wants that people are asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from stellwerk.errors import ConfigurationError
from stellwerk.worker import Worker


def asking_people(
    workers: Mapping[str, Worker], approve: Collection[str], ask: bool | Collection[str]
) -> dict[str, Worker]:
    """The workers, with what they ask people.

    Args:
        workers: by name.
        approve: names of workers, of tools as `worker.tool`, or of tools that only one worker has. A name of
            both is the worker's.
        ask: whether all ask for what they do not know, or names of those that do.

    Raises:
        ConfigurationError: if a name is unknown, or is that of tools of several workers.
    """
    found = dict(workers)
    for name in [approve] if isinstance(approve, str) else approve:
        if name in found:
            found[name] = replace(found[name], approve=True)
            continue
        owner, _, tool = name.rpartition(".")
        owners = [owner] if owner else [each.name for each in found.values() if _has(each, tool)]
        if len(owners) > 1:
            several = ", ".join(f"{each}.{tool}" for each in owners)
            raise ConfigurationError(f"approve names {name!r}, which several workers have; give {several}")
        worker = found.get(owners[0]) if owners else None
        if worker is None or not _has(worker, tool):
            raise ConfigurationError(
                f"approve names {name!r}, which is no worker and no tool; {_there(found)}"
            )
        found[worker.name] = replace(worker, approve_tools=worker.approve_tools | {tool})
    if isinstance(ask, bool):
        ask = list(found) if ask else []
    for name in [ask] if isinstance(ask, str) else ask:
        if name not in found:
            raise ConfigurationError(f"ask names {name!r}, which is no worker; workers: {', '.join(found)}")
        found[name] = replace(found[name], ask=True)
    return found


def _has(worker: Worker, tool: str) -> bool:
    return any(each.name == tool for each in worker.tools)


def _there(workers: Mapping[str, Worker]) -> str:
    tools = [f"{worker.name}.{tool.name}" for worker in workers.values() for tool in worker.tools]
    return f"workers: {', '.join(workers)}; tools: {', '.join(tools) or 'none'}"
