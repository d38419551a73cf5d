from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.errors import InputError
from stellwerk.persistence.store_filter import checked, matches

VALUE: dict[str, Any] = {
    "n": 3,
    "f": 2.5,
    "t": "m",
    "yes": True,
    "none": None,
    "list": [1, {"a": 1, "b": 2}],
    "nested": {"a": {"b": 1, "c": 2}},
    "a.b": "dot",
    "q\"'`": "quote",
    "$": "dollar is no key of a filter",
}


@pytest.mark.parametrize(
    "filter",
    [
        {},
        {"n": 3},
        {"n": 3.0},
        {"n": {"$eq": 3}},
        {"n": {"$ne": 4}},
        {"n": {"$gt": 2.5, "$lt": 10, "$ne": 4}},
        {"n": {"$gte": 3, "$lte": 3}},
        {"t": {"$gt": "l", "$lte": "m"}},
        {"none": None},
        {"absent": {"$ne": 1}},
        {"absent": {"$ne": None}},
        {"yes": True},
        {"yes": {"$ne": 1}},
        {"nested": {"a": {"b": 1}}},
        {"nested": {"a": {"b": {"$gt": 0}}}},
        {"nested": {}},
        {"nested": {"$eq": {"a": {"c": 2, "b": 1}}}},
        {"list": [1, {"a": 1}]},
        {"list": ({"$gte": 1}, {"a": {"$ne": 2}})},
        {"list": {"$eq": [1, {"a": 1, "b": 2}]}},
        {"a.b": "dot"},
        {"q\"'`": "quote"},
    ],
)
def test_lets_through(filter: dict[str, Any]) -> None:
    assert matches(checked(filter), VALUE)


@pytest.mark.parametrize(
    "filter",
    [
        {"n": 4},
        {"n": "3"},
        {"n": True},
        {"yes": 1},
        {"yes": {"$gte": 0}},
        {"absent": None},
        {"absent": {"$eq": None}},
        {"absent": {"$lt": 5}},
        {"absent": {}},
        {"n": {"$gt": 2, "$lt": 3}},
        {"n": {"$gt": "2"}},
        {"t": {"$gt": 2}},
        {"t": {"$gt": None}},
        {"none": {"$lte": None}},
        {"list": {"$gt": []}},
        {"nested": {"a": 1}},
        {"n": {"a": 1}},
        {"nested": {"$eq": {"a": {"b": 1}}}},
        {"nested.a.b": 1},
        {"list": [1]},
        {"list": 1},
        {"a": {"b": "dot"}},
        {"n": 3, "t": "x"},
    ],
)
def test_holds_back(filter: dict[str, Any]) -> None:
    assert not matches(checked(filter), VALUE)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ({"n": {"$regex": "x"}}, r"unknown operator '\$regex' for 'n'"),
        ({"n": {"m": {"$in": [1]}}}, r"unknown operator '\$in' for 'm'"),
        ({"list": [{"$or": 1}]}, r"unknown operator '\$or'"),
        ({"n": {"$gt": 1, "m": 2}}, "mixes operators and keys for 'n'"),
        ({"$or": [{"n": 1}]}, r"operator '\$or' where a key belongs"),
        ({"n": {1, 2}}, r"holds a set at \$\.n"),
        ({"n": float("nan")}, r"holds nan at \$\.n"),
        ({1: 2}, "key 1 of type int"),
        (["n"], "the filter is a list"),
    ],
)
def test_says_what_is_wrong(filter: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(filter)


TEXTS = st.text("a1é🚂'.$", max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text("ab.'", min_size=1), JSON, max_size=4))
def test_every_value_equals_itself(value: dict[str, Any]) -> None:
    assert matches(checked({name: {"$eq": item} for name, item in value.items()}), value)
    assert not any(matches(checked({name: {"$ne": item}}), value) for name, item in value.items())


@given(JSON, JSON)
def test_any_two_values_can_be_compared(one: Any, other: Any) -> None:
    value = {"x": one}
    results = {name: matches(checked({"x": {name: other}}), value) for name in ("$gt", "$gte", "$lt", "$lte")}
    equal = matches(checked({"x": {"$eq": other}}), value)
    assert not (results["$gt"] and results["$lt"])
    assert matches(checked({"x": {"$ne": other}}), value) is not equal
    if results["$gt"] or results["$lt"]:
        assert not equal
