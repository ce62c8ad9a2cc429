"""Find the modules of a folder that has no matrix yet, and a configuration that builds them.

The tree itself is asked: its Makefile, what makes which module, and its Kconfig files, what that depends on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build import kbuild
from kmodpipe.kconfig import Index, SymbolRequest
from kmodpipe.kconfig.fragment import parse_fragment
from kmodpipe.kconfig.parser import index_tree
from kmodpipe.kconfig.suggest import READY, Suggestion, suggest
from kmodpipe.pipeline.module_folder import require_folder
from kmodpipe.source import Tree
from kmodpipe.util import shipped
from kmodpipe.util.errors import UserError, unknown_name

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

    folder: str
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


def find(trees: Sequence[Tree], folder: str, named: Sequence[str]) -> FirstConfig:
    """Return a configuration for the modules of a folder, those that the symbols in ``named`` make.

    Without a name, for all of them. The first tree is asked; of the others, which symbols they do not have.
    Raise UserError for a folder that the tree does not have or that makes no module, for one with many
    modules of which none is named, and for a symbol that cannot be m.
    """
    tree = trees[0]
    require_folder(folder, [tree.path], tree.name)
    made = kbuild.made_by(tree.path, folder)
    objects = {s: tuple(w for w in words if w.endswith(".o")) for s, words in made.items()}
    objects = {s: words for s, words in objects.items() if words}
    index = index_tree(tree.path)
    makefile = f"{kbuild.makefile_of(tree.path, folder).relative_to(tree.path).as_posix()} of {tree.name}"
    able = [s for s in objects if _is_tristate(s, index)]
    symbols: Sequence[str]
    if named:
        symbols = [_named(name, objects, able, index, tree.path, makefile) for name in named]
    else:
        symbols = _all_of(folder, able, objects, made, makefile)
    base = _base(tree.path) | {e.symbol: e.value for e in _fragment(GUEST)}
    ready = {name: _fragment(name) for name in READY}
    # Of a folder with few modules, those that are needed are modules as well: a change may be in them.
    # Of crypto or drivers/md it is the subsystem that is needed, which is built in.
    siblings = able if len(able) <= MOST_MODULES else ()
    found = suggest(index, folder, symbols, siblings, base, ready)
    files = [word for symbol in found.modules for word in objects[symbol]]
    names = tuple(dict.fromkeys(Path(word).stem.replace("-", "_") for word in files))
    everything = not named or len(able) <= MOST_MODULES
    aliases = _aliases(tree.path / folder, None if everything else [Path(word).stem for word in files])
    requested = {need.symbol for need in found.needs} | set(found.modules)
    return FirstConfig(
        folder, tree.name, found, names, aliases["FS"], aliases["CRYPTO"], _lacking(trees[1:], requested)
    )


def _is_tristate(symbol: str, index: Index) -> bool:
    return any(d.kind == "tristate" for d in index.definitions.get(symbol, ()))


def _named(
    name: str,
    objects: Mapping[str, Sequence[str]],
    able: Sequence[str],
    index: Index,
    root: Path,
    makefile: str,
) -> str:
    """Return the symbol that was named. Raise UserError if it makes no module of the folder."""
    symbol = name.removeprefix("CONFIG_").upper()
    if symbol not in objects:
        raise unknown_name("symbol", symbol, able, where=makefile, hint="one that makes a module there")
    if symbol in able:
        return symbol
    if index.definitions.get(symbol):
        raise UserError(
            f"{symbol} cannot be m: it is no tristate, and what it makes is built in",
            where=_place(symbol, index),
            hint=_instead(able),
        )
    raise _absent([symbol], root, makefile)


def _place(symbol: str, index: Index) -> str:
    return ", ".join(f"{d.file}:{d.line}" for d in index.definitions[symbol])


def _absent(symbols: Sequence[str], root: Path, makefile: str) -> UserError:
    """Return the error for symbols that the tree does not define for x86-64."""
    elsewhere = kconfig.defined_symbols(root) & set(symbols)
    what = "are for another architecture than x86-64" if elsewhere else "are not defined by the tree"
    what = what.replace("are ", "is ", 1) if len(symbols) == 1 else what
    return UserError(
        f"{_some(symbols)} {what}",
        where=makefile,
        hint="guests are x86-64; name a module that can be built for it",
    )


def _instead(able: Sequence[str]) -> str:
    if not able:
        return "a module's symbol is a tristate; a folder with one is needed"
    return f"modules of the folder are made by {_some(able)}: --symbol {able[0]}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _all_of(
    folder: str,
    able: Sequence[str],
    objects: Mapping[str, Sequence[str]],
    made: Mapping[str, Sequence[str]],
    makefile: str,
) -> Sequence[str]:
    """Return the symbols of all modules of a folder. Raise UserError if it has none, or many."""
    if len(able) > MOST_MODULES:
        raise UserError(
            f"{folder} has {len(able)} modules, and none is named",
            where=makefile,
            detail=f"symbols: {_some(sorted(able))}",
            hint=f"name the module's symbol: --symbol {able[0]}; repeatable",
        )
    if able:
        return able
    below = sorted({f"{folder}/{w.rstrip('/')}" for words in made.values() for w in words if w[-1] == "/"})
    if objects:
        what = f"{folder} makes no module: {_some(sorted(objects))} cannot be m"
    elif below:
        what = f"{folder} has no module of its own, only folders"
    else:
        what = f"{folder} makes no module: what it has is built into the kernel"
    hint = f"a folder below: --module {below[0]}" if below else "a module's symbol is a tristate"
    detail = f"folders: {_some(below)}" if below else ""
    raise UserError(what, where=makefile, detail=detail, hint=hint)


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
