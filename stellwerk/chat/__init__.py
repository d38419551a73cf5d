"""A ladder behind the interfaces that programs have already: a chat model, and a middleware of agents."""

from stellwerk.chat.ladder_chat import LadderChatModel
from stellwerk.chat.tier_router import TierRouterMiddleware

__all__ = ["LadderChatModel", "TierRouterMiddleware"]
