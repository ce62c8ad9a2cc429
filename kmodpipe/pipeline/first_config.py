"""Find the modules of a folder that has no matrix yet, and a configuration that builds them.

The tree itself is asked: its Makefile, what makes which module, and its Kconfig files, what that depends on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build import kbuild
from kmodpipe.kconfig import Index, SymbolRequest, ownership
from kmodpipe.kconfig.fragment import parse_fragment
from kmodpipe.kconfig.parser import index_tree
from kmodpipe.kconfig.suggest import READY, Suggestion, suggest
from kmodpipe.pipeline.module_folder import require_module
from kmodpipe.source import Tree
from kmodpipe.util import shipped
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.text import some

GUEST = "guest.config"
BASE = "tinyconfig"
MOST_MODULES = 6
_SHOWN = 12
# What tinyconfig sets beyond allnoconfig: images/builder/configure.sh reads the same files.
_PRESETS = ("kernel/configs/tiny-base.config", "kernel/configs/tiny.config", "arch/x86/configs/tiny.config")
# "option allnoconfig_y" of older trees, whose presets do not name it.
_ALWAYS = {"EMBEDDED": "y"}
_ALIAS = re.compile(r"^MODULE_ALIAS_(FS|CRYPTO)\(\"([\w().-]+)\"\)", re.MULTILINE)
_SOURCE_BYTES = 1 << 20


@dataclass(frozen=True)
class FirstConfig:
    """What was found for a folder: its modules, and a configuration with them."""

    # The folder, or the one module of it that is under test.
    module: str
    # The tree that was asked.
    tree: str
    suggestion: Suggestion
    # Modules as /proc/modules calls them.
    names: tuple[str, ...]
    # Names that the modules' sources register: file systems, algorithms. Not every kernel has all of them.
    filesystems: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    # Requested symbols that one of the run's other trees does not define.
    only_here: frozenset[str] = frozenset()


def find(trees: Sequence[Tree], module: str, named: Sequence[str]) -> FirstConfig:
    """Return a configuration for the modules of a folder, those that the symbols in ``named`` make, or for
    the one ``module`` that is named.

    Without a name, for all of them. The first tree is asked; of the others, which symbols they do not have.
    Raise UserError for a folder that the tree does not have or that makes no module, for one with many
    modules of which none is named, and for a symbol that cannot be m.
    """
    tree = trees[0]
    require_module(module, [tree.path], tree.name)
    folder, target = kbuild.split(module)
    asked = _Folder(folder, tree, index_tree(tree.path), kbuild.made_by(tree.path, folder))
    if target:
        named = [asked.maker_of(target)]
    symbols = [asked.named(name) for name in named] if named else asked.all()
    base = _base(tree.path) | {e.symbol: e.value for e in _fragment(GUEST)}
    ready = {name: _fragment(name) for name in READY}
    # Of a folder with few modules, those that are needed are modules as well: a change may be in them.
    # Of crypto or drivers/md it is the subsystem that is needed, which is built in.
    few = len(asked.able) <= MOST_MODULES
    siblings = asked.able if few else ()
    found = suggest(asked.index, folder, symbols, siblings, base, ready, asked.read_elsewhere)
    files = [Path(word).stem for symbol in found.modules for word in asked.objects[symbol]]
    if target:
        files = [stem for stem in files if kbuild.same_module(f"{folder}/{stem}.ko", target)]
    names = tuple(dict.fromkeys(stem.replace("-", "_") for stem in files))
    aliases = _aliases(tree.path / folder, None if few and not target else files)
    requested = {need.symbol for need in found.needs}
    return FirstConfig(
        module, tree.name, found, names, aliases["FS"], aliases["CRYPTO"], _lacking(trees[1:], requested)
    )


@dataclass(frozen=True)
class _Folder:
    """What a tree says about a folder."""

    folder: str
    tree: Tree
    index: Index
    # What each symbol makes there: objects and folders.
    made: Mapping[str, Sequence[str]]

    @cached_property
    def objects(self) -> Mapping[str, Sequence[str]]:
        """The objects that each symbol makes; symbols that make none are left out."""
        found = {symbol: [w for w in words if w.endswith(".o")] for symbol, words in self.made.items()}
        return {symbol: words for symbol, words in found.items() if words}

    @cached_property
    def able(self) -> Sequence[str]:
        """The symbols that make modules."""
        return [
            s for s in self.objects if any(d.kind == "tristate" for d in self.index.definitions.get(s, ()))
        ]

    @property
    def makefile(self) -> str:
        """The folder's Makefile, for messages."""
        path = kbuild.makefile_of(self.tree.path, self.folder)
        return f"{path.relative_to(self.tree.path).as_posix()} of {self.tree.name}"

    def read_elsewhere(self, symbols: Sequence[str]) -> Mapping[str, str]:
        """Return the symbols that a file elsewhere may read: cells that differ by one do not share a base."""
        outside = ownership.search(self.tree.path, self.folder, symbols)
        if outside.user:
            return dict.fromkeys(symbols, f"{outside.user} uses files of the folder")
        files = {symbol: names[0] for symbol, names in outside.recorded.items()} | {**outside.readers}
        return {symbol: f"{file} has its name" for symbol, file in files.items()}

    def below(self, words: Iterable[str]) -> list[str]:
        """Return the folders among what a symbol makes."""
        return sorted({f"{self.folder}/{word.rstrip('/')}" for word in words if word.endswith("/")})

    def maker_of(self, target: str) -> str:
        """Return the symbol that makes a module. Raise UserError if the Makefile does not show it."""
        symbols = kbuild.symbols_of(self.tree.path, target)
        if not symbols:
            what = f"which symbol makes {target} cannot be told"
            raise UserError(what, where=self.makefile, hint=f"--module {self.folder} --symbol SYMBOL")
        return next((symbol for symbol in symbols if symbol in self.able), symbols[0])

    def named(self, name: str) -> str:
        """Return the symbol of that name. Raise UserError if it makes no module of the folder."""
        symbol = name.removeprefix("CONFIG_").upper()
        if symbol in self.able:
            return symbol
        hint = "name a symbol that makes a module of the folder"
        if symbol not in self.objects:
            below = self.below(self.made.get(symbol, ()))
            if below:
                what = f"{symbol} makes no module of {self.folder}, but the folder {below[0]}"
                raise UserError(what, where=self.makefile, hint=f"--module {below[0]}")
            raise unknown_name("symbol", symbol, self.able, where=self.makefile, hint=hint)
        if definitions := self.index.definitions.get(symbol):
            raise UserError(
                f"{symbol} cannot be m: it is no tristate, and what it makes is built in",
                where=", ".join(f"{d.file}:{d.line}" for d in definitions),
                hint=f"modules are made by {some(self.able, _SHOWN)}" if self.able else "name another folder",
            )
        elsewhere = symbol in kconfig.defined_symbols(self.tree.path)
        what = "is for another architecture than x86-64" if elsewhere else "is not defined by the tree"
        raise UserError(f"{symbol} {what}", where=self.makefile, hint=hint)

    def all(self) -> Sequence[str]:
        """Return the symbols of all modules. Raise UserError if there is none, or many."""
        if len(self.able) > MOST_MODULES:
            raise UserError(
                f"{self.folder} has {len(self.able)} modules, and none is named",
                where=self.makefile,
                detail=f"symbols: {some(sorted(self.able), _SHOWN)}",
                hint=f"name the module's symbol: --symbol {self.able[0]}; repeatable",
            )
        if self.able:
            return self.able
        below = self.below(word for words in self.made.values() for word in words)
        if self.objects:
            what = f"{self.folder} makes no module: {some(sorted(self.objects), _SHOWN)} cannot be m"
        elif below:
            what = f"{self.folder} has no module of its own, only folders"
        else:
            what = f"{self.folder} makes no module: what it has is built into the kernel"
        hint = f"a folder below: --module {below[0]}" if below else "a module's symbol is a tristate"
        detail = f"folders: {some(below, _SHOWN)}" if below else ""
        raise UserError(what, where=self.makefile, detail=detail, hint=hint)


def _base(root: Path) -> dict[str, str]:
    """Return what every configuration of the tree starts with."""
    found = dict(_ALWAYS)
    for name in _PRESETS:
        path = root / name
        if path.is_file() and not path.is_symlink():
            found |= kconfig.parse_config(path.read_text("utf-8", "replace"))
    return found


def _fragment(name: str) -> tuple[SymbolRequest, ...]:
    return parse_fragment((shipped.folder("kconfigs") / name).read_text("utf-8"), name)


def _lacking(trees: Sequence[Tree], symbols: set[str]) -> frozenset[str]:
    """Return the symbols that one of the trees does not define."""
    absent: set[str] = set()
    for tree in trees:
        found = kconfig.index_symbols(tree.path, symbols).definitions
        absent |= {symbol for symbol, definitions in found.items() if not definitions}
    return frozenset(absent)


def _aliases(folder: Path, stems: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Return the names that sources of a folder register, by kind: all its sources, or those named."""
    found: dict[str, dict[str, None]] = {"FS": {}, "CRYPTO": {}}
    paths = sorted(folder.glob("*.c")) if stems is None else [folder / f"{stem}.c" for stem in stems]
    for path in paths:
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _SOURCE_BYTES:
            for kind, name in _ALIAS.findall(path.read_text("utf-8", "replace")):
                found[kind][name] = None
    return {kind: tuple(names) for kind, names in found.items()}
