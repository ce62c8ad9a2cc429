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
