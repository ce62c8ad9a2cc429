"""Find the symbols that a series makes Kconfig files refer to although no Kconfig file defines them.

Kconfig takes an undefined symbol for n, without a word: a misspelt ``depends on`` rules out every cell that
requests the entry, a misspelt ``select`` does nothing. Only what the series adds or changes is its fault, and
what it leaves dangling by removing a definition; a tree has undefined symbols of its own. The Kconfig files
of all architectures count as definitions.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.kconfig.parser import index_symbols
from kmodpipe.kconfig.statements import statements

_DEFINED = re.compile(r"(?:menu)?config\s+(\w+)$")
_SOURCE = re.compile(r"(?:o?r?source|osource|rsource)\s+[\"']?([^\"'\s]+)")
_STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')
_COMMENT = re.compile(r"(?:^|\s)#.*$")
# A symbol has a capital letter; other words in a comparison are constants, which stand for their own name.
_SYMBOL = re.compile(r"(?<![\w$.-])(?!0[xX][0-9a-fA-F]+\b)(?=\w*[A-Z])[A-Za-z_0-9]+(?![\w.-])")
# What each statement that refers to symbols is called in a message; all after the word is searched.
_WORDS: Mapping[str, str] = {
    "depends": "depends on",
    "select": "selects",
    "imply": "implies",
    "if": "is under: if",
    "visible": "is visible if",
    "default": "has a default with",
    "def_bool": "has a default with",
    "def_tristate": "has a default with",
    "range": "has a range with",
    "bool": "has a prompt if",
    "tristate": "has a prompt if",
    "string": "has a prompt if",
    "int": "has a prompt if",
    "hex": "has a prompt if",
    "prompt": "has a prompt if",
}
_BLOCKS = ("menu", "choice", "comment", "mainmenu", "endif", "endmenu", "endchoice", "source")
# Kconfig files there are examples, and tests of Kconfig itself.
_NO_TREE = ("Documentation/", "scripts/kconfig/tests/", "tools/testing/")
_NO_KCONFIG = (".c", ".h", ".S", ".rst", ".txt", ".dts", ".dtsi", ".sh", ".py", ".rs", "Makefile", "Kbuild")
_MAX_BYTES = 16 * 1024**2
_LIKE = 0.6


@dataclass(frozen=True)
class Reference:
    """A statement that reads or sets a symbol."""

    # Relative to the tree.
    file: str
    line: int
    # The entry that has the statement; empty for a block.
    entry: str
    # The statement's first word, such as "depends".
    word: str
    symbol: str

    def __str__(self) -> str:
        who = self.entry or ("what follows" if self.word == "if" else "a menu")
        return f"{self.file}:{self.line}: {who} {_WORDS[self.word]} {self.symbol}"


@dataclass(frozen=True)
class Undefined:
    """What a series' Kconfig files refer to that is not there."""

    # Each reference to a symbol that no Kconfig file defines, in a sentence.
    faults: tuple[str, ...] = ()
    # Each reference to a symbol that is defined, but not for this architecture, in a sentence.
    foreign: tuple[str, ...] = ()


@dataclass
class _File:
    """One Kconfig file."""

    # The line of each symbol that it defines.
    defined: dict[str, int] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    # The text of each statement that has a reference, by its line.
    texts: dict[int, str] = field(default_factory=dict)
    # As they are written.
    sources: list[str] = field(default_factory=list)


def undefined(
    before: Path, after: Path, touched: Iterable[str], more: Path | None = None, srcarch: str = "x86"
) -> Undefined:
    """Return what the change from the tree ``before`` to ``after`` makes Kconfig refer to in vain.

    ``touched`` are the files that it changes. ``more`` is a further tree whose definitions count: that of the
    whole series, if ``after`` has only its first patches. Takes milliseconds unless a symbol is not defined
    in the touched files: then the tree's Kconfig files are read, which takes seconds.
    """
    names = _kconfig_files(before, after, touched)
    old = {name: _read(before, name) for name in names}
    new = {name: _read(after, name) for name in names}
    added = _added(old.values(), new.values())
    gone = {s for one in old.values() for s in one.defined} - {s for one in new.values() for s in one.defined}
    near = {symbol for name, one in new.items() if _is_of(name, srcarch) for symbol in one.defined}
    doubtful = [one for one in added if one.symbol not in near]
    if not doubtful and not gone:
        return Undefined()
    tree = _whole(after, names)
    known: dict[str, str] = {}
    for file, one in tree.items():
        for symbol, line in one.defined.items():
            known.setdefault(symbol, f"{file}:{line}")
    if more:
        known |= {s: name for name in names for s in _read(more, name).defined if s not in known}
    lost = gone - known.keys()
    faults = [_fault(one, known) for one in doubtful if one.symbol not in known and one.symbol not in lost]
    faults += [
        f"{one}, which the series defines no more"
        for kconfig in tree.values()
        for one in kconfig.references
        if one.symbol in lost
    ]
    elsewhere = {one.symbol for one in doubtful} & known.keys()
    here = index_symbols(after, elsewhere, srcarch).definitions if elsewhere else {}
    foreign = [
        f"{one}, which is defined ({known[one.symbol]}), but not for {srcarch}: here it is n"
        for one in doubtful
        if one.symbol in known and not here[one.symbol] and _is_of(one.file, srcarch) and not more
    ]
    return Undefined(tuple(faults), tuple(foreign))


def _fault(one: Reference, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(one.symbol, known, n=1, cutoff=_LIKE)
    meant = f": is {near[0]} meant ({known[near[0]]})?" if near else ""
    return f"{one}, which no Kconfig file of the tree defines{meant}"


def _added(old: Iterable[_File], new: Iterable[_File]) -> list[Reference]:
    """Return the references in statements that the change adds or changes.

    A statement that is moved, or whose entry is renamed, is neither; nor is one that is changed and referred
    to the symbol before.
    """
    old = list(old)
    had = {(one.entry, one.word, one.symbol) for file in old for one in file.references}
    count = Counter(text for file in old for text in file.texts.values())
    now = list(new)
    grown = Counter(text for file in now for text in file.texts.values()) - count
    return [
        one
        for file in now
        for one in file.references
        if file.texts[one.line] in grown and (one.entry, one.word, one.symbol) not in had
    ]


# -- files --------------------------------------------------------------------------------------------
def _kconfig_files(before: Path, after: Path, touched: Iterable[str]) -> list[str]:
    """Return the touched Kconfig files: those of this name, and others that a Kconfig file sources."""
    names = [name for name in sorted(set(touched)) if not name.startswith(_NO_TREE)]
    named = [name for name in names if "Kconfig" in name.rsplit("/", 1)[-1]]
    others = [name for name in names if name not in named and not name.endswith(_NO_KCONFIG)]
    odd = [name for name in others if any(_read(root, name).defined for root in (before, after))]
    return [*named, *(name for name in odd if name in {*_whole(after, named), *_whole(before, named)})]


def _is_of(name: str, srcarch: str) -> bool:
    """Return whether a Kconfig file counts for an architecture, as far as its place says so."""
    parts = name.split("/")
    return len(parts) < 3 or parts[0] != "arch" or parts[1] == srcarch


def _read(root: Path, name: str) -> _File:
    """Return what a file defines and refers to; nothing if it is no file, or too large."""
    path = root / name
    with suppress(OSError):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MAX_BYTES:
            return _parse(path.read_text("utf-8", "replace"), name)
    return _File()


def _parse(text: str, name: str) -> _File:
    found = _File()
    entry = ""
    for number, line in statements(text):
        word = line.split(None, 1)[0]
        bare = _COMMENT.sub("", _STRING.sub('""', _without_macros(line))).strip()
        if match := _DEFINED.match(bare):
            entry = match[1]
            found.defined.setdefault(entry, number)
        elif match := _SOURCE.match(line):
            found.sources.append(match[1])
        elif word in _WORDS:
            entry = "" if word == "if" else entry
            symbols = dict.fromkeys(_SYMBOL.findall(bare[len(word) :]))
            found.references += [Reference(name, number, entry, word, symbol) for symbol in symbols]
            found.texts[number] = " ".join(bare.split())
        if word in _BLOCKS:
            entry = ""
    return found


def _without_macros(line: str) -> str:
    """Return a line with ``$`` for every macro call ``$(…)``: its value is unknown."""
    parts: list[str] = []
    depth = at = 0
    while at < len(line):
        if line.startswith("$(", at):
            parts += ["$"] if not depth else []
            depth, at = depth + 1, at + 2
            continue
        if depth:
            depth += {"(": 1, ")": -1}.get(line[at], 0)
        else:
            parts.append(line[at])
        at += 1
    return "".join(parts)


def _whole(root: Path, touched: Iterable[str]) -> Mapping[str, _File]:
    """Return every Kconfig file of a tree: those of this name, and those that another one sources."""
    names = [*_named(root), *touched]
    found: dict[str, _File] = {}
    while names:
        name = names.pop()
        if name not in found:
            found[name] = _read(root, name)
            names += [one for source in found[name].sources for one in _sourced(root, source)]
    return dict(sorted(found.items()))


def _named(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        for name in files:
            if "Kconfig" in name:
                file = Path(folder, name).relative_to(root).as_posix()
                if not file.startswith(_NO_TREE):
                    yield file


def _sourced(root: Path, source: str) -> Iterator[str]:
    """Yield the files that a ``source`` may mean, of every architecture; those called Kconfig are known."""
    if "Kconfig" in source.rsplit("/", 1)[-1]:
        return
    name = source.replace("$(srctree)/", "")
    pattern = re.sub(r"\$\([^()]*\)|\$\w+", "*", name)
    if pattern.startswith(("/", "..", "*")) or "**" in pattern or ".." in pattern.split("/"):
        return
    with suppress(ValueError, OSError):
        yield from (path.relative_to(root).as_posix() for path in root.glob(pattern))
