"""Documents: the text that a task is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import TypedDict

from stellwerk.errors import DocumentError

MAX_BYTES = 64 * 1024 * 1024


class Document(TypedDict):
    """A named text."""

    name: str
    text: str


def read_document(path: str | Path) -> Document:
    """Read a UTF-8 text file.

    Raises:
        DocumentError: if the file is not there, is too large, or is not text.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DocumentError(f"{path} has {size:,} bytes; the limit is {MAX_BYTES:,}; split it first")
        data = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); "
            "convert it to text first"
        ) from error
    if "\0" in text:
        raise DocumentError(f"{path} is not text (it contains a NUL byte); convert it to text first")
    return Document(name=path.name, text=text)


def as_documents(values: Sequence[Document | str] | None) -> list[Document]:
    """Documents from texts or from `{"name", "text"}` mappings, each with a unique name.

    Raises:
        DocumentError: if one has no text or if two share a name.
    """
    # A text alone is a sequence too, and each of its letters would become a document.
    if values is not None and (isinstance(values, (str, bytes)) or not isinstance(values, Sequence)):
        raise DocumentError(f"documents is a {type(values).__name__}; pass a list of documents")
    documents: list[Document] = []
    for index, value in enumerate(values or (), 1):
        if isinstance(value, str):
            value = Document(name=f"document {index}", text=value)
        if not isinstance(value, Mapping):
            raise DocumentError(
                f"document {index} is a {type(value).__name__}; pass text, or {{'name': ..., 'text': ...}}"
            )
        name, text = value.get("name") or f"document {index}", value.get("text")
        if not isinstance(name, str):
            raise DocumentError(f"document {index} has the name {name!r}; a name is text")
        if not isinstance(text, str):
            raise DocumentError(
                f"{name!r} has no text (found {type(text).__name__}); pass {{'name': ..., 'text': ...}}"
            )
        if any(document["name"] == name for document in documents):
            raise DocumentError(f"two documents are named {name!r}; names must be unique")
        documents.append(Document(name=name, text=text))
    return documents
