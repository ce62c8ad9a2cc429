"""What is used no more is out of the way at once, and removed when there is time."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.cache import trash


def test_a_folder_is_gone_at_once_and_removed_later(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "trees" / name / "fs").mkdir(parents=True)
        (tmp_path / "trees" / name / "fs" / "-f.c").write_text("x")
        trash.put(tmp_path, tmp_path / "trees" / name)
    assert not [*(tmp_path / "trees").iterdir()]
    assert len([*(tmp_path / trash.FOLDER).glob("*/fs/-f.c")]) == 2
    trash.empty(tmp_path)
    assert not [*(tmp_path / trash.FOLDER).iterdir()]


def test_a_command_removes_some_of_many(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}").mkdir()
        trash.put(tmp_path, tmp_path / f"{number}")
    left = []
    for _ in range(3):
        trash.empty(tmp_path)
        left.append(len([*(tmp_path / trash.FOLDER).iterdir()]))
    assert left == [6, 2, 0]


def test_where_nothing_was_put_nothing_happens(tmp_path: Path) -> None:
    trash.empty(tmp_path)
    assert not [*tmp_path.iterdir()]
