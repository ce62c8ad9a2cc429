"""The records of a run as JSON text, quickly: a run can have a hundred thousand results. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Half a surrogate pair or a whole one, as JSON writes it.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def line(value: Any) -> str:
    """Return *value*, made of records, mappings, sequences and plain values, as JSON on one line in ASCII.

    Lone surrogates are written out as the text ``\\udc80``, since many JSON readers refuse them.
    """
    made = json.dumps(value, default=_fields, ensure_ascii=True)
    # Rare, and slow: every string has to be looked at.
    return json.dumps(plain(value), ensure_ascii=True) if _SURROGATE.search(made) else made


def text(value: Any) -> str:
    """Return *value* likewise as a document of many lines, without lone surrogates."""
    return json.dumps(plain(value), indent=1, ensure_ascii=True) + "\n"


def rows(values: Iterable[Any], indent: str) -> Iterator[str]:
    """Yield the JSON of a list, an entry a line."""
    empty = True
    for value in values:
        yield f"{'[' if empty else ','}\n{indent} {line(value)}"
        empty = False
    yield "[]" if empty else f"\n{indent}]"


def _fields(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}


def plain(value: Any) -> Any:
    """Return *value* as plain JSON values, without lone surrogates."""
    if isinstance(value, str):
        return str(value) if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if dataclasses.is_dataclass(value) or isinstance(value, Mapping):
        return {plain(k): plain(v) for k, v in _fields(value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
