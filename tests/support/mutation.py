"""Records made of nothing but their type hints, and every record that differs from one in a single input.

A field that is added to a record is in what `sample` makes and in what `mutations` changes, by itself.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kmodpipe.judge.cases import Case
from kmodpipe.logs.known_benign import Benign

# The fields that lead to an input, from the outermost record.
Way = tuple[tuple[type, str], ...]
_numbers = itertools.count()


def fields_of(record: type) -> list[str]:
    if issubclass(record, BaseModel):
        return list(record.model_fields)
    return [f.name for f in dataclasses.fields(record)]


def is_record(hint: object) -> bool:
    return isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel))


def sample(hint: Any, folder: Path) -> Any:
    """A value of this type in which no field is empty; files are made in ``folder``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return sample(next(a for a in args if a is not type(None)), folder)
    if origin is typing.Literal:
        return args[0]
    if origin is tuple:
        return tuple(sample(a, folder) for a in args if a is not Ellipsis)
    if origin in (frozenset, set):
        return frozenset((sample(args[0], folder),))
    if origin is not None and issubclass(origin, Mapping):
        return {sample(args[0], folder): sample(args[1], folder)}
    if is_record(hint):
        return _made(hint, {name: sample(one, folder) for name, one in hints(hint).items()})
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return next(iter(hint))
    plain: Mapping[Any, Any] = {str: "x", int: 3, float: 1.5, bool: False, bytes: b"x", object: "x"}
    return _file(folder, "x") if hint is Path else plain[hint]


# Of types that a module imports only to be checked.
_OF_TYPING = {one.__name__: one for one in (Case, Benign)}


def hints(record: type) -> dict[str, Any]:
    found = typing.get_type_hints(record, localns=_OF_TYPING)
    return {name: found[name] for name in fields_of(record)}


def mutations(value: Any, folder: Path, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Every value that differs from ``value`` in one input, with the fields that lead there."""
    if is_record(type(value)):
        for name in fields_of(type(value)):
            inner = mutations(getattr(value, name), folder, (*way, (type(value), name)))
            yield from ((there, _with(value, name, other)) for there, other in inner)
    elif isinstance(value, Mapping):
        yield way, {}
        for key, one in value.items():
            rest = {k: v for k, v in value.items() if k != key}
            yield way, {**rest, f"{key}2": one}
            yield from ((there, {**rest, key: other}) for there, other in mutations(one, folder, way))
    elif isinstance(value, frozenset):
        yield way, frozenset()
        yield way, value | {"another"}
    elif isinstance(value, tuple):
        yield way, ()
        for at, one in enumerate(value):
            changed = mutations(one, folder, way)
            yield from ((there, (*value[:at], other, *value[at + 1 :])) for there, other in changed)
    else:
        yield way, _another(value, folder)


def _another(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return _file(folder, "another")
    if isinstance(value, enum.Enum):
        return next(one for one in type(value) if one is not value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, bytes):
        return value + b"2"
    return value + "2" if isinstance(value, str) else value + 1


def _file(folder: Path, text: str) -> Path:
    """A file of one name in a folder of its own."""
    path = folder / str(next(_numbers)) / "file"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def _made(record: type, values: Mapping[str, Any]) -> Any:
    """A record with these fields; what it would check of them is left out."""
    if issubclass(record, BaseModel):
        return record.model_construct(**values)
    made = object.__new__(record)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _with(record: Any, name: str, value: Any) -> Any:
    values = {n: getattr(record, n) for n in fields_of(type(record))}
    return _made(type(record), {**values, name: value})
