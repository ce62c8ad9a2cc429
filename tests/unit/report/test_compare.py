"""Runs and series side by side: every change has its name, and noise has none."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from kmodpipe import results
from kmodpipe.report import compare
from kmodpipe.report.compare import Change
from kmodpipe.results import CaseInfo, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.errors import UserError
from tests.support.sample_run import INFOS, cell, change, failed, finished, ran, seen, skipped

Y_Y = "index-nouuid.INDEX=y.NOUUID=y"
FLAKY = replace(failed(2, "flaky", "mounted"), flaky=True, goal_met=None)
ERROR = CaseResult(INFOS[2].id, Verdict.ERROR, "not run: no disk")
PASS, FAIL, SKIP = seen(2, "mounted"), failed(2, "ESTALE", "mounted"), skipped(2)
DEFECT = replace(PASS, known_defect=True)


def against(before: CaseResult, after: CaseResult) -> compare.Difference:
    found = compare.runs(change(finished(), Y_Y, before), change(finished(), Y_Y, after))
    (own,) = [d for d in found.differences if (d.cell, d.case) == (Y_Y, INFOS[2].id)]
    rest = {d.change for d in found.differences if d is not own}
    assert rest == {Change.SAME}
    return own


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (PASS, PASS, Change.SAME),
        (PASS, FAIL, Change.NEWLY_FAILING),
        (SKIP, FAIL, Change.NEWLY_FAILING),
        (ERROR, FAIL, Change.NEWLY_FAILING),
        (FLAKY, FAIL, Change.NEWLY_FAILING),
        (FAIL, FAIL, Change.STILL_FAILING),
        (FAIL, failed(2, "oops", "mounted"), Change.CHANGED),
        (PASS, FLAKY, Change.NEWLY_FLAKY),
        (FAIL, FLAKY, Change.NEWLY_FLAKY),
        (FLAKY, FLAKY, Change.STILL_FAILING),
        (PASS, ERROR, Change.LOST),
        (FAIL, ERROR, Change.LOST),
        (ERROR, ERROR, Change.SAME),
        (PASS, SKIP, Change.NEWLY_SKIPPED),
        (SKIP, SKIP, Change.SAME),
        (FAIL, PASS, Change.NEWLY_PASSING),
        (FLAKY, PASS, Change.NEWLY_PASSING),
        (ERROR, PASS, Change.REGAINED),
        (SKIP, PASS, Change.CHANGED),
        (PASS, seen(2, "ESTALE"), Change.CHANGED),
        (PASS, DEFECT, Change.CHANGED),
    ],
)
def test_what_became_of_a_result(before: CaseResult, after: CaseResult, wanted: Change) -> None:
    assert against(before, after).change is wanted


def test_cells_and_cases_that_came_and_went() -> None:
    before, new = finished(), CaseInfo("new-case", "", "mounted")
    gone = replace(before, cells=before.cells[:-1], cases=(*before.cases, new))
    gone = results.planned(gone)
    found = compare.runs(before, gone)
    assert found.vanished_cells == (Y_Y,) and found.appeared_cases == ("new-case",)
    assert found.counts[Change.VANISHED] == 4
    back = compare.runs(gone, before)
    assert back.appeared_cells == (Y_Y,) and back.vanished_cases == ("new-case",)
    # A new one that fails at once is no news to be kept quiet.
    bad = change(before, Y_Y, FAIL)
    assert [d.case for d in compare.runs(gone, bad).of(Change.NEWLY_FAILING)] == [INFOS[2].id]


def timed(seconds: dict[tuple[str, str], float], number: int = 20) -> Run:
    """A run of ``number`` × 20 passes of these durations."""
    infos = tuple(CaseInfo(f"case-{i}", "", "mounted") for i in range(20))
    cells = tuple(
        CellResult(
            f"c{c}", "unpatched", "none", {"A": str(c)}, State.RAN,
            cases=tuple(
                replace(seen(0, "mounted", duration_s=seconds.get((f"c{c}", i.id), 0.0)), case=i.id)
                for i in infos
            ),
        )
        for c in range(number)
    )  # fmt: skip
    return Run("timed", "", infos, cells)


def durations(scale: float, spread: float, seed: int, number: int = 20) -> dict[tuple[str, str], float]:
    chance = random.Random(seed)
    base = {(f"c{c}", f"case-{i}"): 0.3 + i / 2 for c in range(number) for i in range(20)}
    return {key: value * scale * chance.lognormvariate(0, spread) for key, value in base.items()}


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_noise_and_a_slower_machine_are_not_slower(spread: float, scale: float) -> None:
    for seed in range(5):
        before, after = timed(durations(1, spread, seed)), timed(durations(scale, spread, seed + 100))
        found = compare.runs(before, after)
        assert not found.of(Change.SLOWER, Change.FASTER)
        assert found.timed == 400 and found.speed == pytest.approx(scale, rel=0.2)


def test_what_stands_out_of_the_noise_is_slower() -> None:
    before, late = durations(1, 0.1, 1), durations(2, 0.1, 2)
    late["c3", "case-7"] *= 5
    late["c4", "case-7"] /= 5
    found = compare.runs(timed(before), timed(late))
    (slower,), (faster,) = found.of(Change.SLOWER), found.of(Change.FASTER)
    assert (slower.cell, slower.case) == ("c3", "case-7") and slower.times == pytest.approx(5, rel=0.4)
    assert (faster.cell, faster.case) == ("c4", "case-7")
    # A multiple of next to nothing is nothing.
    late = {key: value / 40 for key, value in late.items()}
    assert not compare.runs(timed({k: v / 40 for k, v in before.items()}), timed(late)).of(Change.SLOWER)


def test_of_a_few_results_only_much_slower_is_slower() -> None:
    def one(seconds: float) -> Run:
        return change(finished(), Y_Y, replace(PASS, duration_s=seconds))

    short = [replace(r, cells=r.cells[-1:]) for r in (one(1.0), one(2.5), one(9.0))]
    assert not compare.runs(short[0], short[1]).of(Change.SLOWER)
    assert [d.case for d in compare.runs(short[0], short[2]).of(Change.SLOWER)] == [INFOS[2].id]


def test_a_soak_is_timed_by_the_attempt() -> None:
    before = durations(1, 0.05, 1)
    run = timed({k: v * 50 for k, v in before.items()})
    soaked = replace(
        run,
        cells=tuple(replace(c, cases=tuple(replace(r, attempts=50) for r in c.cases)) for c in run.cells),
    )
    assert compare.runs(timed(before), soaked).speed == pytest.approx(1)


def test_provenance_that_moved_is_named() -> None:
    before = replace(
        finished(),
        properties={
            "tree": "a",
            "series.x": "1",
            "series.x.0001.patch": "p",
            "command": "one",
            "load.begin": "0 0 0",
        },
        cases=tuple(replace(i, digest="d") for i in INFOS),
    )
    after = replace(
        finished(),
        properties={
            "tree": "b",
            "series.x": "1",
            "command": "two",
            "series.x.subject": "s",
            "load.begin": "9 9 9",
        },
        cases=(replace(INFOS[0], digest="e"), *(replace(i, digest="d") for i in INFOS[1:])),
    )
    compilers = [
        replace(r, cells=(replace(r.cells[0], properties={"compiler": n}), *r.cells[1:]))
        for r, n in ((before, "gcc 12"), (after, "gcc 14"))
    ]
    moved = {m.name: (m.before, m.after) for m in compare.runs(*compilers).provenance}
    found = compare.runs(*compilers)
    assert {m.name for m in found.only("y").provenance} == {"tree", "compiler", f"case {INFOS[0].id}"}
    assert "series.x.0001.patch" in {m.name for m in found.only("x").provenance}
    assert moved == {
        "tree": ("a", "b"),
        "series.x.0001.patch": ("p", ""),
        "compiler": ("gcc 12", "gcc 14"),
        f"case {INFOS[0].id}": ("d", "e"),
    }


def test_the_same_kernel_module_and_case_are_told_from_others() -> None:
    def run(result: CaseResult, **properties: str) -> Run:
        own = {"kernel.build-id": "k", "module.overlay.sha256": "m", **properties}
        made = replace(finished(), cases=tuple(replace(i, digest="d") for i in INFOS))
        last = replace(made.cells[-1], properties=own)
        return change(results.with_cell(made, last), Y_Y, result)

    def same(before: Run, after: Run) -> bool:
        (found,) = compare.runs(before, after).of(Change.NEWLY_FAILING)
        return found.same_parts

    assert same(run(PASS), run(FAIL))
    assert not same(run(PASS), run(FAIL, **{"module.overlay.sha256": "n"}))
    assert not same(run(PASS), change(finished(), Y_Y, FAIL))


def test_two_versions_of_a_series_are_compared_under_two_names() -> None:
    before = finished()

    def renamed(c: CellResult) -> CellResult:
        new = c.variant.replace("index-nouuid", "v2")
        return replace(c, variant=new, cell=c.cell.replace("index-nouuid", "v2"))

    after = change(
        replace(before, id="later", cells=tuple(map(renamed, before.cells))),
        "v2.INDEX=y.NOUUID=y",
        FAIL,
    )
    found = compare.runs(before, after)
    assert found.note == "v2 is compared with index-nouuid of the other run"
    assert [d.cell for d in found.of(Change.NEWLY_FAILING)] == ["v2.INDEX=y.NOUUID=y"]
    assert not found.appeared_cells and not found.vanished_cells
    assert found.only("unpatched").counts[Change.NEWLY_FAILING] == 0
    assert found.only("v2").counts[Change.NEWLY_FAILING] == 1


def test_series_of_one_run_are_compared_by_what_a_user_gets() -> None:
    run = results.planned(finished())
    other = [
        replace(ran("index-nouuid", i, n, *outcomes), variant="uuid-off", cell=f"uuid-off.{i}{n}")
        for i, n, outcomes in (
            ("y", "n", (seen(0, "mounted"), replace(seen(1, "EINVAL"), lacking=True), seen(3, "shared"))),
            ("y", "y", (seen(0, "ESTALE"), failed(1, "EIO", "mounted"), seen(2, "mounted"))),
        )
    ]
    run = results.planned(replace(run, cells=(*run.cells, *other)))
    found = compare.series(run, "index-nouuid")
    assert (found.old, found.new) == ("series index-nouuid", "series uuid-off")
    told = {(d.cell, d.case): d.change for d in found.differences}
    on, nouuid, default, links = (i.id for i in INFOS)
    assert told["uuid-off.yn", on] is Change.NEWLY_PASSING
    assert told["uuid-off.yn", nouuid] is Change.VANISHED  # that design has no such option
    assert told["uuid-off.yn", links] is Change.NEWLY_PASSING
    assert told["uuid-off.yy", nouuid] is Change.NEWLY_FAILING
    assert told["uuid-off.yy", on] is Change.STILL_FAILING
    assert told["uuid-off.yn", default] is Change.LOST
    with pytest.raises(UserError, match="unknown series 'uuid-of'; did you mean uuid-off"):
        compare.series(run, "uuid-of")
    with pytest.raises(UserError, match="no other series"):
        compare.series(finished(), "index-nouuid")


def test_what_a_gate_fails_on() -> None:
    bad = compare.runs(finished(), change(finished(), Y_Y, FAIL))
    assert bad.fails(["new", "flaky"]) == (Change.NEWLY_FAILING,)
    assert bad.fails(["lost", "vanished"]) == () and not compare.runs(finished(), finished()).fails(["new"])


def test_a_cell_without_a_choice_is_known_by_its_name() -> None:
    plain = cell("unpatched", "y", "n", state=State.RAN, cases=(PASS,))
    twins = tuple(replace(plain, cell=name, choice={}) for name in ("one", "two"))
    run = Run("r", "", INFOS, twins)
    assert compare.runs(run, run).counts == {Change.SAME: 2}


def test_a_large_comparison_is_cheap() -> None:
    import time

    before, after = timed(durations(1, 0.1, 1, 500), 500), timed(durations(1, 0.1, 2, 500), 500)
    began = time.process_time()
    assert len(compare.runs(before, after).differences) == 10_000
    assert time.process_time() - began < 3
