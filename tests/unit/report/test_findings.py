"""The page of findings: every case and claim is on it, with the word that the results have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.judge import cases as case_data
from kmodpipe.judge.cases import Case
from kmodpipe.logs.ktap import Subtest
from kmodpipe.report.findings import ClaimTable, load_claims, page
from kmodpipe.results import CaseResult, CellResult, State, Verdict, planned, with_cell
from kmodpipe.util.errors import UserError
from tests.support import REPO
from tests.support.sample_run import INFOS, SKELETON, cell, seen

CASES = (
    Case("uuid-remount-index-on", "", Path("run.sh"), proves=("A1",)),
    Case("uuid-remount-default", "", Path("run.sh"), proves=("A1", "B1@run=2/none")),
)
CLAIMS = (
    ClaimTable("A", "One file system", {"A1": "it | mounts"}),
    ClaimTable("B", "Precedence", {"B1": "parameter 2", "B2": "nobody looked"}),
    ClaimTable("C", "Another module", {"C1": "works"}),
)


def ran(variant: str, index: str, *results: CaseResult, nouuid: str = "n") -> object:
    return replace(cell(variant, index, nouuid), state=State.RAN, cases=results)


def sample() -> str:
    run = planned(SKELETON)
    default = replace(
        seen(2, "mounted"),
        subtests=(Subtest("run=2/none", "pass", "set=ok reads=2 mount=mounted shown=default after=mounted"),),
    )
    for result in (
        ran("unpatched", "y", replace(seen(0, "ESTALE"), goal_met=False), default),
        ran("unpatched", "n", seen(0, "mounted"), default),
        ran("index-nouuid", "y", seen(0, "mounted"), replace(default, known_defect=True)),
    ):
        run = with_cell(run, result)  # type: ignore[arg-type]
    return page(run, CASES, CLAIMS)


def row_of(text: str, begins: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {begins}"))
    return [part.strip() for part in line.strip("|").split(" | ")]


def test_every_planned_case_has_a_row() -> None:
    text = sample()
    for info in INFOS:
        assert len(row_of(text, f"`{info.id}`")) == 3


def test_differing_cells_are_told_apart_by_the_axis_that_matters() -> None:
    row = row_of(sample(), "`uuid-remount-index-on`")
    assert row[1] == "✓ mounted (INDEX=n)<br>✗ ESTALE (INDEX=y)"


def test_the_flavour_tells_cells_apart_where_there_are_several() -> None:
    def one(index: str, flavour: str, outcome: str) -> CellResult:
        plain = cell("unpatched", index, "n", state=State.RAN, cases=(seen(0, outcome),))
        return replace(plain, cell=f"{plain.cell}.{flavour}", flavour=flavour)

    cells = (one("y", "", "ESTALE"), one("n", "", "ESTALE"), one("y", "xfs", "mounted"))
    run = planned(replace(SKELETON, cells=cells))
    row = row_of(page(run, CASES, ()), "`uuid-remount-index-on`")
    assert "mounted (flavour=xfs)" in row[1] and "ESTALE (flavour=plain)" in row[1]


def test_a_known_defect_and_a_missing_verdict_have_signs_of_their_own() -> None:
    row = row_of(sample(), "`uuid-remount-default`")
    assert "⚠ mounted (INDEX=y NOUUID=n)" in row[2]
    assert "! no verdict" in row[2]


def test_a_claim_stands_beside_its_cases_and_its_pair() -> None:
    text = sample()
    assert row_of(text, "A1")[:3] == ["A1", "it \\| mounts", "`uuid-remount-index-on`"]
    pair = row_of(text, "B1")
    assert pair[2] == "`uuid-remount-default` at `run=2/none`"
    assert pair[3] == "✓ reads 2, after the change mounted"
    assert row_of(text, "B2")[2] == "not in this run"


def test_claims_of_none_of_which_the_run_has_a_case_are_left_out() -> None:
    text = sample()
    assert "## B. Precedence" in text and "Another module" not in text


def test_the_projects_own_claims_all_have_a_case() -> None:
    folder = REPO / "images" / "guest" / "cases"
    tables = load_claims(folder, case_data.load(folder))
    assert [table.name for table in tables] == ["A", "B", "C", "D", "R"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[tables.A]\nA1 = "x"\nA2 = "y"\n', "no case stands for the claim A2"),
        ('[tables.A]\nA9 = "x"\n', "proves A1, which the file does not define"),
        ("tables = 1\n", "the claims file is not valid"),
    ],
)
def test_claims_that_do_not_fit_the_cases(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "claims.toml").write_text(text)
    with pytest.raises(UserError, match=fault):
        load_claims(tmp_path, CASES[:1])


def test_no_claims_are_no_fault(tmp_path: Path) -> None:
    assert load_claims(tmp_path, CASES) == ()


def test_a_failed_case_never_reads_as_wanted() -> None:
    failed = CaseResult(INFOS[0].id, Verdict.FAIL, "x", outcome="mounted", goal_met=True)
    run = with_cell(planned(SKELETON), ran("unpatched", "y", failed))  # type: ignore[arg-type]
    assert "! mounted (INDEX=y)" in row_of(page(run, CASES, ()), f"`{INFOS[0].id}`")[1]
