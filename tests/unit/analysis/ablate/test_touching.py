"""Which cases may notice an edit, by the coverage."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.analysis.ablate.edits import HUNK, Edit
from kmodpipe.analysis.ablate.touching import Touching
from kmodpipe.kconfig import Cell, Variant
from kmodpipe.results.coverage import LOAD, CaseCoverage, CellCoverage, Coverage, FileCounts, FileLines

NAMES = ("mount", "copy", "crash")
CELL = Cell("fix.INDEX=y", Variant("fix", "fix", {}), {"INDEX": "y"}, {}, {})
EDIT = Edit("1.1", HUNK, (("p", 1),), {}, "fs/a.c", 10, "f", "", "", (), {"fs/a.c": frozenset({10, 11})})


def counts(*lines: int) -> CaseCoverage:
    return CaseCoverage(files={"fs/a.c": FileCounts(dict.fromkeys(lines, 1))})


COVERAGE = Coverage(
    cells={
        "fix.INDEX=y.gcov": CellCoverage(
            "fix",
            flavour="gcov",
            files={"fs/a.c": FileLines((10, 20, 30))},
            cases={
                LOAD: counts(30),
                "mount": counts(10),
                "copy": counts(20),
                "crash": CaseCoverage("it crashed"),
            },
        )
    }
)
SAME = {name: "digest" for name in NAMES}
TOUCHING = Touching(COVERAGE, SAME, SAME)


def test_those_that_execute_it_and_those_of_which_it_is_unknown() -> None:
    assert TOUCHING.cases(EDIT, CELL, NAMES) == ("mount", "crash")
    assert TOUCHING.executed_by(EDIT) == ("mount",)


def test_all_of_them_where_the_coverage_does_not_say() -> None:
    assert Touching().cases(EDIT, CELL, NAMES) == NAMES and Touching().executed_by(EDIT) is None
    assert TOUCHING.cases(replace(EDIT, everywhere=True), CELL, NAMES) == NAMES
    at_load = replace(EDIT, touches={"fs/a.c": frozenset({30})})
    assert TOUCHING.cases(at_load, CELL, NAMES) == NAMES
    no_code = replace(EDIT, touches={"fs/a.c": frozenset({99})})
    assert TOUCHING.cases(no_code, CELL, NAMES) == NAMES
    elsewhere = replace(CELL, id="fix.INDEX=n", choice={"INDEX": "n"})
    assert TOUCHING.cases(EDIT, elsewhere, NAMES) == NAMES


def test_a_case_that_was_edited_or_is_new_may_notice_anything() -> None:
    edited = Touching(COVERAGE, SAME, {**SAME, "copy": "another", "new": "one"})
    assert edited.cases(EDIT, CELL, (*NAMES, "new")) == ("mount", "copy", "crash", "new")


def test_no_case_where_none_executes_it() -> None:
    alone = replace(COVERAGE.cells["fix.INDEX=y.gcov"], cases={"mount": counts(10), "copy": counts(10)})
    touching = Touching(Coverage(cells={"fix.INDEX=y.gcov": alone}), SAME, SAME)
    never = replace(EDIT, touches={"fs/a.c": frozenset({20})})
    assert touching.cases(never, CELL, ("mount", "copy")) == ()
    assert touching.executed_by(never) == ()
