"""Read the assignments of a dkms.conf as bash would, without running anything.

The file is sourced by DKMS, so it may hold any shell. Understood are comments, quotes, continued lines,
arrays, ``+=`` and variables. A value that only a shell can compute is kept as such, since most are not
needed; so is what ``if``, ``case`` and loops set. Other statements are refused, as values may depend on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kmodpipe.util.errors import UserError
from kmodpipe.util.text import visible

_ASSIGNMENT = re.compile(
    r"(?:(?:export|readonly|declare)[ \t]+)?([A-Za-z_]\w*)(?:\[(\d{1,4})\])?(\+?)=", re.ASCII
)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_BRACED = re.compile(r"\{([A-Za-z_]\w*)(?:\[(\d{1,4})\])?\}", re.ASCII)
_BLOCK = re.compile(r"(?:if|case|for|while|until)(?=\s)")
_BLOCK_WORD = re.compile(r"(?<![\w$.\"'/-])(?:(if|case|for|while|until)|(fi|esac|done))(?![\w.\"'=/-])")
_SET_INSIDE = re.compile(r"(?:^|[\s;&|({])([A-Za-z_]\w*)(?:\[[^\]\n]*\])?\+?=", re.ASCII)
# A test that decides whether variables are set: [ $JOBS -gt 16 ] && JOBS=16
_CONDITION = re.compile(
    r"(?:\[\[?[ \t][^\n]*?[ \t]\]\]?|test[ \t][^\n&|;]*?)"
    r"(?:[ \t]*(?:&&|\|\|)[ \t]*[A-Za-z_]\w*\+?=(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s;&|\"']*))+[ \t]*(?=\n|;|#|$)",
    re.ASCII,
)
_BYTES = 256 * 1024
_ENDS = " \t\n;"


@dataclass(frozen=True)
class Value:
    """The value of a variable, or of an element of an array."""

    text: str  # with `UNKNOWN` for each part of it that only a shell could compute
    line: int
    unknown: str = ""  # the first such part: $(date)


UNKNOWN = "\0"
Variables = Mapping[tuple[str, int], Value]
"""Values by the variable's name and its index, 0 for a plain one."""


def assignments(
    text: str,
    where: str,
    known: Mapping[str, str],
    commands: Mapping[str, str],
    stand_ins: Mapping[str, str] | None = None,
) -> Variables:
    """Return the variables that ``text`` sets, as they are at its end.

    ``known`` has the variables that are set before, ``commands`` what some commands print: ``nproc``. A
    variable of ``stand_ins`` that only a shell could compute has the value there. Raise UserError, with
    ``where`` and the line, for anything that is no assignment.
    """
    if len(text) > _BYTES:
        raise UserError(f"it has more than {_BYTES >> 10} KiB", where=where)
    reader = _Reader(text.replace("\r\n", "\n"), where, known, commands, stand_ins or {})
    reader.read()
    return reader.found


def expanded(value: Value, where: str, known: Mapping[str, str], commands: Mapping[str, str]) -> Value:
    """Return a value with its variables and commands expanded once more, as ``eval`` does; quotes stay."""
    reader = _Reader(value.text, where, known, commands, {})
    found = reader.text_until(lambda char: False, quoted=True, raw=True)
    return Value(found.text, value.line, value.unknown or found.unknown)


class _Reader:
    def __init__(
        self,
        text: str,
        where: str,
        known: Mapping[str, str],
        commands: Mapping[str, str],
        stand_ins: Mapping[str, str],
    ) -> None:
        self._text = text
        self._stand_ins = stand_ins
        self._where = where
        self._known = known
        self._commands = commands
        self._at = 0
        self.found: dict[tuple[str, int], Value] = {}

    # -- statements ------------------------------------------------------------------------------
    def read(self) -> None:
        """Read all assignments."""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in _ENDS:
                self._at += 1
            elif self._text.startswith("\\\n", self._at):
                self._at += 2
            elif char == "#":
                self._skip_comment()
            elif match := _ASSIGNMENT.match(self._text, self._at):
                self._at = match.end()
                self._assign(match[1], match[2], append=bool(match[3]))
            elif _BLOCK.match(self._text, self._at):
                self._skip_block()
            elif match := _CONDITION.match(self._text, self._at):
                line, self._at = self._line, match.end()
                self._forget(match[0], line, match[0].split("=")[0][:40])
            else:
                raise self._refused(self._text[self._at :].partition("\n")[0].strip())

    def _skip_block(self) -> None:
        """Skip an ``if``, a ``case`` or a loop; what it may set is then known to a shell alone."""
        start, line = self._at, self._line
        # A comment counts as blanks.
        rest = re.sub(r"(?m)(?:^|(?<=\s))#.*$", lambda comment: " " * len(comment[0]), self._text[start:])
        depth = 0
        for match in _BLOCK_WORD.finditer(rest):
            depth += 1 if match[1] else -1
            if depth == 0:
                self._at = start + match.end()
                break
        else:
            raise self._refused(rest.partition("\n")[0].strip())
        if not re.match(r"[ \t]*(?:[;\n]|$|#)", self._text[self._at :]):
            raise self._refused(self._text[self._at :].partition("\n")[0].strip())
        self._forget(rest[: self._at - start], line, f"{rest.split(maxsplit=1)[0]} … of line {line}")

    def _forget(self, text: str, line: int, what: str) -> None:
        """Make what ``text`` may set known to a shell alone."""
        names = {*_SET_INSIDE.findall(text)}
        for key in [*(k for k in self.found if k[0] in names), *((name, 0) for name in sorted(names))]:
            self._set(key, Value(UNKNOWN, line, what))

    def _set(self, key: tuple[str, int], value: Value) -> None:
        name, index = key
        if value.unknown and not index and name in self._stand_ins:
            value = Value(self._stand_ins[name], value.line)
        self.found[key] = value

    def _skip_comment(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _assign(self, name: str, index: str | None, *, append: bool) -> None:
        if index is None and self._text.startswith("(", self._at):
            self._at += 1
            values = self._elements()
            first = 1 + max((i for n, i in self.found if n == name), default=-1) if append else 0
            if not append:
                self.found = {key: value for key, value in self.found.items() if key[0] != name}
            for number, value in enumerate(values):
                self.found[name, first + number] = value
            return
        value = self._word()
        key = (name, int(index or 0))
        if append and (before := self.found.get(key)):
            value = Value(before.text + value.text, value.line, before.unknown or value.unknown)
        self._set(key, value)

    def _elements(self) -> list[Value]:
        """Return the elements of an array, up to its closing parenthesis."""
        values: list[Value] = []
        while True:
            if self._at >= len(self._text):
                raise self._wrong("an array that is not closed")
            char = self._text[self._at]
            if char == ")":
                self._at += 1
                return values
            if char in " \t\n":
                self._at += 1
            elif self._text.startswith("\\\n", self._at):
                self._at += 2
            elif char == "#":
                self._skip_comment()
            else:
                values.append(self._word(more_ends=")"))

    def _word(self, more_ends: str = "") -> Value:
        return self.text_until(lambda char: char in _ENDS + more_ends)

    # -- words -----------------------------------------------------------------------------------
    def text_until(self, ends: Callable[[str], bool], *, quoted: bool = False, raw: bool = False) -> Value:
        """Return the text up to a character that ``ends`` it; in double quotes if ``quoted``.

        With ``raw`` quotes and backslashes are kept.
        """
        line = self._line
        parts: list[str] = []
        unknown = ""
        while self._at < len(self._text) and not ends(char := self._text[self._at]):
            if char == "$" or char == "`":
                one = self._expansion()
                parts.append(one.text)
                unknown = unknown or one.unknown
            elif raw:
                end = self._text.find("'", self._at + 1) + 1 if char == "'" else 0
                end = end or self._at + (2 if char == "\\" else 1)
                parts.append(self._text[self._at : end])
                self._at = end
            elif char == "\\":
                parts.append(self._escaped(quoted=quoted))
            elif quoted:
                parts.append(char)
                self._at += 1
            elif char == "'":
                parts.append(self._up_to("'", "a quote that is not closed"))
            elif char == '"':
                self._at += 1
                one = self.text_until(lambda c: c == '"', quoted=True)
                if self._at >= len(self._text):
                    raise self._wrong("a quote that is not closed", line)
                self._at += 1
                parts.append(one.text)
                unknown = unknown or one.unknown
            elif char in "&|<>()":
                raise self._wrong(f"{char!r} outside of quotes")
            else:
                parts.append(char)
                self._at += 1
        return Value("".join(parts), line, unknown)

    def _escaped(self, *, quoted: bool) -> str:
        """Return what a backslash and the character behind it stand for."""
        after = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if after == "\n":
            return ""
        return f"\\{after}" if quoted and after not in '$`"\\' else after

    def _up_to(self, end: str, missing: str) -> str:
        """Return the text between the character here and the next ``end``."""
        start = self._at + 1
        found = self._text.find(end, start)
        if found < 0:
            raise self._wrong(missing)
        self._at = found + 1
        return self._text[start:found]

    def _expansion(self) -> Value:
        """Return what the ``$`` or the backtick here stands for."""
        line = self._line
        if self._text[self._at] == "`":
            command = self._up_to("`", "a ` that is not closed")
            return self._printed(command, f"`{command}`", line)
        after = self._text[self._at + 1 : self._at + 2]
        if after == "(":
            start = self._at
            self._at = self._closing(start + 1)
            whole = self._text[start : self._at]
            return self._printed(whole[2:-1], whole, line)
        if match := _BRACED.match(self._text, self._at + 1):
            self._at = match.end()
            return self._variable(match[1], int(match[2] or 0), line)
        if match := _NAME.match(self._text, self._at + 1):
            self._at = match.end()
            return self._variable(match[0], 0, line)
        if after == "{":
            start = self._at
            self._at = self._closing(start + 1)
            return Value(UNKNOWN, line, self._text[start : self._at])
        self._at += 1
        return (
            Value(UNKNOWN, line, f"${after}")
            if after in ("'", "*", "@", "#", "?") and after
            else Value("$", line)
        )

    def _closing(self, start: int) -> int:
        """Return the position behind the bracket that closes the one at ``start``."""
        depth = 0
        pairs = {"(": 1, ")": -1} if self._text[start] == "(" else {"{": 1, "}": -1}
        for at in range(start, len(self._text)):
            depth += pairs.get(self._text[at], 0)
            if depth == 0:
                return at + 1
        raise self._wrong("a bracket that is not closed")

    def _printed(self, command: str, whole: str, line: int) -> Value:
        known = self._commands.get(" ".join(command.split()))
        return Value(UNKNOWN, line, whole) if known is None else Value(known, line)

    def _variable(self, name: str, index: int, line: int) -> Value:
        if own := self.found.get((name, index)):
            return Value(own.text, line, own.unknown)
        if name in self._known and index == 0:
            return Value(self._known[name], line)
        # It may come from DKMS's environment.
        return Value(UNKNOWN, line, f"${name}")

    # -- errors ----------------------------------------------------------------------------------
    @property
    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _wrong(self, what: str, line: int = 0) -> UserError:
        return UserError(f"it has {what}", where=f"{self._where}:{line or self._line}")

    def _refused(self, statement: str) -> UserError:
        return UserError(
            f"it has a statement that only a shell can run: {visible(statement[:80])}",
            where=f"{self._where}:{self._line}",
            hint="dkms.conf is read, not run: keep to assignments, or write what it decides into the "
            "module's own table",
        )
