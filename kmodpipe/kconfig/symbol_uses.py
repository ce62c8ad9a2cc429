"""Who reads a symbol: the places of a tree where its value makes a difference, and what is tested but never
defined.

Text alone is looked at, as kbuild's own fixdep does: ``CONFIG_X`` in C, assembly and Makefiles outside
comments, the bare name in the conditions of Kconfig files. The tree is untrusted: links are not followed.
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
# Strings are matched so that a comment's opening in one does not count.
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
    """A line that reads ``symbol``; ``file`` relative to the tree. ``code``: one of the source or of a
    Makefile, not of a Kconfig file."""

    file: str
    line: int
    symbol: str
    code: bool = True

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def readers(root: Path, symbol: str, folder: str) -> tuple[Place, ...]:
    """Every place that reads ``symbol``: in the module's ``folder`` if any code there does, else in the
    whole tree, which takes seconds."""
    own = _readers(root, root / folder, symbol)
    return own if any(place.code for place in own) else _readers(root, root, symbol)


def undefined(root: Path, files: Iterable[str], like: str) -> tuple[Place, ...]:
    """Where ``files`` (source and Makefiles; others are passed over) test a symbol that no Kconfig file of
    the tree defines; names that look like ``like`` first."""
    tested = [place for name in sorted(set(files)) for place in _tested(root, name)]
    if not tested:
        return ()
    known = _defined(root)
    lost = [p for p in tested if p.symbol not in known and p.symbol.removesuffix("_MODULE") not in known]
    return tuple(sorted(lost, key=lambda p: -_likeness(p.symbol, like)))


def alike(one: str, other: str) -> bool:
    """Whether somebody may have meant the same symbol."""
    return _likeness(one, other) >= _ALIKE


def is_code(name: str) -> bool:
    """Whether a file of this name is source or a Makefile."""
    return name.endswith(_SOURCE_SUFFIXES) or name.rsplit("/", 1)[-1].startswith(_MAKE_NAMES)


def _is_kconfig(name: str) -> bool:
    return name.rsplit("/", 1)[-1].startswith("Kconfig")


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            if is_code(name) or _is_kconfig(name):
                yield Path(parent, name)


def _read(path: Path, needle: bytes = b"") -> str:
    """The file's text if ``needle`` is in it; empty for what is no regular file or cannot be read."""
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
        if _is_kconfig(name):
            rows = (n for n, line in enumerate(text.splitlines(), 1) if bare.search(_condition(line)))
            found += [Place(name, n, symbol, code=False) for n in rows]
        else:
            lines = _without_comments(name, text).splitlines()
            found += [Place(name, n, symbol) for n, line in enumerate(lines, 1) if wanted.search(line)]
    return tuple(found)


def _condition(line: str) -> str:
    """What a line of a Kconfig file reads: ``depends on``, ``if …``, the value of a default."""
    words = " ".join(_HASH.sub("", _QUOTED.sub('""', line)).split())
    first = words.partition(" ")[0]
    if first in _CONDITIONS:
        return words
    # What it selects is set by it, not read.
    return words.partition(" if ")[2] if first in _CONDITIONAL else ""


def _without_comments(name: str, text: str) -> str:
    """``text`` with its comments gone, and its lines where they were."""
    if not name.endswith(_SOURCE_SUFFIXES):
        return _HASH.sub("", text)

    def gone(match: re.Match[str]) -> str:
        return match[0] if match[0][0] in "\"'" else " " + "\n" * match[0].count("\n")

    return _NOISE.sub(gone, text)


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


def _defined(root: Path) -> set[str]:
    return {name for path in _files(root) if _is_kconfig(path.name) for name in _DEFINED.findall(_read(path))}
