"""What models there are: tiers, the ladder, and where they run."""

from stellwerk.tiers.embedded import embedded_ladder
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.llamacpp import ChatLlamaCpp
from stellwerk.tiers.openai import openai_tier
from stellwerk.tiers.tier import Price, Reply, Request, Tier

__all__ = ["ChatLlamaCpp", "Ladder", "Price", "Reply", "Request", "Tier", "embedded_ladder", "openai_tier"]
