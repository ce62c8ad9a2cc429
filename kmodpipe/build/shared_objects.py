"""Take objects that another cell of the same source and base had compiled from the same text.

Cells of a variant differ in their configuration alone, and most files of a module read little of it. ccache
names an object by its arguments and its preprocessed text (``images/builder/module.sh``).

A build is untrusted code: it may leave an object that is none of its source. So objects are only for cells
whose makefiles, sources and tools are the same (`family`): such a cell makes of itself what it likes anyway.
No series gets one of another, of the control, or of its own state before an edit.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util.digest import digest_of

FOLDER = "objects"
"""The folder of a module's artifact with the objects; not every module has one."""
# Where the recipe leaves them, below the object folder.
_LEFT = ".objects"
# ccache's names of results: digests in base 16 and 32.
_NAME = re.compile(r"[0-9a-v]{16,64}")
_MOST_BYTES = 64 << 20
_MOST_FILES = 4000


@dataclass(frozen=True)
class Objects:
    """What a module's build has to do with others' objects."""

    seed: Path | None = None  # the objects that it may take
    keep: bool = False  # whether it leaves its own for others


NO_OBJECTS = Objects()


def family(inputs: Mapping[str, object]) -> str:
    """Return what is the same for modules that may take each other's objects: all but the configuration."""
    return digest_of({name: value for name, value in inputs.items() if name != "configuration"})


def collect(obj: Path, folder: Path) -> None:
    """Move the objects that a build left below ``obj`` to the new ``folder``; none if anything is odd."""
    left = obj / _LEFT
    with suppress(OSError):
        if not stat.S_ISDIR(left.lstat().st_mode):
            return
        with os.scandir(left) as entries:
            found = [entry for entry in entries if _NAME.fullmatch(entry.name)]
        stats = [entry.stat(follow_symlinks=False) for entry in found]
        too_much = len(found) > _MOST_FILES or sum(s.st_size for s in stats) > _MOST_BYTES
        if too_much or not all(stat.S_ISREG(s.st_mode) and s.st_nlink == 1 for s in stats):
            return
        folder.mkdir()
        for entry in found:
            target = folder / entry.name
            Path(entry.path).rename(target)
            target.chmod(0o644)
