"""Looks at trees that are begun before a command asks for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe.cache import integrity, look_ahead


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "cache/trees/toy"
    (folder / "fs").mkdir(parents=True)
    (folder / "fs/a.c").write_text("int a;\n")
    return folder


@pytest.fixture
def cache(tree: Path) -> Path:
    return tree.parent.parent


PROJECT, OTHER = Path("/project"), Path("/other")


def test_the_trees_of_the_last_command_are_seen_once(cache: Path, tree: Path) -> None:
    look_ahead.note(cache, PROJECT, [tree])
    look_ahead.begin(cache, PROJECT)
    assert look_ahead.seen(tree) == integrity.listing(tree)
    assert look_ahead.seen(tree) is None, "it may have changed since"


def test_what_is_seen_is_the_tree_as_it_was_then(cache: Path, tree: Path) -> None:
    before = integrity.listing(tree)
    look_ahead.note(cache, PROJECT, [tree])
    os.utime(tree / "fs/a.c", (1, 1))
    look_ahead.begin(cache, PROJECT)
    assert look_ahead.seen(tree) not in (None, before)


def test_nothing_is_begun_for_a_project_that_used_none(cache: Path, tree: Path) -> None:
    look_ahead.begin(cache, PROJECT)
    look_ahead.note(cache, OTHER, [tree])
    look_ahead.begin(cache, PROJECT)
    assert look_ahead.seen(tree) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trees": 1}', '{"trees": ["relative", "/etc", "/"]}'])
def test_whatever_the_note_says_only_trees_of_the_cache_are_looked_at(
    cache: Path, tree: Path, text: str
) -> None:
    look_ahead.note(cache, PROJECT, [tree])
    (note,) = (cache / "kept/look-ahead").iterdir()
    note.write_text(text)
    look_ahead.begin(cache, PROJECT)
    assert all(
        look_ahead.seen(folder) is None for folder in (tree, Path("/etc"), Path("relative"), Path("/"))
    )


def test_a_tree_that_is_gone_is_not_seen(cache: Path, tree: Path) -> None:
    gone = tree.with_name("gone")
    look_ahead.note(cache, PROJECT, [gone, tree])
    look_ahead.begin(cache, PROJECT)
    assert look_ahead.seen(gone) is None
    assert look_ahead.seen(tree) is not None


def test_what_was_seen_a_while_ago_is_not_asked_for(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_ahead, "_FRESH_S", -1.0)
    look_ahead.note(cache, PROJECT, [tree])
    look_ahead.begin(cache, PROJECT)
    assert look_ahead.seen(tree) is None


def test_a_cache_that_cannot_be_written_to_has_no_note(tree: Path, cache: Path) -> None:
    (cache / "kept").write_text("a file in its place")
    look_ahead.note(cache, PROJECT, [tree])
    look_ahead.begin(cache, PROJECT)
    assert look_ahead.seen(tree) is None
