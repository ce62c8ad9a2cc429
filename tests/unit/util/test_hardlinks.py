"""Farms of hard links: the same tree, whatever is in it and whoever links."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kmodpipe.util import hardlinks
from kmodpipe.util.errors import Interrupted
from kmodpipe.util.process import Children


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    for name in (
        "drivers/net/a.c",
        "drivers/b.c",
        "fs/c.c",
        "-rf",
        "with space",
        "new\nline",
        ".git/HEAD",
        "x/.git",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "empty").mkdir()
    (top / "fs" / "link").symlink_to("c.c")
    (top / "lost").symlink_to("nowhere")
    (top / "folder-link").symlink_to("drivers")
    (top / "fs" / "c.c").chmod(0o755)
    (top / "\udcff").write_text("no UTF-8")
    return top


def without_cp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cp").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def entries(top: Path) -> dict[str, tuple[int, str]]:
    """The inode of each file and link below, and where links lead; of folders the names alone."""
    return {
        os.fspath(path.relative_to(top)): (
            (path.lstat().st_ino, str(path.readlink()) if path.is_symlink() else "")
            if path.is_symlink() or path.is_file()
            else (0, "")
        )
        for path in top.rglob("*")
    }


@pytest.mark.parametrize("linked_by", ["cp", "us"])
def test_a_farm_has_every_file_and_link_and_nothing_of_git(
    source: Path, tmp_path: Path, linked_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if linked_by == "us":
        without_cp(tmp_path, monkeypatch)
    assert hardlinks.make_farm(source, tmp_path / "farm")
    wanted = {name: one for name, one in entries(source).items() if not name.startswith(".git")}
    assert entries(tmp_path / "farm") == wanted and "x/.git" in wanted


def test_folders_can_be_written_to_whatever_the_source_s_can(source: Path, tmp_path: Path) -> None:
    (source / "fs").chmod(0o555)
    hardlinks.make_farm(source, tmp_path / "farm")
    (source / "fs").chmod(0o755)
    assert (tmp_path / "farm" / "fs").stat().st_mode & 0o700 == 0o700


def test_what_cannot_be_linked_is_copied_and_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def refuse(source: str, target: str, **more: bool) -> None:
        if source.endswith("b.c"):
            raise OSError(errno.EMLINK, "Too many links")
        link(source, target, **more)

    without_cp(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "link", refuse)
    assert not hardlinks.make_farm(source, tmp_path / "farm")
    copy, original = tmp_path / "farm" / "drivers" / "b.c", source / "drivers" / "b.c"
    assert copy.read_text() == original.read_text() and not copy.samefile(original)


def test_a_half_made_farm_of_cp_is_made_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    cp = tmp_path / "bin" / "cp"
    cp.write_text('#!/bin/sh\n/bin/cp "$@"\necho "cannot create hard link" >&2\nexit 1\n')
    cp.chmod(0o755)
    monkeypatch.setenv("PATH", f"{cp.parent}:{os.environ['PATH']}")
    assert hardlinks.make_farm(source, tmp_path / "farm")
    assert entries(tmp_path / "farm").keys() == {n for n in entries(source) if not n.startswith(".git")}


def test_an_interruption_ends_it(source: Path, tmp_path: Path) -> None:
    children = Children()
    with children.collecting():
        children.stop_all()
        with pytest.raises(Interrupted):
            hardlinks.make_farm(source, tmp_path / "farm")
