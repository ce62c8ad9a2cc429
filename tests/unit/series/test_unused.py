"""Which patched trees are dropped: old ones that nobody uses."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kmodpipe.cache import trash, users
from kmodpipe.series import unused
from kmodpipe.source import tree as trees
from kmodpipe.util import process

HOUR_S = 3600


class Cache:
    def __init__(self, path: Path) -> None:
        self.path = path

    def tree(self, number: int, age_s: float) -> Path:
        folder = self.path / "trees" / f"patched-{number:024x}"
        (folder / "fs").mkdir(parents=True)
        for path in (trees.record_path(folder), trees.manifest_path(folder)):
            path.write_text("{}")
        then = time.time() - age_s
        os.utime(trees.record_path(folder), (then, then))
        return folder

    def left(self) -> set[int]:
        return {int(path.name[8:], 16) for path in (self.path / "trees").glob("patched-*") if path.is_dir()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_sixteen_stay_however_old_they_are(cache: Cache) -> None:
    for number in range(16):
        cache.tree(number, 1000 * HOUR_S)
    assert unused.drop(cache.path) == 0 and len(cache.left()) == 16


def test_the_oldest_go_with_their_records(cache: Cache) -> None:
    for number in range(22):
        cache.tree(number, (2 + number) * HOUR_S)
    assert unused.drop(cache.path) == 6 and cache.left() == set(range(16))
    assert len(list((cache.path / "trees").iterdir())) == 3 * 16
    assert unused.drop(cache.path) == 0


def test_what_was_used_within_an_hour_or_by_this_process_stays(cache: Cache) -> None:
    folders = [cache.tree(number, 2 * HOUR_S + number) for number in range(20)]
    unused.used(folders[19])
    unused.used(folders[18])
    long_ago = time.time() - 3 * HOUR_S
    os.utime(trees.record_path(folders[18]), (long_ago, long_ago))
    assert unused.drop(cache.path) == 3
    assert cache.left() == {*range(15), 18, 19}
    for number in range(20, 40):
        cache.tree(number, HOUR_S - 60)
    unused.drop(cache.path)
    assert cache.left() == {18, 19, *range(20, 40)}


def test_nothing_is_left_of_them_in_the_end(cache: Cache) -> None:
    for number in range(18):
        cache.tree(number, 2 * HOUR_S + number)
    with process.Children().collecting() as ended:
        # A command that ends before there was time.
        ended.stop_all()
        unused.drop_beside(cache.path).join()
    assert cache.left() == {*range(16)}
    assert len([*(cache.path / trash.FOLDER).iterdir()]) == 2
    unused.drop_beside(cache.path).join()
    assert cache.left() == {*range(16)}
    assert not [*(cache.path / trash.FOLDER).iterdir()]


def test_none_goes_while_another_command_runs(cache: Cache) -> None:
    for number in range(17):
        cache.tree(number, 2 * HOUR_S + number)
    with users.using(cache.path, print), users.using(cache.path, print):
        assert unused.drop(cache.path) == 0
    with users.using(cache.path, print):
        assert unused.drop(cache.path) == 1


def test_other_trees_and_files_are_no_business_of_it(cache: Cache) -> None:
    for number in range(17):
        cache.tree(number, 2 * HOUR_S)
    for name in ("deb-linux-source-5.10.json", "patched-x.json", f"patched-{0:024x}.readers.json"):
        path = cache.path / "trees" / name
        path.write_text("{}")
        os.utime(path, (0, 0))
    assert unused.drop(cache.path) == 1
    assert len(list((cache.path / "trees").glob("*.json"))) == 16 + 3


def test_an_empty_cache_has_none(tmp_path: Path) -> None:
    assert unused.drop(tmp_path) == 0
