"""Read a file of the recipes in images/check, in parts that begin with ``== WORD …``. Pure but for `read`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util.text import one_line

_BYTES = 64 << 20
# Of what a tool printed, in a sentence.
_QUOTED = 100
NONE = "none"
"""The only line of a file whose tool is not there."""


@dataclass(frozen=True)
class Section:
    """One part: the words of its first line, and the lines below."""

    words: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def status(self) -> int | None:
        """The exit status of the tool, if the first or second word is one."""
        return next((int(word) for word in self.words[:2] if word.isdigit()), None)

    @property
    def lines_stripped(self) -> tuple[str, ...]:
        """The lines without space around them."""
        return tuple(line.strip() for line in self.lines)


def read(path: Path) -> str:
    """Return the text of a file, bounded; what is no UTF-8 is replaced."""
    with path.open("rb") as f:
        return f.read(_BYTES).decode("utf-8", "replace")


def parse(text: str) -> tuple[Section, ...]:
    """Return the parts of a text; lines before the first one are left out."""
    found: list[tuple[tuple[str, ...], list[str]]] = []
    for line in text.split("\n"):
        if line.startswith("== "):
            found.append((tuple(line.split()[1:]), []))
        elif found and line:
            found[-1][1].append(line)
    return tuple(Section(words, tuple(lines)) for words, lines in found)


def quoted(text: str) -> str:
    """Return what a tool printed for a sentence: on one line, and short."""
    line = one_line(text.strip())
    return repr(line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…")
