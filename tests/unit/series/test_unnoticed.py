"""Which hunks an entry [[unnoticed]] of a series.toml is about."""

from __future__ import annotations

from kmodpipe.series.changes import Hunk
from kmodpipe.series.model import Unnoticed
from kmodpipe.series.unnoticed import is_about, same_line, unmatched

HUNK = Hunk(
    "1.patch",
    "fs/a.c",
    1,
    1,
    2,
    1,
    2,
    "f()",
    "@@ -1,2 +1,2 @@ f()\n \tkept;\n-\told(1);\n+\tnew(1,  2);",
    (2,),
)


def entry(line: str, file: str = "fs/a.c") -> Unnoticed:
    return Unnoticed(file, line, "so")


def test_a_line_that_is_added_or_removed_however_it_is_indented() -> None:
    assert is_about(entry("new(1, 2);"), HUNK) and is_about(entry("  old(1);"), HUNK)
    assert not is_about(entry("kept;"), HUNK) and not is_about(entry("new(1,2);"), HUNK)
    assert not is_about(entry("new(1, 2);", "fs/b.c"), HUNK)
    assert same_line(entry("a  b"), "\ta b")


def test_entries_that_are_about_nothing() -> None:
    entries = [entry("new(1, 2);"), entry("gone"), entry("x", "fs/b.c")]
    assert unmatched(entries, [HUNK]) == (
        (1, "no hunk in fs/a.c adds or removes the line 'gone'"),
        (2, "the series changes no file fs/b.c"),
    )
