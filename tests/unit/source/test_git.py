"""A tree from a git repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kmodpipe import source
from kmodpipe.source import TreeSpec
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen
from tests.support.trees import commit_all, get, git, make_tree, write


def test_a_pinned_first_parent_a_branch_and_the_moving_head(
    repo: tuple[Path, str, str], cache: Path, screen: Screen
) -> None:
    folder, second, third = repo
    spec = TreeSpec(name="t", git=folder.as_uri(), commit=third, first_parent=True, head="main")
    assert source.locate(spec, {}, cache) is None
    tree = source.fetch(spec, {}, cache, screen)
    assert tree.identity == f"git:{second}" and (tree.path / "fs/toy/toy.h").read_text() == "second\n"
    assert tree.provenance["first-parent-of"] == third and tree.provenance["url"] == folder.as_uri()
    head = source.fetch(spec, {}, cache, screen, head=True)
    assert head.identity == f"git:{third}" and head.provenance["ref"] == "main"
    assert source.locate(spec, {}, cache, head=True) == head

    by_ref = source.resolve(f"{folder}#main", {})
    assert source.fetch(by_ref, {}, cache, screen).path == head.path
    write(folder, {"fs/toy/toy.h": "fourth\n"})
    fourth = commit_all(folder, "fourth")
    assert source.locate(by_ref, {}, cache) is not None, "as it was fetched last"
    assert source.fetch(by_ref, {}, cache, screen).identity == f"git:{fourth}"

    # The pin needs no server any more.
    shutil.rmtree(folder)
    assert source.fetch(spec, {}, cache, screen).identity == f"git:{second}"
    assert source.locate(spec, {}, cache) == tree


def test_wrong_refs_and_commits_are_the_users_and_take_no_stand_in(
    repo: tuple[Path, str, str], tmp_path: Path, cache: Path, screen: Screen
) -> None:
    folder, _, third = repo
    with pytest.raises(UserError, match="did you mean main"):
        get(f"{folder}#mian", cache, screen)
    with pytest.raises(UserError, match="no branch or tag") as e:
        get(f"{folder}#{third[:12]}", cache, screen)
    assert "all 40 digits" in e.value.hint
    declared = {"other": TreeSpec(name="other", path=make_tree(tmp_path / "other"))}
    missing = TreeSpec(name="t", git=folder.as_uri(), commit="1" * 40, stand_in="other")
    with pytest.raises(UserError, match="no commit 1111"):
        source.fetch(missing, declared, cache, screen)
    git(folder, "tag", "main")
    with pytest.raises(UserError, match="both a branch and a tag"):
        get(f"{folder}#main", cache, screen)
    assert get(f"{folder}#refs/tags/main", cache, screen).identity == f"git:{third}"


def test_a_repository_with_a_link_out_of_the_tree_is_never_checked_out(
    repo: tuple[Path, str, str], cache: Path, screen: Screen
) -> None:
    folder = repo[0]
    (folder / "evil").symlink_to("/etc")
    commit_all(folder, "evil")
    with pytest.raises(UserError, match="evil points out of the tree"):
        get(f"{folder}#main", cache, screen)
    assert not list((cache / "trees").glob("git-*"))
