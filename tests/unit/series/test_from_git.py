"""Commits of the user's repository, and what a working tree has on top of one; nothing is written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import series
from kmodpipe.util.errors import UserError
from tests.support.trees import commit_all, contents, git, make_tree, write


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Base, and two commits on top on the branch topic."""
    root = make_tree(tmp_path / "linux")
    commit_all(root, "base")
    git(root, "branch", "base")
    git(root, "checkout", "-q", "-b", "topic")
    write(root, {"fs/toy/toy.h": "int a;\nint B;\nint c;\n"})
    commit_all(root, "[PATCH 2/2] toy: B")
    write(root, {"fs/toy/new.c": "new\n"})
    commit_all(root, "toy: new")
    return root


def set_traps(root: Path) -> None:
    """Let its hooks and configuration run programs, which leave a file."""
    write(root, {".git/hooks/post-index-change": "#!/bin/sh\ntouch ../ran\n"})
    (root / ".git/hooks/post-index-change").chmod(0o755)
    for name, value in (
        ("diff.noprefix", "true"), ("diff.external", "touch ran"), ("core.fsmonitor", "touch ran"),
        ("filter.evil.clean", "touch ran"), ("diff.evil.textconv", "touch ran"), ("core.pager", "touch ran"),
    ):  # fmt: skip
        git(root, "config", name, value)
    write(root / ".git/info", {"attributes": "*.c filter=evil diff=evil\n"})
    (root / "ran").unlink(missing_ok=True)


def test_a_range_of_commits(repository: Path, tmp_path: Path) -> None:
    set_traps(repository)
    loaded = series.load(f"{repository}#base..topic", tmp_path)
    assert loaded.name == "topic"
    assert [p.name for p in loaded.patches] == ["0001-toy-B.patch", "0002-toy-new.patch"]
    assert [p.touched for p in loaded.patches] == [("fs/toy/toy.h",), ("fs/toy/new.c",)]
    assert [p.subject for p in loaded.patches] == ["toy: B", "toy: new"]
    assert loaded.patches[0].author == git(repository, "log", "-1", "--format=%an <%ae>", "topic~1")
    # Up to HEAD, and by hashes.
    head = (repository / ".git/refs/heads/topic").read_text().strip()
    assert series.load(f"{repository}#base..", tmp_path).digest == loaded.digest
    assert series.load(f"{repository}#base..{head}", tmp_path).digest == loaded.digest
    assert not (repository / "ran").exists() and not (tmp_path / "ran").exists()


def test_a_commit_brings_its_whole_message(repository: Path, tmp_path: Path) -> None:
    text = "Why: é.\n\n" + "x" * 9000 + '\n\nFixes: 0123456789ab ("x")\nSigned-off-by: A <a@b.example>'
    git(repository, "commit", "-q", "--amend", "-m", f"toy: new\n\n{text}")
    assert series.load(f"{repository}#base..topic", tmp_path).patches[1].text == text


def test_a_working_tree_against_a_ref(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no change against HEAD") as e:
        series.load(str(repository), tmp_path)
    assert "TREE#v5.10" in e.value.hint
    write(
        repository,
        {"fs/toy/toy.h": "int a;\nint B;\nint d;\n", "fs/toy/own.c": "own\n", ".gitignore": "*.o\n"},
    )
    write(repository, {"fs/toy/toy.o": "built\n", "fs/toy/0001-x.patch": "left\n"})
    (repository / "fs/toy/new.c").unlink()
    git(repository, "add", "fs/toy/toy.h")
    set_traps(repository)
    before = {**contents(repository), "index": (repository / ".git/index").read_bytes().hex()}
    objects = sorted((repository / ".git/objects").rglob("*"))

    monkeypatch.chdir(repository)
    loaded = series.load(".", tmp_path)
    assert loaded.name == "linux" and "on top of HEAD" in loaded.notices[0]
    assert {"fs/toy/toy.h", "fs/toy/own.c", "fs/toy/new.c"} <= {*loaded.touched}
    assert not {"fs/toy/toy.o", "fs/toy/0001-x.patch"} & {*loaded.touched}
    against = series.load(f"{repository}#base", tmp_path)
    assert "fs/toy/new.c" not in against.touched and "fs/toy/own.c" in against.touched
    assert {**contents(repository), "index": (repository / ".git/index").read_bytes().hex()} == before
    assert sorted((repository / ".git/objects").rglob("*")) == objects
    assert not (repository / "ran").exists()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("#base..topci", "unknown branch, tag or commit 'topci'; did you mean topic"),
        ("#bsae", "did you mean base"),
        ("#..topic", "has a base"),
        ("#base...topic", "with two dots"),
        ("#topic..base", "base has no commit on top of topic"),
        ("#--output=x..topic", "unknown branch, tag or commit"),
        ("#base..merged", "the range has a merge"),
        ("#base..empty", "changes nothing: 'empty'"),
    ],
)
def test_what_is_no_range(wanted: str, said: str, repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-q", "-b", "side", "base")
    git(repository, "commit", "-q", "--allow-empty", "-m", "empty")
    git(repository, "branch", "empty")
    git(repository, "checkout", "-q", "-b", "merged")
    git(repository, "merge", "-q", "--no-ff", "-m", "merge", "topic")
    with pytest.raises(UserError) as e:
        series.load(f"{repository}{wanted}", tmp_path)
    assert said in str(e.value)


def test_a_folder_that_is_neither(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither a folder of patches nor a git repository"):
        series.load(f"{tmp_path}/empty#a..b", tmp_path)
    with pytest.raises(UserError, match="holds no patch"):
        series.load(f"{tmp_path}/empty", tmp_path)


def test_a_partial_clone_says_how_it_becomes_a_whole_one(repository: Path, tmp_path: Path) -> None:
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", repository.as_uri(), "partial")
    wanted = f"{tmp_path / 'partial'}#origin/base..origin/topic"
    with pytest.raises(UserError, match="lacks objects: it is a partial clone") as caught:
        series.load(wanted, tmp_path)
    assert "git fetch --refetch --no-filter" in caught.value.hint
    git(tmp_path / "partial", "fetch", "-q", "--refetch", "--no-filter")
    assert series.load(wanted, tmp_path).digest == series.load(f"{repository}#base..topic", tmp_path).digest
