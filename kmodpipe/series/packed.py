"""Write a series as it was read into one file, for a machine that does not have what it was read from.

A range of commits, a working tree and a mailing list's thread are not files of a project, and what is a file
may be edited meanwhile: a job on another machine takes the series from here, field by field the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from kmodpipe.series.model import Patch, Series
from kmodpipe.util import document
from kmodpipe.util.errors import UserError

SUFFIX = ".kmodpipe-series"
SCHEMA = "kmodpipe-series"
VERSION = 1
_MOST_MIB = 128


def pack(series: Series) -> bytes:
    """Return the content of the file: JSON, the patches' bytes in base64."""
    plain = asdict(_with_data(series, base64.b64encode))
    made = {"schema": SCHEMA, "version": VERSION, "series": plain}
    return json.dumps(made, default=_plain).encode()


def load(path: Path) -> Series:
    """Return the series in a file that `pack` wrote. Raise UserError for another one."""
    with document.given("a packed series", str(path)):
        found = document.read_object(path, most=_MOST_MIB * document.MIB)
    if (found.get("schema"), found.get("version")) != (SCHEMA, VERSION):
        raise UserError("not a series that this version of kmodpipe has packed", where=str(path))
    packed = document.validated(Series, found.get("series"), "a packed series", str(path))
    try:
        return _with_data(packed, lambda data: base64.b64decode(data, validate=True))
    except ValueError as e:
        raise UserError(f"a packed series cannot be read: {e}", where=str(path)) from e


def _with_data(series: Series, change: Callable[[bytes], bytes]) -> Series:
    """Return the series with the bytes of each patch changed."""

    def changed(patches: tuple[Patch, ...]) -> tuple[Patch, ...]:
        return tuple(replace(one, data=change(one.data)) for one in patches)

    ports = tuple(replace(port, patches=changed(port.patches)) for port in series.ports)
    return replace(series, patches=changed(series.patches), ports=ports)


def _plain(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
