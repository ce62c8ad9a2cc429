"""The verdict on one case, which must not lie."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.judge import cases
from kmodpipe.judge.cases import CellContext, Expectation
from kmodpipe.judge.excerpts import EXCERPT_LIMIT, excerpt
from kmodpipe.judge.verdict import CaseEvidence, judge
from kmodpipe.logs.case_record import CaseRecord, case_records
from kmodpipe.logs.evidence import KernelReport
from kmodpipe.results import Verdict
from tests.support.sample_case import CASE, CONTROL, GOOD, LAYERED, NOUUID, POSTED, SETTING, Rec, record, told

OOPS = KernelReport(
    kind="oops",
    title="BUG: kernel NULL pointer dereference in ovl_lookup",
    lines=("BUG: kernel NULL pointer dereference", "RIP: 0010:ovl_lookup+0x1/0x2"),
)


def ktap_of(lines: bytes) -> bytes:
    return b"KTAP version 1\n" + lines + b"\n"


def observing(word: str) -> CaseRecord:
    return replace(GOOD, outcomes=(word,), observations={**GOOD.observations, "outcome": word})


@pytest.mark.parametrize(
    "records",
    [
        [record("end", how="exit", status=0, ms=1)],
        [record("start", id="remount"), record("start", id="remount")],
        [record("start", id="remount"), record("end", how="fine", status=0, ms=1)],
        [record("start", id="remount"), record("end", how="exit", status="0x0", ms=1)],
        [record("start", id="remount"), record("end", how="exit", status=-0.0, ms=1)],
        [record("start", id="remount"), record("end", how="exit", ms=1)],
        [
            record("start", id="remount"),
            record("end", how="exit", status=0, ms=1),
            record("obs", key="outcome", value="mounted"),
        ],
    ],
)
def test_contradictions_are_problems_and_never_a_pass(records: list[Rec]) -> None:
    trial = case_records(records)[0]
    assert trial.problems
    assert judge(CASE, NOUUID, CaseEvidence(replace(trial, outcomes=("mounted",)))).verdict is Verdict.ERROR


# -- the verdict --------------------------------------------------------------------------------------
def test_pass_and_what_it_says() -> None:
    result = judge(CASE, NOUUID, CaseEvidence(GOOD))
    assert (result.verdict, result.outcome, result.goal_met) == (Verdict.PASS, "mounted", True)
    assert result.message == "observed mounted as expected: because"
    assert result.duration_s == 1.5 and result.attempts == 1 and result.output_excerpt == "hello\n"


def test_the_control_shows_its_bug_as_expected() -> None:
    result = judge(CASE, CONTROL, CaseEvidence(observing("ESTALE")))
    assert (result.verdict, result.goal_met, result.known_defect) == (Verdict.PASS, False, False)
    assert result.message == "observed ESTALE as expected: verified"


@pytest.mark.parametrize(
    ("change", "verdict", "message"),
    [
        ({"outcomes": ("ESTALE",)}, "fail", "expected mounted, observed ESTALE: because"),
        ({"outcomes": ()}, "fail", "the script ended well and observed no outcome"),
        (
            {"outcomes": ("mounted", "ESTALE")},
            "fail",
            "the case contradicts itself: it observed mounted and ESTALE",
        ),
        (
            {"kmsg": ("unrelated",)},
            "fail",
            "expected the kernel message 'single fs', which did not come: because",
        ),
        ({"observations": {"nlink": "2"}}, "fail", "expected nlink 3, observed 2: because"),
        ({"observations": {}}, "fail", "expected nlink 3, observed nothing: because"),
        ({"status": 7}, "fail", "the script ended with exit status 7: hello"),
        ({"status": 4}, "fail", "the script skips, yet observed mounted"),
        (
            {"status": 4, "outcomes": (), "observations": {"skip": "no xattr"}},
            "skip",
            "the case skips itself: no xattr",
        ),
        ({"how": "signal", "status": 11}, "fail", "the script was killed by SIGSEGV; its last line: hello"),
        ({"how": "timeout"}, "fail", "the script did not end within 30 s; its last line: hello"),
        ({"how": "stuck"}, "fail", "a process is stuck in the kernel: it could not be killed"),
        ({"ended": False, "how": ""}, "fail", "the guest died in this case: its end never came"),
        ({"started": False}, "error", "not run: the guest never came to it"),
        ({"case_id": "other"}, "error", "the verdict stream speaks of case 'other' in this one's place"),
        ({"output": b"TAP version 13\n1..1\nnot ok 1 - a\n"}, "fail", "1 of 1 subtest failed: a"),
        (
            {"output": b"TAP version 13\n1..2\nok 1 - a\n"},
            "error",
            "the KTAP report is not whole: 1 of 2 planned",
        ),
        ({"output": b"KTAP version 1\n1..0 # SKIP no fs\n"}, "skip", "the case skips all its subtests"),
        (
            {"output": b"hello\n[    1.000000] not ok 2 b\n"},
            "fail",
            "the output says 'not ok 2 b', which is part of no TAP or KTAP report",
        ),
        (
            {"output": b"ok 1 a\nnot ok 2 \x1bb\n"},
            "fail",
            "the output says 'not ok 2 b', which is part of no",
        ),
        (
            {"output": b"KTAP version 1\n1..1\nok 1 a\n# not ok 1 y\n"},
            "fail",
            "the output says 'not ok 1 y', which is part of no",
        ),
        (
            {"output": b"not ok 2 b\n", "status": 4, "outcomes": ()},
            "fail",
            "the output says 'not ok 2 b', which is part of no",
        ),
        (
            {"output": b"not ok 2 b\n", "status": 1},
            "fail",
            "the script ended with exit status 1: not ok 2 b",
        ),
        ({"output": b"this is not ok\n"}, "pass", "observed mounted as expected"),
        ({"output": b"KTAP version 1\n1..0\n"}, "error", "the KTAP report is not whole: no tests were run"),
        (
            {"output": b"[    1.000000] 1..2\n[    1.000000] ok 1 a\n[    1.000000] not ok 2 b\n"},
            "fail",
            "1 of 2 subtests failed: b",
        ),
    ],
)
def test_messages_start_with_the_sentence(change: dict[str, object], verdict: str, message: str) -> None:
    got = told(judge(CASE, NOUUID, CaseEvidence(replace(GOOD, **change))))  # type: ignore[arg-type]
    assert got[0] == verdict
    assert got[1].startswith(message)


def test_a_crash_overrides_everything_even_a_case_that_was_not_reached() -> None:
    for trial in (GOOD, None, replace(GOOD, ended=False)):
        result = judge(CASE, NOUUID, CaseEvidence(trial, (OOPS,), infra="QEMU was killed by SIGKILL"))
        assert (result.verdict, result.outcome, result.goal_met) == (Verdict.FAIL, "oops", False)
        assert "NULL pointer" in result.message and "RIP: 0010" in result.evidence


def test_kernels_fault_or_ours() -> None:
    dead = replace(GOOD, ended=False)
    result = judge(CASE, NOUUID, CaseEvidence(dead, (), False, ending="the guest said nothing for 20 s"))
    assert told(result) == ("fail", "the guest died in this case: the guest said nothing for 20 s")
    result = judge(CASE, NOUUID, CaseEvidence(dead, (), False, infra="QEMU was killed by SIGKILL"))
    assert told(result) == ("error", "infrastructure trouble in this case: QEMU was killed by SIGKILL")
    assert judge(CASE, NOUUID, CaseEvidence(None, infra="interrupted")).message == "not run: interrupted"
    assert judge(CASE, NOUUID, CaseEvidence(GOOD, (), False)).verdict is Verdict.ERROR


def test_needs() -> None:
    bare = replace(NOUUID, config={})
    assert told(judge(CASE, bare, CaseEvidence())) == (
        "skip",
        "needs CONFIG_EXT4_FS, which this kernel does not have",
    )


def test_known_defect_is_named_and_its_disappearance_fails() -> None:
    result = judge(CASE, POSTED, CaseEvidence(observing("split")))
    assert result.verdict is Verdict.PASS and result.known_defect and result.goal_met is False
    assert result.message == "known defect: observed split: the name holds the UUID"
    gone = judge(CASE, POSTED, CaseEvidence(observing("mounted")))
    assert gone.verdict is Verdict.FAIL and not gone.known_defect and gone.goal_met is True
    assert gone.message.startswith("expected the known defect split, observed mounted")
    assert "must be revised" in gone.message


def test_without_a_rule_the_goal_decides_in_the_control_and_for_an_unknown_design() -> None:
    control = replace(CONTROL, choice={"INDEX": "n"})
    assert judge(CASE, control, CaseEvidence(GOOD)).verdict is Verdict.PASS
    assert judge(CASE, control, CaseEvidence(observing("EIO"))).verdict is Verdict.FAIL
    unknown = replace(NOUUID, design="new-idea")
    assert judge(CASE, unknown, CaseEvidence(GOOD)).verdict is Verdict.PASS
    bad = judge(CASE, unknown, CaseEvidence(observing("EIO")))
    assert bad.verdict is Verdict.FAIL
    assert bad.message.startswith("expected mounted, observed EIO: no expectation for design 'new-idea'")


@pytest.mark.parametrize(("status", "verdict"), [(0, "pass"), (4, "skip"), (7, "fail"), (1, "fail")])
def test_anyones_script(tmp_path: Path, status: int, verdict: str) -> None:
    script = tmp_path / "mine.sh"
    script.write_text("#!/bin/sh\n")
    case = cases.from_script(script)
    trial = CaseRecord(0, "mine", True, True, "exit", status, 10, output=b"my output\n")
    result = judge(case, replace(CONTROL, config={}), CaseEvidence(trial))
    assert result.verdict.value == verdict and "my output" in result.output_excerpt
    assert result.message
    assert result.goal_met is {"pass": True, "fail": False, "skip": None}[verdict]


def test_a_pass_needs_all_conditions_at_once() -> None:
    """Every combination of what can go right or wrong: a pass exactly where everything is right."""
    switches = {
        "started": (True, False),
        "ended": (True, False),
        "how": ("exit", "timeout", "bogus"),
        "status": (0, 1, 4),
        "outcomes": (("mounted",), (), ("ESTALE",), ("mounted", "ESTALE"), ("",), ("mounted ",)),
        "kmsg": (GOOD.kmsg, ()),
        "observations": (GOOD.observations, {"nlink": "33"}),
        "case_id": ("remount", "other"),
        "problems": ((), ("it starts twice",)),
        "output": (
            b"", ktap_of(b"1..1\nok 1"), ktap_of(b"1..2\nok 1"), ktap_of(b"1..1\nnot ok 1"), b"# not ok 1 a",
        ),
    }  # fmt: skip
    passes = 0
    for values in itertools.product(*switches.values()):
        trial = CaseRecord(0, **dict(zip(switches, values, strict=True)))  # type: ignore[arg-type]
        clean = (
            trial.started and trial.ended and trial.how == "exit" and trial.status == 0
            and trial.outcomes == ("mounted",) and bool(trial.kmsg) and trial.observations.get("nlink") == "3"
            and trial.case_id == "remount" and not trial.problems and trial.output in switches["output"][:2]
        )  # fmt: skip
        result = judge(CASE, NOUUID, CaseEvidence(trial))
        assert (result.verdict is Verdict.PASS) == clean, (trial, result)
        assert result.message, trial
        if clean:
            passes += 1
            for crash, whole in (((OOPS,), True), ((), False), ((OOPS,), False)):
                assert judge(CASE, NOUUID, CaseEvidence(trial, crash, whole)).verdict is not Verdict.PASS
            assert judge(CASE, CONTROL, CaseEvidence(trial)).verdict is Verdict.FAIL
            assert judge(CASE, POSTED, CaseEvidence(trial)).verdict is Verdict.FAIL
    assert passes == 2


def test_hostile_text_is_shown_and_bounded() -> None:
    hostile = "\x1b[31mred\x00 \udc80 \u202e ]]> \n[[ATTACHMENT|/etc/passwd]]"
    trial = replace(
        GOOD, outcomes=(hostile,), observations={hostile: hostile}, kmsg=(hostile,),
        output=b"\xff\x00\x1b[2J" * 100_000,
    )  # fmt: skip
    result = judge(CASE, NOUUID, CaseEvidence(trial))
    assert result.verdict is Verdict.FAIL and "\n" not in result.message + result.outcome
    for text in (result.message, result.evidence, result.output_excerpt, *result.kmsg, *result.observations):
        assert not set(text) & set("\x1b\x00\udc80\u202e")
    assert len(result.output_excerpt) < 6 * EXCERPT_LIMIT
    assert "left out" in excerpt(b"a" * (EXCERPT_LIMIT + 1))


# -- more rules ---------------------------------------------------------------------------------------
def test_a_message_that_must_not_come() -> None:
    case = replace(CASE, expect=(Expectation("mounted", "quiet", no_kmsg=("single fs",)),))
    assert told(judge(case, NOUUID, CaseEvidence(GOOD))) == (
        "fail",
        "the kernel message 'single fs' came, and must not: quiet",
    )
    assert judge(case, NOUUID, CaseEvidence(replace(GOOD, kmsg=()))).verdict is Verdict.PASS


# -- what was dropped -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stream", "text"),
    [
        ("out", "no verdict: at least 7 bytes of output were dropped"),
        ("kmsg", "no verdict: at least 7 bytes of kernel messages were dropped"),
        ("obs", "no verdict: at least 7 observations were dropped"),
        ("other\n", "no verdict: at least 7 bytes of other"),
    ],
)
def test_dropped_evidence_is_no_evidence(stream: str, text: str) -> None:
    dropped = {stream: 7}
    skipping = {"status": 4, "outcomes": (), "observations": {"skip": "no xattr"}}
    for change in ({}, skipping):
        trial = replace(GOOD, **change, dropped=dropped)  # type: ignore[arg-type]
        verdict, message = told(judge(CASE, NOUUID, CaseEvidence(trial)))
        assert verdict == "error" and message.startswith(text)
    by_exit = replace(CASE, by_exit=True, expect=())
    assert judge(by_exit, NOUUID, CaseEvidence(replace(GOOD, dropped=dropped))).verdict is Verdict.ERROR
    # What was seen to be wrong stays wrong.
    for change in ({"status": 7}, {"outcomes": ("ESTALE",)}, {"outcomes": ("mounted", "ESTALE")}):
        trial = replace(GOOD, **change, dropped=dropped)  # type: ignore[arg-type]
        assert judge(CASE, NOUUID, CaseEvidence(trial)).verdict is Verdict.FAIL
    assert judge(CASE, NOUUID, CaseEvidence(GOOD, reports=(OOPS,))).verdict is Verdict.FAIL


def test_a_message_that_may_be_among_the_dropped_is_not_missing() -> None:
    trial = replace(GOOD, kmsg=("unrelated",), dropped={"kmsg": 7})
    verdict, message = told(judge(CASE, NOUUID, CaseEvidence(trial)))
    assert verdict == "error"
    assert message.startswith("no verdict: expected the kernel message 'single fs', which did not come")
    other = replace(trial, observations={"nlink": "2"})
    assert judge(CASE, NOUUID, CaseEvidence(other)).verdict is Verdict.FAIL


def test_a_message_that_the_kernel_itself_suppressed_may_have_been_the_forbidden_one() -> None:
    case = replace(CASE, expect=(Expectation("mounted", "quiet", no_kmsg=("refused",)),))
    limited = replace(GOOD, kmsg=("ovl_lookup: 12 callbacks suppressed",))
    assert judge(case, NOUUID, CaseEvidence(GOOD)).verdict is Verdict.PASS
    verdict, message = told(judge(case, NOUUID, CaseEvidence(limited)))
    assert verdict == "error" and "suppressed messages of its own: ovl_lookup: 12" in message
    later = CaseEvidence(GOOD, told_later=limited.kmsg)
    assert judge(case, NOUUID, later).verdict is Verdict.ERROR


def test_a_message_that_the_kernel_itself_suppressed_is_not_missing() -> None:
    limited = CaseEvidence(replace(GOOD, kmsg=("unrelated", "ovl_fill_super: 1 callbacks suppressed")))
    verdict, message = told(judge(CASE, NOUUID, limited))
    assert verdict == "error" and "and the kernel suppressed some: ovl_fill_super: 1" in message
    plain = CaseEvidence(replace(GOOD, kmsg=("unrelated",)))
    assert judge(CASE, NOUUID, plain).verdict is Verdict.FAIL


def test_of_very_many_messages_a_result_keeps_both_ends() -> None:
    many = replace(GOOD, kmsg=(*GOOD.kmsg, *(f"line {n}" for n in range(5000))))
    kept = judge(CASE, NOUUID, CaseEvidence(many)).kmsg
    assert len(kept) == 2001 and kept[0] == GOOD.kmsg[0] and kept[-1] == "line 4999"
    assert kept[1000] == "[… 3001 messages left out …]"


def test_any_of_several_goals_is_met() -> None:
    case = replace(CASE, goals=("ESTALE", "mounted"))
    assert judge(case, NOUUID, CaseEvidence(GOOD)).goal_met is True
    assert case.goal == "ESTALE or mounted"


def test_between_two_patches_both_ends_are_right_and_nothing_else() -> None:
    between = replace(POSTED, variant="posted@1", partial=True)
    before = judge(CASE, between, CaseEvidence(observing("ESTALE")))
    after = judge(CASE, between, CaseEvidence(observing("split")))
    assert (before.verdict, before.reason) == (Verdict.PASS, "verified")
    assert (after.verdict, after.known_defect) == (Verdict.PASS, True)
    wrong = judge(CASE, between, CaseEvidence(observing("EIO")))
    assert told(wrong)[0] == "fail" and "EIO" in wrong.message


def probed(**changes: str) -> CaseRecord:
    observed = {pair: SETTING.expected(pair, NOUUID.choice) for pair in SETTING.pairs()}
    observed |= {"outcome": "probed", **{k.replace("__", "/"): v for k, v in changes.items()}}
    return replace(GOOD, outcomes=("probed",), observations=observed)


def test_a_layered_setting_is_judged_pair_by_pair() -> None:
    good = judge(LAYERED, NOUUID, CaseEvidence(probed()))
    assert (good.verdict, good.outcome, good.goal_met) == (Verdict.PASS, "as-ruled", True)
    assert len(good.subtests) == len(SETTING.pairs())
    bad = judge(LAYERED, NOUUID, CaseEvidence(probed(unset__none="set=- reads=N mount=mounted")))
    assert (bad.verdict, bad.outcome, bad.goal_met) == (Verdict.FAIL, "rule-broken", False)
    assert "1 of" in bad.message and "unset/none: expected reads=Y" in bad.message


def test_a_probe_that_did_not_run_to_its_end_proves_nothing() -> None:
    assert judge(LAYERED, NOUUID, CaseEvidence(observing("mounted"))).verdict is Verdict.FAIL
    missing = replace(GOOD, outcomes=("probed",), observations={"outcome": "probed"})
    assert judge(LAYERED, NOUUID, CaseEvidence(missing)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("where", "why"),
    [
        (POSTED, "the design posted has no such setting"),
        (replace(NOUUID, partial=True), "between two patches a setting need not be whole"),
        (replace(NOUUID, config={}), "needs CONFIG_EXT4_FS, which this kernel does not have"),
    ],
)
def test_where_a_case_cannot_be_tried(where: CellContext, why: str) -> None:
    result = judge(LAYERED, where, CaseEvidence())
    assert (result.verdict, result.message) == (Verdict.SKIP, why)
