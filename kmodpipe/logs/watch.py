"""The groups of messages that a case or a project can watch for, as its file names them.

    watch = ["fs-errors"]

in a ``[[case]]`` or in ``[tool.kmodpipe]``; the messages are in `signatures.watched`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from kmodpipe.util.errors import unknown_name


class Watch(StrEnum):
    """The groups of messages that a case or the project can watch for."""

    FS_ERRORS = "fs-errors"
    BLOCK_ERRORS = "block-errors"
    ALLOCATION_FAILURES = "allocation-failures"
    IRQ_ERRORS = "irq-errors"


def _known(name: str) -> str:
    if name not in set(Watch):
        raise ValueError(unknown_name("group of messages", name, Watch).what)
    return name


# A string that is the name of a group; a ValueError names the nearest otherwise.
WatchName = Annotated[str, Field(json_schema_extra={"enum": list(Watch)}), AfterValidator(_known)]

__all__ = ["Watch", "WatchName"]
