"""coverage.json: everything is kept, and what is none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.results import coverage
from kmodpipe.results.coverage import (
    LOAD,
    CaseCoverage,
    CellCoverage,
    Coverage,
    FileCounts,
    FileLines,
    Function,
)
from kmodpipe.util.errors import UserError

SUPER = "fs/toy/super.c"
LINES = FileLines((3, 4, 9), {"toy_mount": Function(2, 5)}, {4: 2})
CELL = CellCoverage(
    "fix",
    flavour="gcov",
    files={SUPER: LINES},
    cases={
        LOAD: CaseCoverage(files={SUPER: FileCounts({9: 1})}),
        "mount": CaseCoverage(files={SUPER: FileCounts({3: 2, 4: 2**63}, {"toy_mount": 2}, {4: (2, 0)})}),
        "crash": CaseCoverage("the guest died in it"),
    },
)
WHOLE = Coverage(module="fs/toy", cells={"fix.A=y.gcov": CELL, "unpatched.gcov": CellCoverage("unpatched")})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = coverage.save(WHOLE, tmp_path)
    assert path == tmp_path / "coverage.json"
    assert coverage.load(tmp_path) == WHOLE


def test_a_line_knows_its_cases_and_whether_it_is_code() -> None:
    assert CELL.executed_by(SUPER, 4) == ("mount",)
    assert CELL.executed_by(SUPER, 9) == (LOAD,)
    assert CELL.executed_by("fs/toy/none.c", 4) == ()
    assert CELL.has(SUPER, 9) and not CELL.has(SUPER, 8) and not CELL.has("fs/toy/none.c", 9)
    assert CELL.unknown_cases == ("crash",)
    assert [cell for cell, _ in WHOLE.of_variant("fix")] == ["fix.A=y.gcov"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{}", "no coverage.json"),
        ('{"schema": "kmodpipe-coverage", "version": 2}', "version 2"),
        ('{"schema": "kmodpipe-coverage", "version": 1, "cells": {"c": {"variant": 3}}}', "schema"),
        (
            '{"schema":"kmodpipe-coverage","version":1,"cells":{"c":{"variant":"v","files":{"a.c":{"lines":[0]}}}}}',
            "schema",
        ),
        ("[", "not JSON"),
    ],
)
def test_what_is_none_is_refused(text: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        coverage.from_json(text)


def test_a_folder_without_it_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"coverage\.json cannot be read") as error:
        coverage.load(tmp_path)
    assert "invoke cover" in error.value.hint
