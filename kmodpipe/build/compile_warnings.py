"""Read the warnings in a build's output as records, keep them, and find those that are new.

Two builds of one module are compared, so a record has nothing that differs between machines: the file is
relative to the module's source, and columns and offsets in functions are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from kmodpipe.build.compile_log import relative
from kmodpipe.series import came_from
from kmodpipe.series.came_from import Origin
from kmodpipe.util import document

# More than a reader looks at; a header that warns in each of a thousand files gives one record.
MOST = 1000
_TEXT = 500
_COMPILER = re.compile(
    r"^(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? [Ww]arning: (?P<text>.*?)(?: \[(?P<flag>-W[^\]\s]+)\])?$"
)
_OBJTOOL = re.compile(r"^(?P<file>[^\s:]+): warning: objtool: (?P<text>.*)$")
_MODPOST = re.compile(r"^WARNING: modpost: (?P<text>.*)$")
_SHOWN = (
    re.compile(r"(?P<file>)(?P<line>)(?P<text>.*) \[(?P<flag>modpost)\]"),
    re.compile(r"(?P<file>[^\s:]+)(?P<line>): (?P<text>.*) \[(?P<flag>objtool)\]"),
    re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+): (?P<text>.*?)(?: \[(?P<flag>-W[^\]\s]+)\])?"),
)
_PATH = re.compile(r"/[\w+./-]+")
_OFFSET = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
# "file.c:12:3", "at line 12".
_LINE = re.compile(r"(?<=\w):\d+(?::\d+)?\b|(?<=\bline )\d+")
_QUOTES = str.maketrans("‘’", "''")


@dataclass(frozen=True, order=True)
class CompileWarning:
    """One warning of the compiler, of objtool or of modpost."""

    file: str  # relative to the module's source; a header of the kernel: relative to the kit; "" for modpost
    line: int  # 0 if the tool names none
    text: str
    flag: str  # -Wunused-variable; "objtool" or "modpost"; "" if the compiler names none

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{at}{self.text}" + (f" [{self.flag}]" if self.flag else "")


def parse(line: str, named: Callable[[str], str]) -> CompileWarning | None:
    """Return the warning in a line of a build's output, or None; ``named`` makes a path relative."""
    if match := _COMPILER.match(line):
        file, number, flag = named(match["file"]), int(match["line"]), match["flag"] or ""
    elif match := _OBJTOOL.match(line):
        file, number, flag = named(match["file"]), 0, "objtool"
    elif match := _MODPOST.match(line):
        file, number, flag = "", 0, "modpost"
    else:
        return None
    text = _PATH.sub(lambda path: named(path[0]), match["text"].translate(_QUOTES))
    return CompileWarning(file, number, _OFFSET.sub("", text)[:_TEXT], flag)


def in_log(lines: Iterable[str], src: Path) -> tuple[CompileWarning, ...]:
    """Return the warnings in the output of a build in the tree ``src``, at most `MOST`."""
    found: dict[CompileWarning, None] = {}
    for line in lines:
        if warning := parse(line, lambda file: relative(file, src)):
            found[warning] = None
            if len(found) >= MOST:
                break
    return in_order(found)


def read_line(text: str) -> CompileWarning:
    """Return the warning that ``str`` made this line of; a text without a place if it made none."""
    for shown in _SHOWN:
        if match := shown.fullmatch(text):
            line, flag = int(match["line"] or 0), match["flag"] or ""
            return CompileWarning(match["file"], line, match["text"], flag)
    return CompileWarning("", 0, text, "")


def in_order(found: Iterable[CompileWarning]) -> tuple[CompileWarning, ...]:
    """Return each warning once, sorted: compilers run side by side, and a header is compiled many times."""
    return tuple(sorted(set(found)))


def new(
    before: Iterable[CompileWarning], after: Iterable[CompileWarning], origin: Origin = came_from.stays
) -> tuple[CompileWarning, ...]:
    """Return the warnings of ``after`` that ``before`` did not have.

    The rule of every command. A warning is an old one if there was the same, but for numbers of lines, about
    the same line, which ``origin`` follows back through the patches between; or else about any line of the
    file, as far as their number goes: an edit may remove a line and add it elsewhere. So of several equal
    warnings in a file those about added lines are new, the last ones first.
    """
    known: dict[tuple[str, str, str], list[int]] = {}
    for one in before:
        known.setdefault((one.file, _bare(one.text), one.flag), []).append(one.line)
    left: list[tuple[bool, CompileWarning, list[int]]] = []
    for one in in_order(after):
        file, line = origin(one.file, one.line)
        same = known.get((file, _bare(one.text), one.flag), [])
        if line in same and (line or not one.line):
            same.remove(line)
        else:
            left.append((not line, one, same))
    found = []
    for _, one, same in sorted(left, key=lambda row: row[:2]):
        if same:
            same.pop()
        else:
            found.append(one)
    return in_order(found)


def _bare(text: str) -> str:
    """Return a warning's text without numbers of lines, which move."""
    return _LINE.sub("", text)


def write(path: Path, found: Iterable[CompileWarning]) -> None:
    """Write warnings as JSON."""
    path.write_text(json.dumps([asdict(one) for one in found], indent=1), encoding="utf-8")


def read(path: Path) -> tuple[CompileWarning, ...]:
    """Return the warnings that `write` wrote. Raise OSError or ValueError if the file is another's."""
    rows = document.read_json(path)
    try:
        return tuple(
            CompileWarning(str(row["file"]), int(row["line"]), str(row["text"]), str(row["flag"]))
            for row in rows
        )
    except (TypeError, KeyError) as e:
        raise ValueError(f"no list of warnings: {e}") from e
