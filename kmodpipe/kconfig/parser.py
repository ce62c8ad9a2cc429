"""Parse as much of the Kconfig language as is needed to explain why a symbol cannot have a value.

Follows the kernel's Documentation/kbuild/kconfig-language.rst: entries, ``depends on``, ``if`` and ``menu``
nesting, ``choice``, ``select``. Macros such as ``$(cc-option,…)`` are not run, because the tree is not
trusted: their value is unknown, and an unknown value never makes a cell illegal.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.kconfig.statements import statements
from kmodpipe.util import costs, kept
from kmodpipe.util.errors import UserError

Known = Mapping[str, str]
_LEVEL = {"n": 0, "m": 1, "y": 2}
_NUMBER = re.compile(r"-?\d+|0[xX][0-9a-fA-F]+")
_NAME = re.compile(r"(?!(?:\d+|0[xX][0-9a-fA-F]+)$)\w+")


@dataclass(frozen=True)
class Expr:
    """A dependency expression."""

    # "sym" (a symbol or constant), "str" (quoted), "!", "&&", "||" or a comparison.
    op: str
    # The name or text for "sym" and "str", else the operands.
    args: tuple[Expr | str, ...]

    def __str__(self) -> str:
        if self.op == "sym":
            return str(self.args[0])
        if self.op == "str":
            return f'"{self.args[0]}"'
        if self.op == "!":
            return f"!{_bracketed(self.args[0])}"
        return f" {self.op} ".join(_bracketed(a) for a in self.args)

    def value(self, known: Known) -> int | None:
        """Return 0, 1 or 2 for n, m or y; None if it depends on a symbol that is not in ``known``."""
        if self.op in ("sym", "str"):
            name = str(self.args[0])
            if name in _LEVEL:
                return _LEVEL[name]
            return _LEVEL.get(known[name]) if self.op == "sym" and name in known else None
        if self.op == "!":
            inner = _value(self.args[0], known)
            return None if inner is None else 2 - inner
        if self.op in ("&&", "||"):
            values = [_value(a, known) for a in self.args]
            decided = [v for v in values if v is not None]
            bound = min if self.op == "&&" else max
            deciding = 0 if self.op == "&&" else 2
            if deciding in decided:
                return deciding
            return bound(decided) if len(decided) == len(values) else None
        left, right = (a._text(known) if isinstance(a, Expr) else None for a in self.args)
        if left is None or right is None or self.op not in ("=", "!="):
            return None
        return 2 if (left == right) == (self.op == "=") else 0

    def _text(self, known: Known) -> str | None:
        """Return the text that an operand of a comparison stands for; None if it is unknown."""
        text = str(self.args[0])
        if "$" in text:
            return None
        if self.op == "str" or text in _LEVEL or _NUMBER.fullmatch(text):
            return text
        return known[text].strip('"') if text in known else None

    def conjuncts(self) -> tuple[Expr, ...]:
        """Return the parts that must all hold."""
        if self.op != "&&":
            return (self,)
        return tuple(c for a in self.args if isinstance(a, Expr) for c in a.conjuncts())

    def symbols(self) -> frozenset[str]:
        """Return every symbol in the expression."""
        names: set[str] = set()
        for arg in self.args:
            if isinstance(arg, Expr):
                names |= arg.symbols()
            elif self.op == "sym" and arg not in _LEVEL and _NAME.fullmatch(arg):
                names.add(arg)
        return frozenset(names)


def _bracketed(arg: Expr | str) -> str:
    text = str(arg)
    return f"({text})" if isinstance(arg, Expr) and arg.op in ("&&", "||") else text


def _value(arg: Expr | str, known: Known) -> int | None:
    return arg.value(known) if isinstance(arg, Expr) else None


_TOKEN = re.compile(
    r'\s*(\|\||&&|!=|<=|>=|[=<>!()]|"(?:\\.|[^"\\])*"|\'[^\']*\'|\$\((?:[^()]|\([^()]*\))*\)|[^\s|&!=<>()]+)'
)


def parse_expr(text: str) -> Expr:
    """Parse an expression such as ``OVERLAY_FS && (X || !Y)``. Raise ValueError if it is malformed."""
    tokens = _TOKEN.findall(text)
    expr, rest = _parse_or(tokens)
    if rest:
        raise ValueError(f"cannot read the Kconfig expression {text!r}")
    return expr


def _parse_chain(tokens: Sequence[str], op: str) -> tuple[Expr, Sequence[str]]:
    lower = _parse_and if op == "||" else _parse_not
    first, tokens = lower(tokens)
    args = [first]
    while tokens and tokens[0] == op:
        following, tokens = lower(tokens[1:])
        args.append(following)
    return (first if len(args) == 1 else Expr(op, tuple(args))), tokens


def _parse_or(tokens: Sequence[str]) -> tuple[Expr, Sequence[str]]:
    return _parse_chain(tokens, "||")


def _parse_and(tokens: Sequence[str]) -> tuple[Expr, Sequence[str]]:
    return _parse_chain(tokens, "&&")


def _parse_not(tokens: Sequence[str]) -> tuple[Expr, Sequence[str]]:
    if not tokens:
        raise ValueError("a Kconfig expression ends early")
    if tokens[0] == "!":
        inner, rest = _parse_not(tokens[1:])
        return Expr("!", (inner,)), rest
    if tokens[0] == "(":
        inner, rest = _parse_or(tokens[1:])
        if not rest or rest[0] != ")":
            raise ValueError("an unclosed bracket in a Kconfig expression")
        return inner, rest[1:]
    left = _operand(tokens[0])
    if len(tokens) > 2 and tokens[1] in ("=", "!=", "<", ">", "<=", ">="):
        return Expr(tokens[1], (left, _operand(tokens[2]))), tokens[3:]
    return left, tokens[1:]


def _operand(token: str) -> Expr:
    quoted = token[0] in "\"'"
    return Expr("str", (token[1:-1],)) if quoted else Expr("sym", (token,))


@dataclass(frozen=True)
class Definition:
    """One entry that defines a symbol."""

    # Relative to the tree.
    file: str
    line: int
    # The entry's own dependencies, and those of the blocks around it.
    depends: tuple[Expr, ...] = ()
    # Whether a user can set it; else only defaults and selects do.
    prompt: bool = False
    # bool, tristate, string, hex or int; empty where another entry of the symbol says it.
    kind: str = ""
    # The prompt's text, and its own "if", or None.
    title: str = ""
    prompt_if: Expr | None = None
    # Each default with its "if"; the first whose condition holds counts.
    defaults: tuple[tuple[Expr, Expr | None], ...] = ()
    # Each symbol that it selects, with the select's "if".
    selects: tuple[tuple[str, Expr | None], ...] = ()
    # Whether it is one of a choice, which excludes the others.
    in_choice: bool = False


@dataclass(frozen=True)
class Selection:
    """A ``select`` of a symbol."""

    # The symbol whose entry has the select.
    selector: str
    # The select's own "if", or None.
    condition: Expr | None
    # FILE:LINE.
    where: str


@dataclass(frozen=True)
class Index:
    """What a tree's Kconfig files define for a set of symbols; every symbol of the set is a key."""

    definitions: Mapping[str, tuple[Definition, ...]]
    selections: Mapping[str, tuple[Selection, ...]]


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

    return kept.of_files("kconfig", (srcarch, wanted), root, read)


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
