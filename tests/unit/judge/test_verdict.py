"""Case definitions, the stream's records folded into case records, and the verdict, which must not lie."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kmodpipe.judge import cases
from kmodpipe.judge.cases import Case, CellContext, Expectation
from kmodpipe.judge.precedence import Default, Setting
from kmodpipe.judge.verdict import EXCERPT_LIMIT, CaseEvidence, excerpt, judge
from kmodpipe.logs import ktap
from kmodpipe.logs.case_record import OUTPUT_LIMIT, CaseRecord, case_records
from kmodpipe.logs.evidence import KernelReport
from kmodpipe.results import CaseResult, Verdict
from kmodpipe.util.errors import UserError

CASE_TOML = """
[[case]]
id = "remount"
summary = "The disk's UUID changes between two mounts."
script = "run.sh"
args = ["index=on"]
timeout_s = 30
goal = "mounted"
needs = ["EXT4_FS"]
[[case.expect]]
when = { design = "index-nouuid", INDEX = "y", NOUUID = ["y", "m"] }
outcome = "mounted"
reason = "the UUID is not compared"
[[case.expect]]
when = { design = "index-nouuid", INDEX = "n" }
outcome = "hardlinks-split"
defect = true
kmsg = "falling back"
observe = { nlink = "2" }
reason = "the index entry's name holds the UUID"
[[case.expect]]
when = { design = "none" }
outcome = "ESTALE"
reason = "the origin's UUID is verified"
"""


def write_case(
    folder: Path, text: str, *, script: str = "#!/bin/sh\nexit 0\n", name: str = "remount"
) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "case.toml").write_text(text)
    (place / "run.sh").write_text(script)
    return folder


@dataclass(frozen=True)
class Rec:
    type: str
    fields: Mapping[str, str] = field(default_factory=dict)


OOPS = KernelReport(
    kind="oops",
    title="BUG: kernel NULL pointer dereference in ovl_lookup",
    lines=("BUG: kernel NULL pointer dereference", "RIP: 0010:ovl_lookup+0x1/0x2"),
)


def record(kind: str, index: int = 0, **fields: object) -> Rec:
    return Rec(kind, {"case": str(index), **{k: str(v) for k, v in fields.items()}})


CASE = Case(
    "remount",
    "a summary",
    Path("run.sh"),
    goals=("mounted",),
    needs=("EXT4_FS",),
    expect=(
        Expectation(
            "mounted", "because", {"design": ("nouuid",)}, kmsg=("single fs",), observe={"nlink": "3"}
        ),
        Expectation("split", "the name holds the UUID", {"design": ("posted",)}, defect=True),
        Expectation("ESTALE", "verified", {"design": ("none",), "INDEX": ("y",)}),
    ),
)
CONFIG = {"EXT4_FS": "y"}
NOUUID = CellContext("nouuid.INDEX=y", "nouuid", "nouuid", {"INDEX": "y"}, CONFIG)
POSTED = replace(NOUUID, variant="posted", design="posted")
CONTROL = CellContext("unpatched.INDEX=y", "unpatched", "none", {"INDEX": "y"}, CONFIG)
GOOD = CaseRecord(
    0, "remount", True, True, "exit", 0, 1500, {"outcome": "mounted", "nlink": "3"}, ("mounted",),
    b"hello\n", ("overlayfs: requires a single fs for lower and upper",),
)  # fmt: skip


def ktap_of(lines: bytes) -> bytes:
    return b"KTAP version 1\n" + lines + b"\n"


def observing(word: str) -> CaseRecord:
    return replace(GOOD, outcomes=(word,), observations={**GOOD.observations, "outcome": word})


# -- files --------------------------------------------------------------------------------------------
def test_load_reads_every_field(tmp_path: Path) -> None:
    (case,) = cases.load(write_case(tmp_path, CASE_TOML))
    assert (case.id, case.args, case.timeout_s, case.goal) == ("remount", ("index=on",), 30, "mounted")
    assert case.path.read_text().startswith("#!")
    rule = case.expectation(replace(NOUUID, design="index-nouuid", choice={"INDEX": "y", "NOUUID": "m"}))
    assert rule is case.expect[0]
    # An axis that the cell does not have counts as n.
    rule = case.expectation(replace(NOUUID, design="index-nouuid", choice={}))
    assert rule and rule.defect and rule.kmsg == ("falling back",) and rule.observe == {"nlink": "2"}
    assert case.expectation(replace(NOUUID, design="another", choice={"INDEX": "y"})) is None
    assert case.unmet({"EXT4_FS": "m"}) == () and case.unmet({"EXT4_FS": "n"}) == ("EXT4_FS",)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('goal = "mounted"', "", "case.remount.goal: Field required"),
        ("timeout_s = 30", 'timeout_s = "30"', "case.remount.timeout_s"),
        ("timeout_s = 30", "timeout = 30", "case.remount.timeout: Extra"),
        ('needs = ["EXT4_FS"]', 'needs = ["CONFIG_EXT4_FS"]', "case.remount.needs[1]"),
        ('script = "run.sh"', 'script = "../run.sh"', "case.remount.script"),
        ('script = "run.sh"', 'script = "gone.sh"', "no script 'gone.sh'"),
        ('outcome = "ESTALE"', "", "case.remount.expect[3].outcome: Field required"),
        ("defect = true", "defekt = true", "case.remount.expect[2].defekt"),
        ('observe = { nlink = "2" }', "observe = { nlink = 2 }", "case.remount.expect[2].observe.nlink"),
        ('NOUUID = ["y", "m"]', "NOUUID = []", "case.remount.expect[1].when.NOUUID"),
        ('id = "remount"', 'id = "Re mount"', "case.Re mount.id"),
        ("[[case]]", "[[case", "cannot be read"),
    ],
)
def test_bad_file_names_file_and_field(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in CASE_TOML
    with pytest.raises(UserError) as e:
        cases.load(write_case(tmp_path, CASE_TOML.replace(old, new, 1)))
    assert told in str(e.value)
    assert "case.toml" in e.value.where


def test_ids_are_unique_and_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no case is defined"):
        cases.load(tmp_path)
    write_case(tmp_path, CASE_TOML, name="a")
    write_case(tmp_path, CASE_TOML, name="b")
    with pytest.raises(UserError, match="used twice"):
        cases.load(tmp_path)


def test_select_and_axes(tmp_path: Path) -> None:
    loaded = cases.load(write_case(tmp_path, CASE_TOML))
    assert cases.select(loaded, []) == loaded == cases.select(loaded, ["remount"])
    with pytest.raises(UserError, match="did you mean remount"):
        cases.select(loaded, ["remont"])
    cases.check_axes(loaded, ["INDEX", "NOUUID"])
    with pytest.raises(UserError, match="unknown axis 'NOUUID'"):
        cases.check_axes(loaded, ["INDEX", "NO_UUID"])


def test_a_rule_may_speak_of_a_flavour_and_no_flavour_is_plain() -> None:
    def case(*flavours: str) -> Case:
        return replace(CASE, expect=(Expectation("mounted", "because", {"flavour": flavours}),))

    xfs = replace(NOUUID, flavour="xfs")
    assert [bool(case("xfs").expectation(w)) for w in (NOUUID, xfs)] == [False, True]
    assert [bool(case("plain").expectation(w)) for w in (NOUUID, xfs)] == [True, False]
    assert case("plain", "xfs").expectation(xfs) and CASE.expectation(xfs)
    cases.check_axes([case("plain", "xfs")], [], ["xfs"])
    with pytest.raises(UserError, match="unknown flavour 'xsf'; did you mean xfs"):
        cases.check_axes([case("xsf")], [], ["xfs"])


def test_digest_covers_what_runs_and_not_the_expectation(tmp_path: Path) -> None:
    (case,) = cases.load(write_case(tmp_path, CASE_TOML))
    first = case.digest(b"lib")
    assert replace(case, expect=(), goals=("x",), summary="y").digest(b"lib") == first
    others = {case.digest(b"lib2"), replace(case, args=("a",)).digest(b"lib")}
    case.path.write_text("#!/bin/sh\nexit 1\n")
    others.add(case.digest(b"lib"))
    assert len(others) == 3 and first not in others


def test_from_script(tmp_path: Path) -> None:
    script = tmp_path / "My Case!.sh"
    script.write_text("#!/bin/sh\n")
    case = cases.from_script(script)
    assert case.id == "my-case" and case.by_exit and case.path == script
    script.write_text("exit 0\n")
    with pytest.raises(UserError, match="neither with #!"):
        cases.from_script(script)
    for bad in (tmp_path, tmp_path / "gone.sh"):
        with pytest.raises(UserError, match=r"not a file|cannot be read"):
            cases.from_script(bad)


# -- records to case records --------------------------------------------------------------------------------
def test_trials_fold_records() -> None:
    found = case_records(
        [
            Rec("hello", {"release": "5.10.223"}),
            record("start", id="remount"),
            record("obs", key="nlink", value="2"),
            record("obs", key="nlink", value="3"),
            record("obs", key="outcome", value="mounted"),
            record("out", data="hel"),
            record("out", data="lo\n"),
            record("kmsg", level=4, ts_us=5, text="overlayfs: requires a single fs for lower and upper"),
            record("cut", stream="kmsg", dropped=7),
            Rec("beat", {"uptime_ms": "1"}),
            record("end", how="exit", status=0, ms=1500, left="mounts:1"),
            record("start", 1, id="second"),
            Rec("done", {"cases": "2"}),
        ]
    )
    assert found[0] == replace(
        GOOD, observations={"nlink": "3", "outcome": "mounted"}, left="mounts:1", dropped={"kmsg": 7}
    )
    assert found[1].started and not found[1].ended


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


def test_memory_is_bounded_whatever_the_guest_sends() -> None:
    def flood() -> list[Rec]:
        return [record("start", id="remount"), *[record("out", data="x" * 1024)] * 50_000]

    keys = [record("obs", key=f"k{i}", value="v") for i in range(5000)]
    lines = [record("kmsg", text="y" * 10_000)] * 5000
    trial = case_records([*flood(), *keys, *lines, record("obs", key="outcome", value="mounted")])[0]
    assert len(trial.output) == OUTPUT_LIMIT and trial.dropped["out"] == 50_000 * 1024 - OUTPUT_LIMIT
    assert len(trial.observations) <= 500 and sum(map(len, trial.kmsg)) < 10_000_000
    assert trial.outcomes == ("mounted",)


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


def told(result: CaseResult) -> tuple[str, str]:
    return result.verdict.value, result.message


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
        ({"status": 7}, "fail", "the script ended with exit status 7; its last line: hello"),
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
        ({"output": b"TAP version 13\n1..1\nnot ok 1 - a\n"}, "fail", "1 of 1 subtests failed: a"),
        (
            {"output": b"TAP version 13\n1..2\nok 1 - a\n"},
            "error",
            "the KTAP report is not whole: 1 of 2 planned",
        ),
        ({"output": b"KTAP version 1\n1..0 # SKIP no fs\n"}, "skip", "the case skips all its subtests"),
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


def test_no_rule_is_an_error_for_the_control_and_the_goal_for_an_unknown_design() -> None:
    assert judge(CASE, replace(CONTROL, choice={"INDEX": "n"}), CaseEvidence(GOOD)).verdict is Verdict.ERROR
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
        "output": (b"", ktap_of(b"1..1\nok 1"), ktap_of(b"1..2\nok 1"), ktap_of(b"1..1\nnot ok 1")),
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


# -- KTAP ---------------------------------------------------------------------------------------------
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


# -- more rules ---------------------------------------------------------------------------------------
def test_a_message_that_must_not_come() -> None:
    case = replace(CASE, expect=(Expectation("mounted", "quiet", no_kmsg=("single fs",)),))
    assert told(judge(case, NOUUID, CaseEvidence(GOOD))) == (
        "fail",
        "the kernel message 'single fs' came, and must not: quiet",
    )
    assert judge(case, NOUUID, CaseEvidence(replace(GOOD, kmsg=()))).verdict is Verdict.PASS


def test_rules_of_the_file_come_last_and_for_those_who_mention_it(tmp_path: Path) -> None:
    text = CASE_TOML + (
        '\n[[expect]]\nmentions = "index=on"\noutcome = "EINVAL"\nreason = "no such option"\n'
        '\n[[expect]]\nmentions = "uuid=off"\noutcome = "EPERM"\nreason = "nobody mentions this"\n'
    )
    (case,) = cases.load(write_case(tmp_path, text))
    strange = replace(CONTROL, design="somebody's", choice={"INDEX": "maybe"})
    rule = case.expectation(strange)
    assert rule is not None and rule.outcome == "EINVAL"
    assert all(rule.outcome != "EPERM" for rule in case.expect)


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


# -- layered settings ---------------------------------------------------------------------------------
SETTING = Setting(
    designs=("nouuid",),
    parameter="index",
    defaults=(Default("on", {"INDEX": ("y",)}), Default("off")),
    reads={"on": "Y", "off": "N"},
    accepts={"Y": "on", "N": "off"},
    options={"index=on": "on", "index=off": "off"},
    effects={
        "on": {"shown": "on", "stored": "real", "after": "ESTALE"},
        "off": {"shown": "off", "stored": "real", "after": "mounted"},
    },
)
LAYERED = replace(CASE, expect=(), goals=("as-ruled",), settings=(SETTING,))


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


def test_a_default_hangs_on_axes_alone() -> None:
    by_flavour = replace(SETTING, defaults=(Default("on", {"flavour": ("plain",)}), Default("off")))
    with pytest.raises(UserError, match="unknown axis 'flavour'"):
        cases.check_axes([replace(LAYERED, settings=(by_flavour,))], ["INDEX"])
    cases.check_axes([LAYERED], ["INDEX"])


def test_the_script_is_given_the_product_of_its_design() -> None:
    assert LAYERED.arguments(NOUUID)[:3] == ("index", "default", "unset/none")
    assert LAYERED.arguments(POSTED) == ()


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
