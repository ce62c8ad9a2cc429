"""A tree from a folder: copied, never touched, and known again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe import source
from kmodpipe.util import process
from kmodpipe.util.errors import Interrupted, UserError
from kmodpipe.util.screen import Screen
from tests.support.trees import commit_all, contents, get, git, make_tree, write


def test_a_directory_is_copied_without_build_products_and_never_touched(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    mine = make_tree(tmp_path / "mine")
    os.utime(mine / "Kconfig", ns=(10**18, 10**18))
    built = {".config": "x", "include/config/auto.conf": "x", "fs/toy/super.o": "x", "vmlinux": "x"}
    built |= {"arch/x86/include/generated/a.h": "x", "fs/toy/.super.o.cmd": "x"}
    write(mine, built)
    (mine / "scripts/fixdep").write_bytes(b"\x7fELF...")
    (mine / "scripts/fixdep").chmod(0o755)
    before = contents(mine)

    tree = get(str(mine), cache, screen)

    assert contents(mine) == before
    assert set(contents(tree.path)) == set(before) - set(built) - {"scripts/fixdep"}
    assert tree.kernel_version == "5.10.7-toy"
    assert (tree.path / "Kconfig").stat().st_mtime_ns == 10**18
    assert os.access(tree.path / "scripts/run.sh", os.X_OK)
    assert tree.provenance["directory"] == str(mine) and tree.identity.startswith("dir:")
    assert source.locate(source.resolve(str(mine), {}), {}, cache) == tree


def test_what_this_program_wrote_is_no_source(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    before = get(str(mine), cache, screen).identity
    write(
        mine, {"plan.json": '{\n "schema": "kmodpipe-plan",\n', "junit.xml": '<testsuites name="kmodpipe 1">'}
    )
    (mine / "link.json").symlink_to("plan.json")
    os.mkfifo(mine / "fifo.json")
    with pytest.raises(UserError, match="neither a file nor a link"):
        get(str(mine), cache, screen)
    (mine / "fifo.json").unlink()
    (mine / "link.json").unlink()
    assert get(str(mine), cache, screen).identity == before
    write(mine, {"regs.json": '{"schema": "x"}'})
    assert get(str(mine), cache, screen).identity != before


def test_a_changed_file_makes_a_new_tree_of_links_to_the_old_copy(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    mine = make_tree(tmp_path / "mine")
    old = get(str(mine), cache, screen)
    times = (mine / "fs/toy/toy.h").stat()
    (mine / "fs/toy/toy.h").write_text("int A;\nint b;\nint c;\n")
    os.utime(mine / "fs/toy/toy.h", ns=(times.st_atime_ns, times.st_mtime_ns))

    spec = source.resolve(str(mine), {})
    assert source.locate(spec, {}, cache) is None, "same size and mtime, but not the same file"
    new = get(str(mine), cache, screen)

    assert new.identity != old.identity
    assert (new.path / "fs/toy/toy.h").read_text().startswith("int A")
    assert (old.path / "fs/toy/toy.h").read_text().startswith("int a")
    assert (new.path / "Makefile").samefile(old.path / "Makefile")
    assert not (new.path / "Makefile").samefile(mine / "Makefile")


@pytest.mark.parametrize("in_git", [False, True])
def test_how_a_tree_is_tested_is_no_part_of_it(
    tmp_path: Path, cache: Path, screen: Screen, *, in_git: bool
) -> None:
    mine = make_tree(tmp_path / "mine")
    before = get(str(mine), cache, screen).identity
    write(mine, {"kmodpipe.toml": "[matrix]\n", "kmodpipe-cases/load.sh": "#!/bin/sh\n"})
    if in_git:
        commit_all(mine, "with a project")
    assert get(str(mine), cache, screen).identity == before


def test_a_git_checkout_says_its_head_and_what_differs(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    write(mine, {".gitignore": "*.bak\n", "kept.o": "tracked on purpose\n"})
    head = commit_all(mine, "first")
    write(mine, {"x.bak": "ignored", ".config": "configured in place"})
    os.utime(mine / "Kconfig", ns=(10**18, 10**18))
    git_index = (mine / ".git/index").read_bytes()

    tree = get(str(mine), cache, screen)
    assert tree.provenance["git-head"] == head and tree.provenance["git-state"] == "clean"
    assert "kept.o" in contents(tree.path) and not {"x.bak", ".config"} & set(contents(tree.path))
    assert (mine / ".git/index").read_bytes() == git_index, "even a refreshed index is a change"

    write(mine, {"fs/toy/new.c": "", "Kconfig": "changed\n"})
    changed = get(str(mine), cache, screen)
    assert changed.provenance["git-state"] == "modified: 1 changed, 1 untracked"
    assert "fs/toy/new.c" in contents(changed.path)


def test_a_checkouts_configuration_runs_no_program(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    commit_all(mine, "first")
    trap = tmp_path / "trap"
    for key in ("core.fsmonitor", "filter.x.clean", "diff.external", "core.pager"):
        git(mine, "config", key, f"touch {trap}")
    write(mine, {".gitattributes": "* filter=x\n", "Kconfig": "changed\n"})
    assert get(str(mine), cache, screen).provenance["git-state"].startswith("modified")
    assert not trap.exists()


def test_a_link_out_of_a_directory_is_refused(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    (mine / "fs/out").symlink_to("../../secret")
    with pytest.raises(UserError, match="fs/out points out of the tree"):
        get(str(mine), cache, screen)
    assert not list((cache / "trees").glob("dir-*")) and not list((cache / "work").iterdir())


def test_what_cannot_be_read_is_named(
    tmp_path: Path, cache: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_tree(tmp_path / "mine")
    opened = os.open

    def closed(path: str, *rest: int, **more: int | None) -> int:
        if str(path).endswith("mine/fs/toy/toy.h"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(UserError, match=r"'fs/toy/toy\.h' cannot be read: Permission denied"):
        get(str(mine), cache, screen)


def test_an_interruption_leaves_nothing_half_made(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    with process.Children().collecting() as children:
        children.stop_all()
        with pytest.raises(Interrupted):
            get(str(mine), cache, screen)
    assert not list((cache / "trees").glob("dir-*"))
    assert get(str(mine), cache, screen).kernel_version == "5.10.7-toy"
