"""Arithmetic as a model writes it, evaluated exactly and without `eval`.

    expression = ['='] sum ['=' [number]]           a stated result is ignored: the value is computed
    sum        = product (('+' | '-') product)*
    product    = unary (('*' | '×' | '/' | '÷') unary)*
    unary      = '-' unary | power
    power      = atom [('^' | '**') unary]           binds tighter than the minus: -2^2 = -4
    atom       = number ['%'] | '(' sum ')' | function '(' sum (',' sum)* ')'

Inside a run of digits a comma before exactly three digits groups thousands, if what it groups can be
a number so written: `sum(1,200, 3)` is 1203, but `max(1500,200)` and `min(0,250)` have two arguments.
Brackets only group: (1,234) is 1234. The currency signs $ € £ are ignored.
"""

import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact
from fractions import Fraction
from typing import NamedTuple, NoReturn

from stellwerk.errors import ExpressionError

MAX_LENGTH = 1000
MAX_TOKENS = 200
MAX_DEPTH = 32
MAX_EXPONENT = 64
MAX_DIGITS = 50
MAX_MAGNITUDE = 10**30

# Divisions multiply denominators; without a bound, powers of powers of 1/3 would fill the memory.
_MAX_DENOMINATOR_BITS = 4096

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)(?P<percent>\s*%)?
      | (?P<name>[A-Za-z_]+)
      | (?P<operator>\*\*|[-+*/^(),=−×÷])
      | (?P<currency>[$€£])
    )""",
    re.VERBOSE,
)
_CANONICAL = {"**": "^", "−": "-", "×": "*", "÷": "/"}


class _Token(NamedTuple):
    kind: str  # "number", "name", "end", or the operator itself
    text: str
    position: int


def evaluate(text: str) -> Decimal:
    """Return the value of an arithmetic expression.

    Every step is exact rational arithmetic; a quotient is rounded once, at the end, half to even, to 50
    significant digits. `round(x, n)` rounds halves away from zero, as annual reports do.

    Args:
        text: The expression: + - * / ^ ( ), numbers such as 3,423, $12 or 12.5%, and the functions sum,
            avg (average, mean), min, max, abs, round(x, n), count, change(new, old), and in percent
            percent_change(new, old) and share(part, whole). At most 1000 characters.

    Raises:
        ExpressionError: The expression is malformed, beyond a limit, or has no finite value.
    """
    parser = _Parser(text)
    value = parser.parse()
    context = Context(prec=MAX_DIGITS, rounding=ROUND_HALF_EVEN, traps=[])
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    if context.flags[Inexact] and not parser.divided:
        _refuse(text, 0, f"the exact value has more than {MAX_DIGITS} digits", "use fewer decimal places")
    return quotient


def numbers_in(text: str) -> tuple[str, ...]:
    """Return the numbers of an expression as they are written, with `%` but without currency sign.

    A result stated after '=' is left out: it is a claim, not an input.

    Raises:
        ExpressionError: The text holds something that belongs in no expression.
    """
    tokens = _tokens(text)
    stated = next((i for i, token in enumerate(tokens) if i and token.kind == "="), len(tokens))
    return tuple(token.text for token in tokens[:stated] if token.kind == "number")


def _refuse(text: str, position: int, problem: str, remedy: str) -> NoReturn:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    raise ExpressionError(f"expression {shown!r}, character {position + 1}: {problem}; {remedy}")


def _tokens(text: str) -> list[_Token]:
    if len(text) > MAX_LENGTH:
        _refuse(text[:61], MAX_LENGTH, f"{len(text)} characters, at most {MAX_LENGTH} allowed", "split it")
    tokens: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            start = end - len(text[position:end].lstrip())
            _refuse(text, start, f"unexpected {text[start]!r}", _remedy_for(text[start]))
        start = match.end() - len(match[0].lstrip())
        position = match.end()
        if match["number"]:
            if sum(map(str.isdigit, match["number"])) > MAX_DIGITS:
                _refuse(text, start, f"a number of more than {MAX_DIGITS} digits", "round it")
            tokens.append(_Token("number", match["number"] + ("%" if match["percent"] else ""), start))
        elif match["name"]:
            tokens.append(_Token("name", match["name"].lower(), start))
        elif match["operator"]:
            operator = match["operator"]
            tokens.append(_Token(_CANONICAL.get(operator, operator), operator, start))
        elif not re.match(r"\s*[-−(.0-9]", text[position:]):
            _refuse(text, start, f"{match['currency']!r} without an amount", "put it before a number")
        if len(tokens) > MAX_TOKENS:
            _refuse(text, start, f"more than {MAX_TOKENS} numbers and signs", "split it")
    return [*tokens, _Token("end", "the end", len(text))]


def _remedy_for(character: str) -> str:
    if character in "—–":
        return "write '-' for minus, and leave out or write 0 for an empty cell"
    if character == "%":
        return "write % directly after a number, as in 12.5%"
    return "use only numbers, + - * / ^ ( ) and functions such as sum(1, 2)"


def _sum(*values: Fraction) -> Fraction:
    return sum(values, Fraction())


def _mean(*values: Fraction) -> Fraction:
    return _sum(*values) / len(values)


def _change(new: Fraction, old: Fraction) -> Fraction:
    return new - old


def _percent_change(new: Fraction, old: Fraction) -> Fraction:
    return (new - old) / old * 100


def _share(part: Fraction, whole: Fraction) -> Fraction:
    return part / whole * 100


def _round(value: Fraction, places: Fraction = Fraction()) -> Fraction:
    unit = Fraction(10) ** int(places)
    rounded = (abs(value) * unit + Fraction(1, 2)) // 1 / unit
    return rounded if value >= 0 else -rounded


# Name: the least and the most arguments, and what is computed.
_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Fraction]]] = {
    "sum": (1, MAX_TOKENS, _sum),
    "avg": (1, MAX_TOKENS, _mean),
    "average": (1, MAX_TOKENS, _mean),
    "mean": (1, MAX_TOKENS, _mean),
    "min": (1, MAX_TOKENS, lambda *values: min(values)),
    "max": (1, MAX_TOKENS, lambda *values: max(values)),
    "count": (1, MAX_TOKENS, lambda *values: Fraction(len(values))),
    "abs": (1, 1, abs),
    "round": (1, 2, _round),
    "change": (2, 2, _change),
    "percent_change": (2, 2, _percent_change),
    "share": (2, 2, _share),
}


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.index = 0
        self.depth = 0
        self.divided = False

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def advance(self) -> _Token:
        token = self.token
        self.index += 1
        return token

    def refuse(self, token: _Token, problem: str, remedy: str) -> NoReturn:
        _refuse(self.text, token.position, problem, remedy)

    def expect(self, kind: str) -> None:
        if self.token.kind != kind:
            wanted = "an operator or the end" if kind == "end" else repr(kind)
            self.refuse(self.token, f"expected {wanted}, found {self.token.text!r}", "check the brackets")
        self.index += 1

    def bounded(self, value: Fraction, token: _Token) -> Fraction:
        if abs(value) > MAX_MAGNITUDE:
            self.refuse(token, "the value is beyond ±1e30", "use smaller numbers or another unit")
        if value.denominator.bit_length() > _MAX_DENOMINATOR_BITS:
            self.refuse(token, "too many divisions or decimals are multiplied", "round a part of it first")
        return value

    def parse(self) -> Fraction:
        if self.token.kind == "=":
            self.advance()
        value = self.sum()
        if self.token.kind == "=":
            self.advance()
            if self.token.kind == "-":
                self.advance()
            if self.token.kind == "number":
                self.advance()
        self.expect("end")
        return value

    def sum(self) -> Fraction:
        value = self.product()
        while self.token.kind in ("+", "-"):
            operator = self.advance()
            right = self.product()
            value = self.bounded(value + right if operator.kind == "+" else value - right, operator)
        return value

    def product(self) -> Fraction:
        value = self.unary()
        while self.token.kind in ("*", "/"):
            operator = self.advance()
            right = self.unary()
            if operator.kind == "*":
                value = self.bounded(value * right, operator)
            else:
                value = self.bounded(value / self.divisor(right, operator), operator)
        return value

    def divisor(self, value: Fraction, token: _Token) -> Fraction:
        if value == 0:
            self.refuse(token, "division by zero", "check the divisor")
        self.divided = True
        return value

    def unary(self) -> Fraction:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse(self.token, f"nested deeper than {MAX_DEPTH}", "remove brackets or split it")
        if self.token.kind == "-":
            self.advance()
            value = -self.unary()
        else:
            value = self.power()
        self.depth -= 1
        return value

    def power(self) -> Fraction:
        base = self.atom()
        if self.token.kind != "^":
            return base
        operator = self.advance()
        exponent = self.unary()
        if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
            problem = f"the exponent is no whole number from -{MAX_EXPONENT} to {MAX_EXPONENT}"
            self.refuse(operator, problem, "use a smaller power, or multiply")
        if exponent <= 0:
            self.divisor(base, operator)
        return self.bounded(base ** int(exponent), operator)

    def atom(self) -> Fraction:
        token = self.advance()
        if token.kind == "number":
            value = Fraction(token.text.rstrip("%").replace(",", ""))
            return self.bounded(value / 100 if token.text.endswith("%") else value, token)
        if token.kind == "(":
            value = self.sum()
            self.expect(")")
            return value
        if token.kind == "name":
            return self.call(token)
        return self.refuse(token, f"expected a number, found {token.text!r}", "write one number, as in 1 + 2")

    def call(self, name: _Token) -> Fraction:
        if name.text not in _FUNCTIONS:
            self.refuse(name, f"unknown name {name.text!r}", f"use {', '.join(_FUNCTIONS)}, or a number")
        least, most, function = _FUNCTIONS[name.text]
        self.expect("(")
        values = [self.sum()]
        while self.token.kind == ",":
            self.advance()
            values.append(self.sum())
        self.expect(")")
        if not least <= len(values) <= most:
            wanted = str(most) if least == most else f"{least} to {most}"
            self.refuse(name, f"{name.text} of {len(values)} values", f"give it {wanted}")
        if function is _round and values[1:] and (values[1].denominator != 1 or abs(values[1]) > 30):
            self.refuse(name, "round needs whole decimal places from -30 to 30", "as in round(2.345, 2)")
        if function in (_percent_change, _share):
            self.divisor(values[1], name)
        self.divided |= function is _mean
        return self.bounded(function(*values), name)
