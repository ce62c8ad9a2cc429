"""Collect what the build of a module that lives outside the tree made, from the folder that it wrote to.

The module's Makefile is untrusted code: links are not followed, and names are checked before they are used.
"""

from __future__ import annotations

import re
from pathlib import Path

from kmodpipe.util import document, paths
from kmodpipe.util.errors import KernelFailure

SYMVERS = "Module.symvers"
_PLAIN = re.compile(r"\w[\w+.-]*\.ko", re.ASCII)
_SYMVERS_BYTES = 16 << 20
_MOST = 1000


def collect(obj: Path, out: Path, what: str, log: Path) -> tuple[str, ...]:
    """Move the modules below ``obj`` to ``out``, and write what they export to `SYMVERS` there.

    Return the names in ``out``, none if no module was made. Raise KernelFailure for two modules of one name.
    """
    found: dict[str, str] = {}
    exports: list[str] = []
    for path, entry in paths.walk(obj):
        if not entry.is_file(follow_symlinks=False):
            continue
        if entry.name == SYMVERS:
            exports.append(path)
        if not entry.name.endswith(".ko"):
            continue
        if not _PLAIN.fullmatch(entry.name):
            raise _refused(what, log, f"made a file of the name {entry.name!r}, which no module can have")
        if entry.name in found:
            first, second = sorted((found[entry.name], path))
            raise _refused(
                what, log, f"made two modules of one name, which cannot both be loaded: {first} and {second}"
            )
        found[entry.name] = path
    if not found:
        return ()
    if len(found) > _MOST:
        raise _refused(what, log, f"made {len(found)} modules: {_MOST} are allowed")
    for name, path in found.items():
        (obj / path).rename(out / name)
    (out / SYMVERS).write_text("".join(_text(obj / path, what, log) for path in sorted(exports)))
    return (*sorted(found), SYMVERS)


def _text(path: Path, what: str, log: Path) -> str:
    try:
        return document.read_text(path, most=_SYMVERS_BYTES)
    except (OSError, ValueError) as e:
        raise _refused(what, log, f"made a {SYMVERS} that cannot be read: {e}") from e


def _refused(what: str, log: Path, why: str) -> KernelFailure:
    return KernelFailure(f"the build of {what} {why}", where=f"log: {log}", hint="look at its Makefile")
