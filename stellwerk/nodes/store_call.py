"""A call of a LangGraph store that a step wants made; what the store does wrong fails no run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from langgraph.store.base import BaseStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreCall:
    """Gives what the store gives, or None where it fails.

    Args:
        store: is called.
        method: by its sync name.
        arguments: of the call.
        failing: what is logged where it fails.
        options: of the call, by name.
    """

    store: BaseStore
    method: Literal["get", "put", "delete"]
    arguments: tuple[Any, ...]
    failing: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def do(self) -> Any:
        """Make it in a sync graph."""
        try:
            return getattr(self.store, self.method)(*self.arguments, **self.options)
        except Exception:  # whatever another package's store raises
            _log.warning(self.failing, exc_info=True)
            return None

    async def ado(self) -> Any:
        """Make it in an async graph."""
        try:
            return await getattr(self.store, f"a{self.method}")(*self.arguments, **self.options)
        except Exception:  # as above
            _log.warning(self.failing, exc_info=True)
            return None
