"""What a client may choose for a run: its thread, and options. Nothing else of a config has an effect."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, cast

from langchain_core.runnables.utils import ConfigurableFieldSpec
from langserve.lzstring import LZString
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from stellwerk.errors import InputError
from stellwerk.run_options import RunOptions
from stellwerk.serving.bodies import check_text
from stellwerk.serving.langserve.forms import drop_default

THREAD = "thread_id"
_LZ: Any = LZString  # which has no types
LONGEST_HASH = 2_048
"""Characters. LangServe's hash is compressed, and one of 64 KiB can be of a text of a gigabyte."""

# LangGraph has these in the config of each node, and LangChain's clients send them on: a thread here is run
# from its newest checkpoint, and what the client's own graph does is no matter of this one.
_ITS_OWN = ("checkpoint_ns", "checkpoint_map", "thread_ts")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a client chose for one input.

    Args:
        thread: as the client knows it; None for a new one.
        options: what is left out is as in the settings.
    """

    thread: str | None = None
    options: RunOptions | None = None


def chosen(configs: Sequence[Mapping[str, Any]], *, threads: bool) -> Chosen:
    """What the `configurable` of configs choose; a later one goes before an earlier one.

    Args:
        configs: as LangChain has them.
        threads: whether the graph has threads and options; one that has none takes none.

    Raises:
        InputError: naming what cannot be chosen.
    """
    told: dict[str, Any] = {}
    for config in configs:
        given = config.get("configurable")
        if given is not None and not isinstance(given, Mapping):
            raise InputError("config.configurable: it is no object; give {'thread_id': ...} or leave it out")
        told |= {name: value for name, value in (given or {}).items() if _counts(name, value)}
    try:
        check_text(told)
    except ValueError as error:
        raise InputError(f"config.configurable: {error}") from None
    known = [THREAD, *RunOptions.model_fields]
    for name in told:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(
                f"config.configurable.{name[:64]}: this cannot be chosen; {hint}there are {', '.join(known)}"
            )
    thread = told.pop(THREAD, None)
    if thread is not None and not isinstance(thread, str):
        raise InputError("config.configurable.thread_id: it is no text; give an id of POST /threads")
    options = RunOptions(**told) if told else None
    return Chosen(thread, options) if threads else Chosen()


def config_of(hashed: str) -> dict[str, Any]:
    """The config that is in a path, as LangServe's playground makes it.

    Raises:
        InputError: if there is none in it.
    """
    try:
        if len(hashed) > LONGEST_HASH:
            raise ValueError("it is too long")
        found = json.loads(_LZ.decompressFromEncodedURIComponent(hashed))
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, UnboundLocalError):
        # LZString has no error of its own.
        raise InputError(
            "the path: what follows /c/ is no config that LangServe's playground made; leave /c/... out"
        ) from None
    return found


def specs(tiers: Sequence[str]) -> list[ConfigurableFieldSpec]:
    """What can be chosen, as LangServe asks a graph that has threads.

    Args:
        tiers: names that can be chosen.
    """
    thread = ConfigurableFieldSpec(
        id=THREAD,
        annotation=str,
        name="Thread",
        description="One of your threads, as POST /threads makes them; without it, one is made, and the "
        "output names it.",
        default="",
    )
    fields = RunOptions.model_json_schema()["properties"]
    return [thread, *(_spec(name, schema, tiers) for name, schema in fields.items())]


_LEFT_OUT = operator.getitem(cast("Any", SkipJsonSchema), None)  # no choice that a form would show
_TYPES: Mapping[str, Any] = {"string": str, "number": float, "integer": int, "boolean": bool}


def _spec(name: str, schema: Mapping[str, Any], tiers: Sequence[str]) -> ConfigurableFieldSpec:
    values = tiers if name.endswith("_tier") else schema.get("enum")
    kind = operator.getitem(Literal, tuple(values)) if values else _TYPES[schema["type"]]
    return ConfigurableFieldSpec(
        id=name,
        annotation=Annotated[kind | _LEFT_OUT, Field(json_schema_extra=drop_default)],
        name=schema["title"],
        description=schema["description"],
    )


def _counts(name: str, value: Any) -> bool:
    # A form gives an empty text for what is left out. Two underscores are LangGraph's.
    return value is not None and value != "" and not name.startswith("__") and name not in _ITS_OWN
