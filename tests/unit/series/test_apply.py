"""Strict application, and what a reject says."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kmodpipe import series, source
from kmodpipe.util import process
from kmodpipe.util.errors import Interrupted, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.sample_series import diff, folder_of, toy_header
from tests.support.trees import commit_all, contents, git, make_tree, write


@pytest.fixture
def screen() -> Screen:
    return Screen(Mode.QUIET, out=io.StringIO())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path, cache: Path, screen: Screen) -> source.Tree:
    spec = source.resolve(str(make_tree(tmp_path / "mine")), {})
    return source.fetch(spec, {}, cache, screen)


def test_applying_leaves_the_tree_as_it_was_and_is_done_once(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    work = make_tree(tmp_path / "w")
    commit_all(work, "base")
    write(work, {**toy_header("int B;"), "fs/toy/new.c": "new\n"})
    git(work, "rm", "-q", "Kconfig")
    write(work, {"Kconfig": 'mainmenu "other"\n'})
    git(work, "mv", "fs/toy/super.c", "fs/moved.c")
    (work / "Makefile").chmod(0o755)
    git(work, "add", "-A")
    root = folder_of(tmp_path / "patches", {"a.patch": git(work, "diff", "--cached", "-M") + "\n"})
    loaded = series.load("fix", root)
    before = contents(tree.path)
    assert series.applied_path(loaded, tree, cache) is None

    path = series.apply(loaded, tree, cache, screen)

    assert contents(tree.path) == before
    after = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    wanted = {p.relative_to(work).as_posix(): p.read_bytes() for p in work.rglob("*") if p.is_file()}
    assert after == {name: data for name, data in wanted.items() if not name.startswith(".git/")}
    assert (path / "scripts/run.sh").samefile(tree.path / "scripts/run.sh"), "untouched files cost nothing"
    assert series.applied_path(loaded, tree, cache) == path
    stamp = path.stat().st_ino
    assert series.apply(loaded, tree, cache, screen) == path and path.stat().st_ino == stamp


def test_no_repository_around_and_no_configuration_has_a_say(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Inside a repository git apply skips, without a word, what lies outside its folder.
    commit_all(write(tmp_path, {"enclosing": ""}), "enclosing")
    home = write(tmp_path / "home", {".gitconfig": "[apply]\n\tignoreWhitespace = change\n"})
    monkeypatch.setenv("HOME", str(home))
    exact = folder_of(tmp_path / "p1", {"a.patch": diff(toy_header("int B;"), tmp_path / "w")})
    path = series.apply(series.load("fix", exact), tree, cache, screen)
    assert "int B;" in (path / "fs/toy/toy.h").read_text()

    spaced = (exact / "fix/a.patch").read_text().replace("\n int a;", "\n int  a;")
    loose = folder_of(tmp_path / "p2", {"a.patch": spaced})
    with pytest.raises(UserError, match="does not apply"):
        series.apply(series.load("fix", loose), tree, cache, screen)


def rejected(text: str, tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen) -> UserError:
    """The error of a series whose second patch is ``text``; nothing of it is left behind."""
    good = diff({"fs/toy/new.c": "new\n"}, tmp_path / "good")
    root = folder_of(
        tmp_path / "patches", {"0001-good.patch": good, "0002-bad.patch": text}, 'applies-to = ["5.11"]'
    )
    before = contents(tree.path)
    with pytest.raises(UserError) as e:
        series.apply(series.load("fix", root), tree, cache, screen)
    assert contents(tree.path) == before
    assert not list((cache / "trees").glob("patched-*")) and not list((cache / "work").iterdir())
    assert "fix" in str(e.value) and "0002-bad.patch" in str(e.value)
    return e.value


def test_a_reject_names_file_hunk_and_the_line_that_differs(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    lines = [f"line {n}" for n in range(1, 41)]
    lines[4], lines[29] = "changed 5", "changed 30"
    text = diff({"fs/toy/super.c": "\n".join(lines) + "\n", **toy_header("int B;")}, tmp_path / "w")
    error = rejected(text.replace(" line 28\n", " line twenty-eight\n"), tmp_path, tree, cache, screen)
    assert error.where == "fs/toy/super.c, hunk @@ -27,7 +27,7 @@ line 26"
    assert "line 28: expected 'line twenty-eight'" in error.detail
    assert "line 28: found 'line 28'" in error.detail
    assert "for Linux 5.11" in error.hint


def test_a_change_that_is_already_there_is_told_from_one_that_does_not_fit(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    again = diff({"fs/toy/new.c": "new\n"}, tmp_path / "w")
    assert "already there" in rejected(again, tmp_path, tree, cache, screen).what


def test_one_files_change_that_is_already_there(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    work = make_tree(tmp_path / "w")
    write(work, {"fs/toy/toy.h": "int a;\nint old;\nint c;\n"})
    commit_all(work, "base")
    write(work, {"fs/toy/toy.h": "int a;\nint b;\nint c;\n", "Kconfig": "new\n"})
    text = git(work, "diff") + "\n"
    error = rejected(text, tmp_path, tree, cache, screen)
    assert error.where.startswith("fs/toy/toy.h, hunk @@ -1,3 +1,3 @@")
    assert "already there" in error.where and "already there" not in error.what


def test_a_patch_for_a_file_that_is_not_there(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    text = "--- a/fs/none.c\n+++ b/fs/none.c\n@@ -1 +1 @@\n-a\n+b\n"
    error = rejected(text, tmp_path, tree, cache, screen)
    assert error.where == "fs/none.c" and "No such file" in error.detail


def test_a_fuzzy_hunk_is_a_reject(tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen) -> None:
    text = diff(toy_header("int B;"), tmp_path / "w").replace(" int c;", " int C;")
    assert "fs/toy/toy.h, hunk" in rejected(text, tmp_path, tree, cache, screen).where


def test_links_that_lead_out_together_are_refused(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    def link(name: str, to: str) -> str:
        head = f"diff --git a/{name} b/{name}\nnew file mode 120000\n--- /dev/null\n+++ b/{name}\n"
        return f"{head}@@ -0,0 +1 @@\n+{to}\n\\ No newline at end of file\n"

    patches = {"1.patch": link("fs/toy/up", "../.."), "2.patch": link("out", "fs/toy/up/../x")}
    fix = series.load("fix", folder_of(tmp_path, patches))
    with pytest.raises(UserError, match=r"out of the tree: out to 'fs/toy/up/\.\./x'"):
        series.apply(fix, tree, cache, screen)


def test_a_link_out_of_the_tree_is_refused(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    text = "diff --git a/fs/l b/fs/l\nnew file mode 120000\n--- /dev/null\n+++ b/fs/l\n@@ -0,0 +1 @@\n"
    (tmp_path / "l.patch").write_text(text + "+/etc/passwd\n\\ No newline at end of file\n")
    with pytest.raises(UserError, match="link out of the tree: fs/l"):
        series.apply(series.load(str(tmp_path / "l.patch"), tmp_path), tree, cache, screen)
    assert not list((cache / "trees").glob("patched-*"))


def test_an_interruption_leaves_no_farm(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    root = folder_of(tmp_path / "patches", {"a.patch": diff(toy_header("int B;"), tmp_path / "w")})
    loaded = series.load("fix", root)
    with process.Children().collecting() as children:
        children.stop_all()
        with pytest.raises(Interrupted):
            series.apply(loaded, tree, cache, screen)
    assert not list((cache / "trees").glob("patched-*")) and not list((cache / "work").iterdir())


def test_mismatch_warns_by_version(tmp_path: Path, tree: source.Tree) -> None:
    patch = {"a.patch": diff(toy_header("int B;"), tmp_path / "w")}
    fits = series.load("fix", folder_of(tmp_path / "p1", patch, 'applies-to = ["5.9", "5.10"]'))
    other = series.load("fix", folder_of(tmp_path / "p2", patch, 'applies-to = ["5.1"]'))
    assert series.mismatch(fits, tree) is None
    assert "for Linux 5.1;" in str(series.mismatch(other, tree))
