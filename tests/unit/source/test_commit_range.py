"""The commits of a range: how much history is fetched, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.source import commit_range
from kmodpipe.source.commit_range import CommitRange
from kmodpipe.source.tree import TreeSpec
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import commit_all, empty_commits, git, write

SCREEN = Screen(Mode.QUIET)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A hundred commits: more than are fetched at first."""
    repo = tmp_path / "repo"
    repo.mkdir()
    empty_commits(repo, 100)
    write(repo, {"a.c": "int a;\n"})
    commit_all(repo, "the last")
    return repo


def fetch(repo: Path, cache: Path, good: str, bad: str = "main") -> CommitRange:
    return commit_range.fetch(repo.as_uri(), good, bad, cache, SCREEN)


def test_only_as_much_history_is_fetched_as_is_needed(repo: Path, tmp_path: Path) -> None:
    found = fetch(repo, tmp_path / "cache", git(repo, "rev-parse", "main~3"))
    assert found.count == 3
    assert (found.repository / "shallow").is_file()
    assert len(found.run("rev-list", "--all").text.split()) == 64
    further = fetch(repo, tmp_path / "cache", git(repo, "rev-parse", "main~90"))
    assert further.count == 90


def test_an_abbreviated_good_end_is_found_in_the_history(repo: Path, tmp_path: Path) -> None:
    full = git(repo, "rev-parse", "main~2")
    assert fetch(repo, tmp_path / "cache", full[:10]).good == full


def test_what_a_commit_has_on_top_of_the_good_end(repo: Path, tmp_path: Path) -> None:
    found = fetch(repo, tmp_path / "cache", git(repo, "rev-parse", "main~1"))
    assert b"+int a;" in found.patch(found.bad)
    assert found.subject(found.bad) == "the last"
    assert found.parents(found.bad) == (found.good,)
    assert found.files_of(found.bad) != found.files_of(found.good)


def test_side_branches_that_the_good_end_has_are_not_in_the_range(repo: Path, tmp_path: Path) -> None:
    git(repo, "checkout", "-q", "-b", "side", "main~50")
    git(repo, "commit", "-q", "--allow-empty", "-m", "on the side")
    git(repo, "checkout", "-q", "main")
    good = git(repo, "rev-parse", "HEAD")
    git(repo, "merge", "-q", "-m", "Merge", "side")
    assert fetch(repo, tmp_path / "cache", good).count == 2


def test_no_program_of_the_repository_is_run(repo: Path, tmp_path: Path) -> None:
    """Attributes and settings of the served repository have no effect on ours."""
    write(repo, {".gitattributes": "*.c diff=evil\n", "a.c": "int b;\n"})
    commit_all(repo, "evil")
    git(repo, "config", "diff.evil.command", f"touch {tmp_path / 'ran'}")
    found = fetch(repo, tmp_path / "cache", git(repo, "rev-parse", "main~1"))
    assert b"+int b;" in found.patch(found.bad)
    assert not (tmp_path / "ran").exists()


def test_a_commit_is_lent_to_the_trees_repository(repo: Path, tmp_path: Path) -> None:
    found = fetch(repo, tmp_path / "cache", git(repo, "rev-parse", "main~1"))
    spec = TreeSpec(name="x", git=found.url, commit=found.good)
    found.lend(spec, tmp_path / "cache", SCREEN)
    found.lend(spec, tmp_path / "cache", SCREEN)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("main", "main", "the range is empty"),
        ("mian", "main", "unknown branch or tag 'mian'; did you mean main"),
        ("main", "old", "main is no ancestor of old: it is the other way round"),
        ("alone", "main", "alone is no ancestor of main"),
        ("0" * 40, "main", "is no ancestor of main"),
    ],
)
def test_ranges_that_are_none(repo: Path, tmp_path: Path, good: str, bad: str, said: str) -> None:
    git(repo, "branch", "old", "main~5")
    git(repo, "checkout", "-q", "--orphan", "alone")
    git(repo, "commit", "-q", "-m", "another root")
    with pytest.raises(UserError, match=said):
        fetch(repo, tmp_path / "cache", good, bad)
