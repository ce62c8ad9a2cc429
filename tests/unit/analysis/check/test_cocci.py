"""What spatch printed for the semantic patches of 5.10."""

from __future__ import annotations

from kmodpipe.analysis.check import cocci
from kmodpipe.build.compile_warnings import CompileWarning

PRINTED = """\
== 0 scripts/coccinelle/api/alloc/zalloc-simple.cocci
10 files match
/bin/sh: 1: git: Permission denied
== 0 scripts/coccinelle/misc/semicolon.cocci
./fs/overlayfs/super.c:12:2-3: Unneeded semicolon
fs/overlayfs/dir.c:340:1-4: WARNING: alloc with no test, possible model on line 345
== 124 scripts/coccinelle/null/deref_null.cocci
== 0 scripts/coccinelle/odd.cocci
Fatal error: exception Not_found
"""


def test_reports_are_read_with_their_script() -> None:
    found = cocci.parse(PRINTED)
    assert found.lines == (
        CompileWarning(
            "fs/overlayfs/dir.c", 340, "WARNING: alloc with no test, possible model on line 345",
            "cocci misc/semicolon",
        ),
        CompileWarning("fs/overlayfs/super.c", 12, "Unneeded semicolon", "cocci misc/semicolon"),
    )  # fmt: skip
    assert found.scripts == 4


def test_a_script_that_fails_or_prints_rubbish_is_named() -> None:
    assert cocci.parse(PRINTED).failed == {
        "null/deref_null.cocci": "spatch ended with status 124",
        "odd.cocci": "it printed 'Fatal error: exception Not_found'",
    }
    assert cocci.parse("none\n").failed.keys() == {cocci.ALL}
    assert cocci.parse("").failed[cocci.ALL] == "no semantic patch was run"


def test_a_message_of_two_lines_is_one() -> None:
    said = (
        "== 0 scripts/coccinelle/misc/bugon.cocci\n"
        "fs/a.c:4:2-5: WARNING: Use BUG_ON instead.\nPlease make sure the condition has no side effects\n"
        "== 0 scripts/coccinelle/odd.cocci\nfs/a.c:5:1-2: odd\nFatal error: exception Not_found\n"
    )
    found = cocci.parse(said)
    assert [one.text for one in found.lines] == [
        "WARNING: Use BUG_ON instead. Please make sure the condition has no side effects",
        "odd",
    ]
    assert found.failed == {"odd.cocci": "it printed 'Fatal error: exception Not_found'"}
