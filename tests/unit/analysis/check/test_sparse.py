"""What sparse 0.6.4 printed of a source made for it, and of none."""

from __future__ import annotations

from kmodpipe.analysis.check import sparse
from kmodpipe.build.compile_warnings import CompileWarning

PRINTED = """\
== 0 /src/fs/x/spc.c
/src/fs/x/spc.c:5:26: warning: incorrect type in initializer (different base types)
/src/fs/x/spc.c:5:26:    expected restricted le32 [usertype] y
/src/fs/x/spc.c:5:26:    got int
/src/fs/x/spc.c:5:36: warning: restricted le32 degrades to integer
/src/fs/x/spc.c:7:30: warning: Using plain integer as NULL pointer
/src/fs/x/spc.c:7:34: error: no member 'b' in struct s
/src/fs/x/spc.c:7:34: info: in included file
== 1 /src/fs/x/other.c
"""


def named(path: str) -> str:
    return path.removeprefix("/src/")


def test_its_lines_are_read_with_what_follows_them() -> None:
    said = sparse.parse(PRINTED, named)
    text = (
        "incorrect type in initializer (different base types); expected restricted le32 [usertype] y; got int"
    )
    assert said.failed == ""
    assert said.lines == (
        CompileWarning("fs/x/spc.c", 5, text, "sparse warning"),
        CompileWarning("fs/x/spc.c", 5, "restricted le32 degrades to integer", "sparse warning"),
        CompileWarning("fs/x/spc.c", 7, "Using plain integer as NULL pointer", "sparse warning"),
        CompileWarning("fs/x/spc.c", 7, "no member 'b' in struct s", "sparse error"),
    )


def test_one_that_is_not_there_crashes_or_prints_rubbish_is_never_clean() -> None:
    assert "no sparse here" in sparse.parse("none\n", named).failed
    crashed = sparse.parse("== 0 /src/a.c\n== 139 /src/b.c\n/src/b.c:1:1: warning: x\n", named)
    assert crashed.failed == "sparse ended with status 139 on b.c"
    assert [one.file for one in crashed.lines] == ["b.c"]
    rubbish = sparse.parse("== 0 /src/a.c\nNo such file: \x1b[2J\n", named)
    assert rubbish.failed == r"sparse printed 'No such file: \\x1b[2J'"


def test_a_folder_in_which_nothing_was_looked_at_is_not_clean() -> None:
    assert sparse.parse("", named).failed == "sparse was run on no source"
