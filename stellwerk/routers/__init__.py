"""Which tier runs the next attempt."""

from stellwerk.routers.random_router import RandomRouter
from stellwerk.routers.router import Router
from stellwerk.routers.smallest_first import Fixed, SmallestFirst

__all__ = ["Fixed", "RandomRouter", "Router", "SmallestFirst"]
