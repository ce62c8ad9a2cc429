"""The folder of a run: its own, whoever begins another at the same moment."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from kmodpipe.pipeline import run_folder
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.util.errors import UserError


def test_two_runs_in_one_second_get_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of 65,536 endings within a second two may well be the same.
    endings = iter(("aaaa", "aaaa", "bbbb"))
    monkeypatch.setattr(run_folder, "secrets", SimpleNamespace(token_hex=lambda _: next(endings)))
    monkeypatch.setattr(run_folder, "datetime", Still)
    assert [RunFolder(tmp_path).id for _ in range(2)] == ["20260203-040506-aaaa", "20260203-040506-bbbb"]


def test_latest_is_the_last_run_that_came_to_its_end(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as first:
        assert not (tmp_path / "latest").exists()
        first.complete()
    with RunFolder(tmp_path):
        pass
    assert (tmp_path / "latest").resolve() == first.path


@pytest.mark.parametrize("taken", ["file", "folder"])
def test_what_a_user_has_called_latest_stays_and_is_said_at_once(tmp_path: Path, taken: str) -> None:
    mine = tmp_path / "latest"
    mine.touch() if taken == "file" else mine.mkdir()
    with pytest.raises(UserError, match="latest cannot be made: file exists"):
        RunFolder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["latest"] and not mine.is_symlink()


class Still(run_folder.datetime):
    @classmethod
    def now(cls, tz: object = None) -> Still:
        return cls(2026, 2, 3, 4, 5, 6)


def test_a_results_folder_that_cannot_be_made_is_told_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="the results folder cannot be made") as raised:
        RunFolder(tmp_path / "out")
    assert raised.value.hint
