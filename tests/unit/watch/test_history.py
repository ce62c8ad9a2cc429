"""The runs of the last rounds are kept, and those that are on the screen."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.watch import history


def made(out: Path, number: int) -> list[Path]:
    found = []
    for _ in range(number):
        with RunFolder(out) as folder:
            folder.complete()
        # Names have the second in them, and a random part.
        later = folder.path.with_name(f"2026{len(list(out.iterdir())):04}-000000-0000")
        folder.path.rename(later)
        found.append(later)
    return found


def left(out: Path) -> set[Path]:
    return {path for path in out.iterdir() if path.is_dir() and not path.is_symlink()}


def test_of_many_rounds_the_last_are_kept_and_what_is_shown(tmp_path: Path) -> None:
    folders = made(tmp_path, 6)
    gone = history.prune(tmp_path, [[one] for one in folders], [folders[1]], 2)
    assert set(gone) == {folders[0], folders[2], folders[3]}
    assert left(tmp_path) == {folders[1], *folders[4:]}


def test_a_round_of_two_runs_is_kept_whole(tmp_path: Path) -> None:
    folders = made(tmp_path, 4)
    history.prune(tmp_path, [folders[:2], folders[2:]], [], 1)
    assert left(tmp_path) == set(folders[2:])


def test_runs_of_an_earlier_watch_count_as_older_ones(tmp_path: Path) -> None:
    folders = made(tmp_path, 5)
    history.prune(tmp_path, [[folders[4]]], [], 3)
    assert left(tmp_path) == set(folders[2:])
    history.prune(tmp_path, [[folders[4]]], [], 1)
    assert left(tmp_path) == {folders[4]}


def test_a_run_that_goes_on_and_other_files_stay(tmp_path: Path) -> None:
    folders = made(tmp_path, 1)
    running = RunFolder(tmp_path)
    (tmp_path / "notes").write_text("mine")
    history.prune(tmp_path, [], [], 0)
    assert left(tmp_path) == {running.path} and (tmp_path / "notes").exists()
    assert not folders[0].exists() and not (tmp_path / "latest").is_symlink()
