"""Answers that were accepted before, for a subtask that is the same in all that shapes its answer."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from langgraph.store.base import NOT_PROVIDED, BaseStore, Item, NotProvided

from stellwerk.errors import ConfigurationError
from stellwerk.nodes.step import Work
from stellwerk.nodes.store_call import StoreCall
from stellwerk.nodes.tracing import model_name
from stellwerk.tiers.tier import Tier
from stellwerk.worker import Brief, Worker

_NAMESPACE = "stellwerk-results"
_FAILED = "the results cache failed"


@dataclass(frozen=True, kw_only=True)
class ResultsCache:
    """Where accepted answers are kept, for `create_orchestrator(..., cache=ResultsCache(store=...))`.

    An answer is found again for the same worker (its version), tier and model, instruction, documents and
    inputs. It is checked again before it is used, and counts as free in the ledger. Workers with tools are
    never served from it, nor are those on another server. What the store does wrong costs a model call and a
    line in the log, never the run.

    Args:
        store: any LangGraph store, such as `SQLAlchemyStore`; it should be read by those alone who may read
            the documents that answers are from.
        ttl: seconds for which an answer is kept; None for ever.

    Raises:
        ConfigurationError: if `ttl` is not above zero.
    """

    store: BaseStore = field(repr=False)
    ttl: float | None = 86_400.0

    def __post_init__(self) -> None:
        if self.ttl is not None and not self.ttl > 0:
            raise ConfigurationError(
                f"ttl is {self.ttl}; give seconds above 0, or None to keep answers for ever"
            )

    def find(self, worker: Worker, tier: Tier, brief: Brief) -> Generator[Work, Any, str | None]:
        """The text of an answer that is kept, or None."""
        place = (_NAMESPACE, worker.name), _key(worker, tier, brief)
        item: Item | None = yield StoreCall(self.store, "get", place, _FAILED)
        value = item.value if item is not None else {}
        text, until = value.get("text"), value.get("until")
        late = isinstance(until, (int, float)) and until < time.time()
        return text if isinstance(text, str) and not late else None

    def keep(self, worker: Worker, tier: Tier, brief: Brief, text: str) -> Work:
        """Work that keeps the text of an accepted answer."""
        until = None if self.ttl is None else time.time() + self.ttl
        ttl: float | NotProvided | None = NOT_PROVIDED
        if self.store.supports_ttl:
            ttl = None if self.ttl is None else self.ttl / 60
        place = (_NAMESPACE, worker.name), _key(worker, tier, brief)
        value = {"text": text, "until": until}
        return StoreCall(self.store, "put", (*place, value), _FAILED, {"index": False, "ttl": ttl})


def is_used(cache: ResultsCache | None, brief: Brief) -> TypeGuard[ResultsCache]:
    """Whether there is a cache, and the run wants it used."""
    return cache is not None and (brief.options is None or brief.options.cache)


def may_cache(worker: Worker) -> bool:
    """Whether a worker's answers follow from what it is given alone."""
    return not worker.tools and worker.remote is None


def _key(worker: Worker, tier: Tier, brief: Brief) -> str:
    digest = hashlib.blake2b(digest_size=20)
    shape = [
        worker.version_on(tier.rails),
        tier.name,
        model_name(tier),
        brief.instruction,
        [[document["name"], document["text"]] for document in brief.documents],
        sorted(brief.inputs.items()),
    ]
    digest.update(json.dumps(shape, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
