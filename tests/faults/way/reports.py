"""Scripts that end with status 0 and print a report of tests that failed, in forms that are hard to read."""

from __future__ import annotations

from kmodpipe.results import Verdict
from tests.faults import Outcome, Scene, ended
from tests.faults.way import fault
from tests.faults.way.guests import begin, case, told
from tests.faults.way.toys import toys

TIME = "[    1.000000][   T12] "


def printed(scene: Scene, lines: tuple[str, ...], verdict: Verdict, part: str) -> Outcome:
    """Three cases: the second prints those lines and must have that verdict, the others must pass."""
    play = toys(scene)
    scripts = [
        play.world.script("first.sh", "exit 0"),
        play.world.script("second.sh", *(f"print {line}" for line in lines)),
        play.world.script("third.sh", "print this is not ok", "print ok computer", "exit 0"),
    ]
    done = ended(begin(play, *scripts), 60)
    code = {Verdict.FAIL: 1, Verdict.ERROR: 3}[verdict]
    passed = (Verdict.PASS, "")
    run, wrong = told(play, done, code, first=passed, second=(verdict, part), third=passed)
    return Outcome(case(run, "second").message.splitlines()[0], done.code, "the other cases", tuple(wrong))


@fault("report-without-header", "TAP results, one failed, without a version line and a plan")
def _without_header(scene: Scene) -> Outcome:
    return printed(scene, ("ok 1 - a", "not ok 2 - b"), Verdict.FAIL, "the output says 'not ok 2 - b'")


@fault("report-behind-time", "the same behind the kernel's time and caller")
def _behind_time(scene: Scene) -> Outcome:
    lines = (f"{TIME}ok 1 a", f"{TIME}not ok 2 b")
    return printed(scene, lines, Verdict.FAIL, "the output says 'not ok 2 b'")


@fault("report-all-behind-time", "a whole KTAP report behind the kernel's time and caller")
def _all_behind_time(scene: Scene) -> Outcome:
    lines = (
        "KTAP version 1",
        "1..1",
        "    KTAP version 1",
        "    1..2",
        "    ok 1 a",
        "    not ok 2 b",
        "ok 1 s",
    )
    return printed(scene, tuple(TIME + line for line in lines), Verdict.FAIL, "1 of 2 subtests failed: s / b")


@fault("report-directive-in-name", "a failed test with #skip-list in its name")
def _directive_in_name(scene: Scene) -> Outcome:
    lines = ("TAP version 13", "1..1", "not ok 1 honours #skip-list")
    return printed(scene, lines, Verdict.FAIL, "1 of 1 subtest failed: honours #skip-list")


@fault("report-contradicted", "kselftest: ok, above what its program says: not ok")
def _contradicted(scene: Scene) -> Outcome:
    inner = ("# selftests: a: b", "# TAP version 13", "# 1..2", "# ok 1 x", "# not ok 2 y")
    lines = ("TAP version 13", "1..1", *inner, "ok 1 selftests: a: b")
    return printed(scene, lines, Verdict.FAIL, "1 of 1 subtest failed: selftests: a: b")


@fault("report-totals", "kselftest: totals that the results do not add up to")
def _totals(scene: Scene) -> Outcome:
    lines = ("TAP version 13", "1..1", "ok 1 x", "# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:0 error:0")
    return printed(scene, lines, Verdict.ERROR, "its totals say 1 passed and 1 failed")


@fault("report-cut", "a KUnit suite that ends in its middle")
def _cut(scene: Scene) -> Outcome:
    lines = ("KTAP version 1", "1..1", "    KTAP version 1", "    # Subtest: s", "    1..3", "    ok 1 a")
    return printed(scene, lines, Verdict.ERROR, "2 of 3 planned results are missing")


@fault("report-empty-subtest", "a subtest with a header and no results")
def _empty_subtest(scene: Scene) -> Outcome:
    lines = ("KTAP version 1", "1..1", "    KTAP version 1", "    # Subtest: s", "ok 1 s")
    return printed(scene, lines, Verdict.ERROR, "subtest s has a header and no results")
