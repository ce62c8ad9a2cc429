"""Changes are seen as editors make them, in folders that come and go, and where inotify is none."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kmodpipe.watch.files import Files, is_shared
from kmodpipe.watch.places import Place


class Seen:
    """Watched places, and a wait for what is seen in them."""

    def __init__(self, *places: Place) -> None:
        self.woken = threading.Event()
        self.said: list[str] = []
        self.files = Files(self.woken.set, self.said.append)
        self.files.watch(places, ())

    def next(self, within_s: float = 5.0) -> set[str]:
        assert self.woken.wait(within_s), "nothing was seen"
        while self.files.quiet_s < 0.1:
            time.sleep(0.02)
        self.woken.clear()
        return {path.name for path in self.files.take().paths}

    def nothing(self) -> bool:
        return not self.woken.wait(0.4)


@contextmanager
def watching(*places: Place) -> Iterator[Seen]:
    made = Seen(*places)
    try:
        yield made
    finally:
        made.files.close()


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    (tmp_path / "series").write_text("a\n")
    with watching(Place(tmp_path)) as made:
        yield made


def test_a_file_that_is_written_in_place(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "series").write_text("b\n")
    assert "series" in seen.next()


def test_a_file_that_is_replaced_as_vim_and_others_do(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "4913").touch()
    (tmp_path / "4913").unlink()
    (tmp_path / "series").rename(tmp_path / "series~")
    (tmp_path / "series").write_text("b\n")
    (tmp_path / "series~").unlink()
    assert seen.next() == {"series"}
    (tmp_path / ".series.abc.part").write_text("c\n")
    (tmp_path / ".series.abc.part").replace(tmp_path / "series")
    assert seen.next() == {"series"}


def test_swap_files_alone_wake_nobody(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / ".series.swp").write_text("x")
    (tmp_path / "#series#").write_text("x")
    assert seen.nothing()


def test_reading_is_no_change(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "series").read_text()
    list(tmp_path.iterdir())
    assert seen.nothing()


def test_a_mode_and_a_new_folder_are_changes(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "series").chmod(0o755)
    assert "series" in seen.next()
    (tmp_path / "port").mkdir()
    (tmp_path / "port/0001.patch").write_text("x")
    assert {"port"} <= seen.next()
    (tmp_path / "port/0001.patch").write_text("y")
    assert "0001.patch" in seen.next()


def test_a_folder_that_is_removed_and_made_again_is_watched_again(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    with watching(Place(folder)) as seen:
        shutil.rmtree(folder)
        seen.next()
        seen.files.refresh()
        seen.next()
        seen.files.refresh()
        assert seen.nothing()
        folder.mkdir()
        seen.files.refresh()
        assert seen.next() == {"series"}
        (folder / "0001.patch").write_text("x")
        assert "0001.patch" in seen.next()


def test_a_folder_that_is_another_one_now_is_watched(tmp_path: Path) -> None:
    """As git does it: the folder of a branch is removed, and that of the next one made."""
    folder = tmp_path / "series"
    folder.mkdir()
    with watching(Place(folder)) as seen:
        folder.rename(tmp_path / "old")
        folder.mkdir()
        seen.files.refresh()
        seen.next()
        (folder / "0001.patch").write_text("x")
        assert "0001.patch" in seen.next()


def test_a_folder_that_is_made_again_at_once_is_watched(tmp_path: Path) -> None:
    """The new one often has the inode of the old one."""
    folder = tmp_path / "series"
    folder.mkdir()
    # Two places are one folder where it has two names.
    (tmp_path / "link").symlink_to("series")
    with watching(Place(folder), Place(folder, named=tmp_path / "link")) as seen:
        for _ in range(5):
            shutil.rmtree(folder)
            folder.mkdir()
            seen.next()
            seen.files.refresh()
            seen.next()
            (folder / "0001.patch").write_text("x")
            assert "0001.patch" in seen.next()


@pytest.mark.parametrize("moved", ["patches/series", "patches", "."])
def test_a_folder_that_is_renamed_is_gone(tmp_path: Path, moved: str) -> None:
    """By its own name or that of one above it: inotify tells those who watch the folder nothing of it."""
    top = tmp_path / "project"
    folder = top / "patches/series"
    folder.mkdir(parents=True)
    (folder / "0001.patch").write_text("x")
    with watching(Place(folder)) as seen:
        seen.files.refresh()
        assert seen.nothing()
        (top / moved).rename(tmp_path / "aside")
        seen.files.refresh()
        assert seen.next() == {"series"}
        seen.files.refresh()
        assert seen.nothing()
        (tmp_path / "aside").rename(top / moved)
        seen.files.refresh()
        assert seen.next() == {"series"}
        (folder / "0001.patch").write_text("y")
        assert "0001.patch" in seen.next()


def test_a_link_that_leads_to_another_folder_is_a_change(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
    link = tmp_path / "current"
    link.symlink_to("v1")
    with watching(Place(tmp_path / "v1", named=link)) as seen:
        (tmp_path / "v1/0001.patch").write_text("x")
        assert "0001.patch" in seen.next()
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").replace(link)
        seen.files.refresh()
        assert seen.next() == {"v1"}


def test_it_is_told_that_a_place_is_new(tmp_path: Path) -> None:
    """Between the reading of a folder and the watch it may have changed."""
    one, other = Place(tmp_path / "one"), Place(tmp_path / "other")
    one.path.mkdir()
    files = Files(lambda: None, lambda _: None)
    try:
        assert files.watch((one,), ())
        assert not files.watch((one,), ())
        assert files.watch((one, other), ())
        assert not files.watch((one,), ())
        assert not files.watch((), ())
    finally:
        files.close()


def test_places_that_are_watched_no_more_wake_nobody(seen: Seen, tmp_path: Path) -> None:
    seen.files.watch((), ())
    (tmp_path / "series").write_text("b\n")
    assert seen.nothing()


def test_without_inotify_files_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmodpipe.watch.files.is_shared", lambda path: True)
    (tmp_path / "series").write_text("a\n")
    with watching(Place(tmp_path, kernels=("k",))) as seen:
        time.sleep(0.3)  # the first look
        (tmp_path / "series").write_text("longer\n")
        assert seen.woken.wait(10)
        change = seen.files.take()
        assert {path.name for path in change.paths} == {"series"} and change.kernels == {"k"}


MOUNTS = """\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 21 0:52 / /home rw - nfs4 server:/home rw
41 40 0:53 / /home/me/local\\040disk rw - xfs /dev/sdb1 rw
42 21 0:54 / /mnt rw - ext4 /dev/sdc1 rw
43 42 0:55 / /mnt rw shared:1 - fuse.sshfs me@there: rw
"""


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/usr/src/linux", False),
        ("/home/me/linux", True),
        ("/home/me/local disk/linux", False),
        ("/homeless", False),
        ("/mnt/linux", True),
    ],
)
def test_where_another_machine_may_write(path: str, shared: bool) -> None:
    assert is_shared(Path(path), MOUNTS) is shared


def test_this_machines_own_mounts_are_read(tmp_path: Path) -> None:
    assert is_shared(tmp_path) in (True, False) and os.path.exists("/proc/self/mountinfo")  # noqa: PTH110
