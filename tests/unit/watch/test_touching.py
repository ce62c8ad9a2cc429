"""Which cases come first after an edit, by what they executed when it was last counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.results import coverage
from kmodpipe.results.coverage import CaseCoverage, CellCoverage, Coverage, FileCounts, FileLines, Function
from kmodpipe.watch import touching
from kmodpipe.watch.inputs import Inputs
from tests.support import toy
from tests.support.toy import World
from tests.support.watched import FIXED, inputs

FILE = "fs/toy/toy.c"
PATCH = "patches/toy-fix/0001-toy-mount.patch"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def edited(world: World) -> tuple[Inputs, Inputs]:
    before = inputs(world)
    path = world.root / PATCH
    path.write_text(path.read_text().replace("+outcome: mounted", "+outcome: EINVAL"))
    return before, inputs(world)


def counted(**lines: dict[int, int]) -> CellCoverage:
    """A cell in which each case executed these lines of a file with one function of five lines."""
    return CellCoverage(
        "toy-fix",
        files={FILE: FileLines((1, 2, 3, 4, 5), {"toy_mount": Function(1, 5)})},
        cases={
            "(load)": CaseCoverage(files={FILE: FileCounts({2: 1})}),
            **{
                case: CaseCoverage(files={FILE: FileCounts(own, {"toy_mount": 1} if own else {})})
                for case, own in lines.items()
            },
        },
    )


def test_an_edit_is_where_only_one_version_has_a_hunk(world: World) -> None:
    before, after = edited(world)
    # The whole hunk of toy.c, whose lines are 2 and 4 after the series; not that of Kconfig.
    assert touching.edited_lines(before.spec.series[0], after.spec.series[0]) == {FILE: {2, 4}}
    assert touching.edited_lines(after.spec.series[0], after.spec.series[0]) == {}


def test_cases_that_executed_the_lines_count_by_how_many() -> None:
    cell = counted(much={2: 7, 4: 1}, little={2: 1}, none={1: 3})
    assert touching.executed(cell, {FILE: frozenset({2, 4})}) == {"much": 2.0, "little": 1.0}


def test_where_no_line_was_executed_the_function_counts() -> None:
    cell = counted(entered={1: 3}, elsewhere={})
    assert touching.executed(cell, {FILE: frozenset({3})}) == {"entered": 0.5}
    assert touching.executed(cell, {"fs/other.c": frozenset({3})}) == {}


def test_the_newest_coverage_counts_and_one_that_cannot_be_read_is_none(world: World, tmp_path: Path) -> None:
    before, after = edited(world)
    out = tmp_path / "out"
    assert touching.cases(out, before, after) == {}
    for name, lines in (("old", {1: 1}), ("new", {2: 5})):
        (out / name).mkdir(parents=True)
        coverage.save(Coverage(cells={FIXED: counted(remount=lines)}), out / name)
    assert touching.cases(out, before, after) == {"remount": 1.0}
    assert touching.cases(out, after, after) == {}
    (out / "broken").mkdir()
    (out / "broken" / coverage.FILE_NAME).write_text("{")
    assert touching.cases(out, before, after) == {}
