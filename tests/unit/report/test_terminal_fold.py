"""The screen at the end of a run with more cells than it has lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from kmodpipe.results import CellResult, Run, State, Verdict
from tests.support.large_run import large
from tests.unit.report.test_terminal import lines_of


def many(cells: int, *, bad: int = 10**9, kernels: int = 1) -> Run:
    run = large(cells, 12, bad)
    placed = tuple(
        replace(
            c, kernel=f"debian-{n % kernels}" if kernels > 1 else "", cell=f"{c.cell}.{n % kernels}",
            cases=tuple(replace(r, kmsg=()) for r in c.cases),
        )
        for n, c in enumerate(run.cells)
    )  # fmt: skip
    return replace(run, cells=placed)


@pytest.mark.parametrize("width", [80, 120, 250])
@pytest.mark.parametrize("run", [many(104, bad=37), many(104, bad=7, kernels=4), many(101)])
def test_it_fits_on_a_few_screens(run: Run, width: int) -> None:
    lines = lines_of(run, width)
    assert max(cell_len(line) for line in lines) <= width
    assert len(lines) < 250
    assert lines[-1].endswith(f"exit {1 if 'failed' in lines[-1] and ' 0 failed' not in lines[-1] else 3}")


def test_what_is_not_as_expected_has_a_row_and_the_rest_a_name() -> None:
    run = many(104)
    (first, *rest) = run.cells
    # The first one has a failure, as every so many.
    first = replace(first, cases=(replace(rest[0].cases[0]), *first.cases[1:]))
    bad = replace(first.cases[3], verdict=Verdict.FAIL, outcome="EIO")
    cases = (*first.cases[:3], bad, *first.cases[4:])
    run = replace(run, cells=(replace(first, cases=cases), *rest))
    lines = lines_of(run, 120)
    (row,) = [line for line in lines if line.startswith(bad.case) and "/" in line]
    assert row.split()[1:] == ["✗", "1/26", "✓", "26", "✓", "26", "✓", "26"]
    assert ["case", "unpatched", "v1", "v2", "v3"] in [line.split() for line in lines]
    told = " ".join(lines)
    assert "11 cases as expected in all 104 cells: " in told and "1,248 results, each in report.html" in told


def test_narrow_screens_get_letters_and_what_they_stand_for() -> None:
    lines = lines_of(many(104, bad=7, kernels=4), 80)
    assert ["case", "A", "B"] in [line.split()[:3] for line in lines]
    assert any(line.split() == ["A", "unpatched", "on", "debian-0"] for line in lines)


def test_no_more_cells_than_lines_are_shown_one_by_one() -> None:
    text = "\n".join(lines_of(many(100), 250))
    assert "each in report.html" not in text
    cells = tuple(CellResult(f"s{n}", "v", "d", state=State.SKIPPED, reason="ruled out") for n in range(300))
    text = "\n".join(lines_of(replace(many(20), cells=(*many(20).cells, *cells)), 250))
    assert "each in report.html" not in text, "skipped cells have no row"
