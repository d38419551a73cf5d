from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from stellwerk.flat_schema import DEEPEST, flat, with_unknown


class Part(BaseModel):
    title: str
    kind: Literal["a", "b"] | None = None


class Whole(BaseModel):
    part: Part
    others: list[Part] = []
    note: str | None = Field(default=None, description="a note")


class Endless(BaseModel):
    next: "Endless | None" = None


def words(schema: Any) -> set[str]:
    """Every keyword of a schema, without the names of properties."""
    if isinstance(schema, list):
        return {word for part in schema for word in words(part)}
    if not isinstance(schema, dict):
        return set()
    found = set()
    for key, value in schema.items():
        parts = value.values() if key == "properties" else [value]
        found |= {key} | {word for part in parts for word in words(part)}
    return found


def test_references_titles_and_defaults_go() -> None:
    schema = flat(Whole.model_json_schema())
    assert schema["title"] == "Whole"
    assert not {"$ref", "$defs", "default", "anyOf"} & words(schema)
    part = schema["properties"]["part"]
    assert part["properties"]["title"] == {"type": "string"}  # a property of that name stays
    assert part["properties"]["kind"] == {"enum": ["a", "b", None]}
    assert schema["properties"]["note"] == {"type": ["string", "null"], "description": "a note"}
    assert schema["properties"]["others"]["items"] == part


def test_what_refers_to_itself_stays_as_it_is() -> None:
    schema = Endless.model_json_schema()
    assert flat(schema) == schema


def test_what_is_too_deep_stays_as_it_is() -> None:
    schema: dict[str, Any] = {"type": "string", "title": "T"}
    for _ in range(DEEPEST + 1):
        schema = {"type": "array", "items": schema}
    assert flat(schema) == schema


@pytest.mark.parametrize("schema", [{"$ref": "other.json"}, {"$ref": "#/$defs/absent"}])
def test_a_reference_that_leads_nowhere_stays(schema: dict[str, Any]) -> None:
    assert flat(schema) == schema


def test_flat_is_flat_already() -> None:
    schema = flat(Whole.model_json_schema())
    assert flat(schema) == schema


def test_unknown_joins_each_enum_of_words() -> None:
    schema = with_unknown(
        {"properties": {"enum": {"enum": ["a"]}, "n": {"enum": [1, 2]}}, "$defs": {"K": {"enum": ["b"]}}}
    )
    assert schema["properties"]["enum"]["enum"] == ["a", "unknown"]
    assert schema["properties"]["n"]["enum"] == [1, 2]
    assert schema["$defs"]["K"]["enum"] == ["b", "unknown"]
    assert with_unknown(schema) == schema
