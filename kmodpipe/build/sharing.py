"""Decide which cells boot the same vmlinux.

A base is built once for all cells whose source and configuration make the same vmlinux. Two checks:

    before it is built   the text of the tree says which symbols are the module's own (`kconfig.ownership`),
                         and whether files of the module's folder have a part in vmlinux (`Sharing`)
    after it was built   fixdep recorded what each object of vmlinux was compiled from (`Readings`): a cell
                         that differs in one of these symbols or files gets a base of its own

The first may be generous only where the second would notice: in what C says by CONFIG_X. What leaves no
record, Makefiles, scripts and names that macros complete, is for the first to be sure of.

Documentation and the like have no part in a base that is built from the unpatched tree. Where a series
changes other files outside the module's folder, these can include anything: then all its files count but the
module's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build.recipes import FILES_READ, SYMBOLS_READ
from kmodpipe.cache.store import Artifact
from kmodpipe.kconfig import Variant, ownership
from kmodpipe.series import Series
from kmodpipe.source import Tree
from kmodpipe.util import document
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import write_atomically

# Raise it when `ownership.search` finds something else than before: what is on the disk is not used then.
_SEARCH_VERSION = 2


@dataclass(frozen=True)
class Subject:
    """A variant with its source: the pristine tree for the control, the patched one for a series."""

    variant: Variant
    series: Series | None
    src: Path

    @cached_property
    def touched(self) -> tuple[str, ...]:
        """The files that the series changes."""
        return tuple(sorted(set(self.series.touched))) if self.series else ()

    @cached_property
    def contents(self) -> Mapping[str, str]:
        """What each touched file is now: see `content`."""
        return {name: content(self.src / name) for name in self.touched}

    def contents_of(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Return the content of each touched file whose name is ``wanted``."""
        return {name: made for name, made in self.contents.items() if wanted(name)}


@dataclass(frozen=True)
class BaseSpec:
    """The kernel base that a cell needs."""

    src: Path
    source: str  # the identity of the files below ``src``
    config: str  # the text of the .config that it is built from
    config_digest: str  # without the symbols that are the module's own
    make: Mapping[str, str] = field(default_factory=dict)  # variables for make
    patched: frozenset[str] = frozenset()  # the touched files that ``source`` covers

    @property
    def key(self) -> tuple[str, str]:
        """The same for all cells that share a base."""
        return self.source, digest_of([self.config_digest, dict(self.make)])


def content(path: Path) -> str:
    """Return a file's digest, marked if it is executable; a link's target; or ``deleted``."""
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return "deleted"
    return digest_file(path) + (" executable" if path.stat().st_mode & 0o100 else "")


class Sharing:
    """What cells of one tree and module may share, from the text of the tree and of the series."""

    def __init__(self, tree: Tree, module: str) -> None:
        self._tree = tree
        self._module = module
        self._outside = ownership.Outside()
        self._searched: frozenset[str] = frozenset()
        # By the source's folder: a source does not change while a command runs.
        self._symbols: dict[Path, frozenset[str]] = {}
        self._series: dict[Path, ownership.Outside] = {}
        self._parts: dict[tuple[Path, str], bool] = {}
        self._makefiles: dict[Path, ownership.Makefiles] = {}
        self._lock = threading.RLock()

    def owned(self, subject: Subject, config: Mapping[str, str]) -> frozenset[str]:
        """Return the symbols that may differ between cells of ``subject`` that share a base.

        ``config`` is the cell's final configuration.
        """
        if any(config.get(symbol, "n") != "n" for symbol in ownership.WHOLE_CONFIG):
            return frozenset()
        if self._in_vmlinux(subject, config):
            return frozenset()
        symbols, series = self._defined(subject), self._search_series(subject)
        if series.reads_all:
            return frozenset()
        tree = self._search(symbols)
        read = {*tree.readers, *series.readers, *series.recorded}
        left = {symbol: files for symbol, files in tree.recorded.items() if symbol in symbols - read}
        read |= {s for s, files in left.items() if any(self._compiled(f, subject, config) for f in files)}
        return symbols - read

    def patched(self, subject: Subject, config: Mapping[str, str]) -> dict[str, str]:
        """Return the content of the touched files that vmlinux may be built from; none for most series."""
        in_vmlinux = self._in_vmlinux(subject, config)
        if in_vmlinux and any(not _is_inert(name) for name in subject.touched):
            return dict(subject.contents)
        if self._outside_files(subject):
            return subject.contents_of(lambda name: not self._is_module_file(name))
        return {}

    def _is_module_file(self, name: str) -> bool:
        return name.startswith(f"{self._module}/")

    def _outside_files(self, subject: Subject) -> bool:
        """Whether the series changes what vmlinux is built from outside the module's folder."""
        return any(not self._is_module_file(name) and not _is_inert(name) for name in subject.touched)

    def _in_vmlinux(self, subject: Subject, config: Mapping[str, str]) -> bool:
        """Whether files of the module's folder may have a part in vmlinux, before or after the series."""
        key = subject.src, kconfig.digest(config)
        if key not in self._parts:
            tree, series = self._search(self._defined(subject)), self._search_series(subject)
            # What the files of a series include may be something else then.
            used = tree.user or series.user or series.included
            sources = {self._tree.path, subject.src}
            self._parts[key] = bool(
                used
                or any(self._makefiles_of(src).built_in(self._module, config) for src in sources)
                or any(
                    not set(subject.touched).isdisjoint(files) and self._compiled(name, subject, config)
                    for name, files in tree.included.items()
                )
            )
        return self._parts[key]

    def _compiled(self, name: str, subject: Subject, config: Mapping[str, str]) -> bool:
        """Whether a file of C may be compiled, in the unpatched tree or in the subject's."""
        sources = {self._tree.path, subject.src}
        return any(self._makefiles_of(src).may_compile(name, config) for src in sources)

    def _makefiles_of(self, src: Path) -> ownership.Makefiles:
        return self._makefiles.setdefault(src, ownership.Makefiles(src))

    def _defined(self, subject: Subject) -> frozenset[str]:
        """Return the symbols that the module's folder defines."""
        if subject.src not in self._symbols:
            self._symbols[subject.src] = kconfig.owned_symbols(subject.src, self._module)
        return self._symbols[subject.src]

    def _search_series(self, subject: Subject) -> ownership.Outside:
        """Return what the series reads outside the module's folder, if a base is built from its files."""
        if not self._outside_files(subject):
            return ownership.Outside()
        if subject.src not in self._series:
            self._series[subject.src] = ownership.search_files(
                subject.src,
                self._module,
                self._defined(subject),
                subject.touched,
                self._search(self._defined(subject)).completed,
            )
        return self._series[subject.src]

    def _search(self, symbols: frozenset[str]) -> ownership.Outside:
        """Return what the unpatched tree reads of ``symbols``; searched once for a tree and module."""
        with self._lock:
            if not symbols <= self._searched:
                self._recall()
            if not symbols <= self._searched:
                wanted = symbols | self._searched
                self._outside = ownership.search(self._tree.path, self._module, wanted)
                self._searched = wanted
                self._remember()
            return self._outside

    @property
    def _memory(self) -> Path:
        name = digest_of([_SEARCH_VERSION, self._tree.identity, self._module])[:16]
        return self._tree.path.with_name(f"{self._tree.path.name}.{name}.readers.json")

    def _recall(self) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found = document.read_object(self._memory)
            if found["identity"] == self._tree.identity and found["module"] == self._module:
                completed = found["completed"]
                self._outside = ownership.Outside(
                    {str(symbol): str(name) for symbol, name in found["readers"].items()},
                    {str(symbol): _names(files) for symbol, files in found["recorded"].items()},
                    {str(name): _names(files) for name, files in found["included"].items()},
                    str(found["user"]),
                    completed=None if completed is None else frozenset(_names(completed)),
                )
                self._searched = frozenset(_names(found["searched"]))

    def _remember(self) -> None:
        found = {
            "identity": self._tree.identity,
            "module": self._module,
            "searched": sorted(self._searched),
            "readers": dict(self._outside.readers),
            "recorded": {symbol: list(files) for symbol, files in self._outside.recorded.items()},
            "included": {name: list(files) for name, files in self._outside.included.items()},
            "user": self._outside.user,
            "completed": None if self._outside.completed is None else sorted(self._outside.completed),
        }
        # A cache that cannot be written to is searched again by the next run.
        with suppress(OSError):
            write_atomically(self._memory, json.dumps(found, sort_keys=True))


@dataclass(frozen=True)
class Readings:
    """What vmlinux of a base was compiled from, as fixdep recorded it."""

    config: Mapping[str, str]  # the base's final configuration
    symbols: frozenset[str]  # in capitals, as fixdep of before 5.13 keeps no case
    files: frozenset[str]  # relative to the tree, or to the object folder for generated ones

    @staticmethod
    def of(base: Artifact) -> Readings:
        """Read them from an artifact. Raise InfraError if they are missing."""
        out = base.path / "out"
        try:
            symbols, files = (
                (out / name).read_text("utf-8", "replace") for name in (SYMBOLS_READ, FILES_READ)
            )
            config = (out / "base.config").read_text("utf-8", "replace")
        except OSError as e:
            raise InfraError(
                f"the base lacks what vmlinux was compiled from: {e.strerror}",
                where=str(out),
                hint="remove it, so that it is built again: invoke clean",
            ) from e
        return Readings(
            kconfig.parse_config(config), frozenset(symbols.split("\n")), frozenset(files.split("\n"))
        )

    def misfit(self, spec: BaseSpec, subject: Subject, config: Mapping[str, str], module: str) -> str:
        """Return why a cell of this final configuration must not boot the base; "" if it may."""
        differing = sorted(
            symbol
            for symbol in {*self.config, *config}
            if self.config.get(symbol, "n") != config.get(symbol, "n")
        )
        for symbol in differing:
            if symbol.upper() in self.symbols:
                return f"vmlinux reads {symbol}"
        missing = sorted(set(subject.touched) - spec.patched)
        for name in missing:
            if name in self.files:
                return f"vmlinux is compiled from {name}"
        # A generated header can depend on any symbol and file of the folder.
        if differing or any(name.startswith(f"{module}/") for name in missing):
            for name in sorted(self.files):
                if name.startswith(f"{module}/") and not (subject.src / name).exists():
                    return f"vmlinux is compiled from {name}"
        return ""


def _names(found: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, found))


def _is_inert(name: str) -> bool:
    return name.startswith(ownership.INERT)
