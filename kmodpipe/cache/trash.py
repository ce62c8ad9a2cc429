"""Remove large folders of the cache without anybody waiting for it.

    CACHE/trash/<random>   what is used no more; whoever has a processor to spare goes on removing it

A patched tree takes a second to remove, longer than a command may take whose user has just edited a line.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from kmodpipe.util import process

FOLDER = "trash"
# A disk that is busy is one for everybody.
_AT_ONCE = 4
_LONGEST_S = 600.0


def put(cache: Path, folder: Path) -> None:
    """Move a folder of the cache where no command finds it. Raise OSError."""
    place = cache / FOLDER
    place.mkdir(exist_ok=True)
    folder.rename(place / secrets.token_hex(8))


def empty(cache: Path) -> None:
    """Remove some of what is there, while nothing else needs the processor; a later command goes on.

    Raise InfraError, or Interrupted if the command ends.
    """
    place = cache / FOLDER
    if place.is_dir() and (found := sorted(place.iterdir())[:_AT_ONCE]):
        process.run(["nice", "-n", "19", "rm", "-rf", "--", *found], timeout_s=_LONGEST_S, check=False)


__all__ = ["FOLDER", "empty", "put"]
