"""How threads are called for whoever looks at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class ThreadNames:
    """How threads are called in pages and addresses, where the database has other names for them.

    Args:
        shown: from the database's name.
        meant: to the database's name.
    """

    shown: Callable[[Request, str], str] = lambda request, name: name
    meant: Callable[[Request, str], str] = lambda request, name: name
