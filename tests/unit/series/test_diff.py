"""Where a patch goes is certain, or it is refused by name."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kmodpipe import series, source
from kmodpipe.series.diff import strip_of
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import make_tree

NEW = "new file mode 100644\n--- /dev/null\n+++ {}\n@@ -0,0 +1 @@\n+x\n"
HUNK = "@@ -1 +1 @@\n-a\n+b\n"


def plain(old: str, new: str) -> str:
    return f"--- {old}\n+++ {new}\n{HUNK}"


@pytest.mark.parametrize(
    ("text", "strip"),
    [
        ("diff --git a/fs/x.c b/fs/x.c\n" + plain("a/fs/x.c", "b/fs/x.c"), 1),
        ("diff --git i/fs/x.c w/fs/x.c\n" + plain("i/fs/x.c", "w/fs/x.c"), 1),
        ("diff --git fs/x.c fs/x.c\n" + plain("fs/x.c", "fs/x.c"), 0),
        ("diff --git a/fs/n.c b/fs/n.c\n" + NEW.format("b/fs/n.c"), 1),
        ("diff --git fs/n.c fs/n.c\n" + NEW.format("fs/n.c"), 0),
        ("diff --git fs/a b fs/a b\nold mode 100644\nnew mode 100755\n", 0),
        ("diff --git a/fs/a b b/fs/a b\nold mode 100644\nnew mode 100755\n", 1),
        (
            'diff --git "a/fs/\\303\\251" "b/fs/\\303\\251"\n'
            + plain('"a/fs/\\303\\251"', '"b/fs/\\303\\251"'),
            1,
        ),
        ('diff --git "fs/\\303\\251" "fs/\\303\\251"\n' + plain('"fs/\\303\\251"', '"fs/\\303\\251"'), 0),
        ("diff --git a/fs/x b/mm/y\nsimilarity index 100%\nrename from fs/x\nrename to mm/y\n", 1),
        ("diff --git fs/x mm/y\nsimilarity index 100%\nrename from fs/x\nrename to mm/y\n", 0),
        (plain("a/new/x.c", "b/new/x.c"), 1),
        (plain("linux.orig/fs/x.c\t2020-01-01 00:00:00", "linux/fs/x.c"), 1),
        (plain("fs/x.c.orig", "fs/x.c"), 0),
        (plain("fs/x.c", "fs/x.c"), 0),
        (plain("linux-5.10/fs/x.c", "linux-5.10/fs/x.c"), 1),
        (plain("/dev/null", "fs/overlayfs/new.c"), 0),
        (plain("Makefile", "Makefile"), 0),
        ("Index: fs/x.c\n===\n" + plain("fs/x.c\t(revision 1)", "fs/x.c\t(working copy)"), 0),
        # A removed line that looks like a header.
        ("--- a/fs/x\n+++ b/fs/x\n@@ -1,2 +1,2 @@\n--- mm/y\n-+++ mm/y\n+++ mm/z\n+a\n", 1),
    ],
)
def test_whether_names_have_a_and_b(text: str, strip: int) -> None:
    assert strip_of("x.patch", text.encode(), "x") == strip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (plain("/dev/null", "overlayfs/new.c"), "does not show where 'overlayfs/new.c' is"),
        (plain("tools/lib/x.c", "tools/lib/x.c"), "does not show where"),
        (plain("/usr/src/linux/fs/x.c", "/usr/src/linux/fs/x.c"), "absolute path: '/usr/src"),
        (plain("C:\\linux\\fs\\x.c", "C:\\linux\\fs\\x.c"), "absolute path"),
        (
            "diff --git a/fs/x.c b/fs/x.c\n" + plain("a/fs/x.c", "b/fs/x.c") + "diff --git fs/y.c fs/y.c\n"
            + plain("fs/y.c", "fs/y.c"),
            "with a/ and b/ and without: 'b/fs/x.c', 'fs/y.c'",
        ),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(UserError) as e:
        strip_of("x.patch", text.encode(), "x")
    assert said in str(e.value)


def test_a_series_file_says_it_where_it_does_not_show(tmp_path: Path) -> None:
    (tmp_path / "x.patch").write_text(plain("tools/lib/x.c", "tools/lib/x.c"))
    for option, name in (("-p0", "tools/lib/x.c"), ("-p1", "lib/x.c")):
        (tmp_path / "series").write_text(f"x.patch {option}\n")
        assert series.load(str(tmp_path), tmp_path).touched == (name,)
    for line, said in (("x.patch -R", "-R is not supported"), ("#+a\n+a x.patch", "guards such as")):
        (tmp_path / "series").write_text(f"{line}\n")
        with pytest.raises(UserError, match=said):
            series.load(str(tmp_path), tmp_path)


def git_new(name: str) -> str:
    return f"diff --git a/{name} b/{name}\n" + NEW.format(f"b/{name}")


def test_a_new_file_is_made_where_a_tree_has_files(tmp_path: Path) -> None:
    screen, cache = Screen(Mode.QUIET, out=io.StringIO()), tmp_path / "cache"
    tree = source.fetch(source.resolve(str(make_tree(tmp_path / "mine")), {}), {}, cache, screen)

    def apply(text: str) -> Path:
        (tmp_path / "x.diff").write_text(text)
        return series.apply(series.load(str(tmp_path / "x.diff"), tmp_path), tree, cache, screen)

    assert (apply(git_new("fs/other/new.c")) / "fs/other/new.c").is_file()
    assert (apply("diff --git fs/toy/n.c fs/toy/n.c\n" + NEW.format("fs/toy/n.c")) / "fs/toy/n.c").is_file()
    # Made in fs/ or fs/toy/ with git diff --relative.
    with pytest.raises(UserError, match="the folder toy at the top") as e:
        apply(git_new("toy/new.c"))
    assert e.value.hint == "is it meant to be in fs/toy?"
    with pytest.raises(UserError, match=r"new\.c at the top of the tree"):
        apply(git_new("new.c"))
    # A new folder at the top is added to the build.
    build = f'--- a/Kconfig\n+++ b/Kconfig\n@@ -1 +1 @@\n-mainmenu "toy"\n+mainmenu "o"\n{git_new("Kbuild")}'
    assert (apply(build + git_new("rust/x.c")) / "rust/x.c").is_file()


def test_names_of_windows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.diff").write_text(plain("a/fs\\x.c", "b/fs\\x.c"))
    with pytest.raises(UserError, match="as Windows does"):
        series.load(str(tmp_path / "x.diff"), tmp_path)
