"""What the settings want kept in the database of the runs: plans, answers, and what tools wrote."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Collection, Sequence
from functools import cache

from langgraph.store.base import BaseStore
from sqlalchemy import URL
from typing_extensions import TypedDict

from stellwerk.effects import EffectJournal
from stellwerk.nodes.results_cache import ResultsCache
from stellwerk.persistence.effects import SQLAlchemyEffectJournal
from stellwerk.persistence.sqlite_file import make_sqlite_file
from stellwerk.persistence.store import SQLAlchemyStore
from stellwerk.persistence.urls import parse_url
from stellwerk.settings import CacheSettings, Settings
from stellwerk.worker import Worker

_log = logging.getLogger(__name__)


class Kept(TypedDict, total=False):
    """As `create_orchestrator` takes it; what is not wanted is not there."""

    plans: BaseStore
    cache: ResultsCache
    effects: EffectJournal


def kept_in(store: BaseStore, settings: Settings, effects: EffectJournal | None) -> Kept:
    """Plans and answers in a store, as far as the settings want them kept; and a journal, if there is one."""
    kept = Kept()
    if effects is not None:
        kept["effects"] = effects
    if settings.planning.reuse_plans:
        kept["plans"] = store
    if settings.cache.ttl is not None:
        kept["cache"] = ResultsCache(store=store, ttl=settings.cache.ttl)
    return kept


def of_several_owners(settings: Settings) -> Settings:
    """The settings, without what would hand one owner's plans and answers to another, if there are owners."""
    if not settings.serve.closed or not (settings.planning.reuse_plans or settings.cache.ttl is not None):
        return settings
    _log.warning(
        "planning.reuse_plans and cache.ttl are off here: plans and answers are kept for all who use a "
        "database, and this server has several owners"
    )
    planning = settings.planning.model_copy(update={"reuse_plans": False})
    return settings.model_copy(update={"planning": planning, "cache": CacheSettings()})


def declared_keeping(settings: Settings, workers: Sequence[Worker], given: Collection[str] = ()) -> Kept:
    """What is kept in the settings' database, which is opened only if something is.

    The pool is one for all graphs of this process that keep something there, and is closed when it ends. It
    is made for sync code; from async code, each call is made in a thread.

    Args:
        settings: where, and what.
        workers: what tools wrote is kept if one of them has any.
        given: what is not asked for, as the caller has it.

    Raises:
        ConfigurationError: if the database cannot be used.
        MissingExtraError: if its driver is not installed.
    """
    wanted = {
        "plans": settings.planning.reuse_plans,
        "cache": settings.cache.ttl is not None,
        "effects": any(worker.tools for worker in workers),
    }
    if not any(wanted[name] for name in wanted.keys() - given):
        return Kept()
    url = parse_url(settings.place)
    make_sqlite_file(url)
    store, journal = _opened(url)
    kept = kept_in(store, settings, journal if wanted["effects"] else None)
    if "cache" in kept:
        store.start_ttl_sweeper()
    return kept


@cache
def _opened(url: URL) -> tuple[SQLAlchemyStore, SQLAlchemyEffectJournal]:
    store = SQLAlchemyStore.from_url(url)
    journal = SQLAlchemyEffectJournal(store.database)
    atexit.register(journal.close)
    atexit.register(store.close)  # goes first
    return store, journal
