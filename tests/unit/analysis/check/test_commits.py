"""Commits are looked up where the series or the tree comes from, and not where history is not whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kmodpipe.analysis.check import commits
from kmodpipe.series.model import Series
from kmodpipe.source import Tree


def git(folder: Path, *argv: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    done = subprocess.run(["git", *who, *argv], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "linux"
    root.mkdir()
    git(root, "init", "-q")
    for subject in ("ovl: first", "ovl: second"):
        git(root, "commit", "-q", "--allow-empty", "-m", subject)
    return root


def series(origin: str) -> Series:
    return Series("s", "", "", None, (), (), origin)


def tree(path: Path) -> Tree:
    return Tree("t", path, "git:x", "5.10.0")


def test_a_commit_of_the_history_has_its_subject(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD~1")
    for found in (
        commits.of(series("patches/s"), tree(repository)),
        commits.of(series(f"{repository}#HEAD~1..HEAD"), tree(repository / "none")),
    ):
        assert (found.unknown, found.subject(first[:12])) == ("", "ovl: first")
        assert found.subject("0123456789ab") is None


def test_a_part_of_history_says_nothing_of_the_rest(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "shallow")
    found = commits.of(series("x"), tree(tmp_path / "shallow"))
    assert "in part only" in found.unknown
    assert found.subject(git(repository, "rev-parse", "HEAD~1")) is None


def test_a_tree_without_git_has_no_history(tmp_path: Path) -> None:
    assert commits.of(series("patches/s"), tree(tmp_path)).unknown == "the tree is not from git"
