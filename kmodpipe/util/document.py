"""Read documents that anyone may have written: a regular file, bounded in size and depth, strict JSON.

`read`, `parse` and `read_json` raise OSError or `Unreadable`, for files of the cache: one that cannot be
read is made again. `given` turns both into the UserError about a file that the user named, and `validated`
compares a document with a dataclass.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from kmodpipe.util.errors import UserError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MIB = 1024**2
_BYTES = 16 * MIB
_DEPTH = 64
# Lists, objects and their entries; an empty list takes 3 bytes of a file and 60 of memory.
_ENTRIES = 8_000_000
# 64 bits and a sign, in decimal digits.
_DIGITS = 20
_FAULTS = 12
# A surrogate as JSON writes it; a pair of them is one character.
_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

Value = TypeVar("Value")


class Unreadable(ValueError):
    """The file is none that is read, or no document; the message is a phrase: "it is a FIFO"."""


# -- files --------------------------------------------------------------------------------------------
def read(path: Path, *, most: int = _BYTES) -> bytes:
    """Return the content of a regular file of at most ``most`` bytes, without waiting for a writer.

    Raise OSError if it cannot be opened, Unreadable if it is no regular file, or larger.
    """
    # Without O_NONBLOCK, opening a FIFO waits for its other end; a regular file does not know the flag.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise Unreadable(f"it is {_kind(mode)}, not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as f:
            data = f.read(most + 1)
    finally:
        os.close(fd)
    if len(data) > most:
        raise Unreadable(f"it is larger than {most // MIB} MiB" if most >= MIB else f"over {most} bytes")
    return data


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "a FIFO",
        stat.S_IFDIR: "a folder",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")


def read_text(path: Path, *, most: int = _BYTES) -> str:
    """Return the content of a file as text. Raise OSError or Unreadable as `read`, or if it is not UTF-8."""
    return _decoded(read(path, most=most))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise Unreadable(f"it is not UTF-8: byte {e.start}") from None


# -- JSON ---------------------------------------------------------------------------------------------
def read_json(path: Path, *, most: int = _BYTES) -> Any:
    """Return the value in a JSON file. Raise OSError or Unreadable as `read` and `parse`."""
    return parse(read(path, most=most))


def read_object(path: Path, *, most: int = _BYTES) -> dict[str, Any]:
    """Return the object in a JSON file. Raise OSError or Unreadable as `read_json`, or if it is none."""
    value = read_json(path, most=most)
    if not isinstance(value, dict):
        raise Unreadable("it is no JSON object")
    return value


def parse(raw: bytes | str) -> Any:
    """Return the value of a JSON text (RFC 8259). Raise Unreadable.

    Refused is what readers take in different ways: the same name twice in an object, NaN and Infinity,
    numbers over 64 bits, half a surrogate pair, more than 64 levels.
    """
    text = raw if isinstance(raw, str) else _decoded(raw)
    if sum(map(text.count, "[{,")) > _ENTRIES:
        raise Unreadable("it has far more entries than any document of ours")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_int, parse_float=number
        )
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable(f"it is nested more than {_DEPTH} levels deep") from None
    except ValueError as e:
        raise Unreadable(f"it is not JSON: {e}") from None
    check_depth(value)
    if _ESCAPE.search(text):
        _check_text(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"it has the name {twice[:80]!r} twice in one object")
    return found


def _constant(word: str) -> NoReturn:
    raise Unreadable(f"it holds {word}, which is no number of JSON")


def _int(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise Unreadable(f"it holds a number of {len(digits)} digits")
    return int(digits)


def number(text: str) -> float:
    """Return the number in ``text``. Raise Unreadable unless it is finite."""
    value = float(text)
    if not math.isfinite(value):
        raise Unreadable(f"it holds a number that is not finite: {text[:40]}")
    return value


def check_depth(value: object) -> None:
    """Raise Unreadable if lists and objects are nested more than 64 levels deep."""
    level = [value]
    for _ in range(_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise Unreadable(f"it is nested more than {_DEPTH} levels deep")


def _check_text(value: object) -> None:
    """Raise Unreadable for a string with half a surrogate pair, which no file or terminal takes."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            pending += [*one, *one.values()]
        elif isinstance(one, list):
            pending += one
        elif isinstance(one, str) and not one.isascii() and not _is_unicode(one):
            raise Unreadable("a string in it is not Unicode: it has half a surrogate pair")


@cache
def _adapter(model: Hashable) -> TypeAdapter[Any]:
    """Return the adapter of a model, which takes longer to make than most documents take to read."""
    from pydantic import TypeAdapter

    return TypeAdapter(cast(Any, model))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- for the user -------------------------------------------------------------------------------------
@contextmanager
def given(what: str, where: str, *, hint: str = "") -> Iterator[None]:
    """Turn OSError and Unreadable into the UserError "``what`` cannot be read: …" about ``where``."""
    try:
        yield
    except Unreadable as e:
        raise UserError(f"{what} cannot be read: {e}", where=where, hint=hint) from None
    except OSError as e:
        raise UserError(f"{what} cannot be read: {e.strerror or e}", where=where, hint=hint) from None


def validated(model: type[Value], value: object, what: str, where: str) -> Value:
    """Return the JSON ``value`` as a ``model``, a dataclass. Raise UserError with the fields that are wrong.

    Types are strict: a number in quotes is none.
    """
    return validated_text(model, json.dumps(value), what, where)


def validated_text(model: type[Value], text: str | bytes, what: str, where: str) -> Value:
    """Return a JSON text as a ``model``, as `validated` does; it has to be one that `parse` takes."""
    # Not with this module: to load it takes longer than what a command reads at its start.
    from pydantic import ValidationError

    try:
        adapter: TypeAdapter[Value] = _adapter(cast(Hashable, model))
        return adapter.validate_json(text, strict=True)
    except ValidationError as e:
        faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}"[:200] for f in e.errors(include_url=False)]
    except (ValueError, RecursionError, OverflowError) as e:
        faults = [str(e)[:200]]
    more = [f"and {len(faults) - _FAULTS} more"] if len(faults) > _FAULTS else []
    detail = "\n".join([*faults[:_FAULTS], *more])
    raise UserError(f"{what} does not match its schema", where=where, detail=detail) from None
