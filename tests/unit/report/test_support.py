"""On which kernels a module works: the table and the badge."""

from __future__ import annotations

from xml.etree import ElementTree

from kmodpipe.report import markup, support
from kmodpipe.report.support import NO, UNKNOWN, YES
from kmodpipe.results import (
    OWN_MODULE,
    REFUSED,
    WOULD_REFUSE,
    CaseInfo,
    CaseResult,
    CellResult,
    Run,
    State,
    Verdict,
)


def case(verdict: Verdict, message: str = "") -> CaseResult:
    return CaseResult("load", verdict, message=message, outcome="exit-0")


def cell(kernel: str, *cases: CaseResult, variant: str = "worktree", **more: object) -> CellResult:
    given = {"state": State.RAN, **more}
    return CellResult(f"{variant}.{kernel}", variant, "", {}, kernel=kernel, cases=cases, **given)  # type: ignore[arg-type]


RUN = Run(
    "r", "", (CaseInfo("load", "", ""),),
    (
        cell("new", case(Verdict.PASS), variant="unpatched", properties={support.WARNINGS: "a.c:1: old"}),
        cell("new", case(Verdict.PASS), properties={support.WARNINGS: "a.c:1: old\na.c:2: fresh"}),
        cell("old", state=State.BUILD_FAILED, reason="a.c:3: no such function"),
        cell("strict", case(Verdict.FAIL, f"load: {REFUSED} a: ENOENT (a: Unknown symbol b)")),
        cell("signed", state=State.BUILD_FAILED, reason=f"{WOULD_REFUSE} a: it is not signed, and so on"),
        cell("slow", case(Verdict.FAIL, "load: exit-1")),
        cell("other", state=State.SKIPPED, reason="dkms.conf is for kernels like ^5"),
    ),
    properties={OWN_MODULE: "main (abc)", "kernel-version": "6.1.55", "new.kernel-version": "6.1.55"},
)  # fmt: skip


def test_each_kernel_says_how_far_a_module_comes() -> None:
    found = {row.kernel.split()[0]: (row.builds, row.loads, row.passes) for row in support.rows(RUN)}
    assert found == {
        "new": (YES, YES, YES),
        "old": (NO, UNKNOWN, UNKNOWN),
        "strict": (YES, NO, UNKNOWN),
        "signed": (YES, NO, UNKNOWN),
        "slow": (YES, YES, NO),
        "other": (UNKNOWN, UNKNOWN, UNKNOWN),
    }


def test_what_stopped_it_is_quoted() -> None:
    notes = {row.kernel.split()[0]: row.note for row in support.rows(RUN)}
    assert "Unknown symbol b" in notes["strict"]
    assert notes["old"] == "a.c:3: no such function"
    assert notes["new"] == ""


def test_warnings_that_the_control_does_not_have_are_new() -> None:
    assert support.rows(RUN)[0].warnings == "2, 1 new"


def test_the_table_is_markdown_and_the_badge_a_picture() -> None:
    text = markup.markdown(support.blocks(RUN), 10_000)
    assert "| kernel | builds | loads | passes | warnings | why not |" in text
    picture = ElementTree.fromstring(support.badge(RUN))
    assert picture.get("aria-label") == "kmodpipe: 1 of 6 kernels"


def test_a_module_of_the_tree_has_no_table() -> None:
    assert support.lines(Run("r", "", (), ())) == []
