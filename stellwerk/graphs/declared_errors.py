"""What workers do about failures, as the settings say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stellwerk.error_policy import ErrorPolicy
from stellwerk.errors import ConfigurationError
from stellwerk.settings import Settings
from stellwerk.settings.explain import near
from stellwerk.worker import Worker


def with_declared_errors(settings: Settings, workers: Sequence[Worker]) -> list[Worker]:
    """The workers with the policies that the settings give them.

    `[errors]` is for those that have none of their own; `[errors.workers.NAME]` changes what it names, of
    whichever policy that worker has then.

    Raises:
        ConfigurationError: if the settings name a worker that is not there, or a substitute does not fit.
    """
    names = [worker.name for worker in workers]
    for name in settings.errors.workers:
        if name not in names:
            known = f"{near(name, names)}workers: {', '.join(names)}"
            raise ConfigurationError(f"errors.workers.{name}: there is no such worker; {known}")
    return [with_errors(settings, worker) for worker in workers]


def with_errors(settings: Settings, worker: Worker) -> Worker:
    """One worker, as of all.

    Raises:
        ConfigurationError: if its substitute does not fit.
    """
    changes = settings.errors.given() if worker.errors == ErrorPolicy() else {}
    if (own := settings.errors.workers.get(worker.name)) is not None:
        changes |= own.given()
    if not changes:
        return worker
    try:
        return replace(worker, errors=replace(worker.errors, **changes))
    except ConfigurationError as error:
        raise ConfigurationError(f"errors.workers.{worker.name}: {error}") from None
