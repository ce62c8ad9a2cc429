"""KTAP: nested results, and what is wrong with a text that is none."""

from __future__ import annotations

import pytest

from kmodpipe.logs import ktap


def test_ktap_nested() -> None:
    report = ktap.parse(
        "noise before\nKTAP version 1\n1..3\n"
        "  KTAP version 1\n  1..2\n  ok 1 a\n[  1.0] kernel noise\n  not ok 2 b # TIMEOUT 45 s\n"
        "not ok 1 outer\n"
        "    # Subtest: kunit\n    1..1\n    ok 1 inner # SKIP no fs\nok 2 - kunit style\n"
        "not ok 3 known # XFAIL later\nok, done\n"
    )
    assert report and not report.problems
    assert [(s.name, s.verdict) for s in report.subtests] == [
        ("outer / a", "pass"),
        ("outer / b", "fail"),
        ("kunit style / inner", "skip"),
        ("known", "pass"),
    ]
    assert report.counts == "2 passed, 1 failed, 1 skipped" and report.failed[0].note == "TIMEOUT 45 s"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("TAP version 13\nok 1\n", "no plan"),
        ("TAP version 13\n", "no plan"),
        ("TAP version 13\n1..3\nok 1\nok 3\n", "1 of 3 planned results are missing: 2"),
        ("TAP version 13\n1..1\nok 1\nok 1\n", "2 results for a plan of 1"),
        ("TAP version 13\n1..1\nok 1\nok 2\n", "2 results for a plan of 1"),
        ("TAP version 13\n1..1\n1..1\nok 1\n", "two plans"),
        ("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 a\n", "without its parent"),
        ("KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 a\nok 1 p\n", "1 of 2 planned"),
        ("TAP version 13\n1..1\nok 1\nBail out! disk full\n", "bail out: disk full"),
        ("KTAP version 1\n1..999999999\nok 1\n", "missing"),
    ],
)
def test_ktap_problems(text: str, problem: str) -> None:
    report = ktap.parse(text)
    assert report and any(problem in p for p in report.problems), report


def test_no_ktap_without_its_version_line() -> None:
    assert ktap.parse("1..1\nok 1\nnot ok 2\n") is None


def test_a_parent_that_fails_alone_is_reported() -> None:
    report = ktap.parse("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 a\nnot ok 1 p\n")
    assert report and [s.name for s in report.failed] == ["p"]
