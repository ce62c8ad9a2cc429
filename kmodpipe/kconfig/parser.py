"""Parse as much of the Kconfig language as is needed to explain why a symbol cannot have a value.

Follows the kernel's Documentation/kbuild/kconfig-language.rst: entries, ``depends on``, ``if`` and ``menu``
nesting, ``choice``, ``select``. Macros such as ``$(cc-option,…)`` are not run, because the tree is not
trusted: their value is unknown, and an unknown value never makes a cell illegal.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from kmodpipe.kconfig import expression, index
from kmodpipe.kconfig.expression import Expr, parse_expr
from kmodpipe.kconfig.index import Definition, Index, Selection
from kmodpipe.kconfig.statements import statements
from kmodpipe.util import costs, kept
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import UserError


@dataclass
class _Entry:
    name: str
    file: str
    line: int
    depends: list[Expr] = field(default_factory=list)
    prompt: bool = False
    selects: list[tuple[str, Expr | None, int]] = field(default_factory=list)
    kind: str = ""
    title: str = ""
    prompt_if: Expr | None = None
    defaults: list[tuple[Expr, Expr | None]] = field(default_factory=list)
    in_choice: bool = False

    def definition(self) -> Definition:
        return Definition(
            self.file, self.line, tuple(self.depends), self.prompt, self.kind, self.title, self.prompt_if,
            tuple(self.defaults), tuple((s, condition) for s, condition, _ in self.selects), self.in_choice,
        )  # fmt: skip


_TYPES = frozenset(("bool", "tristate", "string", "hex", "int"))
_PROMPTED = re.compile(
    r"(?:bool|tristate|string|hex|int|prompt)\s+([\"'])((?:\\.|(?!\1).)*)\1(?:\s*if\s+(.*))?"
)
_ENTRY = re.compile(r"(?:menu)?config\s+(\w+)")
_SOURCE = re.compile(r"source\s+[\"']?([^\"'\s]+)")
# Linux 5.10 sources 1,500 files; a tree that sources more than this does so in a loop.
_MAX_READS = 20_000
_MAX_DEPTH = 50
_MAX_BYTES = 16 * 1024**2
_MAX_EXPRESSION = 10_000


_STRUCTURE = frozenset(
    ("if", "menu", "choice", "endif", "endmenu", "endchoice", "source", "comment", "mainmenu")
)


class _Reader:
    """Read Kconfig files from the top one, and keep the conditions that enclose each entry."""

    def __init__(self, root: Path, srcarch: str, wanted: frozenset[str] | None) -> None:
        self.root = root.resolve()
        self.srcarch = srcarch
        self.wanted = wanted
        self.entries: list[_Entry] = []
        # The conditions of the open if, menu and choice blocks; "depends on" lines of a menu are added to it.
        self._blocks: list[list[Expr]] = []
        # How many of them are choices.
        self._choices = 0
        # A file may be sourced from several places, each with its own conditions, but not from itself.
        self._open: list[Path] = []
        self._reads = 0
        # What each file that was looked for held, as `kept.content` returns it.
        self.seen: dict[str, str] = {}

    def read(self, name: str) -> None:
        """Read a Kconfig file (named relative to the tree) and the files it sources."""
        for macro, value in (("$(srctree)/", ""), ("$(SRCARCH)", self.srcarch), ("$SRCARCH", self.srcarch)):
            name = name.replace(macro, value)
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root):
            raise UserError(
                "a Kconfig file sources a file outside the tree", where=f"{name} (in {self.root})"
            )
        if path in self._open or not path.is_file():
            self.seen.setdefault(name, "")
            return
        self._reads += 1
        if self._reads > _MAX_READS:
            raise UserError(f"the tree's Kconfig files source more than {_MAX_READS} files", where=name)
        if len(self._open) > _MAX_DEPTH:
            raise UserError(f"the tree's Kconfig files source each other {_MAX_DEPTH} deep", where=name)
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"a Kconfig file is larger than {_MAX_BYTES >> 20} MiB", where=name)
        raw = path.read_bytes()
        self.seen[name] = hashlib.sha256(raw).hexdigest()
        text = raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        # Most of the tree's files concern other symbols only; a block ends in the file where it began, so
        # skipping one does not change the conditions of the rest.
        if self.wanted is not None and "source" not in text and not any(s in text for s in self.wanted):
            return
        self._open.append(path)
        self._file(text, path.relative_to(self.root).as_posix())
        self._open.pop()

    def _file(self, text: str, file: str) -> None:
        entry: _Entry | None = None
        for number, line in statements(text):
            entry = self._line(line, entry, file, number)

    def _line(self, line: str, entry: _Entry | None, file: str, number: int) -> _Entry | None:
        word = line.split(None, 1)[0]
        rest = line[len(word) :].strip()
        if match := _ENTRY.match(line):
            entry = _Entry(match[1], file, number, [e for block in self._blocks for e in block])
            entry.in_choice = self._choices > 0
            self.entries.append(entry)
            return entry
        if word in _STRUCTURE:
            self._structure(word, rest, line)
            # A comment's "depends on" must not be added to the entry before it: it gets an unused entry.
            return _Entry("", file, number) if word in ("comment", "mainmenu") else None
        if word == "depends":
            condition = _dependency(rest.removeprefix("on").strip())
            if entry is not None:
                entry.depends.append(condition)
            elif self._blocks:
                self._blocks[-1].append(condition)
        elif entry is not None:
            _attribute(entry, word, rest, line, number)
        return entry

    def _structure(self, word: str, rest: str, line: str) -> None:
        if word == "if":
            self._blocks.append([_expr(rest)])
        elif word in ("menu", "choice"):
            self._blocks.append([])
            self._choices += word == "choice"
        elif word in ("endif", "endmenu", "endchoice"):
            self._choices -= word == "endchoice"
            if self._blocks:
                self._blocks.pop()
        elif word == "source" and (match := _SOURCE.match(line)):
            self.read(match[1])


def _attribute(entry: _Entry, word: str, rest: str, line: str, number: int) -> None:
    """Add a statement other than ``depends on`` to the entry that it stands in."""
    kind = word.removeprefix("def_")
    if kind in _TYPES:
        entry.kind = kind
    if match := _PROMPTED.match(line):
        entry.prompt, entry.title = True, match[2]
        entry.prompt_if = _expr(match[3]) if match[3] else None
    elif word == "select":
        target, condition = _conditional(rest)
        entry.selects.append((target.strip(), condition, number))
    elif word == "default" or (word != kind and kind in _TYPES):
        value, condition = _conditional(rest)
        entry.defaults.append((_expr(value), condition))


def _conditional(text: str) -> tuple[str, Expr | None]:
    """Return what stands before an ``if``, and its condition."""
    subject, _, condition = text.partition(" if ")
    return subject, _expr(condition) if condition else None


def _expr(text: str) -> Expr:
    if len(text) > _MAX_EXPRESSION:
        return Expr("sym", ("$(a very long expression)",))
    text = re.sub(r"\s#.*$", "", text)
    try:
        return parse_expr(text)
    except (ValueError, RecursionError):
        # An expression that cannot be parsed is unknown; the tree's own conf decides.
        return Expr("sym", (f"$({text})",))


def _dependency(text: str) -> Expr:
    """Return the condition of a ``depends on``; of ``A if B`` (Linux 6.19), which is ``A || !B``."""
    condition, word, when = re.sub(r"\s#.*$", "", text).partition(" if ")
    return Expr("||", (_expr(condition), Expr("!", (_expr(when),)))) if word else _expr(text)


@cache
def _own_digest() -> str:
    """Return a digest of what decides how a tree is read: an index of another version is not used."""
    modules = (expression, index, sys.modules[__name__], sys.modules[statements.__module__])
    return digest_of([kept.content(Path(one.__file__ or "")) for one in modules])


@costs.step(costs.Part.KCONFIG)
def index_symbols(root: Path, symbols: Iterable[str], srcarch: str = "x86") -> Index:
    """Return where the tree at ``root`` defines each symbol, on what it depends, and what selects it.

    A symbol that no file defines has no definitions. Raise UserError for Kconfig files that source a file
    outside the tree, or too many.
    """
    wanted = frozenset(symbols)

    def read() -> tuple[Index, Mapping[str, str]]:
        reader = _Reader(root, srcarch, wanted)
        return _indexed(reader, wanted), reader.seen

    # The Makefile has the kernel's version: each kernel has a file of its own.
    of_tree = [kept.content(root / name) for name in ("Makefile", "Kconfig")]
    name = digest_of([_own_digest(), srcarch, sorted(wanted), of_tree])
    return kept.of_files(
        "kconfig", (srcarch, wanted), root, read, kept.Written(name, index.to_plain, index.from_plain)
    )


def index_tree(root: Path, srcarch: str = "x86") -> Index:
    """Return where the tree at ``root`` defines each symbol that it has for the architecture.

    Raise UserError as `index_symbols` does.
    """
    return _indexed(_Reader(root, srcarch, None), None)


def _indexed(reader: _Reader, wanted: frozenset[str] | None) -> Index:
    """Read a tree and return the index of the symbols in ``wanted``; None stands for all."""
    reader.read("Kconfig")
    found = dict.fromkeys(entry.name for entry in reader.entries)
    named = found.keys() if wanted is None else wanted
    definitions: dict[str, list[Definition]] = {name: [] for name in named}
    selections: dict[str, list[Selection]] = {name: [] for name in named}
    for entry in reader.entries:
        if entry.name in named:
            definitions[entry.name].append(entry.definition())
        for target, condition, number in entry.selects:
            if target in named:
                selections[target].append(Selection(entry.name, condition, f"{entry.file}:{number}"))
    return Index(
        {name: tuple(found) for name, found in definitions.items()},
        {name: tuple(found) for name, found in selections.items()},
    )


def owned_symbols(root: Path, folder: str) -> frozenset[str]:
    """Return the symbols that the Kconfig files below the module's ``folder`` define."""
    names: set[str] = set()
    for path in sorted((root / folder).rglob("Kconfig*")):
        if path.is_file() and not path.is_symlink():
            for line in path.read_text("utf-8", "replace").splitlines():
                if match := _ENTRY.match(line):
                    names.add(match[1])
    return frozenset(names)
