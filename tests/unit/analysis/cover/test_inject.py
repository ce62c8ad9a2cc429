"""Which allocations are made to fail, and what comes of it."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.analysis.cover import inject
from kmodpipe.logs.evidence import KernelReport
from kmodpipe.results import CaseInfo, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.results.coverage import LOAD, CaseCoverage, CellCoverage, Coverage, FileCounts

SUPER = "fs/toy/super.c"


def run_of(*results: CaseResult) -> Run:
    cell = CellResult("fix.gcov-inject", "fix", "", {}, State.RAN, cases=results)
    return Run("1", "2026-01-01T00:00:00+00:00", tuple(CaseInfo(r.case, "", "") for r in results), (cell,))


def test_the_numbers_are_read_of_what_the_profile_observed() -> None:
    seen = {"allocations-0": "3-5,9-9", "allocations-1": "12-13", "allocations": "90-91", "other": "70-71"}
    profiled = run_of(
        CaseResult("mount.fail-profile", Verdict.FAIL, observations=seen),
        CaseResult("idle.fail-profile", Verdict.FAIL, observations={"injected": "0"}),
    )
    assert inject.allocations(profiled) == {"mount": (3, 4, 5, 9, 12, 13)}


def test_what_a_guest_claims_is_bounded() -> None:
    seen = {"allocations-0": "1-999999999,x-y,5-3,-4-5"}
    found = inject.allocations(run_of(CaseResult("mount.fail-profile", Verdict.FAIL, observations=seen)))
    assert len(found["mount"]) <= inject.MOST + 2


def test_reports_of_the_kernel_are_told_once_a_kind() -> None:
    bad = KernelReport("KASAN", "KASAN: use-after-free in toy_fill")
    benign = KernelReport("WARNING", "WARNING in other", benign="known")
    again = run_of(
        CaseResult("mount.fail-3", Verdict.FAIL, reports=(bad, benign)),
        CaseResult("mount.fail-4", Verdict.FAIL, reports=(bad,)),
    )
    (line,) = inject.reported(again)
    assert "use-after-free in toy_fill: allocation 3 of mount" in line and "(and 1 more)" in line


def test_the_tries_of_a_case_are_one_row_beside_it() -> None:
    plain = CellCoverage(
        "fix", cases={LOAD: CaseCoverage(), "mount": CaseCoverage(files={SUPER: FileCounts({1: 1})})}
    )
    tries = {
        LOAD: CaseCoverage(files={SUPER: FileCounts({99: 1})}),
        "mount.fail-1": CaseCoverage(files={SUPER: FileCounts({1: 1, 7: 1})}),
        "mount.fail-2": CaseCoverage(files={SUPER: FileCounts({1: 1, 8: 1})}),
        "mount.fail-3": CaseCoverage("no counters came: kernel BUG"),
    }
    whole = inject.joined(
        Coverage(cells={"c": plain, "d": plain}), Coverage(cells={"c": replace(plain, cases=tries)})
    )
    row = whole.cells["c"].cases["mount (failing allocations)"]
    assert row.files[SUPER].lines == {1: 2, 7: 1, 8: 1}
    assert row.unknown == "1 of 3 tries: no counters came: kernel BUG"
    assert whole.cells["c"].executed_by(SUPER, 99) == () and whole.cells["d"] == plain
