"""What checkpatch of 5.10 printed of patches that are wrong in many ways."""

from __future__ import annotations

import pytest

from kmodpipe.analysis.check import checkpatch
from kmodpipe.analysis.check.model import Finding, Level

CANARY = """\
== 0 1
canary.h:1: ERROR:TRAILING_WHITESPACE: trailing whitespace
total: 1 errors, 0 warnings, 0 checks, 1 lines checked
"""
PRINTED = """\
== 1 0
== 2 1
:1: WARNING:COMMIT_LOG_LONG_LINE: Possible unwrapped commit description (prefer a maximum 75 chars per line)
:1: WARNING:TYPO_SPELLING: 'teh' may be misspelled - perhaps 'the'?
file.c:2: ERROR:EXECUTE_PERMISSIONS: do not set execute permissions for source files
fs/overlayfs/super.c:14: CHECK:SPACING: spaces preferred around that '+' (ctx:VxV)
fs/overlayfs/super.c:14: WARNING:LONG_LINE_COMMENT: line length of 145 exceeds 100 columns
fs/overlayfs/Kconfig:4: ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)
total: 2 errors, 3 warnings, 1 checks, 7 lines checked
"""


def test_each_patch_has_its_lines_and_notes_come_last() -> None:
    found = checkpatch.parse(CANARY + PRINTED, 2)
    assert (found[1].findings, found[1].not_checked, found[1].word) == ((), "", "clean")
    assert found[2].word == "5 new" and not found[2].not_checked
    levels = [one.level for one in found[2].findings]
    assert levels == sorted(levels, key=list(Level).index)
    assert found[2].findings[0] == Finding(
        Level.ERROR, "do not set execute permissions for source files", "EXECUTE_PERMISSIONS", "file.c", 2
    )
    by_rule = {one.rule: one for one in found[2].findings}
    assert by_rule["SPACING"].level is Level.NOTE
    assert by_rule["COMMIT_LOG_LONG_LINE"].place == "", "it is about the message"
    assert by_rule["MISSING_SIGN_OFF"].place == "", "checkpatch names the last file"


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("none\n", "the tree has no scripts/checkpatch.pl"),
        ("", "does not work: it finds nothing in a wrong patch"),
        ("== 0 0\n== 1 0\n", "does not work: it finds nothing in a wrong patch"),
        (
            "== 0 127\nsh: perl: not found\n== 1 127\n",
            "ended with status 127 and no total: 'sh: perl: not found'",
        ),
        (CANARY + "== 1 255\nCan't locate POSIX.pm\n", "checkpatch ended with status 255 and no total"),
        (CANARY + "== 1 0\n\x00\x1b]rubbish\n", "and no total"),
        (CANARY + "== 1 137\n", "checkpatch ended with status 137 and no total"),
        (CANARY + "== 1 1\na.c:1: ERROR:A: x\n", "no total"),
        (
            CANARY + "== 1 1\na.c:1: ERROR:A: x\ntotal: 2 errors, 0 warnings, 0 checks, 1 lines checked\n",
            "counts 2",
        ),
        (CANARY, "checkpatch was not run on it"),
        (CANARY + "== 1 0\n== 1 0\n", "has it twice"),
        (CANARY + "== 1 9\ntotal: 0 errors, 0 warnings, 0 checks, 1 lines checked\n", "ended with status 9"),
    ],
)
def test_one_that_is_not_there_crashes_or_prints_rubbish_is_never_clean(printed: str, why: str) -> None:
    found = checkpatch.parse(printed, 1)
    assert set(found) == {1}
    assert why in found[1].not_checked
    assert found[1].word in ("not checked", "1 new")
