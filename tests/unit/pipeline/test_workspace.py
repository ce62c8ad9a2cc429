"""Which tree a command works on."""

from __future__ import annotations

import shutil
from pathlib import Path

from kmodpipe.cli import commands
from tests.support import toy
from tests.support.trees import commit_all, make_tree, write


def test_a_branch_by_its_address_is_looked_up_by_every_command(tmp_path: Path) -> None:
    world = toy.build(tmp_path / "world")
    folder = make_tree(tmp_path / "repo")
    wanted = f"{folder.as_uri()}#main"
    for content in ("one\n", "two\n"):
        write(folder, {"fs/toy/toy.h": content})
        commit = commit_all(folder, content)
        got = world.command(commands.fetch, tree=(wanted,))
        assert got.code == 0 and f"commit: {commit}" in got.out
    shutil.rmtree(folder)
    gone = world.command(commands.fetch, tree=(wanted,))
    assert gone.code == 3 and f"--tree {folder.as_uri()}#{commit}" in gone.out
    assert world.command(commands.fetch, tree=(f"{folder.as_uri()}#{commit}",)).code == 0
