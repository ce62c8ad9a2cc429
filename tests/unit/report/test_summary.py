"""What a run comes to, told in a few pages."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe import results
from kmodpipe.cli import report as command
from kmodpipe.report import compare, markup, summary, wording
from kmodpipe.results import Run, State
from tests.support.sample_days import Y_Y, bad, good
from tests.support.sample_run import INFOS, cell, change, failed, seen


def test_one_outcome_that_is_taken_for_another_thing_says_so() -> None:
    then = change(replace(good(), id="c"), Y_Y, seen(2, "ESTALE", defect=True))
    told = markup.text(summary.of_comparison(compare.runs(then, bad()), bad()))
    assert "ESTALE (known issue)" in told and "ESTALE (not as expected)" in told


def test_digests_are_told_by_their_first_digits() -> None:
    digests = [f"{n}" * 64 for n in (1, 2)]
    runs = [
        replace(good(), id=d, properties={"tree.sha256": d, "builder.image": f"sha256:{d}"}) for d in digests
    ]
    told = markup.text(summary.of_comparison(compare.runs(*runs), runs[1]))
    assert "  builder.image  sha256:111111111111…  sha256:222222222222…\n" in told


def test_a_cell_that_did_not_build_is_one_row_not_one_a_case() -> None:
    broken = cell("index-nouuid", "y", "y", state=State.BUILD_FAILED, reason="inode.c:7: error")
    run = results.with_cell(replace(good(), id="c"), broken)
    told = markup.text(summary.whole(run, compare.runs(good(), run)))
    assert f"(all of {Y_Y})" in told and "4 newly failing" in told
    assert wording.verdicts(run)[0].text().startswith("index-nouuid does not build in 1 cell; breaks nothing")
    assert f"{Y_Y}: build-failed: inode.c:7: error" in markup.text(summary.of_run(run))


def test_cells_that_did_not_run_are_told_by_their_reason() -> None:
    run = good()
    for number, c in enumerate(run.cells):
        reason = "no disk" if number < 5 else "no disk either"
        run = results.with_cell(run, replace(c, state=State.INFRA, reason=reason, cases=()))
    told = " ".join(markup.text(summary.failures(run)).split())
    assert f"{run.cells[3].cell} and 1 more: infra: no disk " in told and "infra: no disk either" in told


def test_failures_that_differ_in_numbers_only_are_told_once() -> None:
    run = good()
    for number, c in enumerate(run.cells):
        if c.state is State.RAN:
            run = change(run, c.cell, replace(failed(2, "x", "y"), message=f"died at 0x{number}f"))
    told = markup.text(summary.failures(run))
    assert told.count("died at") == 1 and "and 1 more: died at" in told


def test_a_huge_run_is_told_in_a_few_pages() -> None:
    infos = tuple(replace(INFOS[0], id=f"case-{n}") for n in range(100))
    cells = tuple(
        replace(
            cell("s" if n else "unpatched", str(n), "y", state=State.RAN),
            cases=tuple(replace(failed(0, f"o{i}", "x"), case=info.id) for i, info in enumerate(infos)),
        )
        for n in range(100)
    )
    run = Run("huge", "", infos, cells, {"x" * 100: "y" * 1000})
    for page in (command.job_summary(run), markup.markdown(summary.whole(run, None), 60_000)):
        assert len(page) <= 60_000
    assert len(markup.text(summary.whole(run, compare.runs(run, replace(run, id="b")))).splitlines()) < 300
