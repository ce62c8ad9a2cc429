"""What reports say of a series without its control, and of a run that was interrupted."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from kmodpipe import results
from kmodpipe.report import findings, html, junit, mail, markup, summary, terminal, wording
from kmodpipe.results import CONTROL, CaseResult, CellResult, Run, State, Verdict
from tests.support import sample_run


@pytest.fixture
def alone() -> Run:
    run = sample_run.finished()
    return replace(run, cells=tuple(c for c in run.cells if c.variant != CONTROL))


@pytest.fixture
def stopped() -> Run:
    """A run that was interrupted when one cell had not begun."""
    run = sample_run.finished()
    last = run.cells[-1]
    open_cell = replace(last, state=State.NOT_RUN, cases=())
    half = results.planned(replace(run, cells=(*run.cells[:-1], open_cell), finished=""))
    return results.interrupted(half, after=f"after {results.progress(half)}")


def shown(run: Run) -> str:
    out = io.StringIO()
    Console(file=out, width=120, force_terminal=True, color_system="standard").print(terminal.report(run))
    return out.getvalue()


def test_nothing_is_said_to_be_fixed_or_broken(alone: Run) -> None:
    texts = (
        shown(alone),
        mail.text(alone),
        markup.text(summary.whole(alone, None)),
        findings.page(alone, (), ()),
        html.text(alone),
    )
    for text in texts:
        plain = " ".join(text.split())
        assert "nothing was compared" in plain
        assert not any(
            word in plain for word in ("breaks nothing", "fixes", "Tested-by", "fixed:", "FIXED", "BROKEN")
        )
    assert results.exit_code(alone) == 0


def test_junit_names_the_control_of_each_cell_or_that_there_is_none(alone: Run) -> None:
    assert junit.text(alone).count(wording.NOT_COMPARED) == 3
    text = junit.text(sample_run.finished())
    assert wording.NOT_COMPARED not in text
    assert text.count('name="compared-with" value="unpatched.INDEX=y.NOUUID=n"') == 2


def test_a_part_without_control_is_counted(alone: Run) -> None:
    run = sample_run.finished()
    part = replace(run, cells=tuple(c for c in run.cells if c.cell != "unpatched.INDEX=n.NOUUID=n"))
    assert results.uncompared(part) == {"index-nouuid": ("index-nouuid.INDEX=n.NOUUID=n",)}
    assert "1 cell of them without the unpatched tree" in " ".join(mail.text(part).split())
    assert "Tested-by" not in mail.text(part)


@pytest.mark.parametrize("state", [State.INFRA, State.INTERRUPTED, State.NOT_RUN])
def test_a_control_of_which_nothing_is_known_was_compared_with_nothing(state: State) -> None:
    run = sample_run.finished()
    control = [c for c in run.cells if c.variant == "unpatched" and c.state is State.RAN]
    lost = run
    for one in control:
        lost = results.with_cell(lost, replace(one, state=state, cases=()))
    alone = {c.cell for c in run.cells if c.variant == "index-nouuid" and c.state is State.RAN}
    assert set(results.uncompared(lost)["index-nouuid"]) == alone
    assert "so that nothing was compared" in " ".join(mail.text(lost).split())
    assert junit.text(lost).count(wording.NOT_COMPARED) == len(alone)
    # What it was judged in before that, the series is compared with.
    part = results.with_cell(run, replace(control[0], state=state, cases=control[0].cases[:1]))
    assert results.uncompared(part) == results.uncompared(run)


def test_of_cells_that_did_not_run_nothing_is_claimed() -> None:
    run = sample_run.finished()
    for one in run.cells:
        run = results.with_cell(run, replace(one, state=State.NOT_RUN, cases=()))
    assert "0 Kconfig cells, 4 cases, none of which ran to its end" in " ".join(mail.text(run).split())


def test_an_interrupted_run_has_no_green_and_says_how_far_it_came(stopped: Run) -> None:
    green = ("\x1b[32m", "\x1b[1;32m")
    text = shown(stopped)
    assert not any(code in text for code in green)
    assert any(code in shown(sample_run.finished()) for code in green)
    assert "interrupted after 16 of 20 results" in wording.total(stopped)
    said = " ".join(mail.text(stopped).split())
    assert "The run is not whole: interrupted after 16 of 20 results." in said
    assert "interrupted: interrupted" not in said + junit.text(stopped) and "Tested-by" not in said
    states = [c.state for c in stopped.cells]
    assert states.count(State.SKIPPED) == 2 and states.count(State.INTERRUPTED) == 1


def test_a_control_that_the_series_make_build_is_no_failure_anywhere() -> None:
    infos = tuple(replace(info, unruled=True) for info in sample_run.INFOS[:2])
    unbuilt = tuple(CaseResult(i.id, Verdict.FAIL, "the cell does not build", by_goal=True) for i in infos)
    good = tuple(
        CaseResult(i.id, Verdict.PASS, "m", "mounted", "mounted", goal_met=True, by_goal=True) for i in infos
    )
    cells = (
        CellResult(
            "unpatched.A=y", CONTROL, "none", {"A": "y"}, State.BUILD_FAILED, "inode.c:7: error", unbuilt
        ),
        CellResult("fix.A=y", "fix", "", {"A": "y"}, State.RAN, cases=good),
    )
    now = "2020-10-13T12:00:00Z"
    run = results.judged_against_control(Run("r", now, infos, cells, finished=now))
    assert results.exit_code(run) == 0
    file = junit.text(run)
    assert 'failures="0"' in file and 'failures="1"' not in file and "(cell)" not in file
    assert shown(run).count("✗") == 1, "in the legend"
    page = html.text(run)
    assert "Where it failed" not in page and 'id="failures"' not in page
    assert "does not build" in page and "fixes 2, breaks 0" in " ".join(mail.text(run).split())
    # Nothing is let off that no series fixes.
    broken = replace(run, cells=(cells[0], replace(cells[1], cases=(good[0], replace(unbuilt[1])))))
    assert results.exit_code(broken) == 1 and 'failures="1"' in junit.text(broken)
    assert "Where it failed" in html.text(broken) and shown(broken).count("✗") > 1


def test_no_other_word_hides_a_failure() -> None:
    odd = replace(sample_run.failed(3, "EIO", "shared"), known_defect=True)
    assert wording.mark(odd) is wording.FAIL
    lost = replace(odd, verdict=Verdict.ERROR, flaky=True)
    assert wording.mark(lost) is wording.ERROR
    run = sample_run.change(sample_run.finished(), sample_run.Y_Y, odd)
    assert "✗ FAIL" in html.text(run) and "Where it failed" in html.text(run)
