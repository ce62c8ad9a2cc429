"""The sentence with which every report begins: true, and whole only where the run is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmodpipe import results
from kmodpipe.report import answer, html, mail, markup, summary, terminal_lines
from kmodpipe.results import CONTROL, ENDED_EARLY, CaseResult, Run, State, Verdict
from tests.support.sample_days import bad, good
from tests.support.sample_run import DEAD, INFOS, SKELETON, Y_N, Y_Y, cell, change, failed, finished, seen

KERNELS = {"tree.a.kernel-version": "6.1", "tree.b.kernel-version": "6.12"}


def on(run: Run, kernel: str) -> tuple[results.CellResult, ...]:
    return tuple(replace(c, cell=f"{kernel}.{c.cell}", kernel=kernel) for c in run.cells)


def test_it_counts_cases_and_says_where() -> None:
    assert answer.of_run(finished()).text() == "index-nouuid fixes 2, breaks 0, has 1 known issue."
    assert answer.of_run(good()).text() == "index-nouuid fixes 2, breaks 0, on Linux 5.10.223."
    two = replace(finished(), cells=(*on(finished(), "a"), *on(bad(), "b")), properties=KERNELS)
    assert answer.of_run(two).text() == (
        "index-nouuid fixes 2, breaks 0, has 1 known issue, 1 case not as expected, on 2 kernels."
    )
    half = tuple(replace(c, state=State.SKIPPED, cases=()) for c in on(bad(), "b"))
    told = answer.of_run(replace(two, cells=(*on(finished(), "a"), *half))).text()
    assert told.endswith("on 1 of 2 kernels.")


def test_what_is_broken_or_not_as_expected_is_in_it() -> None:
    broke = change(finished(), Y_Y, failed(3, "EIO", "shared"))
    assert "breaks 1, has 1 known issue, 1 case not as expected" in answer.of_run(broke).text()
    unbuilt = results.with_cell(finished(), cell("index-nouuid", "y", "y", state=State.BUILD_FAILED))
    assert answer.of_run(unbuilt).text().startswith("index-nouuid does not build in 1 of 4 cells, fixes")
    control = change(finished(), "unpatched.INDEX=y.NOUUID=n", failed(1, "mounted", "EINVAL"))
    assert "the unpatched tree itself is not as expected in 1 result" in answer.of_run(control).text()
    assert "1 axis makes no difference" in answer.of_run(replace(finished(), dead_axes=(DEAD,))).text()


def interrupted() -> Run:
    run = finished()
    half = results.planned(
        replace(
            run,
            cells=(*run.cells[:-1], replace(run.cells[-1], state=State.NOT_RUN, cases=())),
            finished="",
        )
    )
    return results.interrupted(half, after=f"after {results.progress(half)}")


def without_verdict() -> Run:
    return change(finished(), Y_Y, CaseResult(INFOS[0].id, Verdict.ERROR, "no verdict came"))


def lost() -> Run:
    return results.with_cell(finished(), cell("index-nouuid", "y", "y", state=State.INFRA, reason="no disk"))


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (interrupted(), "interrupted after 16 of 20 results"),
        (replace(finished(), properties={ENDED_EARLY: "the disk is full"}), "the disk is full"),
        (results.planned(SKELETON), "the run has not ended, 0 of 20 results are there"),
        (replace(finished(), finished=""), "the run has not ended, 20 of 20 results are there"),
        (without_verdict(), "1 result of 20 without verdict"),
        (lost(), "1 cell of 7 did not run"),
    ],
)
def test_what_is_not_whole_says_so_before_all_else(run: Run, why: str) -> None:
    text = answer.of_run(run).text()
    assert text.startswith(f"Not whole ({why}"), text
    # And so does every report, in its first sentence.
    assert html.text(run).partition("<h1>")[2].partition("</h1>")[0].count(f"Not whole ({why}") == 1
    assert f"Not whole ({why}" in terminal_lines.answer_line(run).plain
    assert " ".join(markup.text(summary.of_run(run), 10_000).split()).startswith(f"Not whole ({why}")
    body = mail.text(run, "index-nouuid").partition("\n\n")[2]
    assert " ".join(body.split()).startswith(f"Not whole ({why}")


def test_without_the_control_nothing_is_claimed() -> None:
    alone = replace(finished(), cells=tuple(c for c in finished().cells if c.variant != CONTROL))
    assert answer.of_run(alone).text() == (
        "index-nouuid ran alone; nothing was compared: the unpatched tree did not run beside it; "
        "11 PASS, 0 FAIL."
    )
    part = replace(
        finished(), cells=tuple(c for c in finished().cells if c.cell != "unpatched.INDEX=n.NOUUID=n")
    )
    assert "with nothing to compare with in 1 of 3 cells" in answer.of_run(part).text()


def test_what_was_interrupted_early_has_its_results_counted() -> None:
    run = finished()
    for one in run.cells:
        if one.variant != CONTROL and one.state is State.RAN:
            run = results.with_cell(run, replace(one, state=State.INTERRUPTED))
    run = change(run, Y_Y, failed(0, "EIO", "ESTALE"))
    text = answer.of_run(run).text()
    assert "index-nouuid did not run in any cell, 10 PASS, 1 FAIL" in text and "Not whole" in text


def test_an_expected_failure_that_works_is_no_fix() -> None:
    run = change(finished(), Y_N, replace(failed(0, "mounted", "ESTALE"), goal_met=True))
    run = change(run, Y_Y, replace(failed(0, "mounted", "ESTALE"), goal_met=True))
    assert answer.of_run(run).text().startswith("index-nouuid fixes 2, breaks 0")


def test_of_the_control_alone_and_of_nothing() -> None:
    alone = replace(finished(), cells=tuple(c for c in finished().cells if c.variant == CONTROL))
    assert answer.of_run(alone).text() == "The unpatched tree alone: 7 PASS, 0 FAIL."
    nothing = Run("none", "2020-01-01T00:00:00Z", finished="2020-01-01T00:00:01Z")
    assert answer.of_run(nothing).text() == "The unpatched tree alone: 0 PASS, 0 FAIL; nothing is proved."


def test_the_steps_of_a_series_are_counted_and_not_listed() -> None:
    steps = tuple(
        replace(c, cell=c.cell.replace("index-nouuid", "index-nouuid@1"), variant="index-nouuid@1")
        for c in finished().cells
        if c.variant != CONTROL
    )
    run = replace(finished(), cells=(*finished().cells, *steps))
    assert answer.of_run(run).text() == answer.of_run(finished()).text()
    bad_step = change(run, Y_Y.replace("index-nouuid", "index-nouuid@1"), failed(1, "EIO", "mounted"))
    assert "after 1 patch on the way it is not as expected" in answer.of_run(bad_step).text()


def test_a_name_cannot_say_anything_else() -> None:
    name = "x\n\x1b[2J breaks 0"
    cells = tuple(replace(c, variant=name) if c.variant != CONTROL else c for c in finished().cells)
    text = answer.of_run(replace(finished(), cells=cells)).text()
    assert "\n" not in text and "\x1b" not in text and seen(0, "x").case


def test_many_series_have_room_for_the_worst() -> None:
    def named(run: Run, name: str) -> tuple[results.CellResult, ...]:
        own = (c for c in run.cells if c.variant != CONTROL)
        return tuple(replace(c, cell=c.cell.replace("index-nouuid", name), variant=name) for c in own)

    control = tuple(c for c in finished().cells if c.variant == CONTROL)
    broke = change(finished(), Y_Y, failed(3, "EIO", "shared"))
    made = [*control, *(c for n in range(9) for c in named(broke if n == 7 else finished(), f"s{n}"))]
    text = answer.of_run(replace(finished(), cells=tuple(made))).text()
    assert text.startswith("s7 fixes 2, breaks 1, has 1 known issue, 1 case not as expected; s0 fixes 2")
    assert text.endswith("; and 5 more series.")
    alone = answer.of_run(replace(finished(), cells=tuple(c for c in made if c.variant != CONTROL))).text()
    assert alone.startswith("s0, s1, s2, s3 and 5 more ran alone; nothing was compared")
    assert alone.count("nothing was compared") == 1 and alone.endswith("98 PASS, 1 FAIL.")
