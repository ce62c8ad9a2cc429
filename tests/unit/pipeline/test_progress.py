"""How far a run is, and how long the rest takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmodpipe.pipeline.progress import Progress, last_times


def test_what_is_done_of_how_many() -> None:
    progress = Progress("abcd", cases=10, jobs=2, last={})
    assert progress.describe() == "0 of 4 cells, 0 of 40 results"
    progress.skip("d")
    progress.finish("a", 30.0)
    progress.finish("a", 30.0)
    # Two are left, as long as the first took, at once.
    assert progress.describe() == "1 of 3 cells, 10 of 30 results, about 30 s left"
    progress.finish("b", 30.0)
    progress.finish("c", 0.0)
    assert progress.describe() == "3 of 3 cells, 30 of 30 results"


def test_the_last_runs_times_tell_how_long_it_takes() -> None:
    progress = Progress("abc", cases=1, jobs=1, last={"a": 60.0, "b": 120.0, "c": 180.0, "z": 999.0})
    assert progress.describe() == "0 of 3 cells, 0 of 3 results, about 6 min left"
    # This machine is half as fast.
    progress.finish("a", 120.0)
    assert progress.describe() == "1 of 3 cells, 1 of 3 results, about 10 min left"


def test_builds_to_come_take_as_long_as_those_before() -> None:
    progress = Progress("abcd", cases=1, jobs=1, last=dict.fromkeys("abcd", 30.0))
    progress.built("a", 20.0)
    progress.built("b", 0.0)
    assert progress.describe() == "0 of 4 cells, 0 of 4 results, about 2 min left"
    progress.finish("a", 30.0)
    progress.built("c", 10.0)
    # Three guests, and one build of 10 s.
    assert progress.describe() == "1 of 4 cells, 1 of 4 results, about 2 min left"
    progress.finish("b", 30.0)
    assert progress.describe() == "2 of 4 cells, 2 of 4 results, about 70 s left"


def test_one_is_no_plural() -> None:
    assert Progress("a", cases=1, jobs=4, last={}).describe() == "0 of 1 cell, 0 of 1 result"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"step": 3}', '{"event": "end", "step": "test a"}', "{"])
def test_times_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    assert last_times(tmp_path) == {}
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "events.jsonl").write_text(text)
    assert last_times(tmp_path) == {}


def test_times_are_those_of_the_cells_guests(tmp_path: Path) -> None:
    events = [
        {"event": "start", "step": "test a"},
        {"event": "end", "step": "test a", "outcome": "1 failed", "seconds": 2.5},
        {"event": "end", "step": "base b", "outcome": "", "seconds": 9},
    ]
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "events.jsonl").write_text("".join(f"{json.dumps(e)}\n" for e in events))
    assert last_times(tmp_path) == {"a": 2.5}
