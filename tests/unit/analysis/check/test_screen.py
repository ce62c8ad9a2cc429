"""What is printed: the answer first, then the findings, and a reason that holds for all patches once."""

from __future__ import annotations

from kmodpipe.analysis.check import screen
from kmodpipe.analysis.check.model import Finding, Level, Outcome, PatchReport, Report, SeriesReport
from tests.support.sample_check import REPORT


def test_the_first_line_answers() -> None:
    assert screen.first_lines(REPORT) == [
        "toy-fix: 2 of 2 patches bring something new: 3 compiler, 1 checkpatch, 2 tags; "
        "not checked, wholly or in part: sparse",
        "toy-fix on debian-12: not checked: a distribution's kernel has no source to compile or patch",
    ]
    note = Finding(Level.NOTE, "x")
    clean = PatchReport(1, "p", "s", (Outcome("size", (note,)), Outcome("builds")))
    report = Report("r", "t", (SeriesReport("s", "debian-6.1", (clean,)),))
    assert screen.first_lines(report) == ["s on debian-6.1: 1 patch, nothing new that fails a check, 1 note"]


def test_findings_come_patch_by_patch() -> None:
    lines = screen.details(REPORT)
    assert lines[1] == "toy-fix@1: ovl: a"
    assert "  compiler: warning: fs/overlayfs/super.c:12: unused variable 'x' [-Wunused-variable]" in lines
    assert "  checkpatch: note: fs/overlayfs/super.c:3: spaces preferred [SPACING] (in INDEX=y)" in lines
    assert sum("there is no sparse here" in line for line in lines) == 1
    assert all("\n" not in line and "\x1b" not in line for line in lines)


def test_many_findings_are_cut() -> None:
    many = tuple(Finding(Level.WARNING, str(n)) for n in range(40))
    patch = PatchReport(1, "p", "s", (Outcome("sparse", many),))
    lines = screen.details(Report("r", "t", (SeriesReport("s", "", (patch,)),)))
    assert lines[-1] == "  sparse: … and 28 more, all in check.json" and len(lines) == 15
