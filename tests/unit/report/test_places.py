"""Cells by what they have in common."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.report import places
from kmodpipe.results import CellResult
from tests.support.sample_run import cell

CELLS = [cell("s", index, nouuid) for index in "ny" for nouuid in "ny"]


def test_the_shortest_choice_that_picks_them() -> None:
    assert places.where(CELLS[2:], CELLS) == "INDEX=y"
    assert places.where(CELLS[3:], CELLS) == "INDEX=y NOUUID=y"
    assert places.where([CELLS[0], CELLS[3]], CELLS) == "INDEX=n NOUUID=n; INDEX=y NOUUID=y"


def test_how_many_and_which_where_a_few_words_say_it() -> None:
    assert places.some_of(CELLS, CELLS) == "all 4 cells"
    assert places.some_of(CELLS[:1], CELLS[:1]) == "the one cell"
    assert places.some_of(CELLS[2:], CELLS) == "2 of 4 cells: INDEX=y"
    assert places.some_of([CELLS[0], CELLS[3]], CELLS) == "2 of 4 cells"
    assert places.some_of([], CELLS) == "0 of 4 cells"


def test_kernels_and_flavours_count_where_there_are_several() -> None:
    on = [replace(c, cell=f"{k}.{c.cell}", kernel=k) for k in ("debian-12", "debian-13") for c in CELLS]
    assert places.some_of(on[:4], on) == "4 of 8 cells: on debian-12"
    flavours = [*CELLS, *(replace(c, cell=f"{c.cell}.kasan", flavour="kasan") for c in CELLS)]
    assert places.some_of(flavours[4:], flavours) == "4 of 8 cells: flavour=kasan"


def test_of_very_many_cells_only_the_number_is_said() -> None:
    many = [CellResult(f"c{n}", "s", "", {"A": str(n), "B": str(n % 7)}) for n in range(2000)]
    assert places.some_of(many[:300], many) == "300 of 2,000 cells"
