"""Files of processes that were killed, and files that are replaced whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe.util import process_id
from kmodpipe.util.files import part_of, remove_many, sweep_parts, temporary, write_atomically


def test_parts_of_dead_processes_are_swept_and_of_living_ones_are_not(tmp_path: Path) -> None:
    mine = part_of(tmp_path / "results.json")
    dead = tmp_path / mine.name.replace(f".{os.getpid()}~", ".999999999~")
    for path in (mine, dead):
        path.write_text("half")
    (tmp_path / ".hidden").write_text("somebody's")
    assert sweep_parts(tmp_path) == 1
    assert mine.exists() and not dead.exists() and (tmp_path / ".hidden").exists()


def test_temporary_folders_of_killed_processes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"kmodpipe-999999999~{process_id.boot_id()}~1~patchabcd"
    left.mkdir()
    (tmp_path / "kmodpipe-mine").mkdir()
    with temporary("patch") as folder:
        assert folder.is_dir() and not left.exists()
        with temporary("patch"):
            assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["kmodpipe-mine"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    write_atomically(path, "old")
    write_atomically(path, b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    blocked = tmp_path / "folder"
    (blocked / "x").mkdir(parents=True)
    with pytest.raises(OSError):
        write_atomically(blocked, "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "new"]
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_a_folder_of_many_files_is_removed_whatever_is_in_it(tmp_path: Path) -> None:
    folder, outside = tmp_path / "-rf", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    for number in range(50):
        (folder / f"{number}" / "deep").mkdir(parents=True)
        (folder / f"{number}" / "deep" / "file").write_text("x")
    (folder / "link").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    (folder / "0").chmod(0o000)
    remove_many(folder)
    assert not folder.exists() and (outside / "file").exists()
    remove_many(folder)


def test_without_rm_a_folder_is_removed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder" / "in").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    remove_many(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
