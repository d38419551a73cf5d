"""JSON schemas as the playground can make a form of them."""

from __future__ import annotations

from typing import Any


def without_null(schema: Any) -> Any:
    """A schema in which what may be null is left out instead: the playground fails at null.

    A default of null would stand in the form, as a value that does not fit.
    """
    if isinstance(schema, list):
        return [without_null(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        name: without_null(value)
        for name, value in schema.items()
        if not (name == "default" and value is None)
    }
    if "anyOf" in plain:
        forms = [form for form in plain.pop("anyOf") if form != {"type": "null"}]
        plain = {**plain, **(forms[0] if len(forms) == 1 else {"anyOf": forms})}
    return plain


def drop_default(schema: dict[str, Any]) -> None:
    """For pydantic, of a field that has None by default."""
    schema.pop("default", None)
