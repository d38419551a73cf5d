"""Rows of files, whatever form these have, and whatever is wrong with them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stellwerk.conversion.imports import rows
from stellwerk.conversion.imports.rows import read_rows
from stellwerk.errors import InputError

ROWS = [{"id": 1, "text": 'a\nb { } ] " \\'}, {"id": 2, "inner": {"list": [1, 2.5, None, True]}}, {"id": 3}]


def read(tmp_path: Path, content: str | bytes) -> list[tuple[int, Any]]:
    file = tmp_path / "rows.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.line, row.problem or row.value) for row in read_rows(file)]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    "around", [lambda rows: rows, lambda rows: {"meta": {"page": 1}, "data": rows, "next": None}]
)
def test_a_list_is_read_row_by_row(tmp_path: Path, indent: int | None, around: Any) -> None:
    found = read(tmp_path, json.dumps(around(ROWS), indent=indent))
    assert [value for _, value in found] == ROWS
    if indent:
        assert found[1][0] > found[0][0]


def test_lines_are_read_one_by_one(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in ROWS]
    text = f"\ufeff{lines[0]}\r\n\n  {lines[1]}\n{lines[2]}"
    assert read(tmp_path, text) == [(1, ROWS[0]), (3, ROWS[1]), (4, ROWS[2])]
    assert read(tmp_path, json.dumps({"runs": ROWS[:2]}) + "\n" + json.dumps({"runs": ROWS[2:]})) == [
        (1, ROWS[0]),
        (1, ROWS[1]),
        (2, ROWS[2]),
    ]
    assert read(tmp_path, "") == read(tmp_path, "\n\n") == []


def test_objects_over_many_lines_are_a_row_each(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(ROWS[1], indent=2)) == [(1, ROWS[1])]
    several = "\n".join(json.dumps(row, indent=2) for row in ROWS)
    assert [value for _, value in read(tmp_path, several)] == ROWS


def test_a_first_line_that_is_long_is_a_line(tmp_path: Path) -> None:
    long = {"text": "{[," * 40_000}
    assert [value for _, value in read(tmp_path, f"{json.dumps(long)}\n{{broken\n{json.dumps(ROWS[0])}")] == [
        long,
        "it is not JSON: Expecting property name enclosed in double quotes",
        ROWS[0],
    ]


def test_a_line_that_is_wrong_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    wrong = [
        b'{"id": 1}',
        b"{broken",
        b"[1, 2]",
        b'"text"',
        b'{"id": "\xff"}',
        b'{"id": ' + b"1" * 5_000 + b"}",
        b"[" * 100_000,
        b'{"usd": NaN}',
        b'{"id": 2}',
    ]
    found = read(tmp_path, b"\n".join(wrong))
    assert [line for line, _ in found] == list(range(1, 10))
    assert found[0][1] == {"id": 1}
    assert found[7][1] == {"usd": None}
    assert found[8][1] == {"id": 2}
    problems = [value for _, value in found[1:7]]
    assert problems[0].startswith("it is not JSON: ")
    assert problems[1:4] == [
        "it is a list, and no object",
        "it is a str, and no object",
        "it is not UTF-8 (at byte 8)",
    ]
    assert "digits" in problems[4]
    assert problems[5] == "it is nested too deep"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('[{"id": 1}, {"id": 2', "it is not JSON"),
        ('[{"id": 1}, {"id": 2}', "ends in the middle of a list"),
        ('[{"id": 1}, oops, {"id": 2}]', "it is not JSON"),
        ('[{"id": 1}, ' + "[" * 50_000, "nested too deep"),
        ('{\n"data": [{"id": 1}], 5}', "no key is there"),
        ('{\n"data": [{"id": 1}], "next"', "no value follows the key 'next'"),
        ('[{"id": 1}] oops', "neither an object nor a list"),
    ],
)
def test_a_list_that_breaks_off_gives_what_it_has(tmp_path: Path, content: str, problem: str) -> None:
    first, *_, last = read(tmp_path, content)
    assert first[1] == {"id": 1}
    assert problem in last[1]
    assert last[1].endswith("the rest of the file is left out")


def test_a_row_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_LONGEST", 1_000_000)
    long = json.dumps({"text": "x" * 1_500_000})
    found = read(tmp_path, f'{{"id": 1}}\n{long}\n{{"id": 2}}')
    assert [value for _, value in found] == [{"id": 1}, "it has more than 1,000,000 bytes", {"id": 2}]
    found = read(tmp_path, f'[{{"id": 1}}, {long}]')
    assert "a row has more than 1,000,000 characters" in found[1][1]


def test_a_file_larger_than_what_it_takes_of_memory(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    row = json.dumps({"text": "x" * 1_000, "list": list(range(50))}, indent=1)
    with file.open("w") as out:
        out.write("[\n" + ",\n".join([row] * 4_000) + "\n]\n")
    tracemalloc.start()
    count = sum(1 for _ in read_rows(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4_000
    assert peak < 3_000_000 < file.stat().st_size


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none.json: No such file"):
        list(read_rows(tmp_path / "none.json"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400) | st.text('[]{}",:01 \n\\ae', max_size=200).map(str.encode))
@example(content=b'[{"a": 1}{"b": 2}]')
def test_nothing_that_a_file_holds_raises(tmp_path: Path, content: bytes) -> None:
    for _, value in read(tmp_path, content):
        assert isinstance(value, dict | str)
