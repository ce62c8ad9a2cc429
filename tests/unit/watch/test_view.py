"""What is on the screen: never more than it has room for, and what matters first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kmodpipe.results import State, Verdict
from kmodpipe.watch import view
from kmodpipe.watch.board import Board, turned
from kmodpipe.watch.inputs import Inputs
from kmodpipe.watch.messages import CellSettled
from kmodpipe.watch.progress import Going
from kmodpipe.watch.view import Shown
from tests.support import toy
from tests.support.watched import CONTROL, FIXED, cell, inputs, result

HOSTILE = "expected x\x1b[2J\nobserved \u202ey"


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return inputs(toy.build(tmp_path_factory.mktemp("view")))


def board(now: Inputs, **fields: Any) -> Board:
    made = Board().planned(now)
    for one in now.spec.cells:
        made = made.with_cell(cell(one.id, result(Verdict.PASS, **fields)), now, 1, ["remount"])
    return made


def text(shown: Shown, width: int = 120, height: int = 30) -> str:
    lines = view.lines(shown, width, height)
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)
    return "\n".join(line.plain for line in lines)


def test_all_is_well(now: Inputs) -> None:
    found = text(Shown(now, board(now), number=2, laps="first verdict 3.0 s after the save"))
    assert "toy-fix · fs/toy on toy" in found
    assert "✓ 8 as expected" in found and "first verdict 3.0 s" in found and view.KEYS in found


def test_how_long_it_took_is_told_in_a_narrow_terminal_too(now: Inputs) -> None:
    laps = "first verdict 3.0 s after the save, all after 4.5 s"
    wide, narrow = (text(Shown(now, board(now), number=2, laps=laps), width) for width in (120, 60))
    assert f"✓ 8 as expected · {laps}" in wide.splitlines()[1]
    assert narrow.splitlines()[1:3] == ["✓ 8 as expected", f"  {laps}"]


def test_what_fails_is_named_and_the_marked_cell_can_be_entered(now: Inputs) -> None:
    made = board(now)
    other = "toy-fix.INDEX=y.NOUUID=y"
    for name in (FIXED, other):
        made = made.with_cell(cell(name, result(Verdict.FAIL, message=HOSTILE)), now, 2, ["remount"])
    assert view.troubled(made) == (other, FIXED)
    found = text(Shown(now, made, turned(board(now), made), selected=1))
    assert "✗ 6 as expected, 2 failing" in found and "since the last save:" in found
    assert "\x1b" not in found and "\u202e" not in found
    marked = next(line for line in found.splitlines() if line.startswith("▸"))
    assert FIXED in marked
    # A mark beyond the last one is the last one.
    assert FIXED in next(ln for ln in text(Shown(now, made, selected=9)).splitlines() if ln.startswith("▸"))


def test_old_verdicts_are_never_shown_as_green(now: Inputs) -> None:
    later = replace(now, parts={**now.parts, "series.toy-fix": "another"})
    found = text(Shown(later, board(now)))
    assert "✓ 8" not in found and "4 of them older than the last save" in found
    assert f"{FIXED}" in found and "old" in next(ln for ln in found.splitlines() if FIXED in ln)
    assert "old" not in next(ln for ln in found.splitlines() if CONTROL in ln)


def test_a_broken_save_is_quoted_above_the_last_verdicts(now: Inputs) -> None:
    found = text(Shown(now, board(now), broken="not TOML\n  where: matrix.toml:3"))
    assert "the last save is broken" in found and "where: matrix.toml:3" in found and FIXED in found
    broken = cell(FIXED, state=State.BUILD_FAILED, reason="the module does not compile\n  | toy.c:2: error")
    made = board(now).with_cell(broken, now, 2, ["remount"])
    found = text(Shown(now, made))
    assert "does not build: toy.c:2: error" in found and "the last save does not build" in found


def test_what_runs_is_told_and_what_waits(now: Inputs) -> None:
    cells = frozenset(one.id for one in now.spec.cells)
    steps = Going(f"test {FIXED}", "remount", 2.2), Going(f"module {CONTROL}", "", 0.4)
    shown = Shown(now, Board().planned(now), number=1, why="all", running=True, cells=cells, steps=steps)
    found = text(shown)
    assert f"{FIXED}" in found and "testing remount 2 s" in found and "building" in found and "to do" in found
    base = Going("base d91292d9", "CC fs/namei.o", 61.0, 0.4)
    with_base = text(replace(shown, steps=(*steps, base)))
    assert with_base.splitlines()[2] == "  base d91292d9 40% CC fs/namei.o 61 s" and "testing" in with_base
    assert "a rebase in /linux is under way; a runs" in text(replace(shown, waiting="a rebase in /linux"))


@pytest.mark.parametrize(("width", "height"), [(120, 30), (60, 12), (40, 6), (20, 3), (10, 1), (200, 100)])
def test_it_fits_any_terminal(now: Inputs, width: int, height: int) -> None:
    made = board(now)
    for one in now.spec.cells:
        made = made.with_cell(cell(one.id, result(Verdict.FAIL, message=HOSTILE)), now, 2, ["remount"])
    text(
        Shown(now, made, turned(board(now), made), broken="x\n" * 50, notes=("a", "b"), running=True),
        width,
        height,
    )


def test_without_room_for_all_cells_those_that_run_and_fail_are_shown(now: Inputs) -> None:
    made = board(now).with_cell(cell(FIXED, result(Verdict.FAIL)), now, 2, ["remount"])
    found = text(Shown(now, made, cells=frozenset({CONTROL})), height=11)
    rows = [line for line in found.splitlines() if "=" in line and not line.startswith("▸")]
    assert len(rows) < 8 and any(CONTROL in row for row in rows)
    assert "more" in found


def test_lines_where_there_is_no_screen(now: Inputs) -> None:
    bad = cell(FIXED, result(Verdict.FAIL, message=HOSTILE))
    made = board(now).with_cell(bad, now, 2, ["remount"])
    lines = view.cell_lines(made, CellSettled(2, bad, ("remount",), 0.0))
    assert lines[0].split() == ["✗", FIXED] and lines[1].startswith("    ✗ remount: expected x")
    assert view.turned_lines(turned(board(now), made))[0].startswith(f"turned red: {FIXED} remount: ")
    skipped = cell(FIXED, state=State.SKIPPED, reason="ruled out")
    assert view.cell_lines(made, CellSettled(2, skipped, ("remount",), 0.0)) == []
