"""The hunks that a compiler's errors and notes point to."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.analysis.ablate import dependence
from tests.unit.analysis.ablate.samples import Work, numbered

# As gcc 12 says it of a caller that was left as it is while the declaration was changed.
LOG = """\
  CC [M]  fs/overlayfs/export.o
/src/fs/a.c:1:5: warning: unused variable 'x' [-Wunused-variable]
/src/fs/b.h:2:16: note: declared here
/src/fs/a.c: In function 'ovl_upper_fh_to_d':
/src/fs/a.c:9:17: error: incompatible type for argument 1 of 'decode'
    9 |         upper = decode(fh, mnt, true);
In file included from /src/fs/a.c:17:
/src/fs/b.h:2:16: note: declared here
    2 | struct dentry *decode(struct ovl_fs *ofs);
make[1]: *** [scripts/Makefile.build:286: fs/overlayfs/export.o] Error 1
"""


def named(name: str) -> str:
    return name.removeprefix("/src/")


def test_errors_are_read_with_their_notes_and_warnings_without() -> None:
    found = dependence.errors(LOG.splitlines(), named)
    assert [(one.file, one.line, one.kind) for one in found] == [
        ("fs/a.c", 9, "error"),
        ("fs/b.h", 2, "note"),
    ]


def test_the_hunk_that_added_the_line_is_part_of_the_reason(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", {"fs/a.c": numbered(*range(1, 12)), "fs/b.h": numbered(1, 2, 3)})
    work.change(
        {"fs/a.c": numbered(*range(1, 9), "call(new);", 10, 11), "fs/b.h": numbered(1, "decl(new);", 3)}
    )
    edits = work.edits()
    caller, declaration = ((hunk.patch, hunk.number) for hunk in edits.weave.hunks)
    found = dependence.errors(LOG.splitlines(), named)
    # Line 9 is the tree's again; line 2 of b.h is the series'.
    assert dependence.missed(found, edits.weave, frozenset({caller})) == {declaration}
    assert dependence.missed(found, edits.weave, frozenset({caller, declaration})) == frozenset()


def test_users_of_a_function_in_other_files_are_found_at_once(tmp_path: Path) -> None:
    """The compiler stops at the first file, and would name those in the others one build after the other."""
    before = {name: numbered(*range(1, 12)) for name in ("fs/a.c", "fs/b.c", "fs/c.c")}
    work = Work(tmp_path / "w", before)
    work.change({name: numbered(*range(1, 9), "decode(new);", 10, 11) for name in before})
    work.change({"fs/c.c": numbered(1, "decoded = 1;", *range(3, 9), "decode(new);", 10, 11)})
    edits = work.edits()
    in_a, in_b, in_c, other = ((hunk.patch, hunk.number) for hunk in edits.weave.hunks)
    said = (dependence.Said("fs/a.c", 9, "error", "too few arguments to function 'decode'"),)
    assert dependence.missed(said, edits.weave, frozenset({in_a})) == {in_b, in_c}
    local = (dependence.Said("fs/a.c", 9, "error", "'new' undeclared (first use in this function)"),)
    assert dependence.missed(local, edits.weave, frozenset({in_a})) == frozenset()
    assert other not in dependence.missed(said, edits.weave, frozenset({in_a}))
