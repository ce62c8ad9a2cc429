"""Coverage of a small series, as the runs of two cells would give it."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.results.coverage import (
    LOAD,
    CaseCoverage,
    CellCoverage,
    Coverage,
    FileCounts,
    FileLines,
    Function,
)
from kmodpipe.series.changes import FileChange, of_patch
from kmodpipe.series.diff import read_patch

SUPER = "fs/toy/super.c"
FIRST = """\
diff --git a/fs/toy/super.c b/fs/toy/super.c
--- a/fs/toy/super.c
+++ b/fs/toy/super.c
@@ -10,4 +10,9 @@ static int toy_fill(void)
 {
 \tint err = 0;
+\tif (toy_index)
+\t\terr = toy_open();
+\t/* no code */
+\tif (err)
+\t\tgoto out;
 \treturn err;
 }
"""
SECOND = """\
diff --git a/fs/toy/super.c b/fs/toy/super.c
--- a/fs/toy/super.c
+++ b/fs/toy/super.c
@@ -12,5 +12,5 @@ static int toy_fill(void)
 \tif (toy_index)
-\t\terr = toy_open();
+\t\terr = toy_open(<&>);
 \t/* no code */
 \tif (err)
 \t\tgoto out;
@@ -30,2 +30,4 @@ static void toy_exit(void)
 {
+#ifdef CONFIG_TOY_MORE
+\ttoy_more();
+#endif
"""


def changes() -> tuple[FileChange, ...]:
    """What two patches do; after both, the lines 12 to 16 and 31 to 33 are theirs."""
    patches = [
        read_patch(
            f"{n}.patch",
            Path(f"{n}.patch"),
            text.replace("@@ -30,2 +30,4", "@@ -30,1 +30,4").encode(),
            where="",
        )
        for n, text in (("0001", FIRST), ("0002", SECOND))
    ]
    return tuple(change for patch in patches for change in of_patch(patch))


def coverage(*, crash: bool = False) -> Coverage:
    """What two cells executed; with ``crash`` the counters of a case are lost in one of them.

    Line 13 is executed in both, 15 and 12 likewise, 16 in none, and 32 only the second cell has.
    """
    functions = {"toy_fill": Function(10, 18), "toy_exit": Function(29, 34)}
    plain = FileLines((10, 12, 13, 15, 16, 17, 30), functions, {12: 2, 15: 2})
    more = FileLines((*plain.lines, 32), functions, plain.branches)
    mount = FileCounts({10: 2, 12: 2, 13: 1, 15: 2, 17: 2}, {"toy_fill": 2}, {12: (1, 1), 15: (0, 2)})
    other = FileCounts({10: 1, 12: 1, 15: 1, 17: 1}, {"toy_fill": 1}, {12: (0, 1), 15: (0, 1)})
    lost = CaseCoverage("no counters came: kernel BUG") if crash else CaseCoverage(files={SUPER: other})
    cells = {
        "fix.MORE=n.gcov": CellCoverage(
            "fix", flavour="gcov", files={SUPER: plain},
            cases={LOAD: CaseCoverage(), "mount": CaseCoverage(files={SUPER: mount}), "other": lost},
        ),
        "fix.MORE=y.gcov": CellCoverage(
            "fix", flavour="gcov", files={SUPER: more},
            cases={
                LOAD: CaseCoverage(files={SUPER: FileCounts({32: 1}, {"toy_exit": 1})}),
                "mount": CaseCoverage(files={SUPER: mount}),
            },
        ),
        "unpatched.MORE=n.gcov": CellCoverage("unpatched", flavour="gcov", unknown="interrupted"),
    }  # fmt: skip
    return Coverage(module="fs/toy", cells=cells)
