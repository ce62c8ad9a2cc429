"""Have a module's objects count what is executed, and keep the notes (.gcno) that gcov reads with it.

kbuild adds the flags where $(GCOV_PROFILE) is set (scripts/Makefile.lib). From the environment it stands
behind what a Makefile says: a file that must not be instrumented stays so.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from kmodpipe.build.outputs import FILE_BYTES, MEMBERS
from kmodpipe.cache.store import Inputs
from kmodpipe.util import paths
from kmodpipe.util.errors import KernelFailure

NOTES = "notes"
"""The folder of a module's artifact with the notes; a module without it was not instrumented."""
INSTRUMENTED: Mapping[str, str] = {"GCOV_PROFILE": "y"}
"""Variables of the environment of make, for a module that is built alone."""

# Raise it when other flags are given, or other files kept.
_VERSION = 1
_SUFFIX = ".gcno"


def instrumented(folder: str) -> Mapping[str, str]:
    """Return variables of the environment of make that instrument one folder of the tree, and what is below.

    make expands a variable of the environment where it is used: $(obj) is the folder that is built then.
    """
    return {"GCOV_PROFILE": f"$(if $(filter {folder} {folder}/%,$(obj)),y)"}


def key_part(coverage: bool) -> Inputs:
    """Return what counting adds to the key of a module: nothing without it."""
    return {"coverage": _VERSION} if coverage else {}


def collect(obj: Path, folder: str, notes: Path, what: str, log: Path) -> None:
    """Move the notes below a ``folder`` of ``obj`` to ``notes``, by their paths in ``obj``.

    Raise KernelFailure if there are none, or too many: Makefiles are untrusted code.
    """
    notes.mkdir()
    total = kept = 0
    for name, entry in [*paths.walk(obj / folder)]:
        if not name.endswith(_SUFFIX) or not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            continue
        kept, total = kept + 1, total + entry.stat(follow_symlinks=False).st_size
        if kept > MEMBERS or total > FILE_BYTES:
            raise KernelFailure(f"the build of {what} left too many notes for gcov", where=f"log: {log}")
        target = notes / folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (obj / folder / name).rename(target)
    if not kept:
        raise KernelFailure(
            f"the compiler instrumented nothing of {what}: there are no counters",
            where=f"log: {log}",
            hint="its Makefile says GCOV_PROFILE := n, or its kernel has no CONFIG_GCOV_KERNEL",
        )
