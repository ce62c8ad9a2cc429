"""What a patch brings: states of a source compared, over cells, broken patches, and lines that move."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kmodpipe.analysis.check.cocci import ALL, Reports
from kmodpipe.analysis.check.compiled import Compiled
from kmodpipe.analysis.check.exports import Exports
from kmodpipe.analysis.check.judge import Broken, Built, Choice, Given, State, counterpart, judge, label
from kmodpipe.analysis.check.model import CHECKPATCH, CHECKS, Level, Outcome, PatchReport
from kmodpipe.analysis.check.sizes import Symbols
from kmodpipe.analysis.check.sparse import Said
from kmodpipe.analysis.check.stack import Frames
from kmodpipe.analysis.check.tags import Commits
from kmodpipe.build.compile_warnings import CompileWarning
from kmodpipe.series.model import Patch

Y: Choice = (("INDEX", "y"), ("NEW", "n"))
N: Choice = (("INDEX", "n"), ("NEW", "n"))
NEW: Choice = (("INDEX", "y"), ("NEW", "y"))
MESSAGE = "Why.\n\nSigned-off-by: A <a@b.c>"
# Adds a line at the top, so that everything moves.
DIFF = b"--- a/f.c\n+++ b/f.c\n@@ -1,1 +1,2 @@\n+new\n one\n"
OLD = CompileWarning("f.c", 7, "unused 'x'", "-Wunused")


def moved(one: CompileWarning, by: int) -> CompileWarning:
    return CompileWarning(one.file, one.line + by, one.text, one.flag)


def compiled(*warnings: CompileWarning, **more: object) -> Compiled:
    return Compiled(warnings=warnings, **more)  # type: ignore[arg-type]


def patches(number: int, data: bytes = DIFF) -> tuple[Patch, ...]:
    return tuple(
        Patch(f"{n}.patch", Path(), "", ("f.c",), data, text=MESSAGE, subject=f"ovl: {n}", author="A <a@b.c>")
        for n in range(1, number + 1)
    )


def judged(*states: Mapping[Choice, Built] | State, data: bytes = DIFF) -> tuple[PatchReport, ...]:
    made = [one if isinstance(one, State) else State(n, one) for n, one in enumerate(states)]
    number = len(made) - 1
    silent = {n: Outcome(CHECKPATCH.id) for n in range(1, number + 1)}
    return judge(Given(patches(number, data), made, silent, Commits(), lambda n, name: ""))


def outcome(report: PatchReport, check: str) -> Outcome:
    return next(one for one in report.outcomes if one.check == check)


def test_a_warning_is_new_with_the_patch_that_brings_it_alone() -> None:
    fresh = CompileWarning("f.c", 1, "unused 'y'", "-Wunused")
    first, second, third = judged(
        {Y: compiled(OLD)},
        {Y: compiled(moved(OLD, 1))},
        {Y: compiled(moved(OLD, 2), fresh)},
        {Y: compiled(moved(OLD, 3), moved(fresh, 1))},
    )
    assert not outcome(first, "compiler").findings and not outcome(third, "compiler").findings
    (one,) = outcome(second, "compiler").findings
    assert (one.text, one.line, one.final_line, one.level) == ("unused 'y'", 1, 2, Level.WARNING)
    assert [one.check for one in first.outcomes] == [c.id for c in CHECKS if c.id != "coccicheck"]


def test_the_cells_that_show_a_finding_are_named_unless_all_do() -> None:
    fresh = CompileWarning("f.c", 1, "unused 'y'", "-Wunused")
    before: dict[Choice, Built] = {Y: compiled(), N: compiled()}
    (some,) = judged(before, {Y: compiled(fresh), N: compiled()})
    assert [one.cells for one in outcome(some, "compiler").findings] == [("INDEX=y NEW=n",)]
    (every,) = judged(before, {Y: compiled(fresh), N: compiled(fresh)})
    assert [one.cells for one in outcome(every, "compiler").findings] == [()]


def test_a_cell_of_an_axis_that_the_patch_brings_is_compared_with_the_one_without_it() -> None:
    assert counterpart(NEW, [N, Y]) == Y
    assert counterpart(Y, [NEW]) is None and counterpart(N, [Y]) is None
    (report,) = judged({Y: compiled(OLD)}, {Y: compiled(moved(OLD, 1)), NEW: compiled(moved(OLD, 1))})
    assert outcome(report, "compiler").word == "clean"


def test_a_patch_that_does_not_build_is_told_once_and_the_next_ones_are_compared_across_it() -> None:
    broken = Broken("'x' undeclared", "f.c", 3)
    fresh = CompileWarning("f.c", 1, "unused 'y'", "-Wunused")
    first, second, third = judged(
        {Y: compiled(OLD), N: compiled(OLD)},
        {Y: broken, N: broken},
        {Y: broken, N: broken},
        {Y: compiled(moved(OLD, 3), fresh), N: compiled(moved(OLD, 3), fresh)},
    )
    (one,) = outcome(first, "builds").findings
    assert (one.text, one.place, one.cells) == ("does not build: 'x' undeclared", "f.c:3", ())
    assert outcome(first, "compiler").not_checked == "it does not build"
    assert (
        outcome(second, "builds").findings == ()
        and "before this patch either" in outcome(second, "builds").not_checked
    )
    assert outcome(third, "builds").word == "clean"
    assert [one.text for one in outcome(third, "compiler").findings] == ["unused 'y'"]


def test_a_machine_s_error_is_nobody_s_finding() -> None:
    (report,) = judged({Y: compiled()}, {Y: Broken("the disk filled up", infra=True)})
    assert outcome(report, "builds") == Outcome("builds", not_checked="the disk filled up")
    assert outcome(report, "sparse").not_checked == "it could not be compiled here"


def test_without_a_cell_nothing_is_clean() -> None:
    (report,) = judged({}, {})
    for check in ("builds", "compiler", "sparse", "size"):
        assert outcome(report, check).not_checked == "no cell of it could be compiled", check
    (alone,) = judged({Y: Broken("no")}, {Y: compiled()})
    assert outcome(alone, "compiler").not_checked == "nothing before it builds"


def test_a_tool_that_fails_on_either_side_is_no_clean_result() -> None:
    line = CompileWarning("f.c", 1, "bad", "sparse error")
    (report,) = judged(
        {Y: compiled(frames=Frames(failed="no checkstack"), exports=Exports(failed="no genksyms"))},
        {Y: compiled(sparse=Said((line,), "sparse ended with status 139"))},
    )
    assert outcome(report, "sparse").not_checked == "sparse ended with status 139"
    assert [one.level for one in outcome(report, "sparse").findings] == [Level.ERROR]
    assert outcome(report, "stack").not_checked == "no checkstack"
    assert outcome(report, "exports").not_checked == "no genksyms"


def test_size_stack_and_exports_are_differences() -> None:
    (report,) = judged(
        {
            Y: compiled(
                symbols={"m.ko": Symbols({"f": 1}, {})}, frames=Frames({"f": 200}), exports=Exports({"a": 1})
            )
        },
        {
            Y: compiled(
                symbols={"m.ko": Symbols({"f": 3}, {})}, frames=Frames({"f": 300}), exports=Exports({"a": 2})
            )
        },
    )
    for check in ("size", "stack", "exports"):
        assert outcome(report, check).word == "1 note", check


def test_comments_are_compared_and_a_patch_without_source_has_none() -> None:
    line = CompileWarning("f.c", 5, "not described", "kernel-doc")
    cells: dict[Choice, Built] = {Y: compiled()}
    first, second = judged(
        State(0, cells, Said((line,))),
        State(1, cells, Said((moved(line, 1),))),
        State(2, cells, Said((moved(line, 2), CompileWarning("f.c", 1, "no name", "kernel-doc")))),
    )
    assert outcome(first, "kernel-doc").word == "clean"
    assert [one.text for one in outcome(second, "kernel-doc").findings] == ["no name"]
    (text,) = judged(cells, cells, data=DIFF.replace(b"f.c", b"f.rst"))
    assert outcome(text, "kernel-doc").word == "nothing to check"


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (Reports(scripts=1), Reports(scripts=1), "clean"),
        (Reports(), Reports(failed={ALL: "no spatch"}), "not checked"),
        (Reports(), Reports(failed={"a.cocci": "status 124"}), "not checked"),
        (Reports(failed={"a.cocci": "x"}), Reports(failed={"a.cocci": "x"}, scripts=2), "1 note"),
        (Reports(failed={"a.cocci": "x"}), Reports(failed={"a.cocci": "x"}, scripts=1), "not checked"),
        (Reports(), Reports((CompileWarning("f.c", 1, "Unneeded semicolon", "cocci a"),)), "1 new"),
    ],
)
def test_semantic_patches_are_compared_script_by_script(before: Reports, after: Reports, word: str) -> None:
    cells: dict[Choice, Built] = {Y: compiled()}
    (report,) = judged(State(0, cells, reports=before), State(1, cells, reports=after))
    assert outcome(report, "coccicheck").word == word


def test_of_a_module_of_its_own_source_the_compiler_s_warnings_are_compared_alone() -> None:
    fresh = CompileWarning("f.c", 1, "unused 'y'", "-Wunused")
    (report,) = judged({Y: compiled(left_out="its own")}, {Y: compiled(fresh, left_out="its own")})
    assert outcome(report, "compiler").word == "1 new" and outcome(report, "builds").word == "clean"
    assert outcome(report, "sparse") == Outcome("sparse", skipped="its own")


def test_a_cell_has_a_name() -> None:
    assert label((*Y, ("flavour", "kasan"))) == "INDEX=y NEW=n kasan"
