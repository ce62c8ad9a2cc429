"""Let the build of a cell's module take what builds of other cells left: objects, and a configuration.

Cells differ in their configuration, states of a series in a file or two; most of what a module's build does
was done before. Three things are left for others:

    objects    of the module, by the compiler's arguments and the preprocessed text (``ccache.sh`` in
               ``images/builder``): all that the compiler reads. The first are those that the base made of the
               tree's own modules
    settings   what kbuild makes of one configuration before it compiles, below ``include``
    neutral    objects that the configuration has no part in, for cells of the same source (`neutral`)
    own        all objects, for the same cell after an edit

A build is untrusted code: it may leave what is not of its source. So there are families, whose members may
take each other's (`Names`): all with the same base, where a build does no more with a series than compile it
(`touched_files.only_compiled`); else those of one source, which makes of itself what it likes anyway.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util import paths
from kmodpipe.util.digest import digest_of

OBJECTS, SETTINGS = "objects", "settings"
"""The folders of a module's artifact with what it left for others; not every one has them."""
# ccache's names of results: digests in base 16 and 32.
_OBJECT = re.compile(r"[0-9a-v]{16,64}")
_MOST_BYTES = 32 << 20
_MOST_FILES = 4000
_AUTO_CONF = "include/config/auto.conf"
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Reused:
    """What a module's build may take of others."""

    objects: Path | None = None
    settings: Path | None = None
    # The artifact of a module of the same source, or of one that differs in what some files of C hold.
    kindred: Path | None = None
    # The same of the same configuration.
    same: Path | None = None
    # Whether cells of the same source are to be built after it.
    leads: bool = False


@dataclass(frozen=True)
class Names:
    """What a module's build is found by as one that others may take from."""

    objects: str
    settings: str
    # Of one source, and of those that differ in what files of C hold; "" where the source alone does not say
    # what Kconfig makes of it, and where a build runs what the series brings.
    source: str
    kindred: str
    # Of those, and of one configuration.
    same: str


def of_base(base: Path) -> Path | None:
    """Return the objects of modules that the artifact of a base has; None if it has none."""
    return base / OBJECTS if paths.is_dir(base / OBJECTS) else None


def names(
    inputs: Mapping[str, object],
    configuring: Mapping[str, str],
    sources: Collection[str] = (),
    *,
    only_compiled: bool,
    kconfig_runs_nothing: bool,
) -> Names:
    """Return the names for a module of these inputs of its key (`Stages.module_of`).

    Of the touched files ``configuring`` are those that Kconfig may read, ``sources`` those of C below the
    module's folder; the others say what the build and Kconfig do with all of them (`touched_files`).
    """
    own = {"configuration"} | ({"source", "targets", "under test"} if only_compiled else set())
    family = digest_of({name: value for name, value in inputs.items() if name not in own})
    settings = digest_of([family, inputs["configuration"], dict(configuring)])
    rest = {name: value for name, value in inputs.items() if name != "configuration"}
    source = digest_of(rest) if kconfig_runs_nothing else ""
    touched = inputs["source"]
    if not (source and only_compiled and isinstance(touched, Mapping)):
        return Names(family, settings, source, "", "")
    kindred = {name: "C" if name in sources else held for name, held in touched.items()}
    like = digest_of({**rest, "source": kindred})
    return Names(family, settings, source, like, digest_of([like, inputs["configuration"]]))


def collect(left: Path, folder: Path, reused: Reused, configuration: Path) -> None:
    """Move what a build left for others to ``folder``; what is odd, or not new, is left out.

    ``configuration`` is the file with the cell's, written before the build.
    """
    with suppress(OSError):
        began_ns = configuration.stat().st_mtime_ns
        _collect_objects(left / OBJECTS, folder / OBJECTS, reused.objects, began_ns)
    with suppress(OSError):
        _collect_settings(left / SETTINGS, folder / SETTINGS, configuration.read_text("utf-8", "replace"))


def _collect_objects(left: Path, folder: Path, seed: Path | None, began_ns: int) -> None:
    """Keep those of this build and as many of earlier ones, the last used; none if nothing was compiled."""
    found = [(path, state) for path, state in files_left(left) if _OBJECT.fullmatch(path.name)]
    most = 2 * sum(state.st_mtime_ns >= began_ns for _, state in found)
    had = {path.name for path in seed.iterdir()} if seed else set[str]()
    if {path.name for path, _ in found} <= had:
        return
    room = _MOST_BYTES
    for path, state in sorted(found, key=lambda one: -one[1].st_mtime_ns)[:most]:
        room -= state.st_size
        if room < 0:
            break
        move(path, folder / path.name)


def _collect_settings(left: Path, folder: Path, configuration: str) -> None:
    found = files_left(left)
    if sum(state.st_size for _, state in found) > _MOST_BYTES:
        return
    if _values((left / _AUTO_CONF).read_text("utf-8")) != _values(configuration):
        return
    for path, _ in found:
        move(path, folder / path.relative_to(left))


def _values(text: str) -> dict[str, str]:
    """Return the values in a configuration; later kernels write strings to auto.conf without quotes."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        symbol, equals, value = line.partition("=")
        if equals and symbol.startswith("CONFIG_"):
            found[symbol] = _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value
    return found


def files_left(top: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files that a build left below a folder.

    Raises OSError if there are too many, or anything else but folders.
    """
    if not stat.S_ISDIR(top.lstat().st_mode):
        raise NotADirectoryError(top)
    found: list[tuple[Path, os.stat_result]] = []
    for number, (_, entry) in enumerate(paths.walk(top), 1):
        state = entry.stat(follow_symlinks=False)
        if number > _MOST_FILES:
            raise OSError(f"too many files below {top}")
        if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
            found.append((Path(entry.path), state))
        elif not stat.S_ISDIR(state.st_mode):
            raise OSError(f"{entry.path} is no plain file")
    return found


def move(path: Path, target: Path) -> None:
    """Move a file that a build left to where it is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    target.chmod(0o644)
