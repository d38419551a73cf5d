"""Search by meaning: texts of an item become vectors, which are compared here, exactly and one by one.

So every database gives the same results; numpy, where it is installed, makes it faster. So does pgvector,
which leaves fewer to compare.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Literal

from langgraph.store.base import IndexConfig, ensure_embeddings, get_text_at_path

from stellwerk.errors import ConfigurationError, InputError
from stellwerk.persistence.schema.columns import digest

_KEYS = {"dims", "embed", "fields", "distance_type"}
_DISTANCES = ("cosine", "inner_product", "l2")
_DIGITS = 9  # more than a float of 32 bits holds: below them, libraries differ, and equal vectors have to tie


class StoreIndexConfig(IndexConfig, total=False):
    """LangGraph's `IndexConfig`, with a choice of the score."""

    distance_type: Literal["cosine", "inner_product", "l2"]
    """Cosine similarity (the default), the inner product, or the negative of the Euclidean distance."""


class VectorIndex:
    """Which texts of an item are embedded, how, and how two vectors are compared.

    Raises:
        ConfigurationError: if a key of the configuration is missing, unknown, or cannot be used.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        if unknown := sorted(set(config) - _KEYS):
            raise ConfigurationError(f"index has the unknown key {unknown[0]!r}; use {', '.join(_KEYS)}")
        self.dims = config.get("dims")
        if type(self.dims) is not int or self.dims < 1:
            raise ConfigurationError(f"dims of index is {self.dims!r}; give the length of an embedding")
        self.distance = config.get("distance_type", "cosine")
        if self.distance not in _DISTANCES:
            raise ConfigurationError(
                f"distance_type of index is {self.distance!r}; use {', '.join(_DISTANCES)}"
            )
        fields = config.get("fields") or ["$"]
        self.fields = [fields] if isinstance(fields, str) else list(fields)
        if config.get("embed") is None:
            raise ConfigurationError("index has no embed; give an Embeddings, a function, or a model's name")
        self.embeddings = ensure_embeddings(config["embed"])

    def texts(self, value: Mapping[str, Any], fields: Any, what: str) -> dict[bytes, str]:
        """The texts of a value that are to be embedded, each under a digest of its path.

        Raises:
            InputError: if `fields` is neither None, False nor a list of paths.
        """
        if fields is False:
            return {}
        if fields is None:
            fields = self.fields
        elif not isinstance(fields, list | tuple) or not all(isinstance(path, str) for path in fields):
            raise InputError(f"index of {what} is {fields!r}; give a list of paths, False or None")
        return {
            digest(f"{path}\0{number}"): text
            for path in fields
            for number, text in enumerate(get_text_at_path(value, path))
        }

    def embed(self, texts: Iterable[str]) -> dict[str, bytes]:
        """The vector of each text."""
        wanted = list(dict.fromkeys(texts))
        return self._packed(wanted, self.embeddings.embed_documents(wanted)) if wanted else {}

    async def aembed(self, texts: Iterable[str]) -> dict[str, bytes]:
        """As `embed`."""
        wanted = list(dict.fromkeys(texts))
        return self._packed(wanted, await self.embeddings.aembed_documents(wanted)) if wanted else {}

    def embed_queries(self, queries: Iterable[str]) -> dict[str, bytes]:
        """The vector of each query."""
        wanted = list(dict.fromkeys(queries))
        return self._packed(wanted, [self.embeddings.embed_query(query) for query in wanted])

    async def aembed_queries(self, queries: Iterable[str]) -> dict[str, bytes]:
        """As `embed_queries`."""
        wanted = list(dict.fromkeys(queries))
        found = await asyncio.gather(*(self.embeddings.aembed_query(query) for query in wanted))
        return self._packed(wanted, found)

    def scores(self, query: bytes, vectors: Sequence[bytes]) -> list[float]:
        """How near each vector is to the query: the larger, the nearer."""
        if not vectors:
            return []
        numpy = _numpy()
        found = _plain_scores if numpy is None else _numpy_scores
        return [round(score, _DIGITS) for score in found(self.distance, query, vectors, numpy)]

    def _packed(self, texts: Sequence[str], embedded: Sequence[Sequence[float]]) -> dict[str, bytes]:
        if len(embedded) != len(texts):
            raise ConfigurationError(
                f"embed of index gave {len(embedded)} vectors for {len(texts)} texts; it has to give one each"
            )
        return {text: self._pack(vector) for text, vector in zip(texts, embedded, strict=True)}

    def _pack(self, vector: Sequence[float]) -> bytes:
        if len(vector) != self.dims:
            raise ConfigurationError(
                f"an embedding has {len(vector)} dimensions, and dims of index is {self.dims}; set it to that"
            )
        try:
            packed = struct.pack(f"<{self.dims}f", *vector)
        except (struct.error, OverflowError, TypeError):
            packed = None
        if packed is None or not all(map(math.isfinite, vector)):
            raise ConfigurationError("an embedding holds what is no number of 32 bits; check embed of index")
        return packed


def norm(vector: bytes) -> float:
    """The length of a vector (Euclidean)."""
    return math.hypot(*struct.unpack(f"<{len(vector) // 4}f", vector))


@cache
def _numpy() -> ModuleType | None:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _numpy_scores(distance: str, query: bytes, vectors: Sequence[bytes], np: Any) -> list[float]:
    one = np.frombuffer(query, "<f4").astype(float)
    many = np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1).astype(float)
    found: list[float]
    if distance == "l2":
        found = (-np.linalg.norm(many - one, axis=1)).tolist()
        return found
    products = many @ one
    if distance == "cosine":
        lengths = np.linalg.norm(many, axis=1) * np.linalg.norm(one)
        products = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    found = products.tolist()
    return found


def _plain_scores(distance: str, query: bytes, vectors: Sequence[bytes], _: Any) -> list[float]:
    form = struct.Struct(f"<{len(query) // 4}f")
    one = form.unpack(query)
    return [_score(distance, one, form.unpack(vector)) for vector in vectors]


def _score(distance: str, one: Sequence[float], other: Sequence[float]) -> float:
    if distance == "l2":
        return -math.dist(one, other)
    product = math.sumprod(one, other) if hasattr(math, "sumprod") else sum(map(float.__mul__, one, other))
    if distance == "inner_product":
        return product
    lengths = math.hypot(*one) * math.hypot(*other)
    return product / lengths if lengths > 0 else 0.0
