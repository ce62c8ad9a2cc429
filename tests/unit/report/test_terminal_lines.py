"""The lines around the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

from kmodpipe import results
from kmodpipe.report import terminal_lines
from kmodpipe.results import CONTROL, CellResult, State
from tests.support.large_run import large
from tests.support.sample_run import INFOS, Y_N, Y_Y, cell, change, failed, finished


def plain(lines: list[object]) -> list[str]:
    return [line.plain for line in lines if isinstance(line, Text)]


def test_a_failure_in_many_cells_is_one_line() -> None:
    run = change(change(finished(), Y_Y, failed(2, "ESTALE", "x")), Y_N, failed(2, "ESTALE", "x"))
    told = plain([*terminal_lines.failed_lines(run)])
    assert len([line for line in told if "observed ESTALE" in line]) == 1
    assert told[0].startswith(f"✗ FAIL {INFOS[2].id}: ") and Y_Y in told[0] and Y_N in told[0]
    many = plain([*terminal_lines.failed_lines(large(220, 6, 6))])
    assert len([line for line in many if "✗" in line]) == 1 and "and 216 more" in many[0]


def test_the_controls_absence_is_said() -> None:
    alone = replace(finished(), cells=tuple(c for c in finished().cells if c.variant != CONTROL))
    lines = plain([*terminal_lines.series_lines(alone)])
    assert lines[0] == "index-nouuid: nothing was compared: the unpatched tree did not run beside it"
    assert not any(word in "\n".join(lines) for word in ("FIXED", "BROKEN"))


def test_what_is_unchanged_is_one_line() -> None:
    lines = plain([*terminal_lines.series_lines(finished())])
    assert lines[0] == "index-nouuid against unpatched:"
    assert lines[-1] == "  1 case unchanged: 1 failing as before" and len(lines) == 5


def test_cells_that_are_ruled_out_are_told_by_their_reason() -> None:
    assert plain([*terminal_lines.skipped_lines(finished())]) == [
        "– ruled out unpatched.INDEX=y.NOUUID=y: the tree has no OVERLAY_FS_INDEX_NOUUID",
        "– ruled out index-nouuid.INDEX=n.NOUUID=y: OVERLAY_FS_INDEX_NOUUID needs OVERLAY_FS_INDEX",
    ]


def test_what_did_not_build_says_what_to_do() -> None:
    reason = "it does not compile: a.c:1: x.h\n  where: a.c:1\n  | hint: no\n  hint: make it\n"
    cells = finished().cells
    broken = [replace(one, state=State.BUILD_FAILED, reason=reason) for one in cells[:2]]
    told = plain(terminal_lines.unfinished_lines(replace(finished(), cells=(*broken, *cells[2:]))))
    at = next(n for n, line in enumerate(told) if line.endswith(": it does not compile: a.c:1: x.h"))
    assert all(one.cell in told[at] for one in broken) and told[at + 1] == "    hint: make it"
    assert len([line for line in told if "hint" in line]) == 1
    skipped = replace(finished(), cells=tuple(replace(one, state=State.SKIPPED) for one in broken))
    assert not any("hint" in line for line in plain(terminal_lines.skipped_lines(skipped)))


def with_ends(cell: CellResult, ends: Sequence[str]) -> CellResult:
    ended = {f"boot.{number}": end for number, end in enumerate(ends, 1)}
    return replace(cell, properties={**cell.properties, **ended})


def test_what_many_guests_were_given_up_for_is_told() -> None:
    run = finished()
    first, second, *_ = (one for one in run.cells if one.state is State.RAN)
    why = "the kernel is not set up as it was: processes (of the kernel: md0)"
    left = [f"retired: after case {name}: {why}" for name in ("one", "two", "three")]
    others = ["panic: Kernel panic", "retired: after case four: /dev was written to"]
    run = results.with_cells(run, [with_ends(first, left), with_ends(second, [*others, *left[:2]])])
    assert plain([*terminal_lines.given_up_lines(run)]) == [
        "guests given up after a case:",
        f"  5 times, in {first.cell}, {second.cell}: {why}",
    ]
    few = results.with_cells(run, [with_ends(second, others)])
    assert not terminal_lines.given_up_lines(few) and not terminal_lines.given_up_lines(finished())


def test_the_first_line_has_the_sign_of_the_run() -> None:
    assert terminal_lines.answer_line(finished()).plain.startswith("✓ PASS  index-nouuid fixes 2")
    bad = change(finished(), Y_Y, failed(2, "ESTALE", "x"))
    assert terminal_lines.answer_line(bad).plain.startswith("✗ FAIL  index-nouuid")
    lost = results.with_cell(finished(), cell("index-nouuid", "y", "y", state=State.INFRA))
    assert terminal_lines.answer_line(lost).plain.startswith("! ERROR  Not whole (1 cell of 7 did not run")
