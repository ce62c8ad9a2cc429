"""Files as compilers make them, and the lines that they were made of."""

from __future__ import annotations

from tests import support

DATA = support.DATA / "decode"


def line(file: str, text: str) -> int:
    """The one line of a source file that has ``text``."""
    (found,) = (n for n, one in enumerate((DATA / file).read_text().splitlines(), 1) if text in one)
    return found
