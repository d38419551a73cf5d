"""The file of a router's model: arrays and JSON in the safetensors format, under a digest of every byte.

No code is in it, and none is run to read it. The format is that of
https://github.com/huggingface/safetensors: eight bytes with the length of a JSON header, the header, the
arrays. All that is not an array is one JSON text in the header's `__metadata__`, as several would be written
in an order that changes from run to run.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings

from stellwerk.errors import MissingExtraError, ModelFileError
from stellwerk.routers.model import RouterModel
from stellwerk.routers.model_record import arrays_of, model_of, record_of

FORMAT = "stellwerk-router"
VERSION = 1

_NO_DIGEST = "0" * 64
_LARGEST_HEADER = 64 * 2**20
_LARGEST_FILE = 2**30


def save_model(model: RouterModel, path: str | Path) -> RouterModel:
    """Write the model to a file, which is there as a whole or not at all.

    Returns:
        The model with the digest of the file.

    Raises:
        ModelFileError: if the file cannot be written.
        MissingExtraError: if safetensors is not installed.
    """
    data = model_bytes(model)
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ModelFileError(f"the router's model cannot be written to {path}: {error}") from error
    return replace(model, digest=_digest_in(data))


def load_model(path: str | Path, *, embeddings: Embeddings | None = None) -> RouterModel:
    """Read a model from a file.

    Args:
        path: of the file.
        embeddings: those that the model was trained with, if it was.

    Raises:
        ModelFileError: if the file is absent, damaged, or of another version.
        ConfigurationError: if the model needs embeddings.
        MissingExtraError: if safetensors is not installed.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ModelFileError(f"{path} has {path.stat().st_size:,} bytes; that is no router's model")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"the router's model {path} cannot be read: {error}; train one, or name the right file"
        ) from error
    return read_model(data, embeddings=embeddings, name=str(path))


def model_bytes(model: RouterModel) -> bytes:
    """The content of the model's file; the same bytes for the same model.

    Raises:
        MissingExtraError: if safetensors is not installed.
    """
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise MissingExtraError("safetensors", "router") from error
    record = {"format": FORMAT, "version": VERSION, "digest": _NO_DIGEST, **record_of(model)}
    text = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    blank: bytes = save(arrays_of(model), metadata={"stellwerk": text})
    return blank.replace(_NO_DIGEST.encode(), hashlib.sha256(blank).hexdigest().encode(), 1)


def digest_of(model: RouterModel) -> str:
    """The digest that the model's file has, in hexadecimal."""
    return _digest_in(model_bytes(model))


def read_model(data: bytes, *, embeddings: Embeddings | None = None, name: str = "the file") -> RouterModel:
    """The model of a file's content.

    Args:
        data: as `model_bytes` gave it.
        embeddings: those that the model was trained with, if it was.
        name: of the file, for errors.

    Raises:
        ModelFileError: if the content is damaged, or of another version.
        ConfigurationError: if the model needs embeddings.
        MissingExtraError: if safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError as error:
        raise MissingExtraError("safetensors", "router") from error
    record = _record(data, name)
    if record.get("format") != FORMAT:
        raise ModelFileError(f"{name} is no router's model; name a file that training wrote")
    if record.get("version") != VERSION:
        raise ModelFileError(
            f"{name} is a router's model of version {record.get('version')!r}; this release reads {VERSION}: "
            "train it again"
        )
    digest = record.get("digest")
    blank = data.replace(str(digest).encode(), _NO_DIGEST.encode(), 1)
    if hashlib.sha256(blank).hexdigest() != digest:
        raise ModelFileError(f"{name} is damaged: its content is not what its digest says; train it again")
    try:
        arrays: Mapping[str, Any] = load(data)
        model = model_of(record, arrays, embeddings)
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise ModelFileError(f"{name} is no whole router's model: {error}; train it again") from error
    return replace(model, digest=str(digest))


def _record(data: bytes, name: str) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, _LARGEST_HEADER):
        raise ModelFileError(f"{name} is cut off, or no router's model: its header is not all there")
    try:
        record = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["stellwerk"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{name} is damaged, or no router's model: its header has no record") from error
    if not isinstance(record, dict):
        raise ModelFileError(
            f"{name} is damaged, or no router's model: its record is {type(record).__name__}"
        )
    return record


def _digest_in(data: bytes) -> str:
    return str(_record(data, "the file")["digest"])
