"""A patched tree is recognised by its folders, and whatever was done to it is noticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe import series, source
from kmodpipe.series import Series
from kmodpipe.source import linked
from kmodpipe.source import tree as trees
from kmodpipe.util.screen import Screen
from tests.support.sample_series import diff, folder_of, toy_header
from tests.support.trees import get, make_tree

NEW, SHARED, OWN = "fs/toy/new.c", "fs/toy/super.c", "fs/toy/toy.h"


class Applied:
    """A series that is applied, in a cache of its own."""

    def __init__(self, tmp_path: Path, cache: Path, screen: Screen) -> None:
        self.cache, self.screen = cache, screen
        self.mine = make_tree(tmp_path / "mine")
        self.tree = get(str(self.mine), cache, screen)
        text = diff({**toy_header("int B;"), NEW: "new\n"}, tmp_path / "w")
        self.series: Series = series.load("fix", folder_of(tmp_path / "patches", {"a.patch": text}))
        self.path = series.apply(self.series, self.tree, cache, screen)

    def found(self) -> bool:
        return series.applied_path(self.series, self.tree, self.cache) == self.path

    def recognised(self) -> bool:
        return linked.holds(self.path, trees.manifest_path(self.tree.path))


@pytest.fixture
def applied(tmp_path: Path, cache: Path, screen: Screen) -> Applied:
    return Applied(tmp_path, cache, screen)


def test_an_unchanged_tree_is_recognised_without_a_listing(
    applied: Applied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert applied.recognised() and applied.found()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing here"))
    assert applied.found()
    linked.path_of(applied.path).unlink()
    assert not applied.found(), "without the file it is listed, which takes find(1)"


def _replaced(path: Path) -> None:
    """Put another file with the same size and times in the place of one."""
    before, part = path.stat(), path.with_name("part")
    part.write_bytes(b"x" * before.st_size)
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    part.replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file removed": lambda top: (top / SHARED).unlink(),
    "its own file removed": lambda top: (top / NEW).unlink(),
    "a file added": lambda top: (top / "fs/toy/more.c").write_text("more"),
    "a file added at the top": lambda top: (top / "more").write_text("more"),
    "a folder added": lambda top: (top / "fs/more").mkdir(),
    "a folder removed": lambda top: shutil.rmtree(top / "fs/toy"),
    "its own file written": lambda top: (top / OWN).write_text("int C;"),
    "its own file of the same size": lambda top: _replaced(top / OWN),
    "a file in the place of another": lambda top: _replaced(top / SHARED),
    "a link in the place of a file": lambda top: (
        (top / SHARED).unlink(), (top / SHARED).symlink_to("toy.h")
    ),
    "its own file as a program": lambda top: (top / OWN).chmod(0o755),
    "another folder in its place": lambda top: (
        shutil.copytree(top, top.with_name("copy"), symlinks=True), shutil.rmtree(top),
        top.with_name("copy").rename(top),
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_tree_is_not_recognised(applied: Applied, change: Callable[[Path], object]) -> None:
    assert applied.recognised()
    change(applied.path)
    assert not applied.recognised()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nor_is_one_that_changes_before_anything_is_noted(
    applied: Applied, change: Callable[[Path], object]
) -> None:
    change(applied.path)
    assert not applied.recognised() and not linked.path_of(applied.path).exists()


@pytest.mark.parametrize("name", [SHARED, "Kconfig"])
def test_a_shared_file_that_is_written_to_damages_both_trees(
    applied: Applied, name: str, screen: Screen
) -> None:
    (applied.path / name).write_text("written in place")
    spec = source.resolve(str(applied.mine), {})
    assert source.locate(spec, {}, applied.cache) is None
    # The other tree is made again, of other files: this one is not taken for linked to it.
    applied.tree = get(str(applied.mine), applied.cache, screen)
    assert "written" not in (applied.tree.path / name).read_text()
    assert not applied.recognised() and not applied.found()
    applied.path = series.apply(applied.series, applied.tree, applied.cache, screen)
    assert applied.recognised() and "written" not in (applied.path / name).read_text()


def test_a_tree_that_only_moved_back_is_listed_and_taken(applied: Applied) -> None:
    (applied.path / "fs").rename(applied.path / "sf")
    (applied.path / "sf").rename(applied.path / "fs")
    assert not applied.recognised()
    assert applied.found()


def test_further_links_to_its_files_do_not_matter(applied: Applied, tmp_path: Path) -> None:
    for name in (OWN, SHARED):
        os.link(applied.path / name, tmp_path / Path(name).name)
    assert applied.recognised()


def test_a_tree_of_copies_is_not_noted(
    tmp_path: Path, cache: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def refuse(source: str, target: str, **more: bool) -> None:
        if source.endswith("super.c"):
            raise OSError(31, "too many links")
        link(source, target, **more)

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cp").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    made = Applied(tmp_path, cache, screen)
    assert not linked.path_of(made.path).exists() and made.found()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"folders": [], "own": [], "digest": ""}', '{"folders": 1, "own": 2}']
)
def test_what_is_not_readable_says_nothing(applied: Applied, content: str) -> None:
    assert applied.recognised()
    linked.path_of(applied.path).write_text(content)
    assert not applied.recognised() and applied.found()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_removed_tree_leaves_nothing(applied: Applied, *, at_once: bool) -> None:
    assert at_once or applied.recognised()
    trees.discard(applied.path)
    assert not applied.recognised()
    assert not list((applied.cache / "trees").glob(f"{applied.path.name}*"))
