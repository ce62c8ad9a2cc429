"""Read the warnings in a build's output as records, keep them, and find those that are new.

Two builds of one module are compared, so a record has nothing that differs between machines: the file is
relative to the module's source, and columns and offsets in functions are left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from kmodpipe.util import document

# More than a reader looks at; a header that warns in each of a thousand files gives one record.
MOST = 1000
_TEXT = 500
_COMPILER = re.compile(
    r"^(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? [Ww]arning: (?P<text>.*?)(?: \[(?P<flag>-W[^\]\s]+)\])?$"
)
_OBJTOOL = re.compile(r"^(?P<file>[^\s:]+): warning: objtool: (?P<text>.*)$")
_MODPOST = re.compile(r"^WARNING: modpost: (?P<text>.*)$")
_PATH = re.compile(r"/[\w+./-]+")
_OFFSET = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
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


def in_order(found: Iterable[CompileWarning]) -> tuple[CompileWarning, ...]:
    """Return each warning once, sorted: compilers run side by side, and a header is compiled many times."""
    return tuple(sorted(set(found)))


def new(before: Iterable[CompileWarning], after: Iterable[CompileWarning]) -> tuple[CompileWarning, ...]:
    """Return the warnings of ``after`` that ``before`` did not have.

    Lines move with every edit and do not count. Of several equal warnings in a file, the last ones are new.
    """
    known = Counter((one.file, one.text, one.flag) for one in before)
    found = []
    for one in in_order(after):
        same = (one.file, one.text, one.flag)
        if known[same] > 0:
            known[same] -= 1
        else:
            found.append(one)
    return tuple(found)


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
