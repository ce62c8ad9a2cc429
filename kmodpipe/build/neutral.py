"""Objects that no symbol of the module's own has a part in, and the settings of a further configuration.

Cells of one source on one base differ in the symbols that are the module's own (`Sharing.owned`), and most of
a module's objects read none of them. The compiler's wrapper (``images/builder/cc.c``) tells which: it
preprocesses each file with these symbols poisoned, so that any mention is an error, of one that is not set
and of one that macros paste together too (https://gcc.gnu.org/onlinedocs/cpp/Pragmas.html). Cells of the
same source take such objects as they are, with kbuild's records beside them, by which it makes anew what it
would make by another command line, or of a file that was made meanwhile. Cells of a source that differs in
the content of a few files of C, as after an edit, take those that were compiled from none of these.

What kbuild makes of a configuration before it compiles (`reuse.SETTINGS`) says the same of each symbol in a
few places. So those of a further configuration are written here, from those of the cell that left the
objects.

A cell whose source was edited takes of its own state before all objects that were compiled from no edited
file, those that read the symbols too: its configuration is the same (`same_cell`).
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kmodpipe.build import object_records
from kmodpipe.build.object_records import OBJECTS, Said, record_of
from kmodpipe.build.reuse import SETTINGS, files_left
from kmodpipe.cache.store import inputs_of
from kmodpipe.kconfig import parse_config

NEUTRAL = "neutral"
"""The folder of a module's artifact with such objects, and the symbols that have no part in them."""
_SYMBOLS = "symbols"
OWN = "own"
"""The folder of a module's artifact with all of its objects."""
_STATES = {"y", "m", "n"}
# What a configuration alone makes, of 5.10 to 7.x; where more was made, an object may be compiled from it.
_LISTS = ("include/config/auto.conf", "include/generated/autoconf.h", "include/generated/rustc_cfg")
_AUTO_CONF, _AUTOCONF, _RUST = _LISTS
_COMMANDS = "include/config/auto.conf.cmd"


def symbols_text(symbols: Collection[str]) -> str:
    """Return the text of the file ``symbols`` for the recipe: one a line."""
    return "".join(f"{symbol}\n" for symbol in sorted(symbols))


def collect(left: Path, folder: Path, symbols: Collection[str], said: Said | None) -> None:
    """Move the neutral objects that a build left to ``folder``, and all of the cell; none if anything is odd.

    `reuse.collect` comes first: without the settings of its configuration the neutral ones are of no use.
    """
    with suppress(OSError):
        object_records.collect(left / OWN, folder / OWN, said)
    with suppress(OSError):
        if _plain(folder / SETTINGS) and object_records.collect(left / NEUTRAL, folder / NEUTRAL, said):
            (folder / NEUTRAL / _SYMBOLS).write_text(symbols_text(symbols))


def _plain(settings: Path) -> bool:
    """Whether these settings hold nothing but what `derive` writes."""
    names = {str(path.relative_to(settings)): state.st_size for path, state in files_left(settings)}
    more = names.keys() - {*_LISTS, _COMMANDS}
    return names.keys() >= {_AUTO_CONF, _AUTOCONF} and all(
        name.startswith("include/config/") and names[name] == 0 for name in more
    )


@dataclass(frozen=True)
class Target:
    """What takes the objects: a cell to be built."""

    configuration: str  # the text of its final .config
    src: Path  # its tree
    source: Mapping[str, str]  # the content of each touched file (`Subject.contents`)


@dataclass(frozen=True)
class Donor:
    """The artifact of a module whose objects another build may take."""

    module: Path
    differing: Mapping[str, tuple[str, str]]  # the values of each symbol there, and in the other one
    symbols: frozenset[str]  # that have no part in the objects
    edited: frozenset[str]  # the files that hold something else there
    src: Path  # of the other cell
    kind: str = NEUTRAL  # of the objects

    def objects(self, folder: Path) -> Path:
        """Return a folder with the objects and kbuild's records, as they stand in the module's folder.

        It is ``folder`` where some are left out, since they were compiled from a file that was edited.
        """
        kept = self.module / self.kind / OBJECTS
        if not self.edited:
            return kept
        for path in self._untouched:
            for one in (path, record_of(path)):
                target = folder / one.relative_to(kept)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(one, target)
        return folder

    @property
    def gives(self) -> int:
        """How many objects it gives."""
        return len(self._untouched if self.edited else self._kept)

    @property
    def gives_all(self) -> bool:
        """Whether no object was compiled from a file that was edited."""
        return self.gives == len(self._kept)

    @cached_property
    def _kept(self) -> list[Path]:
        return list((self.module / self.kind / OBJECTS).rglob("*.o"))

    @cached_property
    def _untouched(self) -> list[Path]:
        """The objects that were compiled from none of the files that were edited."""
        return object_records.reading_none(self._kept, self.edited, self.src)

    def derive(self, folder: Path) -> Path | None:
        """Write the other configuration's settings to ``folder``, and return it; None if that cannot be.

        Only symbols with the values y, m and n may differ.
        """
        if not all(before in _STATES and now in _STATES for before, now in self.differing.values()):
            return None
        settings = self.module / SETTINGS
        for path, state in files_left(settings):
            name = str(path.relative_to(settings))
            text = path.read_text("utf-8") if state.st_size else ""
            _write(folder / name, _changed(name, text, self.differing) if name in _LISTS else text)
        for symbol in self.differing:
            # What an object that reads the symbol depends on: named so since 5.13, and so before.
            for name in (symbol, f"{symbol.lower().replace('_', '/')}.h"):
                _write(folder / "include" / "config" / name, "")
        return folder


def has_all(module: Path, target: Target) -> bool:
    """Return whether another cell of the target's source would leave no more than ``module`` has for both.

    So it is after an edit of what reads a symbol, which each cell compiles for itself anyway.
    """
    found = donor(module, target)
    return found is not None and found.gives_all


def donor(module: Path, target: Target) -> Donor | None:
    """Return the artifact of a ``module`` to take neutral objects of; None if it has none for this cell.

    So it is if a symbol differs that may have a part in them, or if its source has other files.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        symbols = frozenset((module / NEUTRAL / _SYMBOLS).read_text("utf-8").split())
        differing, edited = _differing(module, target), _edited(module, target)
        if differing.keys() <= symbols and edited is not None:
            return Donor(module, differing, symbols, edited, target.src)
    return None


def same_cell(module: Path, target: Target) -> Donor | None:
    """Return the artifact of a ``module`` to take all objects of; None if it has none for this cell.

    So it is if it is of another configuration, or its source has other files.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        edited = _edited(module, target)
        if edited is not None and not _differing(module, target) and (module / OWN).is_dir():
            return Donor(module, {}, frozenset(), edited, target.src, OWN)
    return None


def _differing(module: Path, target: Target) -> dict[str, tuple[str, str]]:
    """Return the values of each symbol that differs, in a module's artifact and in the target."""
    before = parse_config((module / "out" / "cell.config").read_text("utf-8", "replace"))
    now = parse_config(target.configuration)
    values = {symbol: (before.get(symbol, "n"), now.get(symbol, "n")) for symbol in {*before, *now}}
    return {symbol: pair for symbol, pair in values.items() if pair[0] != pair[1]}


def _edited(module: Path, target: Target) -> frozenset[str] | None:
    """Return the touched files that hold something else in the target; None if others are touched."""
    source = inputs_of(module)["source"]
    if source.keys() != target.source.keys():
        return None
    return frozenset(name for name in target.source if source[name] != target.source[name])


def _changed(name: str, text: str, differing: Mapping[str, tuple[str, str]]) -> str:
    """Return a list of all symbols with those that differ changed."""
    lines = text.splitlines(keepends=True)
    for symbol, (before, now) in differing.items():
        lines = [line for line in lines if line not in _lines(name, symbol, before)]
        # Before the first symbol: what an earlier kernel writes at the end may be no symbol's.
        at = next((number for number, line in enumerate(lines) if "CONFIG_" in line), len(lines))
        lines[at:at] = _lines(name, symbol, now)
    return "".join(lines)


def _lines(name: str, symbol: str, value: str) -> list[str]:
    """Return what such a list says of a symbol, as confdata.c of Kconfig writes it."""
    if value == "n":
        return []
    return {
        _AUTO_CONF: [f"CONFIG_{symbol}={value}\n"],
        _AUTOCONF: [f"#define CONFIG_{symbol}{'_MODULE' if value == 'm' else ''} 1\n"],
        _RUST: [f"--cfg=CONFIG_{symbol}\n", f'--cfg=CONFIG_{symbol}="{value}"\n'],
    }[name]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
