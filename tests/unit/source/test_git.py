"""A tree from a git repository."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

from kmodpipe import source
from kmodpipe.source import TreeSpec
from kmodpipe.source.git_command import repository
from kmodpipe.source.tree import Unreachable, discard, slot
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.servers import git_http_backend, http_files
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


def _bare(folder: Path) -> Path:
    """A bare copy of a repository, as a plain web server can give it out."""
    target = folder.parent / "web" / "linux.git"
    git(folder.parent, "clone", "-q", "--bare", str(folder), str(target))
    git(target, "update-server-info")
    return target


def test_a_pin_and_a_shallow_fetch_of_the_same_commit_live_together(
    repo: tuple[Path, str, str], cache: Path, screen: Screen
) -> None:
    folder, second, third = repo
    pin = TreeSpec(name="t", git=folder.as_uri(), commit=third, first_parent=True)
    for _ in range(2):
        # In either order: the second fetch makes the first one's history end at the commit.
        assert get(f"{folder}#main", cache, screen).identity == f"git:{third}"
        made = source.fetch(pin, {}, cache, screen)
        assert made.identity == f"git:{second}" and made.provenance["first-parent-of"] == third
        for commit in (second, third):
            discard(slot(cache, f"git:{commit}"))
    assert source.fetch(pin, {}, cache, screen).identity == f"git:{second}"
    first = git(folder, "rev-parse", "HEAD~2")
    with pytest.raises(UserError, match="has no parent"):
        source.fetch(TreeSpec(git=folder.as_uri(), commit=first, first_parent=True), {}, cache, screen)


def test_a_branch_and_a_tag_are_looked_up_each_time(
    repo: tuple[Path, str, str], cache: Path, screen: Screen
) -> None:
    folder, second, third = repo
    git(folder, "tag", "-a", "-m", "one", "v1", second)
    assert get(f"{folder}#v1", cache, screen).identity == f"git:{second}"
    git(folder, "tag", "-f", "-a", "-m", "other", "v1", third)
    assert get(f"{folder}#v1", cache, screen).identity == f"git:{third}"
    # Forced back, and on to a history that has nothing in common.
    git(folder, "reset", "-q", "--hard", second)
    assert get(f"{folder}#main", cache, screen).identity == f"git:{second}"
    git(folder, "checkout", "-q", "--orphan", "other")
    other = commit_all(folder, "other")
    git(folder, "branch", "-f", "main", other)
    tree = get(f"{folder}#main", cache, screen)
    assert tree.identity == f"git:{other}" and tree.provenance["ref"] == "main"
    # Another repository at the same address.
    shutil.rmtree(folder)
    make_tree(folder)
    write(folder, {"fs/toy/toy.h": "replaced\n"})
    new = commit_all(folder, "new")
    assert get(f"{folder}#main", cache, screen).identity == f"git:{new}"
    # What was fetched by its hash, or is no tip of anything any more, is still here.
    shutil.rmtree(folder)
    assert get(f"{folder.as_uri()}#{third}", cache, screen).identity == f"git:{third}"
    with pytest.raises(Unreachable) as e:
        get(f"{folder.as_uri()}#main", cache, screen)
    assert f"--tree {folder.as_uri()}#{new}" in e.value.hint


@pytest.mark.parametrize("smart", [True, False])
def test_a_tree_over_http(repo: tuple[Path, str, str], cache: Path, tmp_path: Path, smart: bool) -> None:
    folder, second, third = repo
    bare = _bare(folder)
    shown = io.StringIO()
    screen = Screen(Mode.PLAIN, out=shown)
    with (git_http_backend if smart else http_files)(bare.parent) as url:
        where = f"{url}/linux.git"
        assert get(f"{where}#main", cache, screen).identity == f"git:{third}"
        # No branch and no tag points to it.
        assert get(f"{where}#{second}", cache, screen).identity == f"git:{second}"
        pin = TreeSpec(name="t", git=where, commit=second, first_parent=True)
        first = git(folder, "rev-parse", "HEAD~2")
        assert source.fetch(pin, {}, cache, screen).identity == f"git:{first}"
        with pytest.raises(UserError, match="no commit 1111"):
            get(f"{where}#{'1' * 40}", cache, screen)
        assert ("fetching the whole history" in shown.getvalue()) is not smart
        for wrong in (f"{url}/nothing.git#main", f"{url}/nothing.git#{'2' * 40}"):
            with pytest.raises(UserError, match="no git repository at this address"):
                get(wrong, cache, screen)
        if not smart:
            (bare / "info/refs").unlink()
            with pytest.raises(UserError, match="no git repository") as e:
                get(f"{where}#main", cache, screen)
            assert "update-server-info" in e.value.hint


def test_what_a_killed_fetch_left_is_no_obstacle(
    repo: tuple[Path, str, str], cache: Path, screen: Screen
) -> None:
    folder, _, third = repo
    assert get(f"{folder}#{third}", cache, screen)
    shared = repository(cache)
    (ref,) = (shared / "refs/kmodpipe").iterdir()
    left = [shared / "shallow.lock", shared / "packed-refs.lock", ref.with_name("other.lock")]
    left += [shared / "objects/pack/tmp_pack_x", shared / "objects/pack/tmp_idx_x"]
    for path in left:
        path.write_bytes(b"")
    write(folder, {"fs/toy/toy.h": "fourth\n"})
    fourth = commit_all(folder, "fourth")
    assert get(f"{folder}#main", cache, screen).identity == f"git:{fourth}"
    assert not any(path.exists() for path in left)


def test_repositories_that_are_not_whole(
    repo: tuple[Path, str, str], cache: Path, tmp_path: Path, screen: Screen
) -> None:
    folder, _, third = repo
    git(folder, "config", "uploadpack.allowFilter", "true")
    partial, borrower = tmp_path / "partial", tmp_path / "borrower"
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", folder.as_uri(), str(partial))
    git(tmp_path, "clone", "-q", "--shared", "--no-checkout", str(folder), str(borrower))
    assert get(f"{borrower.as_uri()}#{third}", cache, screen).identity == f"git:{third}"
    hidden = folder.rename(tmp_path / "gone")
    discard(slot(cache, f"git:{third}"))
    shutil.rmtree(cache / "git")
    for lacking in (partial, borrower):
        for ref in ("main", third):
            with pytest.raises((UserError, InfraError)) as e:
                get(f"{lacking.as_uri()}#{ref}", cache, screen)
            assert "lacks objects" in e.value.what, e.value
    hidden.rename(folder)
    assert get(f"{borrower.as_uri()}#main", cache, screen).identity == f"git:{third}"


def test_sha256_and_other_peoples_repositories_are_refused_with_a_way_out(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    folder = make_tree(tmp_path / "sha256")
    git(folder, "init", "-q", "-b", "main", "--object-format=sha256")
    commit = commit_all(folder, "all")
    for ref in ("main", commit):
        with pytest.raises(UserError, match=r"SHA-256|no branch or tag") as e:
            get(f"{folder.as_uri()}#{ref}", cache, screen)
        assert "folder" in e.value.hint
    assert source.fetch(source.resolve(str(folder), {}), {}, cache, screen).kernel_version == "5.10.7-toy"
    if os.getuid() == 0:
        other = make_tree(tmp_path / "others")
        commit_all(other, "all")
        for path in (other, other / ".git"):
            os.chown(path, 65534, 65534)
        with pytest.raises(UserError, match="belongs to another user") as e:
            get(f"{other.as_uri()}#main", cache, screen)
        assert "safe.directory" in e.value.hint
