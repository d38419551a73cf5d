"""Sealed files: arrays and JSON in the safetensors format, under a digest of every byte.

No code is in them, and none is run to read them. The format is that of
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stellwerk.errors import MissingExtraError, ModelFileError

_NO_DIGEST = "0" * 64
_LARGEST_HEADER = 64 * 2**20
_LARGEST_FILE = 2**30

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Seal:
    """What a file says that it is.

    Args:
        format: the name that stands in it.
        version: of its content.
        noun: for errors, such as `router's model`.
        remedy: what to do where it cannot be used.
    """

    format: str
    version: int
    noun: str
    remedy: str

    def close(self, record: Mapping[str, Any], arrays: Arrays) -> bytes:
        """The content of a file; the same bytes for the same values.

        Raises:
            MissingExtraError: if safetensors is not installed.
        """
        try:
            from safetensors.numpy import save
        except ImportError as error:
            raise MissingExtraError("safetensors", "router") from error
        head = {"format": self.format, "version": self.version, "digest": _NO_DIGEST}
        text = json.dumps({**head, **record}, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        blank: bytes = save(dict(arrays), metadata={"stellwerk": text})
        return blank.replace(_NO_DIGEST.encode(), hashlib.sha256(blank).hexdigest().encode(), 1)

    def open(self, data: bytes, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
        """The record, with its `digest`, and the arrays.

        Raises:
            ModelFileError: if the content is damaged, or of another kind or version.
            MissingExtraError: if safetensors is not installed.
        """
        try:
            from safetensors import SafetensorError
            from safetensors.numpy import load
        except ImportError as error:
            raise MissingExtraError("safetensors", "router") from error
        record = self.record(data, name)
        if record.get("format") != self.format:
            raise ModelFileError(f"{name} is no {self.noun}; name a file that one was written to")
        if record.get("version") != self.version:
            raise ModelFileError(
                f"{name} is a {self.noun} of version {record.get('version')!r}; this release reads"
                f" {self.version}: {self.remedy}"
            )
        digest = record.get("digest")
        blank = data.replace(str(digest).encode(), _NO_DIGEST.encode(), 1)
        if hashlib.sha256(blank).hexdigest() != digest:
            raise ModelFileError(f"{name} is damaged: its content is not what its digest says; {self.remedy}")
        try:
            return record, load(data)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ModelFileError(f"{name} is no whole {self.noun}: {error}; {self.remedy}") from error

    def record(self, data: bytes, name: str) -> dict[str, Any]:
        """The record alone, before anything of it is checked."""
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 or size > min(len(data) - 8, _LARGEST_HEADER):
            raise ModelFileError(f"{name} is cut off, or no {self.noun}: its header is not all there")
        try:
            record = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["stellwerk"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelFileError(f"{name} is damaged, or no {self.noun}: its header has no record") from error
        if not isinstance(record, dict):
            raise ModelFileError(
                f"{name} is damaged, or no {self.noun}: its record is {type(record).__name__}"
            )
        return record

    def write(self, data: bytes, path: Path) -> None:
        """Write a file, which is there as a whole or not at all.

        Raises:
            ModelFileError: if it cannot be written.
        """
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
            raise ModelFileError(f"the {self.noun} cannot be written to {path}: {error}") from error

    def read(self, path: Path) -> bytes:
        """The content of a file.

        Raises:
            ModelFileError: if it is absent, or larger than any.
        """
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ModelFileError(f"{path} has {path.stat().st_size:,} bytes; that is no {self.noun}")
            return path.read_bytes()
        except OSError as error:
            raise ModelFileError(
                f"the {self.noun} {path} cannot be read: {error}; {self.remedy}, or name the right file"
            ) from error


def text_array(value: Any) -> np.ndarray[Any, Any]:
    """A long JSON value as an array of bytes of UTF-8."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=dict)
    return np.frombuffer(text.encode(), np.uint8)


def list_of(array: np.ndarray[Any, Any]) -> list[Any]:
    """The list that `text_array` was given.

    Raises:
        ValueError: the array holds no list.
    """
    if array.dtype != np.uint8:
        raise ValueError(f"a text is stored as {array.dtype}")
    value = json.loads(array.tobytes())
    if not isinstance(value, list):
        raise ValueError(f"a list is stored as {type(value).__name__}")
    return value


def strings(values: Any) -> tuple[str, ...]:
    """Values that are texts.

    Raises:
        ValueError: one is none, or they are no list.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("a list of texts is none")
    return tuple(values)


def array_of(arrays: Arrays, name: str, kind: type[np.generic], *shape: int) -> np.ndarray[Any, Any]:
    """One of the arrays, which has to be of a type and shape, and finite.

    Raises:
        KeyError: it is not there.
        ValueError: it is another.
    """
    found = arrays[name]
    if found.dtype != kind or found.shape != shape:
        raise ValueError(f"array {name!r} is {found.dtype}{found.shape} in place of {np.dtype(kind)}{shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"array {name!r} has a value that is no finite number")
    return np.asarray(found)
