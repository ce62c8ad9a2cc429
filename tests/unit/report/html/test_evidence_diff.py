"""What differs between the evidence of two sides."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.report.html.evidence_diff import diff
from tests.support.sample_run import failed

BEFORE = replace(failed(0, "a", "b"), evidence="ended: exit 0, 684 ms\ninodes: kept\nlinks: 3\noptions: rw")
AFTER = replace(
    BEFORE, evidence="ended: exit 0, 12 ms\ninodes: split\nlinks: 3\noptions: rw\ncrash: BUG\n| RIP"
)


def test_lines_that_differ_stand_beside_what_is_around_them() -> None:
    assert [(line.sign, line.text) for line in diff(BEFORE, AFTER)] == [
        (" ", "ended: exit 0, 12 ms"),
        ("-", "inodes: kept"),
        ("+", "inodes: split"),
        (" ", "links: 3"),
    ]


def test_what_takes_another_time_and_no_more_is_the_same() -> None:
    assert diff(BEFORE, replace(BEFORE, evidence=BEFORE.evidence.replace("684 ms", "9.5 s"))) == ()
    assert diff(None, AFTER) == () and diff(replace(BEFORE, evidence=""), AFTER) == ()


def test_it_is_bounded() -> None:
    many = "\n".join(f"line {n}" for n in range(5000))
    assert len(diff(BEFORE, replace(AFTER, evidence=many))) == 60
