"""git bisect in a private repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.source import commit_range
from kmodpipe.source.bisection import Bisection, First, ToTry
from kmodpipe.source.commit_range import CommitRange
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import empty_commits, git


@pytest.fixture
def commits(tmp_path: Path) -> tuple[CommitRange, list[str]]:
    repo = tmp_path / "repo"
    repo.mkdir()
    empty_commits(repo, 9)
    hashes = git(repo, "rev-list", "--reverse", "main").split()
    found = commit_range.fetch(repo.as_uri(), hashes[0], "main", tmp_path / "cache", Screen(Mode.QUIET))
    return found, hashes


def search(commits: CommitRange, folder: Path, bad: set[str], skipped: set[str]) -> tuple[First, int, str]:
    git_bisect = Bisection(commits, folder)
    state, tried = git_bisect.start(), 0
    while isinstance(state, ToTry):
        tried += 1
        word = "skip" if state.commit in skipped else "bad" if state.commit in bad else "good"
        state = git_bisect.mark(state.commit, word)
    return state, tried, git_bisect.log


def test_every_first_bad_commit_is_found(commits: tuple[CommitRange, list[str]], tmp_path: Path) -> None:
    found, hashes = commits
    for first in (1, 4, 8):
        state, tried, log = search(found, tmp_path / f"b{first}", set(hashes[first:]), set())
        assert state == First((hashes[first],)) and tried <= 4
        assert f"# first bad commit: [{hashes[first]}]" in log


def test_several_where_what_is_between_is_skipped(
    commits: tuple[CommitRange, list[str]], tmp_path: Path
) -> None:
    found, hashes = commits
    state, _, _ = search(found, tmp_path / "b", set(hashes[5:]), {hashes[3], hashes[4]})
    assert state == First((hashes[3], hashes[4], hashes[5]))


def test_a_range_of_one_commit_is_found_at_once(
    commits: tuple[CommitRange, list[str]], tmp_path: Path
) -> None:
    found, hashes = commits
    one = CommitRange(found.url, hashes[7], hashes[8], 1, found.repository)
    assert Bisection(one, tmp_path / "b").start() == First((hashes[8],))


def test_how_many_steps_are_left(commits: tuple[CommitRange, list[str]], tmp_path: Path) -> None:
    state = Bisection(commits[0], tmp_path / "b").start()
    assert isinstance(state, ToTry) and state.steps_left in (2, 3)
