"""Find the lines of a tree that read a symbol, and symbols that are tested but not defined.

Works on text, as kbuild's scripts/basic/fixdep.c does: ``CONFIG_X`` in C, assembly and Makefiles outside
comments, and the bare name in the conditions of Kconfig files. Links are not followed: the tree is not
trusted.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SOURCE_SUFFIXES = (".c", ".h", ".S")
_MAKE_NAMES = ("Makefile", "Kbuild")
# Strings are matched too, so that "/*" in one does not begin a comment.
_NOISE = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.DOTALL)
_HASH = re.compile(r"#[^\n]*")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_TESTED = re.compile(r"\bCONFIG_(\w+)")
_DEFINED = re.compile(r"^[ \t]*(?:menu)?config[ \t]+(\w+)", re.MULTILINE)
_DEFINED_IN_C = re.compile(r"^[ \t]*#[ \t]*define[ \t]+CONFIG_(\w+)", re.MULTILINE)
_CONDITIONS = frozenset(("depends", "if", "default", "def_bool", "def_tristate", "visible", "range"))
_CONDITIONAL = frozenset(("select", "imply", "bool", "tristate", "string", "int", "hex", "prompt"))
_ALIKE = 0.6


@dataclass(frozen=True)
class Place:
    """A line that reads a symbol."""

    # Relative to the tree.
    file: str
    line: int
    symbol: str
    # Whether it is in a source file or a Makefile, not in a Kconfig file.
    code: bool = True

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def readers(root: Path, symbol: str, folder: str) -> tuple[Place, ...]:
    """Return every line that reads ``symbol``: those in the module's ``folder`` if its code does.

    Otherwise search the whole tree, which takes seconds.
    """
    own = _readers(root, root / folder, symbol)
    return own if any(place.code for place in own) else _readers(root, root, symbol)


def undefined(root: Path, files: Iterable[str], like: str) -> tuple[Place, ...]:
    """Return the lines in ``files`` that test a symbol which no Kconfig file of the tree defines.

    Only source files and Makefiles are searched. Symbols with a name similar to ``like`` come first.
    """
    tested = [place for name in sorted(set(files)) for place in _tested(root, name)]
    if not tested:
        return ()
    known = defined_symbols(root)
    lost = [p for p in tested if p.symbol not in known and p.symbol.removesuffix("_MODULE") not in known]
    return tuple(sorted(lost, key=lambda p: -_likeness(p.symbol, like)))


def nearest(root: Path, symbol: str) -> str:
    """Return the symbol of the tree whose name is most similar to ``symbol``; empty if none is similar."""
    return next(
        iter(difflib.get_close_matches(symbol, sorted(defined_symbols(root)), n=1, cutoff=_ALIKE)), ""
    )


def alike(one: str, other: str) -> bool:
    """Whether two names are so similar that one may be a misspelling of the other."""
    return _likeness(one, other) >= _ALIKE


def is_code(name: str) -> bool:
    """Whether a file of this name is source or a Makefile."""
    return name.endswith(_SOURCE_SUFFIXES) or name.rsplit("/", 1)[-1].startswith(_MAKE_NAMES)


def is_kconfig(name: str) -> bool:
    """Whether a file of this name is one of Kconfig's."""
    return name.rsplit("/", 1)[-1].startswith("Kconfig")


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            if is_code(name) or is_kconfig(name):
                yield Path(parent, name)


def _read(path: Path, needle: bytes = b"") -> str:
    """Return the file's text if it contains ``needle``; empty for no regular file, or an unreadable one."""
    with suppress(OSError):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if needle in data:
                return data.decode("utf-8", "replace")
    return ""


def _readers(root: Path, folder: Path, symbol: str) -> tuple[Place, ...]:
    wanted = re.compile(rf"\bCONFIG_{symbol}(?:_MODULE)?\b")
    bare = re.compile(rf"\b{symbol}\b")
    found = []
    for path in _files(folder):
        text = _read(path, symbol.encode())
        if not text:
            continue
        name = path.relative_to(root).as_posix()
        if is_kconfig(name):
            rows = (n for n, line in enumerate(text.splitlines(), 1) if bare.search(_condition(line)))
            found += [Place(name, n, symbol, code=False) for n in rows]
        else:
            lines = _without_comments(name, text).splitlines()
            found += [Place(name, n, symbol) for n, line in enumerate(lines, 1) if wanted.search(line)]
    return tuple(found)


def _condition(line: str) -> str:
    """Return the part of a Kconfig line that reads symbols: ``depends on``, ``if …``, a default's value."""
    words = " ".join(_HASH.sub("", _QUOTED.sub('""', line)).split())
    first = words.partition(" ")[0]
    if first in _CONDITIONS:
        return words
    # A select sets its target, and only its condition reads symbols.
    return words.partition(" if ")[2] if first in _CONDITIONAL else ""


def _without_comments(name: str, text: str) -> str:
    """Return ``text`` without comments, with the same line numbers."""
    if not name.endswith(_SOURCE_SUFFIXES):
        return _HASH.sub("", text)

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0][0] in "\"'" else " " + "\n" * match[0].count("\n")

    return _NOISE.sub(blank, text)


def _tested(root: Path, name: str) -> list[Place]:
    text = _read(root / name, b"CONFIG_") if is_code(name) else ""
    text = _without_comments(name, text)
    local = set(_DEFINED_IN_C.findall(text))
    found = {
        Place(name, n, symbol)
        for n, line in enumerate(text.splitlines(), 1)
        for symbol in _TESTED.findall(line)
        if symbol not in local
    }
    return sorted(found, key=lambda p: (p.line, p.symbol))


def defined_symbols(root: Path) -> set[str]:
    """Return the symbols that any Kconfig file of the tree defines, those of all architectures."""
    return {name for path in _files(root) if is_kconfig(path.name) for name in _DEFINED.findall(_read(path))}
