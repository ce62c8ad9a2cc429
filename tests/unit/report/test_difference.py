"""A run as a difference."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe import results
from kmodpipe.report import difference, wording
from kmodpipe.report.difference import Row
from kmodpipe.results import CONTROL, EffectKind, Run, State
from tests.support.sample_run import INFOS, Y_Y, cell, change, failed, finished


def told(rows: tuple[Row, ...]) -> list[tuple[str, str, str, str, str]]:
    return [
        (r.change.name, r.case, f"{r.before.mark.sign} {r.before.word}" if r.before else "",
         f"{r.after.mark.sign} {r.after.word}", r.where)
        for r in rows
    ]  # fmt: skip


def test_changes_come_first_with_both_sides() -> None:
    (one,) = difference.of_run(change(finished(), Y_Y, failed(3, "EIO", "shared")))
    assert told(one.changed) == [
        ("BROKEN", INFOS[3].id, "✓ shared", "✗ EIO", "1 of 3 cells: NOUUID=y"),
        ("FIXED", INFOS[1].id, "○ EINVAL", "✓ mounted", "all 3 cells"),
        ("FIXED", INFOS[2].id, "○ ESTALE", "✓ mounted", "1 of 3 cells: NOUUID=y"),
        ("KNOWN ISSUE", INFOS[3].id, "✓ shared", "⚠ hardlinks-split", "1 of 3 cells: INDEX=y NOUUID=n"),
    ]


def test_every_result_that_ran_is_in_one_row() -> None:
    run = change(finished(), Y_Y, failed(3, "EIO", "shared"))
    (one,) = difference.of_run(run)
    rows = [(cell, row.case) for row in (*one.changed, *one.rest) for cell in row.cells]
    wanted = [(c.cell, r.case) for c, r in run.results() if c.variant != CONTROL and c.state is State.RAN]
    assert sorted(rows) == sorted(wanted)
    cases = {row.case for row in one.changed} | {row.case for row in one.rest}
    assert one.unchanged == len(cases - {row.case for row in one.changed})
    assert sum(one.quiet.values()) == one.unchanged


def test_kernels_that_show_the_same_are_one_row() -> None:
    both = tuple(
        replace(c, cell=f"{kernel}.{c.cell}", kernel=kernel)
        for kernel in ("a", "b")
        for c in finished().cells
    )
    run = replace(finished(), cells=both)
    (one,) = difference.of_run(run)
    assert ("FIXED", INFOS[1].id, "○ EINVAL", "✓ mounted", "all 6 cells") in told(one.changed)
    worse = change(run, f"b.{Y_Y}", failed(1, "EIO", "mounted"))
    (one,) = difference.of_run(worse)
    assert told(one.changed)[0][-1] == "1 of 6 cells: on b NOUUID=y"


def test_a_failure_that_was_there_before_is_shown_as_one_and_not_as_a_fix() -> None:
    (one,) = difference.of_run(change(finished(), Y_Y, failed(0, "EIO", "ESTALE")))
    row = one.changed[0]
    assert (row.kind, row.change) == (EffectKind.STILL_FAILING, wording.FAIL)


def test_a_series_without_its_control_is_alone_and_one_that_did_not_run_has_no_rows() -> None:
    alone = replace(finished(), cells=tuple(c for c in finished().cells if c.variant != CONTROL))
    (one,) = difference.of_run(alone)
    assert one.alone and not [row for row in one.rest if row.before]
    assert [row.kind for row in one.changed] == [EffectKind.KNOWN_DEFECT]
    run = finished()
    for c in run.cells:
        if c.variant != CONTROL:
            run = results.with_cell(run, cell(c.variant, *c.choice.values(), state=State.INFRA))
    (one,) = difference.of_run(run)
    assert (one.ran, one.alone, one.changed, one.rest) == (0, False, (), ())
    assert difference.of_run(Run("none", "")) == ()
