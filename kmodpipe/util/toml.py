"""Read TOML files into validated models, and report errors by file, line and field, in words."""

from __future__ import annotations

import datetime
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from kmodpipe.util import document
from kmodpipe.util.errors import UserError, nearest

_MOST = document.MIB
# tomllib keeps every beginning of a dotted key: one of 100,000 parts takes more memory than a machine has.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
# So many lines are looked through for the place of a fault.
_LINES = 2000
Model = TypeVar("Model", bound=BaseModel)


def one_or_more(item: Any = str) -> BeforeValidator:
    """Return what makes a list of a single text, for a field with a list of texts of the type ``item``."""
    return BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value,
        json_schema_input_type=item | list[item],
    )


@dataclass(frozen=True)
class Fault:
    """A field that is wrong."""

    # From 1; 0 if it is not known.
    line: int
    # Where it is in the table.
    place: tuple[str | int, ...]
    # The same for people: ``case.mount.expect[2].outcome``.
    field: str
    # What is wrong, with no value of the file.
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.text}" if self.line else f"{self.field}: {self.text}"


class Invalid(UserError):
    """A table does not have the fields that it should have."""

    def __init__(
        self, what: str, path: Path, faults: Sequence[Fault], hint: str = "", at: Sequence[str] = ()
    ) -> None:
        line = next((one.line for one in faults if one.line), 0)
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{what} is not valid", where=where, detail="\n".join(map(str, faults)), hint=hint)
        self.path = path
        self.faults = tuple(faults)
        # Where the table stands in the file.
        self.at = tuple(at)


def read(path: Path, what: str, *, missing_hint: str = "") -> dict[str, Any]:
    """Return the table in the file ``path``; ``what`` is its name in messages ("the matrix file").

    Raises UserError if the file does not exist, cannot be read, or is not TOML.
    """
    with document.given(what, str(path)):
        try:
            text = document.read_text(path, most=_MOST)
        except FileNotFoundError as e:
            raise UserError(f"{what} does not exist", where=str(path), hint=missing_hint) from e
    return parse(text, what, path)


def parse(text: str, what: str, path: Path) -> dict[str, Any]:
    """Return the table in ``text``, which was read from ``path``. Raises UserError if it is not TOML."""
    if _LONG_KEY.search(text):
        raise UserError(f"{what} cannot be read: a key in it has more than 64 parts", where=str(path))
    try:
        table = tomllib.loads(text, parse_float=document.number)
        document.check_depth(table)
        return table
    except document.Unreadable as e:
        raise UserError(f"{what} cannot be read: {e}", where=str(path)) from None
    # A ValueError that is no TOMLDecodeError is about a number of thousands of digits.
    except (ValueError, RecursionError) as e:
        raise UserError(f"{what} cannot be read: not TOML: {e}", where=str(path)) from e


def validate(
    model: type[Model], table: object, what: str, path: Path, *, hint: str = "", at: Sequence[str] = ()
) -> Model:
    """Return ``table`` as a ``model``; ``at`` is where the table stands in the file.

    Raises Invalid with one line for each field that is wrong.
    """
    try:
        return model.model_validate(table)
    except ValidationError as e:
        text = ""
        with suppress(OSError, document.Unreadable):
            text = document.read_text(path, most=_MOST)
        # A field that is misspelt first: that another one is missing often follows from it.
        faults = sorted(_faults(model, table, e), key=lambda found: found[0]["type"] != "extra_forbidden")
        found = tuple(
            Fault(line_of(text, (*at, *_place(one))), _place(one), field, words)
            for one, field, words in faults
        )
        # Without the cause: pydantic quotes wrong values, and one may be a secret.
        raise Invalid(what, path, found, hint, at) from None


def load(path: Path, model: type[Model], what: str, *, hint: str = "") -> Model:
    """Return the content of a file as a ``model``. Raises UserError as `read` and `validate` do."""
    return validate(model, read(path, what), what, path, hint=hint)


# -- lines --------------------------------------------------------------------------------------------
def line_of(text: str, place: Sequence[str | int]) -> int:
    """Return the line, from 1, where a field of TOML begins; 0 if that is not known.

    ``place`` leads to it: names of tables and fields, and numbers of entries from 0. For a field that is not
    there it is the line of the table that should have it. tomllib knows no lines, so the file is read up to
    more and more lines, until the field is in what was read.
    """
    lines, wanted = [] if _LONG_KEY.search(text) else text.splitlines(), list(place)
    while wanted:
        begin = 0
        for end in range(1, min(len(lines), _LINES) + 1):
            try:
                known = tomllib.loads("\n".join(lines[:end]))
            # A ValueError that is no TOMLDecodeError is about a number of thousands of digits.
            except (ValueError, RecursionError):
                continue
            if _has(known, wanted):
                return _first_of(lines, begin, end)
            begin = end
        # Not there: the next table outside of it.
        wanted.pop()
    return 0


def place(path: Path, field: Sequence[str | int]) -> str:
    """Return ``FILE:LINE`` of a field, for an error that is about it; the file alone if it cannot be read."""
    with suppress(OSError, document.Unreadable):
        if line := line_of(document.read_text(path, most=_MOST), field):
            return f"{path}:{line}"
    return str(path)


def place_within(path: Path, table: str, key: str, value: str = "") -> str:
    """Return ``FILE:LINE`` of the first ``key`` in a table called ``table``, wherever that stands.

    With ``value``, of the first that is or lists it. The file alone if there is none.
    """
    with suppress(OSError, document.Unreadable, ValueError):
        whole = tomllib.loads(document.read_text(path, most=_MOST))
        for at, content in _tables(whole):
            if not (at and at[-1] == table and key in content):
                continue
            if not value or value in (content[key] if isinstance(content[key], list) else [content[key]]):
                return place(path, (*at, key))
    return str(path)


def _tables(table: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each table in ``table``, itself included, with the way to it."""
    if isinstance(table, dict):
        yield at, table
    inner = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for name, content in inner:
        yield from _tables(content, (*at, name))


def _first_of(lines: Sequence[str], begin: int, end: int) -> int:
    """Return the number, from 1, of the first line in a range that is neither empty nor a comment."""
    return next(n for n in range(begin + 1, end + 1) if lines[n - 1].split("#")[0].strip() or n == end)


def _has(table: object, place: Sequence[str | int]) -> bool:
    for part in place:
        table, missing = _entry(table, part), _MISSING
        if table is missing:
            return False
    return True


_MISSING = object()


def _entry(place: Any, part: str | int) -> Any:
    try:
        return place[part]
    except (KeyError, IndexError, TypeError):
        return _MISSING


# -- faults in words ----------------------------------------------------------------------------------
def _faults(
    model: type[BaseModel], table: object, error: ValidationError
) -> Iterator[tuple[ErrorDetails, str, str]]:
    """Yield each error of a validation, the field (``case.mount.expect[2].outcome``), and what is wrong.

    An entry of a list that has an ``id`` is named by it, others by their number from 1. No text has a value
    of the table in it.
    """
    for fault in error.errors():
        text, place = "", table
        for part in _place(fault):
            place = _entry(place, part)
            if isinstance(part, str):
                text += f".{part}" if text else part
                continue
            name = place.get("id") if isinstance(place, Mapping) else None
            text += f".{name}" if isinstance(name, str) else f"[{part + 1}]"
        yield fault, text or "file", _in_words(model, fault)


def _place(fault: ErrorDetails) -> tuple[str | int, ...]:
    """Return where a fault is. ``[key]`` of a wrong key, and the kind of a value of several, are not of the
    file."""
    return tuple(part for part in fault["loc"] if not str(part).startswith("["))


_PLAIN = {
    "missing": "is missing",
    "bool_type": "takes true or false",
    "bool_parsing": "takes true or false",
    "int_type": "takes a whole number",
    "int_parsing": "takes a whole number",
    "int_from_float": "takes a whole number",
    "float_type": "takes a number",
    "float_parsing": "takes a number",
    "string_type": "takes text",
    "dict_type": "takes a table",
    "model_type": "takes a table",
    "model_attributes_type": "takes a table",
}
_WITH_BOUND = {
    "greater_than_equal": "takes a number from {ge} up",
    "greater_than": "takes a number above {gt}",
    "less_than_equal": "takes a number up to {le}",
    "less_than": "takes a number below {lt}",
    "string_too_short": "takes at least {min_length} characters",
    "string_too_long": "takes at most {max_length} characters",
    "too_short": "takes at least {min_length}",
    "too_long": "takes at most {max_length}",
    "string_pattern_mismatch": "takes only text of the form {pattern}",
    "literal_error": "takes one of: {expected}",
    "enum": "takes one of: {expected}",
}


def _in_words(model: type[BaseModel], fault: ErrorDetails) -> str:
    """Return what is wrong with a field, for someone who has never seen the validator."""
    kind, place = fault["type"], _place(fault)
    if kind == "extra_forbidden":
        known = [] if not place else _fields(_model_at(model, place[:-1]))
        near = nearest(str(place[-1]), known)
        return "there is no such field; " + (
            f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        )
    if kind in ("list_type", "tuple_type", "set_type"):
        text = "takes a list of names" if _has_text(_annotation_at(model, place)) else "takes a list"
    elif kind == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    elif kind in _WITH_BOUND:
        return _WITH_BOUND[kind].format(**fault.get("ctx", {}))
    elif kind in _PLAIN:
        text = _PLAIN[kind]
    else:
        return fault["msg"]
    given = "" if kind == "missing" else _kind_of(fault["input"])
    return f"{text}, not {given}" if given else text


def _kind_of(value: object) -> str:
    """Return what a value of TOML is; nothing of the value itself."""
    for kinds, name in (
        (bool, "true or false"),
        (str, "text"),
        ((int, float), "a number"),
        (Mapping, "a table"),
        ((list, tuple), "a list"),
        ((datetime.date, datetime.time), "a date"),
    ):
        if isinstance(value, kinds):
            return name
    return ""


def _fields(model: type[BaseModel] | None) -> list[str]:
    return [one.alias or name for name, one in model.model_fields.items()] if model else []


def _annotation_at(model: type[BaseModel], place: Sequence[str | int]) -> Any:
    """Return the type that a model has at a place, as far as it can be followed."""
    found: Any = model
    for part in place:
        inner = _model_in(found)
        if isinstance(part, int):
            continue
        if inner is None:
            # The name of an entry of a mapping: the type of its values.
            continue
        known = {one.alias or name: one.annotation for name, one in inner.model_fields.items()}
        if part in known:
            found = known[part]
    return found


def _model_at(model: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel] | None:
    return _model_in(_annotation_at(model, place))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in a type such as ``tuple[Model, ...]`` or ``dict[str, Model]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in typing.get_args(annotation) if (found := _model_in(arg))), None)


def _has_text(annotation: Any) -> bool:
    return annotation is str or any(_has_text(arg) for arg in typing.get_args(annotation))
