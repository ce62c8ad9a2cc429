"""The groups of messages that a case or a project can watch for, as its file names them.

    watch = ["fs-errors"]

in a ``[[case]]`` or in ``[tool.kmodpipe]``; the messages are in `signatures.watched`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from kmodpipe.logs.signatures import Watch
from kmodpipe.util.errors import unknown_name


def _known(name: str) -> str:
    if name not in set(Watch):
        raise ValueError(unknown_name("group of messages", name, Watch).what)
    return name


# A string that is the name of a group; a ValueError names the nearest otherwise.
WatchName = Annotated[str, Field(json_schema_extra={"enum": list(Watch)}), AfterValidator(_known)]

__all__ = ["WatchName"]
