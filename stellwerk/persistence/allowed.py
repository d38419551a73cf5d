"""Which types may be built from what is stored: those that are given, and what their fields hold."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, SecretBytes, SecretStr
from typing_extensions import is_typeddict

from stellwerk.errors import InputError

# What a class may be named by: the class itself, or (module, name).
Allowed = type | tuple[str, ...]


def allowed_names(types: Iterable[Allowed]) -> frozenset[tuple[str, ...]]:
    """Module and name of each type, and of the data types that occur in the fields of a given class.

    Fields are followed through generics, unions and `Annotated`, in pydantic models, dataclasses, typed
    dicts and named tuples. A subclass that a field may hold as well has to be given by itself.

    Raises:
        InputError: if one is neither a class at the top of a module nor (module, name).
    """
    names: set[tuple[str, ...]] = set()
    for given in types:
        if isinstance(given, type):
            names.add(_name(given))
            names.update(_name(found) for found in _within(given, set()))
        elif isinstance(given, tuple) and len(given) >= 2 and all(isinstance(part, str) for part in given):
            names.add(given)
        else:
            raise InputError(f"allow has {given!r}; give a class, or its (module, name)")
    return frozenset(names)


def _name(cls: type) -> tuple[str, str]:
    if "." in cls.__qualname__:  # it could be stored, and never read again
        raise InputError(
            f"{cls.__module__}.{cls.__qualname__} is defined inside of another, and a stored value names its "
            "module and name only; move it to the top of its module"
        )
    return cls.__module__, cls.__name__


def _within(annotation: Any, seen: set[int]) -> Iterator[type]:
    """The data types that an annotation speaks of, and those in their fields."""
    if id(annotation) in seen:
        return
    seen.add(id(annotation))
    inner = [
        *get_args(annotation),
        getattr(annotation, "__origin__", None),  # of Pair[int]: Pair
        getattr(annotation, "__supertype__", None),  # of a NewType
        getattr(annotation, "__value__", None),  # of a type alias
        getattr(annotation, "__bound__", None),  # of a TypeVar
    ]
    if isinstance(annotation, type):
        if _is_data(annotation):
            yield annotation
        if _has_fields(annotation):
            inner += _hints(annotation).values()
    for part in inner:
        if part is not None and not isinstance(part, str | int | bytes | enum.Enum):  # as in a Literal
            yield from _within(part, seen)


def _is_data(cls: type) -> bool:
    # Nothing else: an annotation such as Popen must not make it a type that a row may start.
    kinds = (BaseModel, enum.Enum, SecretStr, SecretBytes)
    return cls not in kinds[:2] and (issubclass(cls, kinds[:2]) or cls in kinds[2:] or _is_record(cls))


def _is_record(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


def _has_fields(cls: type) -> bool:
    return is_typeddict(cls) or _is_record(cls) or (issubclass(cls, BaseModel) and cls is not BaseModel)


def _hints(cls: type) -> dict[str, Any]:
    fields = getattr(cls, "model_fields", None) if issubclass(cls, BaseModel) else None
    if isinstance(fields, dict):
        return {name: field.annotation for name, field in fields.items()}
    try:
        return get_type_hints(cls, include_extras=True)
    except (NameError, TypeError):
        # A name that exists for type checkers only. Its values are refused later, with the remedy.
        return dict(getattr(cls, "__annotations__", {}))
