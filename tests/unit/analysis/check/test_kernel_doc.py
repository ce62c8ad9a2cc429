"""What kernel-doc of 5.10, 6.12 and 7.2 printed of the same source."""

from __future__ import annotations

import pytest

from kmodpipe.analysis.check import kernel_doc
from kmodpipe.build.compile_warnings import CompileWarning

CANARY = "== 0 0 canary.h\ncanary.h:5: warning: Excess function parameter 'nothing' description in 'canary'\n"
OF_5_10 = """\
kd.c:12: warning: Function parameter or member 'a' not described in 'bad'
kd.c:12: warning: Excess function parameter 'b' description in 'bad'
"""
_NO_NAME = "isn't a kernel-doc comment. Refer Documentation/doc-guide/kernel-doc.rst"
OF_6_12 = f"""\
kd.c:12: warning: Excess function parameter 'b' description in 'bad'
kd.c:20: warning: This comment starts with '/**', but {_NO_NAME}
 * Does something without a name
"""
OF_7_2 = """\
Warning: kd.c:11 function parameter 'a' not described in 'bad'
Warning: kd.c:11 Excess function parameter 'b' description in 'bad'
Warning: kd.c:11 Excess function parameter 'b' description in 'bad'
"""


@pytest.mark.parametrize(("printed", "lines"), [(OF_5_10, [12, 12]), (OF_6_12, [12, 20]), (OF_7_2, [11, 11])])
def test_every_version_is_read(printed: str, lines: list[int]) -> None:
    before, after = kernel_doc.parse(f"{CANARY}== 0 0 fs/x/kd.c\n== 1 0 fs/x/kd.c\n{printed}", 2)
    assert (before.lines, before.failed, after.failed) == ((), "", "")
    assert [one.line for one in after.lines] == lines
    assert {(one.file, one.flag) for one in after.lines} == {("fs/x/kd.c", "kernel-doc")}


def test_a_name_may_have_spaces() -> None:
    (said,) = kernel_doc.parse(f"{CANARY}== 0 0 a b.c\na b.c:3: warning: x\n", 1)
    assert said.failed.startswith("kernel-doc ended with status 0 on a b.c: 'a b.c:3") or said.lines == (
        CompileWarning("a b.c", 3, "x", "kernel-doc"),
    )


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("none\n", "the tree has no scripts/kernel-doc"),
        ("== 0 0 a.c\n", "finds nothing in a comment that is wrong"),
        ("== 0 127 canary.h\nenv: perl: not found\n", "finds nothing in a comment that is wrong"),
        (CANARY + "== 0 124 a.c\n", "kernel-doc ended with status 124 on a.c"),
        (CANARY + "== 0 1 a.c\nTraceback (most recent call last):\n", "status 1 on a.c: 'Traceback (most"),
    ],
)
def test_one_that_does_not_work_is_never_clean(printed: str, why: str) -> None:
    (said,) = kernel_doc.parse(printed, 1)
    assert why in said.failed
