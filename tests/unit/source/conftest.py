"""A cache, a screen, and a repository."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import commit_all, make_tree, write


@pytest.fixture
def screen() -> Screen:
    return Screen(Mode.QUIET, out=io.StringIO())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def repo(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository of three commits; returns it with the hashes of the second and the third."""
    folder = make_tree(tmp_path / "repo")
    commit_all(folder, "first")
    write(folder, {"fs/toy/toy.h": "second\n"})
    second = commit_all(folder, "second")
    write(folder, {"fs/toy/toy.h": "third\n"})
    return folder, second, commit_all(folder, "third")
