"""What a kernel's report comes to in the results, and which reports are let off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.judge.cases import Case, CellContext, Expectation
from kmodpipe.judge.verdict import CaseEvidence, judge
from kmodpipe.logs import evidence
from kmodpipe.logs.case_record import CaseRecord
from kmodpipe.logs.evidence import fingerprint
from kmodpipe.logs.symbolize import Decoder
from kmodpipe.report import junit
from kmodpipe.results import CellResult, Run, State, Verdict
from tests.support.decode import DATA, line
from tests.support.sample_reports import USE_AFTER_FREE, WARNING, report


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(DATA / "vmlinux-dwarf4", {"first": DATA / "module-dwarf4.ko"})


def test_it_says_who_where_and_in_what_state(decoder: Decoder) -> None:
    made = evidence.of(report(), decoder, left="mounts:1,taint:O,loops:0", log="console-2.log")
    assert (made.task, made.pid, made.cpu) == ("mount", 27, 1)
    assert (made.taint_before, made.taint_after) == ("G W", "G W O")
    # The kernel's registers, not those of the process behind them.
    assert made.registers[0].startswith("RIP: 0010:caller") and made.registers[-1].startswith("RAX: ")
    assert not any("434b3a" in one or "002b" in one for one in made.registers)
    told = "\n".join(made.format())
    for text in (
        "in: mount, PID 27, CPU 1",
        "taint: G W before, G W O after",
        "console: console-2.log, from byte",
    ):
        assert text in told
    assert told.index("call trace, innermost first") < told.index("| WARNING: CPU: 1")


def test_each_frame_stands_beside_its_line(decoder: Decoder) -> None:
    lines = [(one.function, one.place, one.inlined) for one in evidence.of(report(), decoder).trace]
    assert lines == [
        ("twice", f"first.c:{line('first.c', 'counter += value')}", True),
        ("caller+0x5/0x20 [first]", f"first.c:{line('first.c', 'sum += twice')}", False),
        ("last+0x14/0x20 [first]", f"second.c:{line('second.c', 'rare(value);')}", False),
        # Two functions fit, and no guess is made; and one that this kernel does not have.
        ("common+0x7/0x10", "", False),
        ("do_mount+0x7/0x10", "", False),
    ]
    told = evidence.of(report(), decoder).format()
    first, second = line("first.c", "counter ^= value"), line("second.c", "counter ^= value")
    assert any(f"(ambiguous: first.c:{first} or second.c:{second})" in one for one in told)


def test_earlier_stacks_stand_under_their_headings(decoder: Decoder) -> None:
    made = evidence.of(report(USE_AFTER_FREE), decoder)
    assert {one.function: one.stack for one in made.trace} == {
        "dump_stack+0x20/0x22": "",
        "caller+0x5/0x20 [first]": "",
        "kfree+0xcd/0x290": "Freed by task 24:",
        "last+0x14/0x20 [first]": "Freed by task 24:",
    }
    # A guest that died says nothing of what it came to.
    assert (made.taint_before, made.taint_after) == ("none", "")
    assert evidence.of(report(USE_AFTER_FREE), decoder, left="mounts:1,loops:0").taint_after == "none"
    assert "  Freed by task 24:" in made.format()


def test_without_line_numbers_the_frames_are_there_all_the_same() -> None:
    made = evidence.of(report(), Decoder())
    assert [one.place for one in made.trace] == [""] * 4
    assert made.trace[0].function == "caller+0x5/0x20 [first]"


def test_hostile_text_is_shown_and_not_obeyed() -> None:
    log = b"BUG: KASAN: use-after-free in f+0x1/0x2\nCPU: 0 PID: 1 Comm: \xff]\x9b2J Not tainted 5.10 #1\n"
    told = "\n".join(evidence.of(report(log), Decoder()).format())
    assert not any(c < " " and c != "\n" for c in told) and "\x9b" not in told


CASE = Case(
    "remount", "a summary", Path("run.sh"), goals=("mounted",), expect=(Expectation("mounted", "always"),)
)
WHERE = CellContext("unpatched", "unpatched", "none")
GOOD = CaseRecord(0, "remount", True, True, "exit", outcomes=("mounted",))


def run_of(*reports: evidence.KernelReport) -> tuple[Run, results.CaseResult]:
    result = judge(CASE, WHERE, CaseEvidence(GOOD, reports))
    cell = CellResult("unpatched", "unpatched", "none", state=State.RAN, cases=(result,))
    return Run("1", "2020-10-13T12:00:00Z", (results.CaseInfo("remount", "", ""),), (cell,)), result


def test_a_console_that_was_cut_leaves_no_pass() -> None:
    assert judge(CASE, WHERE, CaseEvidence(GOOD, unseen="9 bytes were cut")).verdict is results.Verdict.ERROR
    failed = replace(GOOD, status=1)
    assert judge(CASE, WHERE, CaseEvidence(failed, unseen="9 bytes were cut")).verdict is results.Verdict.FAIL


def test_every_report_of_a_case_is_in_its_results(decoder: Decoder) -> None:
    first, second = evidence.of(report(), decoder), evidence.of(report(USE_AFTER_FREE), decoder)
    run, result = run_of(first, second)
    assert (result.verdict, result.outcome) == (Verdict.FAIL, "WARNING")
    assert f"WARNING in caller, at first.c:{line('first.c', 'sum += twice')}" in result.message
    assert results.from_json(results.to_json(run)) == run
    text = junit.text(run)
    assert f"first.c:{line('first.c', 'sum += twice')}" in text and "Freed by task 24:" in text


def test_a_report_that_is_let_off_fails_nothing_and_stays_in_the_results(decoder: Decoder) -> None:
    run, result = run_of(evidence.of(report(), decoder, benign="this test says so"))
    assert result.verdict is Verdict.PASS
    assert result.reports[0].benign == "this test says so"
    assert "let off: this test says so" in junit.text(run)
    # Beside one that counts it is no excuse.
    _, result = run_of(*result.reports, evidence.of(report(USE_AFTER_FREE), decoder))
    assert (result.verdict, result.outcome) == (Verdict.FAIL, "KASAN")
    assert "let off" in result.evidence


def test_no_number_of_reports_that_are_let_off_hides_one_that_counts(decoder: Decoder) -> None:
    harmless = evidence.of(report(), decoder, benign="this test says so")
    kept = (harmless,) * evidence.REPORTS
    assert not evidence.has_room(kept, benign=True) and evidence.has_room(kept, benign=False)
    kept = (*kept, evidence.of(report(USE_AFTER_FREE), decoder))
    assert not evidence.has_room(kept, benign=False)
    assert run_of(*kept)[1].verdict is Verdict.FAIL


def test_a_fingerprint_is_the_same_in_another_build() -> None:
    again = WARNING.replace(b"+0x5/0x20", b"+0x99/0x200").replace(b"PID: 27", b"PID: 99")
    again = again.replace(b"caller+", b"caller.isra.0+")
    assert fingerprint(report(again)) == fingerprint(report())
