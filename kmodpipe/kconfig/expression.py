"""Kconfig's expressions, of three values: n, m and y, and unknown where something unknown decides.

Follows the kernel's Documentation/kbuild/kconfig-language.rst, "Menu dependencies".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Known = Mapping[str, str]
_LEVEL = {"n": 0, "m": 1, "y": 2}
_NUMBER = re.compile(r"-?\d+|0[xX][0-9a-fA-F]+")
_NAME = re.compile(r"(?!(?:\d+|0[xX][0-9a-fA-F]+)$)\w+")


@dataclass(frozen=True)
class Expr:
    """A dependency expression."""

    # "sym" (a symbol or constant), "str" (quoted), "!", "&&", "||" or a comparison.
    op: str
    # The name or text for "sym" and "str", else the operands.
    args: tuple[Expr | str, ...]

    def __str__(self) -> str:
        if self.op == "sym":
            return str(self.args[0])
        if self.op == "str":
            return f'"{self.args[0]}"'
        if self.op == "!":
            return f"!{_bracketed(self.args[0])}"
        return f" {self.op} ".join(_bracketed(a) for a in self.args)

    def value(self, known: Known) -> int | None:
        """Return 0, 1 or 2 for n, m or y; None if it depends on a symbol that is not in ``known``."""
        if self.op in ("sym", "str"):
            name = str(self.args[0])
            if name in _LEVEL:
                return _LEVEL[name]
            return _LEVEL.get(known[name]) if self.op == "sym" and name in known else None
        if self.op == "!":
            inner = _value(self.args[0], known)
            return None if inner is None else 2 - inner
        if self.op in ("&&", "||"):
            values = [_value(a, known) for a in self.args]
            decided = [v for v in values if v is not None]
            bound = min if self.op == "&&" else max
            deciding = 0 if self.op == "&&" else 2
            if deciding in decided:
                return deciding
            return bound(decided) if len(decided) == len(values) else None
        left, right = (a._text(known) if isinstance(a, Expr) else None for a in self.args)
        if left is None or right is None or self.op not in ("=", "!="):
            return None
        return 2 if (left == right) == (self.op == "=") else 0

    def _text(self, known: Known) -> str | None:
        """Return the text that an operand of a comparison stands for; None if it is unknown."""
        text = str(self.args[0])
        if "$" in text:
            return None
        if self.op == "str" or text in _LEVEL or _NUMBER.fullmatch(text):
            return text
        return known[text].strip('"') if text in known else None

    def conjuncts(self) -> tuple[Expr, ...]:
        """Return the parts that must all hold."""
        if self.op != "&&":
            return (self,)
        return tuple(c for a in self.args if isinstance(a, Expr) for c in a.conjuncts())

    def symbols(self) -> frozenset[str]:
        """Return every symbol in the expression."""
        names: set[str] = set()
        for arg in self.args:
            if isinstance(arg, Expr):
                names |= arg.symbols()
            elif self.op == "sym" and arg not in _LEVEL and _NAME.fullmatch(arg):
                names.add(arg)
        return frozenset(names)


def _bracketed(arg: Expr | str) -> str:
    text = str(arg)
    return f"({text})" if isinstance(arg, Expr) and arg.op in ("&&", "||") else text


def _value(arg: Expr | str, known: Known) -> int | None:
    return arg.value(known) if isinstance(arg, Expr) else None


_TOKEN = re.compile(
    r'\s*(\|\||&&|!=|<=|>=|[=<>!()]|"(?:\\.|[^"\\])*"|\'[^\']*\'|\$\((?:[^()]|\([^()]*\))*\)|[^\s|&!=<>()]+)'
)


def parse_expr(text: str) -> Expr:
    """Parse an expression such as ``OVERLAY_FS && (X || !Y)``. Raise ValueError if it is malformed."""
    tokens = _TOKEN.findall(text)
    expr, rest = _parse_or(tokens)
    if rest:
        raise ValueError(f"cannot read the Kconfig expression {text!r}")
    return expr


def _parse_chain(tokens: Sequence[str], op: str) -> tuple[Expr, Sequence[str]]:
    lower = _parse_and if op == "||" else _parse_not
    first, tokens = lower(tokens)
    args = [first]
    while tokens and tokens[0] == op:
        following, tokens = lower(tokens[1:])
        args.append(following)
    return (first if len(args) == 1 else Expr(op, tuple(args))), tokens


def _parse_or(tokens: Sequence[str]) -> tuple[Expr, Sequence[str]]:
    return _parse_chain(tokens, "||")


def _parse_and(tokens: Sequence[str]) -> tuple[Expr, Sequence[str]]:
    return _parse_chain(tokens, "&&")


def _parse_not(tokens: Sequence[str]) -> tuple[Expr, Sequence[str]]:
    if not tokens:
        raise ValueError("a Kconfig expression ends early")
    if tokens[0] == "!":
        inner, rest = _parse_not(tokens[1:])
        return Expr("!", (inner,)), rest
    if tokens[0] == "(":
        inner, rest = _parse_or(tokens[1:])
        if not rest or rest[0] != ")":
            raise ValueError("an unclosed bracket in a Kconfig expression")
        return inner, rest[1:]
    left = _operand(tokens[0])
    if len(tokens) > 2 and tokens[1] in ("=", "!=", "<", ">", "<=", ">="):
        return Expr(tokens[1], (left, _operand(tokens[2]))), tokens[3:]
    return left, tokens[1:]


def _operand(token: str) -> Expr:
    quoted = token[0] in "\"'"
    return Expr("str", (token[1:-1],)) if quoted else Expr("sym", (token,))
