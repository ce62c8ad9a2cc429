"""Read TOML files into validated models, and report errors by file and field."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kmodpipe.util import document
from kmodpipe.util.errors import UserError

_MOST = document.MIB
# tomllib keeps every beginning of a dotted key: one of 100,000 parts takes more memory than a machine has.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
Model = TypeVar("Model", bound=BaseModel)


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


def validate(model: type[Model], table: object, what: str, path: Path, *, hint: str = "") -> Model:
    """Return ``table`` as a ``model``. Raises UserError with one line for each field that is wrong."""
    try:
        return model.model_validate(table)
    except ValidationError as e:
        detail = "\n".join(faults(table, e))
        # Without the cause: pydantic quotes wrong values, and one may be a secret.
        raise UserError(f"{what} is not valid", where=str(path), detail=detail, hint=hint) from None


def load(path: Path, model: type[Model], what: str, *, hint: str = "") -> Model:
    """Return the content of a file as a ``model``. Raises UserError as `read` and `validate` do."""
    return validate(model, read(path, what), what, path, hint=hint)


def faults(table: object, error: ValidationError) -> Iterator[str]:
    """Yield a line for each error of a validation: ``case.mount.expect[2].outcome: Field required``.

    An entry of a list that has an ``id`` is named by it, others by their number from 1.
    """
    for fault in error.errors():
        text = ""
        place: Any = table
        for part in fault["loc"]:
            place = _entry(place, part)
            if isinstance(part, str):
                text += f".{part}" if text else part
                continue
            name = place.get("id") if isinstance(place, Mapping) else None
            text += f".{name}" if isinstance(name, str) else f"[{part + 1}]"
        yield f"{text or 'file'}: {fault['msg']}"


def _entry(place: Any, part: str | int) -> Any:
    try:
        return place[part]
    except (KeyError, IndexError, TypeError):
        return None
