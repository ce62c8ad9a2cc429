"""Lines are followed back through the hunks of patches, renames and new files."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.series import came_from, changes
from kmodpipe.series.model import Patch

FIRST = b"""\
--- a/f.c
+++ b/f.c
@@ -2,3 +2,4 @@
 two
-three
+drei
+dreieinhalb
 four
@@ -10,2 +11,1 @@
-ten
 eleven
"""
RENAMED = b"""\
diff --git a/f.c b/g.c
similarity index 90%
rename from f.c
rename to g.c
--- a/f.c
+++ b/g.c
@@ -0,0 +1,2 @@
+new
+new
diff --git a/new.c b/new.c
new file mode 100644
--- /dev/null
+++ b/new.c
@@ -0,0 +1,1 @@
+x
"""


def origin(*patches: bytes) -> came_from.Origin:
    made = [Patch(f"{n}.patch", Path(), "", (), data) for n, data in enumerate(patches)]
    return came_from.through([change for patch in made for change in changes.of_patch(patch)])


def test_a_line_is_followed_through_the_hunks_of_a_patch() -> None:
    found = origin(FIRST)
    lines = {line: found("f.c", line)[1] for line in range(1, 14)}
    assert lines == {1: 1, 2: 2, 3: 0, 4: 0, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8, 10: 9, 11: 11, 12: 12, 13: 13}
    assert found("other.c", 3) == ("other.c", 3)
    assert came_from.stays("f.c", 3) == ("f.c", 3)


def test_a_line_is_followed_through_several_patches_and_a_rename() -> None:
    found = origin(FIRST, RENAMED)
    assert found("g.c", 1) == ("f.c", 0)
    assert found("g.c", 4) == ("f.c", 2)
    assert found("g.c", 7) == ("f.c", 4)
    assert found("g.c", 0) == ("f.c", 0)


def test_a_file_that_a_patch_makes_had_no_lines() -> None:
    assert origin(RENAMED)("new.c", 1) == ("new.c", 0)


def test_a_line_is_followed_on_through_later_patches() -> None:
    made = [Patch(f"{n}.patch", Path(), "", (), data) for n, data in enumerate((FIRST, RENAMED))]
    every = [change for patch in made for change in changes.of_patch(patch)]
    back, on = came_from.through(every), came_from.onward(every)
    assert on("f.c", 3) == ("g.c", 0) and on("f.c", 10) == ("g.c", 0)
    assert {line: on("f.c", line)[1] for line in (1, 2, 4, 9, 11, 12)} == {
        1: 3,
        2: 4,
        4: 7,
        9: 12,
        11: 13,
        12: 14,
    }
    for line in (1, 2, 4, 5, 9, 11, 12, 40):
        assert back(*on("f.c", line)) == ("f.c", line)
