"""What goes on outside of the cells is told, and not too often."""

from __future__ import annotations

import io

from kmodpipe.util.screen import Mode, Screen
from kmodpipe.watch import progress
from kmodpipe.watch.progress import Going, Signs


def test_a_step_as_it_is_now() -> None:
    screen = Screen(Mode.QUIET, out=io.StringIO())
    with screen.step("base d91292d9") as step:
        step.update("CC fs/\x1b[2Jnamei.o", done=3, total=4)
        (one,) = progress.going(screen.running)
    assert one.name == "base d91292d9" and one.fraction == 0.75
    assert one.sentence.startswith("base d91292d9 75% CC fs/") and one.sentence.endswith("namei.o 0 s")
    assert "\x1b" not in one.sentence


def test_the_longest_steps_of_no_cell_come_first_and_short_ones_not_at_all() -> None:
    steps = (
        Going("base x", "", 5.0), Going("test a.INDEX=y", "", 90.0), Going("fetch tree", "", 70.0),
        Going("apply fix", "", 0.3),
    )  # fmt: skip
    found = progress.common(steps, ["a.INDEX=y"])
    assert [one.name for one in found] == ["fetch tree", "base x"]


def test_a_line_from_time_to_time() -> None:
    signs = Signs()
    assert signs.of([Going("base x", "", 14.0)]) == []
    assert signs.of([Going("base x", "CC a.o", 15.2), Going("fetch y", "", 3.0)]) == [
        "  … base x CC a.o 15 s"
    ]
    assert signs.of([Going("base x", "CC b.o", 20.0)]) == []
    assert signs.of([Going("base x", "CC c.o", 31.0)]) == ["  … base x CC c.o 31 s"]
    # One that begins again begins anew.
    assert signs.of([Going("base x", "", 2.0)]) == []
    assert signs.of([Going("base x", "", 16.0)]) == ["  … base x 16 s"]
