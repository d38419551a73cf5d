"""Who is served by LangGraph's server, as `langgraph.json` names it: those with a key or token of `[serve]`.

Where neither is set, everybody who reaches the server is, and all is of all, as without this module.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from langgraph_sdk import Auth
from starlette.datastructures import Headers

from stellwerk.persistence.owned import LOCAL, owner_digest
from stellwerk.serving.door import Door
from stellwerk.serving.problem import Problem
from stellwerk.settings import Settings

_DOOR = Door(Settings.load().serve)
_BY_SERVER = {"created_by": "system"}  # assistants that the server makes, one for each graph

auth = Auth()
"""Tells owners apart. What one has made is not there for the others, but for a graph's own assistant."""


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    """Whose request it is."""
    if not _DOOR.asks:
        return {"identity": LOCAL}
    given = Headers(raw=list(headers.items()))
    try:
        return {"identity": await asyncio.to_thread(_DOOR.known, given)}  # it looks at a file of keys
    except Problem as problem:
        raise Auth.exceptions.HTTPException(status_code=problem.status, detail=problem.detail) from None


@auth.on
async def of_the_owner(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType | None:
    """Threads, runs and whatever else has metadata: they get their owner, and are looked for by it."""
    if (owner := ctx.user.identity) == LOCAL:
        return None
    mine = {"owner": owner}
    if value.get("metadata") is None:
        value["metadata"] = {}
    value["metadata"].update(mine)  # in place, as the server goes on with the same
    return mine


@auth.on.assistants
async def of_the_owner_or_of_all(
    ctx: Auth.types.AuthContext, value: dict[str, Any]
) -> Auth.types.FilterType | None:
    """An assistant that the server made is for all to see; nobody says of their own that it did."""
    if (owner := ctx.user.identity) == LOCAL:
        return None
    if ctx.action in ("read", "search"):
        # The types of the SDK do not know `$or`, which the server does.
        return cast("Auth.types.FilterType", {"$or": [{"owner": owner}, _BY_SERVER]})
    if metadata := value.get("metadata"):
        metadata.pop("created_by", None)
    return await of_the_owner(ctx, value)


@auth.on.store
async def below_the_owner(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    """Items of the memory are below a namespace of the owner's."""
    if (owner := ctx.user.identity) == LOCAL:
        return
    own = ("stellwerk-owners", owner_digest(owner))
    given = tuple(value.get("namespace") or ())
    value["namespace"] = given if given[:2] == own else (*own, *given)
