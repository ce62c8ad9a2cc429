"""Entries [[unnoticed]] of a series.toml, and what they explain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from kmodpipe.analysis.ablate.explained import explain
from kmodpipe.analysis.ablate.records import Finding, Status
from kmodpipe.series import Series
from kmodpipe.series.changes import Hunk
from kmodpipe.series.model import Unnoticed

# Two functions have the same line.
LINES = {3: "\tindex = OFF;", 7: "\tindex = OFF;"}
HUNK = Hunk("1.patch", "a.c", 1, 1, 8, 1, 8, "", "@@ -1,8 +1,8 @@\n+\tindex = OFF;", (3, 7))


def mistake(name: str, line: int, function: str, status: Status = Status.UNNOTICED) -> Finding:
    return Finding(name, "constant", "1.patch", "a.c", line, function, status, was="OFF", becomes="ON")


def explained(*findings: Finding, **fields: str) -> tuple[dict[str, Status], tuple[str, ...]]:
    entry = Unnoticed("a.c", "index = OFF;", "no file system is so", "constant", **fields)
    series = cast(Series, SimpleNamespace(unnoticed=(entry,)))
    told, stale = explain(series, findings, lambda _: HUNK, lambda _, line: LINES[line])
    return {one.id: one.status for one in told}, stale


def test_an_entry_is_about_each_such_line_or_that_of_a_function() -> None:
    found = (mistake("1", 3, "make"), mistake("2", 7, "parse"))
    assert explained(*found) == ({"1": Status.EXPLAINED, "2": Status.EXPLAINED}, ())
    assert explained(*found, function="parse") == ({"1": Status.UNNOTICED, "2": Status.EXPLAINED}, ())
    assert explained(*found, of="ON")[1] == ("a.c: 'index = OFF;', constant: nothing of the series fits",)


def test_an_entry_about_what_is_noticed_is_told() -> None:
    noticed = mistake("1", 3, "make", Status.CASE)
    states, stale = explained(noticed, mistake("2", 7, "parse"), function="make")
    assert states == {"1": Status.CASE, "2": Status.UNNOTICED}
    assert len(stale) == 1 and "noticed by" in stale[0]
