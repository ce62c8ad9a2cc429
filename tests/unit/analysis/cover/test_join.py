"""The join of what a series changes, with what the cases of its cells executed."""

from __future__ import annotations

import json

from kmodpipe.analysis.cover.join import Question, join
from kmodpipe.results.cover_answer import Answer, LineState, to_json
from kmodpipe.results.coverage import LOAD, CellCoverage, Coverage
from tests.support.coverage import changes, coverage


def answered(found: Coverage) -> Answer:
    return join(Question("fix", "linux-6.1", changes()), found)


def states(answer: Answer) -> dict[tuple[str, int, int], LineState]:
    return {(h.patch, h.number, line.line): line.state for h in answer.hunks for line in h.lines}


def test_every_changed_line_is_counted_once_over_patches_and_cells() -> None:
    answer = answered(coverage())
    assert states(answer) == {
        ("0001.patch", 1, 12): LineState.EXECUTED,
        ("0001.patch", 1, 13): LineState.REPLACED,
        ("0001.patch", 1, 14): LineState.NO_CODE,
        ("0001.patch", 1, 15): LineState.EXECUTED,
        ("0001.patch", 1, 16): LineState.NEVER,
        ("0002.patch", 1, 13): LineState.EXECUTED,
        ("0002.patch", 2, 31): LineState.NO_CODE,
        ("0002.patch", 2, 32): LineState.EXECUTED,
        ("0002.patch", 2, 33): LineState.NO_CODE,
    }
    assert (answer.changed, answer.code, answer.executed, answer.never, answer.unknown) == (8, 5, 4, 1, 0)
    assert answer.percent == 80.0
    assert answer.sentence == "1 of 5 changed lines is executed by no case"


def test_a_line_in_an_ifdef_counts_in_the_cells_that_have_it() -> None:
    answer = answered(coverage())
    (line,) = [line for hunk in answer.hunks for line in hunk.lines if line.line == 32]
    assert line.cells == ("fix.MORE=y.gcov",) and line.cases == {LOAD: ("fix.MORE=y.gcov",)}
    assert [(c.cell, c.code, c.executed) for c in answer.cells] == [
        ("fix.MORE=n.gcov", 4, 3),
        ("fix.MORE=y.gcov", 5, 4),
    ]


def test_counters_that_a_crash_took_are_unknown_and_not_never() -> None:
    answer = answered(coverage(crash=True))
    assert states(answer)["0001.patch", 1, 16] is LineState.UNKNOWN
    # What another case executed is known all the same.
    assert states(answer)["0001.patch", 1, 15] is LineState.EXECUTED
    assert (answer.never, answer.unknown, answer.percent) == (0, 1, 80.0)
    assert answer.sentence == "of 1 of 5 changed lines it is not known whether a case executes them"
    assert answer.cells[0].unknown == {"other": "no counters came: kernel BUG"}


def test_functions_around_the_change_and_their_branches() -> None:
    fill, leave = answered(coverage()).functions
    assert (fill.name, fill.cases, fill.lines, fill.lines_executed) == ("toy_fill", ("mount", "other"), 6, 5)
    assert (fill.ways, fill.ways_taken, fill.changed, fill.changed_executed) == (4, 3, 4, 3)
    assert (leave.name, leave.cases, leave.changed_executed) == ("toy_exit", (LOAD,), 1)


def test_without_code_there_is_no_percentage_and_no_failure() -> None:
    cells = {"fix.gcov": CellCoverage("fix", flavour="gcov")}
    answer = answered(Coverage(cells=cells))
    assert answer.percent is None and "none of the 8 changed lines" in answer.sentence


def test_the_document_has_all_of_it() -> None:
    document = json.loads(to_json(answered(coverage())))
    assert document["schema"] == "kmodpipe-cover" and document["percent"] == 80.0
    assert document["hunks"][0]["lines"][0]["cases"]["mount"] == ["fix.MORE=n.gcov", "fix.MORE=y.gcov"]
