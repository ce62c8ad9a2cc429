"""How long cases took, and how they are dealt out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.pipeline.case_times import dealt, recall, remember
from kmodpipe.results import CaseResult, CellResult, State, Verdict

PROJECT = Path("/project")


def case(name: str, seconds: float) -> CaseResult:
    return CaseResult(name, Verdict.PASS, duration_s=seconds)


def cell(*cases: CaseResult) -> CellResult:
    return replace(CellResult("a", "fix", "", {}, State.RAN), cases=cases)


def test_the_middle_of_what_a_case_took_in_several_cells_is_noted(tmp_path: Path) -> None:
    assert recall(tmp_path, PROJECT) == {}
    remember(tmp_path, PROJECT, [cell(case("a", 1), case("b", 9)), cell(case("a", 2)), cell(case("a", 8))])
    assert recall(tmp_path, PROJECT) == {"a": 2, "b": 9}
    assert recall(tmp_path, Path("/another")) == {}


def test_what_did_not_run_keeps_its_time(tmp_path: Path) -> None:
    remember(tmp_path, PROJECT, [cell(case("a", 1), case("b", 2))])
    remember(tmp_path, PROJECT, [cell(case("a", 0), case("b", 3))])
    assert recall(tmp_path, PROJECT) == {"a": 1, "b": 3}
    remember(tmp_path, PROJECT, [cell(case("a", 0))])
    assert recall(tmp_path, PROJECT) == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": "soon"}', '{"a": null}', '{"a": -5}', '{"a": NaN}', '{"a": 1e99}']
)
def test_a_note_that_is_none_says_nothing(tmp_path: Path, text: str) -> None:
    remember(tmp_path, PROJECT, [cell(case("a", 1))])
    (note,) = (tmp_path / "kept/case-times").iterdir()
    note.write_text(text)
    assert recall(tmp_path, PROJECT) == {}


def test_a_cache_that_cannot_be_written_to_is_left(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file in its place")
    remember(tmp_path, PROJECT, [cell(case("a", 1))])
    assert recall(tmp_path, PROJECT) == {}


def test_where_nothing_is_known_neighbours_go_to_different_guests() -> None:
    assert dealt([5, 6, 7, 8, 9], {}, 2) == [[5, 7, 9], [6, 8]]


def test_the_long_ones_are_dealt_first_and_the_order_stays() -> None:
    assert dealt([0, 1, 2, 3, 4], {0: 1, 1: 1, 2: 4, 3: 1, 4: 1}, 2) == [[0, 1, 3, 4], [2]]
    assert dealt([9, 4, 7], {9: 3, 4: 3, 7: 1}, 2) == [[9, 7], [4]]


def test_a_new_case_counts_as_the_others_do() -> None:
    assert dealt([0, 1, 2, 3], {0: 6, 1: 2, 2: 2}, 2) == [[0], [1, 2, 3]]
