"""What the screen shows at the end of a run."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Literal

import pytest
from rich.cells import cell_len
from rich.console import Console

from kmodpipe import results
from kmodpipe.report import terminal
from kmodpipe.results import CaseResult, Run, State, Verdict
from tests.support.sample_run import DEAD, INFOS, PARTLY, SKELETON, cell, change, failed, finished, ran, seen

Y_Y = "index-nouuid.INDEX=y.NOUUID=y"


def lines_of(run: Run, width: int = 120, *, colour: bool = False) -> list[str]:
    out = io.StringIO()
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(file=out, width=width, force_terminal=colour, color_system=system)
    console.print(terminal.report(run))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def large(cases: int, cells: int) -> Run:
    infos = tuple(replace(INFOS[0], id=f"a-case-with-quite-a-long-name-{i}") for i in range(cases))
    done = tuple(CaseResult(i.id, Verdict.PASS, "m", "mounted", goal_met=True, attempts=1) for i in infos)
    made = tuple(
        replace(cell("a-long-series-name", str(i), "y"), state=State.RAN, cases=done) for i in range(cells)
    )
    return Run("large", "", infos, made)


def row(lines: list[str], start: str) -> list[str]:
    return next(line for line in lines if line.startswith(start)).split("  ")


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize(
    "run",
    [finished(), results.planned(SKELETON), large(3, 3), large(30, 5), large(60, 20), Run("none", "")],
)
def test_it_fits(run: Run, width: int) -> None:
    lines = lines_of(run, width)
    assert max(cell_len(line) for line in lines) <= width
    # Nothing that tells one case or cell from another is cut away.
    text = "\n".join(lines)
    for info in run.cases:
        assert info.id in text
    for c in run.cells:
        assert c.cell in text


@pytest.mark.parametrize("width", [80, 120])
def test_matrix_says_outcome_and_sign(width: int) -> None:
    lines = lines_of(change(finished(), Y_Y, failed(2, "ESTALE", "mounted")), width)
    marks = [part.strip() for part in row(lines, Y_Y)[1:] if part.strip()]
    assert marks == ["✓ ESTALE", "✓ mounted", "✗ ESTALE", "⚠ hardlinks-split"]
    marks = [part.strip() for part in row(lines, "unpatched.INDEX=n.NOUUID=n")[1:] if part.strip()]
    assert marks == ["✓ ESTALE", "✓ EINVAL", "✓ mounted", "– skipped"]


def test_what_the_series_did() -> None:
    lines = [" ".join(line.split()) for line in lines_of(change(finished(), Y_Y, failed(0, "EIO", "ESTALE")))]
    assert lines[0] == "✗ FAIL index-nouuid fixes 2, breaks 0, has 1 known issue, 1 case not as expected."
    assert lines[2] == "index-nouuid against unpatched:", "what changed comes before the table"
    assert "FIXED uuid-remount-default: ESTALE → mounted (1 of 3 cells: NOUUID=y)" in lines
    assert "FIXED uuid-remount-index-nouuid: EINVAL → mounted (all 3 cells)" in lines
    assert (
        "KNOWN ISSUE hardlinks-after-uuid-change: shared → hardlinks-split (2 of 3 cells: INDEX=y)" in lines
    )
    assert "FAIL uuid-remount-index-on: ESTALE → EIO (1 of 3 cells: NOUUID=y) not as expected" in lines
    broke = [" ".join(li.split()) for li in lines_of(change(finished(), Y_Y, failed(3, "EIO", "shared")))]
    said = "BROKEN hardlinks-after-uuid-change: shared → EIO (1 of 3 cells: NOUUID=y) not as expected"
    assert said in broke
    table = next(n for n, line in enumerate(lines) if line.startswith(f"{Y_Y} "))
    assert lines.index("FIXED uuid-remount-index-nouuid: EINVAL → mounted (all 3 cells)") < table


def test_skipped_unfinished_failed_and_slowest_are_named() -> None:
    run = change(finished(), Y_Y, failed(2, "ESTALE", "mounted"))
    run = results.with_cell(run, ran("unpatched", "n", "n", seen(0, "ESTALE", duration_s=41.25)))
    run = results.with_cell(
        run, cell("index-nouuid", "n", "n", state=State.BUILD_FAILED, reason="inode.c:7: error")
    )
    run = results.with_cell(run, cell("index-nouuid", "y", "n", state=State.INFRA, reason="no disk"))
    text = "\n".join(lines_of(run, 200))
    assert "– ruled out unpatched.INDEX=y.NOUUID=y: the tree has no OVERLAY_FS_INDEX_NOUUID" in text
    assert "✗ build-failed index-nouuid.INDEX=n.NOUUID=n: inode.c:7: error" in text
    assert "! infra index-nouuid.INDEX=y.NOUUID=n: no disk" in text
    told = "✗ FAIL uuid-remount-default: expected mounted, observed ESTALE: the origin's UUID is verified"
    assert f"{told} ({Y_Y})" in text
    assert "41.2 s  unpatched.INDEX=n.NOUUID=n uuid-remount-index-on" in text
    assert text.endswith("exit 1")


def test_the_last_line_counts_everything() -> None:
    last = lines_of(finished())[-1]
    assert last == "18 passed (2 known issues), 0 failed, 0 errors, 2 skipped, 2 cells ruled out: exit 0"
    assert lines_of(results.planned(SKELETON))[-1].startswith(
        "0 passed, 0 failed, 20 errors, 0 skipped, 2 cells ruled out: exit 3"
    )


def test_a_dead_axis_is_named_with_its_places_and_counted() -> None:
    lines = lines_of(replace(finished(), dead_axes=(DEAD, PARTLY)))
    at = lines.index(f"✗ {DEAD.message}")
    assert lines[at + 1] == f"    {DEAD.clues[0]}"
    assert lines[at + 2] == f"· {PARTLY.message}"
    assert lines[-1].endswith("2 skipped, 2 cells ruled out, 1 dead axis: exit 1")


def test_many_failures_do_not_flood_the_screen() -> None:
    run = large(50, 5)
    bad = tuple(
        replace(c, verdict=Verdict.FAIL, message="expected a, observed b") for c in run.cells[0].cases
    )
    run = replace(run, cells=tuple(replace(c, cases=bad) for c in run.cells))
    lines = lines_of(run)
    assert sum("observed b" in line for line in lines) == 40 and "… and 10 more, all in junit.xml" in lines


def test_hostile_words_do_not_reach_the_terminal() -> None:
    word = "\x1b[2J[red]x[/red]\n\x00\u202emounted" + "w" * 500
    bad = replace(failed(2, word, "mounted"), message=word, case=INFOS[2].id)
    run = replace(change(finished(), Y_Y, bad))
    run = results.with_cell(run, cell("index-nouuid", "y", "n", state=State.INFRA, reason=word))
    text = "\n".join(lines_of(run, 120))
    assert not set(text) & set("\x1b\x00\u202e") and "[red]x[/red]" in text
    assert max(cell_len(line) for line in text.splitlines()) <= 120


def test_sign_tells_without_colour() -> None:
    verdicts = [
        seen(0, "mounted"),
        seen(0, "x", defect=True),
        *(CaseResult("c", v, "m") for v in (Verdict.FAIL, Verdict.ERROR, Verdict.SKIP)),
    ]
    assert len({terminal.sign(v)[0] for v in verdicts}) == 5
    assert any("\x1b[" in line for line in lines_of(finished(), colour=True))
