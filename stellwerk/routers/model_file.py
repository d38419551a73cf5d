"""The file of a router's model: arrays and JSON, sealed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from langchain_core.embeddings import Embeddings

from stellwerk.errors import ModelFileError
from stellwerk.routers.model import RouterModel
from stellwerk.routers.model_record import arrays_of, model_of, record_of
from stellwerk.routers.sealed import Seal

FORMAT = "stellwerk-router"
VERSION = 1

_SEAL = Seal(FORMAT, VERSION, "router's model", "train it again")


def save_model(model: RouterModel, path: str | Path) -> RouterModel:
    """Write the model to a file, which is there as a whole or not at all.

    Returns:
        The model with the digest of the file.

    Raises:
        ModelFileError: if the file cannot be written.
        MissingExtraError: if safetensors is not installed.
    """
    data = model_bytes(model)
    _SEAL.write(data, Path(path))
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
    return read_model(_SEAL.read(Path(path)), embeddings=embeddings, name=str(path))


def model_bytes(model: RouterModel) -> bytes:
    """The content of the model's file; the same bytes for the same model.

    Raises:
        MissingExtraError: if safetensors is not installed.
    """
    return _SEAL.close(record_of(model), arrays_of(model))


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
    record, arrays = _SEAL.open(data, name)
    try:
        model = model_of(record, arrays, embeddings)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise ModelFileError(f"{name} is no whole router's model: {error}; train it again") from error
    return replace(model, digest=str(record["digest"]))


def _digest_in(data: bytes) -> str:
    return str(_SEAL.record(data, "the file")["digest"])
