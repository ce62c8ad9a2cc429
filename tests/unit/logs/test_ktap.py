"""KTAP: nested results of every form, what is wrong with a report, and what is none."""

from __future__ import annotations

import random
import re
import time
from itertools import product

import pytest

from kmodpipe.logs import ktap
from kmodpipe.logs.ktap import Report
from tests.support.ktap_texts import damaged, report_of


def read(text: str) -> Report:
    report = ktap.parse(text)
    assert report, text
    return report


def verdict(text: str) -> str:
    """``none`` if nothing in it reads as a report."""
    report = ktap.parse(text)
    return report.verdict if report else "none"


def leaves(text: str) -> list[tuple[str, str]]:
    return [(s.name, s.verdict) for s in read(text).subtests]


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
        ("TAP version 13\n", "no plan"),
        ("KTAP version 1\n# nothing but a comment\n", "no results and no plan"),
        ("KTAP version 1\n1..0\n", "no tests were run"),
        ("# KTAP version 1\n# 1..0\n", "no tests were run"),
        ("TAP version 13\n1..3\nok 1\nok 3\n", "1 of 3 planned results are missing: 2"),
        ("TAP version 13\n1..1\nok 1\nok 1\n", "2 results for a plan of 1"),
        ("TAP version 13\n1..1\nok 1\nok 2\n", "2 results for a plan of 1"),
        ("TAP version 13\n1..1\n1..1\nok 1\n", "two plans"),
        ("1..2\nok 1\n", "1 of 2 planned"),
        ("1..2\n", "2 of 2 planned"),
        ("ok 1\nok 2\n1..3\n", "1 of 3 planned"),
        ("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 a\n", "without its parent"),
        ("KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 a\nok 1 p\n", "1 of 2 planned"),
        ("TAP version 13\n1..1\nok 1\nBail out! disk full\n", "bail out: disk full"),
        ("Bail out! no root\n", "bail out: no root"),
        ("[    1.000000] Bail out! no root\n", "bail out: no root"),
        ("[    1.000000] kunit executor: no such suite\n", "kunit executor: no such suite"),
        ("KTAP version 1\n1..3 rounds\nok 1\n", "2 of 3 planned"),
        ("KTAP version 1\n1..999999999\nok 1\n", "missing"),
        ("KTAP version 1\n1..99999999999999999999\nok 1\n", "missing"),
        ("KTAP version 1\n1..2\nok 1 a\nok computer\n", "1 of 2 planned"),
        ("KTAP version 1\n1..2\nok 1 a\nok\n", "1 of 2 planned"),
        ("TAP version 13\n1..2\nok 1 a\nok\n", "1 of 2 planned"),
        ("TAP version 13\nok 1 a\nok 3 c\n", "numbered 1, 3"),
        ("TAP version 13\nok 1 a\nok 1 a\n", "numbered 1, 1"),
        ("TAP version 13\n1..2\nok 2 b\nok 1 a\n", "numbered 2, 1"),
        ("KTAP version 2\n1..1\nok 1 a\n", "not a known version"),
        ("TAP version 15\n1..1\nok 1 a\n", "not a known version"),
    ],
)
def test_ktap_problems(text: str, problem: str) -> None:
    report = ktap.parse(text)
    assert report and any(problem in p for p in report.problems), report
    assert report.verdict == "error"


def test_a_report_without_results_is_no_pass() -> None:
    assert verdict("# TAP version 13\n") == verdict("[    1.000000] # TAP version 13\nhello\n") == "error"
    assert verdict("kunit: KTAP version 1\n") == "error"


def test_a_parent_that_fails_alone_is_reported() -> None:
    report = ktap.parse("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 a\nnot ok 1 p\n")
    assert report and [s.name for s in report.failed] == ["p"]


# -- what a report is ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "header",
    [
        "KTAP version 1\n1..2\n",
        "TAP version 13\n1..2\n",
        "TAP version 14\n1..2\n",
        "TAP version 13 # produced by a harness\n1..2\n",
        "KTAP version 1   \r\n1..2\r\n",
        "\ufeffTAP version 13\n1..2\n",
        "\x1b[1mTAP version 13\x1b[0m\n1..2\n",
        "TAP version 14\n1..2 # two tests\n",
        "TAP version 13\n",  # no plan
        "1..2\n",  # TAP 12
        "\ufeff1..2\n",
        "junk that ends in ok\nand ok computer\n1..2\n",
    ],
)
def test_versions(header: str) -> None:
    assert leaves(f"{header}ok 1 - a\nok 2 b\n") == [("a", "pass"), ("b", "pass")]
    assert verdict(f"{header}ok 1 - a\nok 2 b\n") == "pass"
    assert verdict(f"{header}ok 1 - a\nnot ok 2 b\n") == "fail"
    assert verdict(f"{header}ok 2 b\n") == "error"


def test_a_plan_may_come_last_and_results_of_tap_need_no_numbers() -> None:
    assert verdict("TAP version 13\nok 1 a\nok 2 b\n1..2\n") == "pass"
    assert verdict("ok 1 a\nok 2 b\n1..2\n") == "pass"
    assert leaves("1..3\nok\nok - b\nok # SKIP no device\n") == [
        ("test 1", "pass"),
        ("b", "pass"),
        ("test 3", "skip"),
    ]
    assert verdict("TAP version 13\n1..2\nok\nnot ok\n") == "fail"
    assert verdict("KTAP version 1\n1..1\nnot ok it went wrong\n") == "fail"


PREFIXES = (
    "[    0.060000] ",
    "[   10.000001][    T1] ",
    "[   10.000001][   T12] ",
    "[   10.000001][  C0] ",
    "[T7] ",
    "<6>[    1.000000] ",
    "kern  :info  : [    1.000000] ",
    "[Sat Nov 28 22:00:01 2026] ",
    "Nov 28 22:00:01 host kernel: ",
    "2026-11-28T22:00:01.003+00:00 host kernel: [    1.000000] ",
    "guest> ",
    "serial | ",
    "kunit ",
    " ",
    "\t",
    "# ",
    "[    1.000000] # ",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("header", ["KTAP version 1\n1..2\n", "TAP version 13\n", "1..2\n"])
def test_any_prefix_that_all_lines_have(prefix: str, header: str) -> None:
    nested = "    KTAP version 1\n    # Subtest: one\n    1..2\n    ok 1 a\n\tok 2 b\nok 1 one\n"

    def prefixed(text: str) -> str:
        return "".join(f"{prefix}{line}\n" for line in text.splitlines())

    text = prefixed(f"{header}{nested.replace(chr(9), '    ')}ok 2 two\n")
    assert leaves(text) == [("one / a", "pass"), ("one / b", "pass"), ("two", "pass")], text
    assert verdict(text) == "pass"
    assert verdict(text.replace("ok 2 b", "not ok 2 b")) == "fail"
    assert verdict(text.replace("ok 2 two", "not ok 2 two")) == "fail"
    assert verdict(text.replace(f"{prefix}    ok 2 b\n", "")) == "error"


def test_the_digits_of_a_prefix_change() -> None:
    stamps = ("[    9.999999] ", "[   10.000000] ", "[99999.000000] ", "[100000.000000] ")
    lines = ("TAP version 13", "1..2", "ok 1 a", "not ok 2 b")
    text = "".join(f"{stamp}{line}\n" for stamp, line in zip(stamps, lines, strict=True))
    assert leaves(text) == [("a", "pass"), ("b", "fail")]
    callers = ("[    T1] ", "[   C0] ", "[T12345] ", "[T5@C2] ")
    text = "".join(f"[    1.000000]{caller}{line}\n" for caller, line in zip(callers, lines, strict=True))
    assert leaves(text) == [("a", "pass"), ("b", "fail")]


def test_two_streams_do_not_mix() -> None:
    text = (
        "KTAP version 1\n1..2\n[    1.000000] KTAP version 1\n[    1.000000] 1..1\nok 1 a\n"
        "[    1.000000] not ok 1 in the kernel\nok 2 b\n"
    )
    assert leaves(text) == [("a", "pass"), ("b", "pass"), ("in the kernel", "fail")]
    assert leaves("1..1\nok 1 a\nTAP version 13\n1..1\nok 1 b\n1..1\nok 1 c\n") == [
        ("a", "pass"),
        ("b", "pass"),
        ("c", "pass"),
    ]


def test_a_message_without_a_newline_before_it() -> None:
    text = (
        "[    1.000000] KTAP version 1\n[    1.000000] 1..2\n[    1.000000] ok 1 a[    1.100000] not ok 2 b\n"
    )
    assert leaves(text) == [("a", "pass"), ("b", "fail")]
    assert verdict("TAP version 13\nok 1 a\nworking 98 %\rworking 99 %\rnot ok 2 b\n") == "fail"
    assert verdict("TAP version 13\nok 1 a\nworking ...not ok 2 b\n") == "fail"


# -- a failure that is part of no report ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("not ok 2 - b\n", "not ok 2 - b"),
        ("ok 1 a\nnot ok 2 b\n", "not ok 2 b"),
        ("not ok\n", "not ok"),
        ("not ok mounted\n", "not ok mounted"),
        ("ok it was\nnot ok it was\n", "not ok it was"),
        ("[    1.000000] not ok 2 b\n", "not ok 2 b"),
        ("[    1.000000][   T12]     not ok 2 b\n", "not ok 2 b"),
        ("Nov 28 22:00:01 host kernel: not ok 2 b\n", "not ok 2 b"),
        ("kunit: not ok 2 b\n", "not ok 2 b"),
        ("kunit ok 1 a\nkunit not ok 2 b\n", "not ok 2 b"),
        ("# not ok 2 b\n", "not ok 2 b"),
        ("# # not ok 2 b\n", "not ok 2 b"),
        ("    # test: not ok 1 - parameter\n", "not ok 1 - parameter"),
        ("...not ok 2 b\n", "not ok 2 b"),
        ("not ok 2 b\nKTAP version 1\n1..1\nok 1 a\n", "not ok 2 b"),
        ("KTAP version 1\n1..1\nok 1 a\n# not ok 1 y\n", "not ok 1 y"),
        ("KTAP version 1\n1..1\nok 1 a\n[    1.000000] not ok 1 y\n", "not ok 1 y"),
        ("not ok 99999999999999999999 b\n", "not ok 99999999999999999999 b"),
        ("not ok 3rd\n", "not ok 3rd"),
        ("not\tok 1\n", "not\tok 1"),
        ("not ok 1 check #skip-list\n", "not ok 1 check #skip-list"),
        ("# Totals: pass:3 fail:1 xfail:0 xpass:0 skip:0 error:0\n", "# Totals: pass:3 fail:1"),
    ],
)
def test_a_failure_in_no_report_is_quoted_and_no_pass(text: str, quoted: str) -> None:
    report = read(text)
    assert report.verdict == "fail"
    assert [line[: len(quoted)] for line in report.stray] == [quoted]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok\n",
        "ok computer\n",
        "ok 1 a\n",
        "this is not ok\n",
        "this is not ok 5 times\n",
        "and that, not ok 5 times, was it\n",
        "checksum: not ok\n",
        "expected 'not ok 1 a'\n",
        'expected "not ok 1 a"\n',
        "expected `not ok 1 a`\n",
        "the line (not ok 1 a)\n",
        "[    1.000000] usb 1-1: the port is not ok 5 times\n",
        "a TAP version 13\n",
        "expecting TAP version 13\n1.5..2\n",
        "testing 1..3\n",
        "1..3 rounds\n",
        "he said Bail out! and left\n",
        "it was notok 1\nnook 1\n",
        "+ echo TAP version 13\n+ echo 1..3\n+ printf not ok 1 a\n",
        "# Totals: pass:3 fail:0 xfail:0 xpass:0 skip:0 error:0\n",
        "not ok 1 b # SKIP no device\n",
    ],
)
def test_prose_is_no_report(text: str) -> None:
    assert ktap.parse(text) is None


@pytest.mark.parametrize(
    "prose", ["this is not ok", "checksum: not ok", "ok computer", "expected 'not ok 1 a'", "ok"]
)
def test_prose_in_a_report_is_no_result(prose: str) -> None:
    assert leaves(f"KTAP version 1\n1..2\nok 1 a\n{prose}\nok 2 b\n") == [("a", "pass"), ("b", "pass")]
    assert verdict(f"KTAP version 1\n1..2\nok 1 a\n{prose}\nok 2 b\n") == "pass"


# -- names and directives ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ok 1 a", ("a", "pass", "")),
        ("ok 1 - a", ("a", "pass", "")),
        ("ok 1: - a", (": - a", "pass", "")),
        ("ok 1", ("test 1", "pass", "")),
        ("ok 1 check return code # rcode=0", ("check return code", "pass", "rcode=0")),
        ("not ok 1 a # exit=1", ("a", "fail", "exit=1")),
        ("ok 1 a # SKIP no device", ("a", "skip", "SKIP no device")),
        ("ok 1 a # SKIP", ("a", "skip", "SKIP")),
        ("ok 1 # SKIP no device", ("test 1", "skip", "SKIP no device")),
        ("ok 1 a #SKIP no device", ("a", "skip", "SKIP no device")),
        ("ok 1 a # skip no device", ("a", "skip", "SKIP no device")),
        ("ok 1 a # SKIPPED", ("a", "skip", "SKIP")),
        ("ok 1 a # rcode=4 # SKIP no device", ("a # rcode=4", "skip", "SKIP no device")),
        ("not ok 1 a # SKIP no device", ("a", "skip", "SKIP no device")),
        ("not ok 1 a # skip no device", ("a", "fail", "skip no device")),
        ("not ok 1 a # rcode=4 # SKIP", ("a", "fail", "rcode=4 # SKIP")),
        ("not ok 1 honours #skip-list", ("honours #skip-list", "fail", "")),
        ("not ok 1 honours #SKIP-list", ("honours #SKIP-list", "fail", "")),
        ("not ok 1 honours # SKIP-list", ("honours", "fail", "SKIP-list")),
        ("not ok 1 a#SKIP", ("a#SKIP", "fail", "")),
        ("not ok 1 issue #12 # SKIP no device", ("issue #12", "skip", "SKIP no device")),
        ("ok 1 issue #12 is gone", ("issue #12 is gone", "pass", "")),
        ("not ok 1 a # XFAIL later", ("a", "pass", "XFAIL later")),
        ("ok 1 a # XFAIL later", ("a", "pass", "XFAIL later")),
        ("not ok 1 a # TODO later", ("a", "pass", "TODO later")),
        ("ok 1 a # TODO", ("a", "pass", "TODO")),
        ("not ok 1 a # todo list", ("a", "fail", "todo list")),
        ("not ok 1 a # TODOS", ("a", "fail", "TODOS")),
        ("ok 1 a # XPASS it did", ("a", "pass", "XPASS it did")),
        ("not ok 1 a # XPASS", ("a", "fail", "XPASS")),
        ("not ok 1 a # TIMEOUT 45 seconds", ("a", "fail", "TIMEOUT 45 seconds")),
        ("ok 1 a # TIMEOUT 45 seconds", ("a", "fail", "TIMEOUT 45 seconds")),
        ("ok 1 a # ERROR cannot open", ("a", "fail", "ERROR cannot open")),
        ("ok 1 a # error=0", ("a", "pass", "error=0")),
        ("ok 1 a # timeout was 5 s", ("a", "pass", "timeout was 5 s")),
        ("not ok 1 # error no memory", ("test 1", "fail", "error no memory")),
        ("not ok 1 a # WHATEVER", ("a", "fail", "WHATEVER")),
        ("ok 1 a # WHATEVER", ("a", "pass", "WHATEVER")),
    ],
)
def test_directives(line: str, expected: tuple[str, str, str]) -> None:
    for start in ("KTAP version 1\n1..1\n", "TAP version 13\n", "1..1\n"):
        (subtest,) = read(f"{start}{line}\n").subtests
        assert (subtest.name, subtest.verdict, subtest.note) == expected


def test_an_expected_failure_is_shown() -> None:
    assert read("1..1\nnot ok 1 a # XFAIL later\n").details == (
        "subtests: 1 passed, 0 failed, 0 skipped",
        "expected to fail: a XFAIL later",
    )


def test_skipped_as_a_whole() -> None:
    assert leaves("TAP version 13\n1..0 # SKIP no device\n") == [("(all)", "skip")]
    assert leaves("1..0 # Skipped: no device\n") == [("(all)", "skip")]
    nested = "KTAP version 1\n1..1\n  KTAP version 1\n  1..0 # SKIP no device\nok 1 a # SKIP\n"
    assert leaves(nested) == [("a / (all)", "skip")]
    assert verdict(nested) == "skip"
    assert verdict("TAP version 13\n1..0 # no reason to skip\n") == "error"


# -- nesting -------------------------------------------------------------------------------------------
KUNIT = """\
KTAP version 1
1..2
    KTAP version 1
    # Subtest: first
    # module: first_test
    1..2
        KTAP version 1
        # Subtest: cases
        ok 1 zero
        ok 2 one
    # cases: pass:2 fail:0 skip:0 total:2
    ok 1 cases
    # plain: EXPECTATION would be here
    ok 2 plain
# first: pass:2 fail:0 skip:0 total:2
# Totals: pass:3 fail:0 skip:0 total:3
ok 1 first
    KTAP version 1
    # Subtest: second
    1..1
    ok 1 second
ok 2 second
"""


def test_what_kunit_prints() -> None:
    assert leaves(KUNIT) == [
        ("first / cases / zero", "pass"),
        ("first / cases / one", "pass"),
        ("first / plain", "pass"),
        ("second / second", "pass"),
    ]
    assert verdict(KUNIT) == "pass"
    older = re.sub(r" +KTAP version 1\n", "", KUNIT).replace("KTAP version 1", "TAP version 14")
    assert leaves(older) == leaves(KUNIT) and verdict(older) == "pass"


def test_no_line_of_a_report_with_plans_can_be_lost() -> None:
    lines = KUNIT.splitlines(keepends=True)
    for at, line in enumerate(lines):
        rest = "".join(lines[:at] + lines[at + 1 :])
        if re.match(r" *ok", line):
            assert verdict(rest) in ("error", "fail"), line
        assert verdict("".join(lines[:at])) in ("none", "error"), line
        if re.match(r" *ok", line):
            failed = [*lines[:at], line.replace("ok", "not ok", 1), *lines[at + 1 :]]
            assert verdict("".join(failed)) == "fail", line


@pytest.mark.parametrize("number", [1, 7])
def test_kunit_of_a_module_has_the_suites_result_left_of_its_version_line(number: int) -> None:
    suite = f"    KTAP version 1\n    # Subtest: mod\n    1..2\n    ok 1 a\n    ok 2 b\nok {number} mod\n"
    assert leaves(suite) == [("mod / a", "pass"), ("mod / b", "pass")]
    assert verdict(suite) == verdict(suite + suite) == "pass"
    assert verdict(suite.replace(f"ok {number} mod", f"not ok {number} mod")) == "fail"
    assert verdict(suite.replace(f"ok {number} mod\n", "")) == "error"
    assert verdict(suite.replace(f"ok {number} mod\n", "") + suite) == "error"
    assert verdict(suite.replace("    ok 2 b\n", "")) == "error"


@pytest.mark.parametrize(
    "text",
    [
        # A header and no results, by the header alone, with a version line, in TAP 14's way.
        "KTAP version 1\n1..1\n  # Subtest: s\nok 1 s\n",
        "KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: s\nok 1 s\n",
        "KTAP version 1\n1..1\n  KTAP version 1\nok 1 s\n",
        "TAP version 14\n1..1\n# Subtest: s\nok 1 s\n",
        "TAP version 14\n1..1\n# Subtest: s\nok 1 t\n",
        "TAP version 14\n# Subtest: s\n",
        "TAP version 14\n1..1\n  # Subtest: s\n  1..1\n    # Subtest: c\n  ok 1 - c\nok 1 - s\n",
        # A subtest without its parent's result, followed by another.
        "KTAP version 1\n  # Subtest: a\n  1..1\n  ok 1 x\n  # Subtest: b\n  1..1\n  ok 1 y\nok 1 b\n",
        "KTAP version 1\n  KTAP version 1\n  ok 1 x\n  KTAP version 1\n  ok 1 y\nok 1 b\n",
        "KTAP version 1\n# Subtest: s\n1..1\nok 1 a\n",
    ],
)
def test_subtests_that_are_not_whole(text: str) -> None:
    assert verdict(text) == "error"


def test_a_skipped_or_failed_subtest_needs_no_results() -> None:
    header = "KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: s\n"
    assert (verdict(f"{header}ok 1 s # SKIP no parameters\n"), verdict(f"{header}not ok 1 s\n")) == (
        "skip",
        "fail",
    )


@pytest.mark.parametrize(
    "text",
    [
        # TAP 14: the header is at the indentation of the result.
        "TAP version 14\n# Subtest: s\n    ok 1 - a\n    1..1\nok 1 - s\n1..1\n",
        "# Subtest: s\n    ok 1 - a\n    1..1\nok 1 - s\n1..1\n",
        "TAP version 14\n1..1\n# Subtest: s\n    1..1\n    ok 1 - a\nok 1 - s\n",
        # Indentation that is off.
        "KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n    ok 1 a\nok 1 s\n",
        "KTAP version 1\n1..1\n    ok 1 a\nok 1 s\n",
        "KTAP version 1\n1..1\n\tKTAP version 1\n\t1..1\n\tok 1 a\nok 1 s\n",
    ],
)
def test_other_ways_to_nest(text: str) -> None:
    assert leaves(text) == [("s / a", "pass")] and verdict(text) == "pass"
    assert verdict(text.replace("ok 1 s", "not ok 1 s").replace("ok 1 - s", "not ok 1 - s")) == "fail"
    assert verdict(text.replace("ok 1 a", "not ok 1 a").replace("ok 1 - a", "not ok 1 - a")) == "fail"


@pytest.mark.parametrize(
    "text",
    [
        "   KTAP version 1\n1..2\nok 1 a\nok 2 b\n",
        "KTAP version 1\n  1..2\n  ok 1 a\n  ok 2 b\n",
        "KTAP version 1\n1..2\nok 1 a\n  ok 2 b\n",
        "KTAP version 1\n    ok 1 a\n    ok 2 b\n",
    ],
)
def test_results_that_are_indented_by_mistake(text: str) -> None:
    assert leaves(text) == [("a", "pass"), ("b", "pass")] and verdict(text) == "pass"


# -- kselftest -----------------------------------------------------------------------------------------
def kselftest(inner: str, result: str, prefix: str = "") -> str:
    lines = ["TAP version 13", "1..1", "# timeout set to 45", "# selftests: mount: run.sh"]
    lines += [f"# {line}" for line in inner.splitlines()] + [f"{result.format('selftests: mount: run.sh')}"]
    return "".join(f"{prefix}{line}\n" for line in lines)


PROGRAM = "TAP version 13\n1..2\n# nothing special\nok 1 x\nok 2 y\n{}"
TOTALS = "# Totals: pass:{} fail:{} xfail:0 xpass:0 skip:{} error:{}\n"


@pytest.mark.parametrize("prefix", ["", "[    1.000000] ", "ci: "])
@pytest.mark.parametrize(
    ("change", "totals", "result", "expected"),
    [
        (("", ""), (2, 0, 0, 0), "ok 1 {}", "pass"),
        (("", ""), (2, 0, 0, 0), "not ok 1 {} # exit=1", "fail"),
        (("ok 2 y", "not ok 2 y"), (1, 1, 0, 0), "not ok 1 {} # exit=1", "fail"),
        (("ok 2 y", "not ok 2 y"), (1, 1, 0, 0), "ok 1 {}", "fail"),
        (("ok 2 y", "not ok 2 # error no memory"), (1, 0, 0, 1), "ok 1 {}", "fail"),
        (("ok 2 y", "not ok 2 y"), (1, 1, 0, 0), "ok 1 {} # SKIP", "fail"),
        (("ok 2 y", "ok 2 # SKIP y"), (1, 0, 1, 0), "ok 1 {}", "pass"),
        (("ok 2 y\n", ""), (1, 0, 0, 0), "ok 1 {}", "error"),
        (("ok 2 y\n", ""), (1, 0, 0, 0), "not ok 1 {} # exit=139", "fail"),
        (("ok 2 y\n", ""), (1, 0, 0, 0), "ok 1 {} # SKIP", "skip"),
        (("", ""), (3, 0, 0, 0), "ok 1 {}", "error"),
        (("", ""), (2, 1, 0, 0), "ok 1 {}", "error"),
        (("", ""), (1, 0, 0, 1), "ok 1 {}", "error"),
        (("1..2", "Bail out! no root"), (2, 0, 0, 0), "ok 1 {}", "error"),
        (("TAP version 13\n1..2\n", ""), (2, 0, 0, 0), "ok 1 {}", "pass"),
        (("TAP version 13\n1..2\n# nothing special\nok 1", "not ok 1"), (1, 1, 0, 0), "ok 1 {}", "fail"),
    ],
)
def test_kselftest_is_held_against_what_its_programs_say(
    change: tuple[str, str], totals: tuple[int, ...], result: str, expected: str, prefix: str
) -> None:
    text = kselftest(PROGRAM.format(TOTALS.format(*totals)).replace(*change), result, prefix)
    assert verdict(text) == expected, text
    assert [s.name for s in read(text).subtests] == ["selftests: mount: run.sh"], "it is one test"


def test_a_result_that_is_contradicted_says_by_what() -> None:
    text = kselftest("TAP version 13\n1..1\nnot ok 1 y\n", "ok 1 {}")
    assert [s.note for s in read(text).failed] == ["it says ok; below it: not ok y"]
    text = kselftest("TAP version 13\n1..1\nnot ok 1 y\n", "not ok 1 {} # exit=1")
    assert [s.note for s in read(text).failed] == ["exit=1; below it: not ok y"]


def test_totals_of_one_program_that_runs_alone() -> None:
    text = "TAP version 13\n1..4\nok 1 a\nok 2 # SKIP b\nok 3 # XFAIL c\nok 4 # XPASS d\n"
    assert verdict(text + "# Totals: pass:1 fail:0 xfail:1 xpass:1 skip:1 error:0\n") == "pass"
    assert verdict(text + "# Totals: pass:2 fail:0 xfail:1 xpass:1 skip:1 error:0\n") == "error"
    twice = "1..2\nok 1 a\n# Totals: pass:1 fail:0\nok 2 b\n# Totals: pass:{} fail:0\n"
    assert verdict(twice.format(1)) == verdict(twice.format(2)) == "pass"
    assert verdict(twice.format(0)) == "error"
    assert verdict(KUNIT.replace("Totals: pass:3", "Totals: pass:4")) == "error"


# -- hostile and damaged -------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(300))
def test_whatever_is_done_to_a_report_no_failure_passes(seed: int) -> None:
    chance = random.Random(seed)
    text = damaged(report_of(chance), chance)
    fails = re.search(r"^[ \t]*(?:# ?)*not ok [0-9]+ [a-z]+$", text, re.MULTILINE)
    assert not fails or verdict(text) in ("fail", "error"), text


# Texts that chance made and that were read wrongly, or otherwise than by the kernel's reader.
SEEDS = (
    ("[    1.000000] # TAP version 13\n[    1.000000] ok 1 gamma", "none"),
    ("# KTAP version 1\n1..1ok 1 delta", "error"),
    ("# TAP version 13\n# 1..3\n# ok 1 a\nok 1 x\n", "error"),
    ("TAP version 13\n1..2ok 1 alpha\nok 2 beta\n", "error"),
    ("KTAP version 1\n1..1not ok 1 delta\n", "error"),
    ("1..\nTAP version 13\nok 1 alpha\n1..\nTAP version 13\nok 1 alpha\nok 2 gamma\n", "pass"),
    ("TAP version 14\n  TAP version 14\n  ok 1 - delta\nok 1 - delta\nok 2 - beta\n", "pass"),
    ("KTAP version 1\n1..1\n  ok 1 a\n  # ok 1 gamma\n  not ok 2 b\nok 1 - beta\n", "fail"),
)


@pytest.mark.parametrize(("text", "expected"), SEEDS)
def test_seeds(text: str, expected: str) -> None:
    assert verdict(text) == expected


REPEATED = (
    "ok 1 a\n",
    "not ok 1 a\n",
    "ok ",
    "not ok ",
    "x ok 1 1..2 ",
    "1..2 ",
    "1..2\n",
    "KTAP version 1\n",
    "KTAP version 1",
    "# ",
    "# ok 1 a\n# 1..1\n",
    "# Totals: pass:1\nok 1 a\n",
    "# Subtest: a\n",
    "ok 1 a # SKIP # SKIP ",
    "[    1.000000]",
    "<6>[    1.000000] ok 1 ",
    "\t",
    "\x1b[0",
    "1",
    "Bail out!\n",
    " #",
)


@pytest.mark.parametrize("unit", REPEATED)
def test_time_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        texts = [f"{start}{(unit * size)[:size]}" for start in ("", "KTAP version 1\n1..9\nok 1 ")]
        begin = time.process_time()
        for text in texts:
            ktap.parse(text)
        return time.process_time() - begin

    seconds(1000)
    assert seconds(60_000) < 10 * seconds(15_000) + 0.1


def test_depth_and_names_are_bounded() -> None:
    deep = "".join(f"{' ' * n}KTAP version 1\n" for n in range(600))
    deep += "".join(f"{' ' * n}ok 1 {'n' * 300}\n" for n in reversed(range(600)))
    report = read(deep)
    assert report.verdict == "error" and any("deep" in p for p in report.problems)
    assert max(len(s.name) for s in report.subtests) < 600
    assert (
        len(read("".join(f"{c}{d}: not ok 1 a\n" for c, d in product(map(chr, range(200, 400)), "ab"))).stray)
        == 5
    )
    wide = "".join(f"{chr(n)}: ok 1 a\n" for n in range(0x4E00, 0x6000))
    assert verdict(wide) == "none" and verdict(wide + "\u7000: not ok 2 b\n") == "fail"
