"""Read what one file of a tree, outside a module's folder, says of the module's symbols and of its files.

Files are of three kinds:

    C and assembly   fixdep records each CONFIG_X of what is compiled, in comments and strings as well, so it
                     is known of a base what it read (`Text.recorded`); not so what a macro completes, a name
                     with a part in front of ``##``, or an argument of ``CONFIG_##x``
    Makefiles        are read in a build without a record
    anything else    may be a script that a build runs: any word counts
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_SPLICE = re.compile(rb"\\\r?\n")
_SPLIT = re.compile(rb"\\(?<=\w\\)\r?\n\w")
# Strings as well, so that "/*" in one begins no comment.
_NOISE = re.compile(rb'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.DOTALL)
# Whole lines of a Makefile; one behind a backslash may be part of a string.
_COMMENT_LINES = re.compile(rb"(?:\A|(?<!\\)\n)[ \t]*#[^\n]*")
_WORD = re.compile(rb"\w+")
# The part of a symbol's name that stands in the source, where a macro or make adds the rest.
_PASTED = re.compile(rb"\bCONFIG_(\w+?)\s*(?:##|\$[({])")
# A prefix that a macro puts before any word.
_PREFIX = re.compile(rb"CONFIG_(?<!\wCONFIG_)(?!\w)")
_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include(?:_next)?\b[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>|)', re.MULTILINE)
_TAKEN = re.compile(rb'\.(?:incbin|include)\b[^\n]*?"([^"\n]+)"')
_TRACED = re.compile(rb"INCLUDE_PATH[ \t]+(?:\"?)([\w./-]+)")
_INCLUDE_PATH = re.compile(r"-I[ \t]*((?:\$[({][^\s]*[)}]/?)*)((?:[\w.+-]+/?)*)")
# What stands before a path from the top of the tree, or from the Makefile's folder.
_TOP_OR_HERE = (
    "",
    "$(srctree)/",
    "$(src)/",
    "$(srctree)/$(src)/",
    "$(objtree)/",
    "$(obj)/",
    "$(objtree)/$(obj)/",
)
_OBJECT = re.compile(r"(?<![\w.+-])((?:[\w.-]+/)+[\w.+-]+)\.[oa]\b")
_MAKEFILE = re.compile(r"(?:^|/)(?:Makefile|Kbuild)[^/]*$|\.mk$|\.mak$")
_C = (".c", ".h", ".S")
_HEADERS = ("", "include", "include/uapi", "arch/x86/include", "arch/x86/include/uapi")
# A header of these is the architecture's, or one that a build makes, which includes that of asm-generic.
_ASM = ("asm/", "uapi/asm/")
# Headers that a build makes of .config and Makefiles; of the C library, which kernels are built without.
_NONE = (
    "generated/", "linux/version.h", "sys/", "string.h", "unistd.h", "stdio.h", "stdlib.h", "stdint.h",
    "stddef.h", "stdbool.h", "stdarg.h", "time.h", "errno.h", "limits.h",
)  # fmt: skip


def is_makefile(name: str) -> bool:
    """Whether a file of this name is read by make."""
    return _MAKEFILE.search(name) is not None


def content(path: Path) -> bytes:
    """Return what a file holds, or where a link leads; nothing for what is neither, or cannot be read."""
    with suppress(OSError):
        if path.is_symlink():
            return os.fsencode(path.readlink())
        if path.is_file():
            return path.read_bytes()
    return b""


@dataclass(frozen=True)
class Text:
    """A file of a tree."""

    root: Path
    # Relative to the tree.
    name: str

    @cached_property
    def is_c(self) -> bool:
        """Whether the preprocessor of C reads it, with fixdep's record of it: of tools/ a base keeps none."""
        known = self.name.endswith(_C) and not self.name.startswith("tools/")
        return known and not (self.root / self.name).is_symlink()

    @cached_property
    def _raw(self) -> bytes:
        return content(self.root / self.name)

    @cached_property
    def _words(self) -> frozenset[bytes]:
        split = _WORD.findall(self._joined) if self._splits else ()
        return frozenset(_WORD.findall(self._raw)) | frozenset(split)

    @cached_property
    def _splits(self) -> bool:
        """Whether a word continues on the next line."""
        return _SPLIT.search(self._raw) is not None

    @cached_property
    def _joined(self) -> bytes:
        """The text with continued lines in one, as the preprocessor reads it."""
        return _SPLICE.sub(b"", self._raw) if b"\\" in self._raw else self._raw

    def _has(self, form: bytes) -> bool:
        """Whether a word may be in the file: most have none of those that are looked for."""
        return (form in self._raw or self._splits) and form in self._words

    @cached_property
    def _code(self) -> bytes:
        """What is left without comments, and in C without strings, which name no symbol."""
        if self.is_c:
            return _NOISE.sub(b" ", self._joined)
        return _COMMENT_LINES.sub(b"\n", self._raw) if is_makefile(self.name) else self._raw

    @cached_property
    def _words_of_code(self) -> frozenset[bytes]:
        return frozenset(_WORD.findall(self._code))

    @cached_property
    def _pasted(self) -> tuple[str, ...]:
        pastes = b"##" in self._raw or b"$" in self._raw
        found = {*_PASTED.findall(self._raw), *_PASTED.findall(self._joined)} if pastes else ()
        return tuple(sorted(prefix.decode() for prefix in found))

    @cached_property
    def completes(self) -> bool:
        """Whether a macro of it may make a symbol of any word."""
        likely = self.is_c and (self._splits or _PREFIX.search(self._raw) is not None)
        return likely and _PREFIX.search(self._code) is not None

    def unrecorded(self, symbols: Iterable[str], *, completed: bool) -> Iterator[str]:
        """Yield the symbols that it may read without a record of it.

        ``completed``: a macro may complete the words of this file, if it is C.
        """
        for symbol in symbols:
            if self.is_c:
                forms = _bare(symbol) if completed else ()
            else:
                forms = (*_bare(symbol), *_prefixed(symbol))
            if symbol.startswith(self._pasted) or any(
                self._has(form) and form in self._words_of_code for form in forms
            ):
                yield symbol

    def recorded(self, symbols: Iterable[str]) -> Iterator[str]:
        """Yield the symbols that fixdep records if it is compiled; comments count, as fixdep reads them."""
        if self.is_c:
            yield from (symbol for symbol in symbols if any(map(self._has, _prefixed(symbol))))

    # -- files ----------------------------------------------------------------------------------------
    def included(self) -> Iterator[str | None]:
        """Yield the files of the tree that it includes; None for one that cannot be told from its text."""
        for quoted, angled in _INCLUDE.findall(self._joined):
            spec = (quoted or angled).decode("utf-8", "surrogateescape")
            places = (self._here, *_HEADERS) if quoted else _HEADERS
            specs = {spec, spec.replace("asm/", "asm-generic/")} if spec.startswith(_ASM) else {spec}
            names = [_path(place, one) for place in places for one in specs if one]
            found = [name for name in names if (self.root / name).is_file()]
            yield from found
            if not found and not spec.startswith((*_ASM, *_NONE)):
                yield None

    def includes_of(self, folder: str) -> Iterator[str]:
        """Yield the files of a folder that it includes, which fixdep records if it is compiled."""
        if not self.is_c or not self._names(folder, b"/"):
            return
        for quoted, angled in _INCLUDE.findall(self._joined):
            spec = (quoted or angled).decode("utf-8", "surrogateescape")
            beside = _path(self._here, spec)
            # What is beside the file goes first.
            if quoted and not beside.startswith(f"{folder}/") and (self.root / beside).is_file():
                continue
            yield from self._in_folder(spec, folder)

    def uses(self, folder: str) -> bool:
        """Whether it links a file of the folder, has it on an include path, or takes one without a record."""
        if not self._names(folder):
            return False
        if is_makefile(self.name):
            return self._links(folder)
        if b"INCLUDE_PATH" in self._raw and any(
            _may_be(folder, path.decode()) for path in _TRACED.findall(self._raw)
        ):
            return True
        if not self.is_c and next(self._included_anyhow(folder), None):
            return True
        found = _TAKEN.findall(self._raw) if b".inc" in self._raw else ()
        taken = (spec.decode("utf-8", "surrogateescape") for spec in found)
        if any(next(self._in_folder(spec, folder), None) for spec in taken):
            return True
        base = re.escape(folder.rpartition("/")[2].encode())
        return (self.root / self.name).is_symlink() and re.search(
            rb"(?:^|/)" + base + rb"(?:/|$)", self._raw
        ) is not None

    def _names(self, folder: str, behind: bytes = b"") -> bool:
        return folder.rpartition("/")[2].encode() + behind in self._raw

    def _included_anyhow(self, folder: str) -> Iterator[str]:
        """Yield the files of a folder that a file of another kind (.inc, .lds) includes."""
        for quoted, angled in _INCLUDE.findall(self._raw):
            yield from self._in_folder((quoted or angled).decode("utf-8", "surrogateescape"), folder)

    def _in_folder(self, spec: str, folder: str) -> Iterator[str]:
        """Yield the file of a folder that may be meant by a path, which ends in the folder's name or more."""
        yield from (
            f"{folder}/{rest}" for rest in _below(folder, spec) if (self.root / folder / rest).is_file()
        )

    def _links(self, folder: str) -> bool:
        """Whether a Makefile has the folder on an include path, or an object in it that the folder has."""
        text = self._code.decode("utf-8", "surrogateescape")
        for variables, path in _INCLUDE_PATH.findall(text):
            known = variables.replace(" ", "") in _TOP_OR_HERE
            if self._is_below(path, folder) if known else _may_be(folder, path):
                return True
        for match in _OBJECT.finditer(text):
            # Behind a variable, it may be anywhere.
            if text[match.start() - 1 : match.start()] in (")", "}", "/"):
                names = [f"{folder}/{rest}" for rest in _below(folder, match[1])]
            else:
                names = [name for name in self._places(match[1]) if name.startswith(f"{folder}/")]
            if any((self.root / f"{name}{end}").exists() for name in names for end in (".c", ".S", ".o")):
                return True
        return False

    def _is_below(self, path: str, folder: str) -> bool:
        return any(f"{name}/".startswith(f"{folder}/") for name in self._places(path))

    def _places(self, path: str) -> tuple[str, str]:
        """Return what a path may mean: from this file's folder, and from the top of the tree."""
        return _path(self._here, path), _path("", path)

    @property
    def _here(self) -> str:
        return self.name.rpartition("/")[0]


def reach(text: Text) -> frozenset[str] | None:
    """Return the names of a C file and of all that it includes; None if that cannot be told."""
    found: set[str] = set()
    left = [text.name]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for included in Text(text.root, name).included():
            if included is None:
                return None
            left.append(included)
    return frozenset(found)


def _path(folder: str, name: str) -> str:
    """Return the path of a name that is found from a folder, without ``.`` and ``..``."""
    return posixpath.normpath(f"{folder}/{name}" if folder else name)


def _bare(symbol: str) -> tuple[bytes, ...]:
    """Return the words that a macro or make makes a symbol of."""
    return symbol.encode(), f"{symbol}_MODULE".encode()


def _prefixed(symbol: str) -> tuple[bytes, ...]:
    """Return the words by which sources and Makefiles read a symbol."""
    return f"CONFIG_{symbol}".encode(), f"CONFIG_{symbol}_MODULE".encode()


def _may_be(folder: str, path: str) -> bool:
    """Whether a path may lead to a folder or below, from a place that is not known."""
    return next(_below(folder, f"{path}/."), None) is not None


def _below(folder: str, path: str) -> Iterator[str]:
    """Yield what may be a path below a folder of one that begins at a place that is not known."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    ends = range(1, len(parts) + (1 if path.endswith("/.") else 0))
    yield from ("/".join(parts[at:]) for at in ends if f"/{folder}".endswith("/" + "/".join(parts[:at])))
