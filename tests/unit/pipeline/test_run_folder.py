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
    assert (tmp_path / "latest").resolve().name == "20260203-040506-bbbb"


class Still(run_folder.datetime):
    @classmethod
    def now(cls, tz: object = None) -> Still:
        return cls(2026, 2, 3, 4, 5, 6)


def test_a_results_folder_that_cannot_be_made_is_told_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="the results folder cannot be made") as raised:
        RunFolder(tmp_path / "out")
    assert raised.value.hint
