"""The answer: its sentence, its exit code, its lines on the screen."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kmodpipe.analysis.ablate import records, show
from kmodpipe.analysis.ablate.records import Ablation, Finding, Status

DIFF = "diff --git a/a.c b/a.c\n--- a/a.c\n+++ b/a.c\n@@ -1,2 +1,1 @@ f()\n kept\n-left out\n"


def finding(name: str, status: Status, kind: str = "hunk", **more: object) -> Finding:
    return Finding(name, kind, "1.patch", "a.c", 7, "f", status, diff=DIFF, **more)  # type: ignore[arg-type]


def answer(findings: Sequence[Finding], stale: Sequence[str] = ()) -> Ablation:
    return records.made("fix", "run-1", findings, stale, ["a note"], 61.234)


MISSED = finding(
    "1.2", Status.UNNOTICED, together=("1.3",), observe=("see it",), executed_by=(), unsteady=("c in cell",)
)
ALL = [finding(f"1.{n}", status, reason="why") for n, status in enumerate(Status, 10)]


@pytest.mark.parametrize(
    ("findings", "stale", "code"),
    [
        ([finding("1.1", Status.CASE), finding("1.2", Status.NO_CODE)], (), 0),
        ([finding("1.1", Status.EXPLAINED), finding("1.2", Status.SAME)], (), 0),
        ([finding("1.1", Status.NOT_TRIED)], (), 0),
        ([finding("1.1", Status.CASE)], ("an entry",), 1),
        ([MISSED, finding("1.1", Status.UNKNOWN)], (), 1),
        ([finding("1.1", Status.CASE), finding("1.3", Status.UNKNOWN)], (), 3),
        ([], (), 0),
    ],
)
def test_exit_codes(findings: Sequence[Finding], stale: Sequence[str], code: int) -> None:
    assert answer(findings, stale).exit_code == code


def test_sentences() -> None:
    assert answer([]).summary == "there is no hunk to leave out"
    one = [finding("1.1", Status.CASE), finding("1.1-call-1", Status.COMPILER, "call")]
    assert answer(one).summary == "1 hunk and 1 mistake, none of which goes unnoticed (2 noticed)"
    assert answer([MISSED, *ALL]).summary == (
        "no case notices 2 of 10 hunks (3 noticed, 1 explained, 1 of the same module, 1 no code, 1 unknown, "
        "1 not tried yet)"
    )
    assert answer([*one, finding("1.2", Status.NOT_TRIED)]).summary == (
        "of 2 hunks and 1 mistake, none that was tried goes unnoticed (2 noticed, 1 not tried yet)"
    )
    assert answer([MISSED, *one]).summary == "no case notices 1 of 2 hunks and 0 of 1 mistake (2 noticed)"


def test_the_screen_has_what_no_case_notices_with_what_to_do() -> None:
    shown = list(show.lines(answer([MISSED, finding("1.1", Status.CASE)]), "out/run-1"))
    assert shown[0].startswith("no case notices 1 of 2 hunks")
    assert "✗ 1.2 a.c:7, f(): left out, with 1.3, which need it, no case notices" in shown
    assert "    -left out" in shown and not any("diff --git" in line for line in shown)
    assert "  executed by: no case" in shown and "  a case would have to: see it" in shown
    assert "  not steady, so it does not count: c in cell" in shown
    assert "  try it: invoke test --series out/run-1/unnoticed/fix-1-2" in shown
    assert "in 61 s; all of it: out/run-1/ablate.json" in shown
    assert not any("1.1 " in line for line in shown)
    whole = show.lines(answer([MISSED, finding("1.1", Status.CASE)]), "x", whole=True)
    assert any("1.1 a.c:7" in line for line in whole)


def test_every_status_is_shown_in_words() -> None:
    shown = "\n".join(show.lines(answer(ALL), "out/run-1", whole=True))
    for number, _ in enumerate(Status, 10):
        assert f"1.{number}" in shown
    assert "run it again: it goes on where it stopped" in shown
