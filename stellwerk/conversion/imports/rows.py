"""Rows of a file of any size: JSON lines, a list, or a list inside an object."""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stellwerk.errors import InputError

_CHUNK = 1 << 16  # bytes
_LONGEST = 1 << 26  # characters of a row
_AROUND = ("data", "runs")  # keys of an object around a list of rows, as APIs give them
_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder(parse_constant=lambda name: None)  # NaN is no value


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file.

    Args:
        line: on which it begins, from 1.
        value: the object; None where it cannot be read.
        problem: why not; empty where it can.
    """

    line: int
    value: dict[str, Any] | None = None
    problem: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, read as they are asked for. One that cannot be read is a row with a problem.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield from _rows(file)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def _rows(file: IO[bytes]) -> Iterator[Row]:
    if file.read(3) != b"\xef\xbb\xbf":  # the mark of UTF-8
        file.seek(0)
    start = file.tell()
    first = whole = b""
    while not first and (whole := file.readline(_LONGEST)):
        first = whole.strip()
    file.seek(start)
    goes_on = first.endswith((b"{", b"[", b",")) or len(whole) == _LONGEST
    if first.startswith(b"[") or (first.startswith(b"{") and goes_on):
        yield from _Document(file).rows()
    else:
        yield from _lines(file)


def _lines(file: IO[bytes]) -> Iterator[Row]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            while (rest := file.readline(_LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield Row(number, problem=f"it has more than {_LONGEST:,} bytes")
        elif line.strip():
            try:
                yield from _unfolded(number, _DECODER.decode(line.decode("utf-8")))
            except UnicodeDecodeError as error:
                yield Row(number, problem=f"it is not UTF-8 (at byte {error.start})")
            except (ValueError, RecursionError) as error:
                yield Row(number, problem=_problem(error))


class _Document:
    """A list, or an object with a list inside, that may be larger than memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._at = 0
        self._line = 1
        self._ended = False

    def rows(self) -> Iterator[Row]:
        try:
            while sign := self._next():
                if sign not in "[{":
                    raise ValueError("there is neither an object nor a list")
                yield from self._items() if sign == "[" else self._members()
        except (ValueError, RecursionError) as error:
            # What follows cannot be told apart any more.
            yield Row(self._line, problem=f"{_problem(error)}; the rest of the file is left out")

    def _items(self) -> Iterator[Row]:
        self._take()
        while (sign := self._next()) != "]":
            if sign == ",":
                self._take()
            elif not sign:
                raise ValueError("the file ends in the middle of a list")
            else:
                line, value = self._line, self._value()
                yield from _unfolded(line, value)
        self._take()

    def _members(self) -> Iterator[Row]:
        line, whole = self._line, dict[str, Any]()
        self._take()
        while (sign := self._next()) != "}":
            if sign == ",":
                self._take()
                continue
            if sign != '"':
                raise ValueError(
                    "the file ends in the middle of an object" if not sign else "no key is there"
                )
            name = str(self._value())
            if self._next() != ":":
                raise ValueError(f"no value follows the key {name[:40]!r}")
            self._take()
            if name in _AROUND and self._next() == "[":
                yield from self._items()
                whole.clear()  # what else is told of the rows is no row
                line = 0
            else:
                whole[name] = self._value()
        self._take()
        if line:
            yield from _unfolded(line, whole)

    def _next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text):
                sign = self._text[self._at]
                if sign not in _SPACE:
                    return sign
                self._take()
            if not self._more(_CHUNK):
                return ""

    def _take(self) -> None:
        self._line += self._text[self._at] == "\n"
        self._at += 1

    def _value(self) -> Any:
        size = _CHUNK
        self._next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # A text may begin long before the end of what is there, everything else ends with it.
                cut_off = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - 16
                if not cut_off or not self._more(size):
                    raise
                size *= 2
                if len(self._text) - self._at > _LONGEST:
                    raise ValueError(f"a row has more than {_LONGEST:,} characters") from None
            else:
                if end == len(self._text) and self._more(size):
                    continue  # a number may go on
                self._line += self._text.count("\n", self._at, end)
                self._at = end
                return value

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        chunk = self._file.read(size)
        self._ended = not chunk
        self._text = self._text[self._at :] + self._decoder.decode(chunk, final=self._ended)
        self._at = 0
        return True


def _unfolded(line: int, value: Any) -> Iterator[Row]:
    """A row, or the rows that an object holds as a page of an API."""
    if isinstance(value, dict) and "id" not in value:
        for name in _AROUND:
            if isinstance(inner := value.get(name), list):
                for each in inner:
                    yield from _unfolded(line, each)
                return
    if isinstance(value, dict):
        yield Row(line, value)
    else:
        yield Row(line, problem=f"it is a {type(value).__name__}, and no object")


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error.msg}"
    return str(error)[:200]
