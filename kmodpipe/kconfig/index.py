"""What a tree's Kconfig files define: the records, and the same as plain values for a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kmodpipe.kconfig.expression import Expr


@dataclass(frozen=True)
class Definition:
    """One entry that defines a symbol."""

    # Relative to the tree.
    file: str
    line: int
    # The entry's own dependencies, and those of the blocks around it.
    depends: tuple[Expr, ...] = ()
    # Whether a user can set it; else only defaults and selects do.
    prompt: bool = False
    # bool, tristate, string, hex or int; empty where another entry of the symbol says it.
    kind: str = ""
    # The prompt's text, and its own "if", or None.
    title: str = ""
    prompt_if: Expr | None = None
    # Each default with its "if"; the first whose condition holds counts.
    defaults: tuple[tuple[Expr, Expr | None], ...] = ()
    # Each symbol that it selects, with the select's "if".
    selects: tuple[tuple[str, Expr | None], ...] = ()
    # Whether it is one of a choice, which excludes the others.
    in_choice: bool = False


@dataclass(frozen=True)
class Selection:
    """A ``select`` of a symbol."""

    # The symbol whose entry has the select.
    selector: str
    # The select's own "if", or None.
    condition: Expr | None
    # FILE:LINE.
    where: str


@dataclass(frozen=True)
class Index:
    """What a tree's Kconfig files define for a set of symbols; every symbol of the set is a key."""

    definitions: Mapping[str, tuple[Definition, ...]]
    selections: Mapping[str, tuple[Selection, ...]]


# -- as plain values -----------------------------------------------------------------------------------
def to_plain(index: Index) -> object:
    """Return an index as values of JSON."""
    return {
        "definitions": {
            name: [_definition(one) for one in found] for name, found in index.definitions.items()
        },
        "selections": {
            name: [[one.selector, _maybe(one.condition), one.where] for one in found]
            for name, found in index.selections.items()
        },
    }


def _definition(one: Definition) -> list[object]:
    return [
        one.file, one.line, [_expr(each) for each in one.depends], one.prompt, one.kind, one.title,
        _maybe(one.prompt_if), [[_expr(value), _maybe(condition)] for value, condition in one.defaults],
        [[symbol, _maybe(condition)] for symbol, condition in one.selects], one.in_choice,
    ]  # fmt: skip


def _expr(expr: Expr) -> list[object]:
    return [expr.op, *(_expr(arg) if isinstance(arg, Expr) else arg for arg in expr.args)]


def _maybe(expr: Expr | None) -> object:
    return _expr(expr) if expr else None


def from_plain(value: Any) -> Index:
    """Return the index that `to_plain` made these values of. Raise an exception for other values."""
    definitions = {
        _text(name): tuple(_read_definition(*one) for one in found)
        for name, found in value["definitions"].items()
    }
    selections = {
        _text(name): tuple(
            Selection(_text(selector), _read_maybe(condition), _text(where))
            for selector, condition, where in found
        )
        for name, found in value["selections"].items()
    }
    return Index(definitions, selections)


def _read_definition(
    file: Any, line: Any, depends: Any, prompt: Any, kind: Any, title: Any, prompt_if: Any, defaults: Any,
    selects: Any, in_choice: Any,
) -> Definition:  # fmt: skip
    return Definition(
        _text(file), int(line), tuple(_read(one) for one in depends), prompt is True, _text(kind),
        _text(title), _read_maybe(prompt_if),
        tuple((_read(one), _read_maybe(condition)) for one, condition in defaults),
        tuple((_text(symbol), _read_maybe(condition)) for symbol, condition in selects), in_choice is True,
    )  # fmt: skip


def _read(value: Any) -> Expr:
    op, *args = value
    return Expr(_text(op), tuple(arg if isinstance(arg, str) else _read(arg) for arg in args))


def _read_maybe(value: Any) -> Expr | None:
    return None if value is None else _read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
