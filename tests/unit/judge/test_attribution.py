"""What one boot settles: who is charged with a crash, and what of the guest is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmodpipe.judge.attribution import BootEvidence, CellUnderTest, Packed, attribute, refused_module
from kmodpipe.judge.cases import Case, CellContext, Expectation
from kmodpipe.logs import kernel_log
from kmodpipe.logs.known_benign import Benign, KnownBenign
from kmodpipe.results import CaseResult, Verdict
from kmodpipe.vm.boot_record import BootRecord, GuestEnd
from kmodpipe.vm.limits import cut_note
from kmodpipe.vm.protocol import Record
from kmodpipe.vm.qemu import MachineSpec

SCRIPT, LIB = "51" * 32, "11" * 32
CASES = tuple(Case(f"case-{n}", "", Path("run.sh"), goals=("exit-0",), by_exit=True) for n in range(3))
PACKED = Packed("aa" * 20, {"toy": "bb" * 20}, {"toy": "cc" * 32}, (SCRIPT,) * 3, LIB)
CELL = CellUnderTest(CellContext("unpatched.A=y", "unpatched", "none"), CASES, PACKED)
HELLO = ("hello", {"build_id": "aa" * 20})
MODULE = ("module", {"name": "toy", "build_id": "bb" * 20, "sha256": "cc" * 32})
OOPS = b"""\
[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    1.000001] #PF: supervisor read access in kernel mode
[    1.000002] Oops: 0000 [#1] SMP
[    1.000003] CPU: 0 PID: 24 Comm: run.sh Not tainted 5.10.223 #1
[    1.000004] RIP: 0010:toy_read+0x5/0x20 [toy]
[    1.000005] Call Trace:
[    1.000006]  vfs_read+0x7/0x10
[    1.000007] ---[ end trace 0000000000000000 ]---
"""
OOPS_TITLE = kernel_log.parse(OOPS)[0].title
DEAD = {"end": GuestEnd.PANIC, "detail": "Fatal exception"}

Row = tuple[str, Mapping[str, str]]


def start(case: int, **changed: str) -> Row:
    return "start", {"case": str(case), "id": f"case-{case}", "script": SCRIPT, "lib": LIB, **changed}


def end(case: int, **changed: str) -> Row:
    return "end", {"case": str(case), "how": "exit", "status": "0", "ms": "10", **changed}


def whole(*cases: int) -> Iterator[Row]:
    for case in cases:
        yield start(case)
        yield end(case)


def kmsg(case: int, log: bytes) -> list[Row]:
    lines = (line.partition("] ")[2] for line in log.decode().splitlines())
    return [("kmsg", {"case": str(case), "text": line}) for line in lines]


def boot(
    *rows: Row, console: bytes = b"", batch: tuple[int, ...] = (0, 1, 2), **changed: Any
) -> BootEvidence:
    """A boot that went through all of its plan, but for what is changed."""
    record = BootRecord(
        spec=MachineSpec(Path("kernel"), Path("initramfs"), ""),
        end=GuestEnd.DONE,
        detail="",
        records=tuple(Record(n, kind, fields) for n, (kind, fields) in enumerate(rows)),
        console_path=Path("console.log"),
        channel_path=Path("verdict.log"),
        argv=(),
        duration_s=1.0,
        to_init_s=0.5,
        returncode=0,
        stderr_tail="",
        damaged=0,
        foreign_bytes=0,
        console_bytes=len(console),
        console_cut_bytes=0,
        console_offsets={},
    )
    return BootEvidence(replace(record, **changed), kernel_log.parse(console), batch, batch, guest=2)


def words(settled: Mapping[int, CaseResult]) -> dict[int, str]:
    return {index: result.verdict.value for index, result in settled.items()}


def test_a_guest_that_ran_its_plan_settles_all_of_it() -> None:
    settled = attribute(boot(HELLO, MODULE, *whole(0, 1, 2)), CELL)
    assert words(settled) == {0: "pass", 1: "pass", 2: "pass"}
    assert {result.guest for result in settled.values()} == {2}


def test_a_guest_without_the_disk_with_its_tools_has_no_verdict() -> None:
    refused = ("refused", {"what": "disk", "name": "vdb", "errno": "EINVAL"})
    settled = attribute(boot(HELLO, refused), CELL)
    assert words(settled) == {0: "error", 1: "error", 2: "error"}
    assert settled[0].message == "not run: the guest could not mount the disk with its tools, vdb: EINVAL"
    records = [Record(1, *refused)]
    assert refused_module(records) == ""


def test_a_crash_is_charged_to_the_case_in_progress_and_to_no_other() -> None:
    rows = (HELLO, MODULE, *whole(0), start(1))
    console = b"boot\n" + OOPS
    settled = attribute(
        boot(*rows, console=console, console_offsets={0: (0, 5), 1: (5, len(console))}, **DEAD), CELL
    )
    assert words(settled) == {0: "pass", 1: "fail"}  # the third is left for another guest
    assert settled[1].message == f"the kernel reported in this case: {OOPS_TITLE}"
    assert [(one.log, one.offset) for one in settled[1].reports] == [("console.log", 5)]
    assert not settled[0].reports


def test_a_case_without_an_end_is_the_one_that_the_guest_died_in() -> None:
    settled = attribute(boot(HELLO, MODULE, *whole(0), start(1), **DEAD), CELL)
    assert words(settled) == {0: "pass", 1: "fail"}
    assert settled[1].message == "the guest died in this case: panic: Fatal exception"


def test_an_early_end_that_no_case_is_charged_with_leaves_nothing_to_believe() -> None:
    settled = attribute(boot(HELLO, MODULE, *whole(0, 1), end=GuestEnd.EARLY_EXIT), CELL)
    assert words(settled) == {0: "error", 1: "error"}
    assert "damaged or cut" in settled[1].message


@pytest.mark.parametrize("finish", [GuestEnd.QEMU_FAILED, GuestEnd.INTERRUPTED])
def test_what_our_side_ended_is_no_failure_of_the_case(finish: GuestEnd) -> None:
    settled = attribute(boot(HELLO, MODULE, start(0), end=finish, detail="killed"), CELL)
    assert words(settled) == {0: "error"}
    assert settled[0].message == "infrastructure trouble in this case: killed"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("hello", {"build_id": "ff" * 20}), MODULE], "another kernel than the one built"),
        ([("hello", {}), MODULE], "build id none"),
        ([HELLO, ("module", {**MODULE[1], "build_id": "ff" * 20})], "another module toy than the one built"),
        ([HELLO, ("module", {**MODULE[1], "sha256": "ff" * 32})], "SHA-256 ff"),
        ([HELLO], "build id none"),  # a case began and the module was never loaded
    ],
)
def test_a_stranger_gives_no_verdict(rows: list[Row], message: str) -> None:
    settled = attribute(boot(*rows, *whole(0, 1, 2)), CELL)
    assert words(settled) == {0: "error", 1: "error", 2: "error"}
    assert message in settled[2].message


def test_what_was_not_built_with_a_build_id_proves_nothing() -> None:
    cell = replace(CELL, packed=replace(PACKED, kernel_build_id=""))
    settled = attribute(boot(("hello", {"build_id": ""}), MODULE, *whole(0, 1, 2)), cell)
    assert set(words(settled).values()) == {"error"}


def test_a_stranger_settles_what_is_left_of_the_cell_too() -> None:
    one = boot(("hello", {"build_id": "ff"}), *whole(0), batch=(0,))
    assert words(attribute(replace(one, left=(0, 2)), CELL)) == {0: "error", 2: "error"}


@pytest.mark.parametrize("changed", [{"script": "00"}, {"lib": "00"}])
def test_a_script_that_is_not_the_one_that_was_packed(changed: dict[str, str]) -> None:
    settled = attribute(boot(HELLO, MODULE, start(0, **changed), end(0), *whole(1, 2)), CELL)
    assert words(settled) == {0: "error", 1: "pass", 2: "pass"}
    assert "not the script and lib.sh that were packed" in settled[0].message


def test_a_module_that_the_kernel_refuses_fails_every_case_that_is_left() -> None:
    refused = ("refused", {"what": "module", "name": "toy", "errno": "ENOEXEC"})
    settled = attribute(boot(HELLO, refused), CELL)
    assert words(settled) == {0: "fail", 1: "fail", 2: "fail"}
    assert settled[0].message == "could not begin: the kernel refused the module toy: ENOEXEC"
    no_device = ("refused", {"what": "module", "name": "toy", "errno": "ENODEV"})
    assert attribute(boot(HELLO, no_device), CELL)[0].message.endswith(
        "ENODEV, it found no device: a flavour's devices give it one"
    )
    said = replace(boot(HELLO, refused), refusal=("toy: Unknown symbol a (err -2)", "toy: b"))
    assert attribute(said, CELL)[0].message.endswith(": ENOEXEC (toy: Unknown symbol a (err -2); toy: b)")


def test_a_kernel_that_never_came_to_a_case_fails_them() -> None:
    settled = attribute(boot(end=GuestEnd.NO_BOOT, detail="no word"), CELL)
    assert {result.message for result in settled.values()} == {"could not begin: no boot: no word"}


def test_a_damaged_channel_is_not_believed() -> None:
    settled = attribute(boot(HELLO, MODULE, *whole(0, 1, 2), damaged=1), CELL)
    assert set(words(settled).values()) == {"error"}
    # What a crash says is on the console.
    crash = boot(HELLO, MODULE, *whole(0), console=OOPS, console_offsets={0: (0, len(OOPS))}, damaged=1)
    assert attribute(crash, CELL)[0].verdict is Verdict.FAIL


def test_a_last_record_without_a_case_fails_it() -> None:
    settled = attribute(boot(HELLO, MODULE, *whole(0, 1)), CELL)
    assert words(settled) == {0: "pass", 1: "pass", 2: "fail"}
    assert settled[2].message == "could not begin: the guest ended without it"


def test_what_was_cut_out_of_the_console_leaves_no_pass_in_its_time() -> None:
    settled = attribute(
        boot(
            HELLO, MODULE, *whole(0, 1, 2),
            console_offsets={0: (0, 100), 1: (100, 200), 2: (200, 300)},
            console_cut_from=120, console_cut_bytes=50,
        ),
        CELL,
    )  # fmt: skip
    assert words(settled) == {0: "pass", 1: "error", 2: "pass"}
    assert "50 bytes were cut out of the console" in settled[1].message


def test_a_report_behind_a_cut_is_where_it_was_in_the_stream() -> None:
    console = b"x" * 20 + cut_note(1000) + OOPS
    offsets = {0: (0, 20), 1: (20, 1020), 2: (1020, 1020 + len(OOPS))}
    one = boot(
        HELLO, MODULE, *whole(0, 1, 2),
        console=console, console_offsets=offsets, console_cut_from=20, console_cut_bytes=1000,
    )  # fmt: skip
    assert words(attribute(one, CELL)) == {0: "pass", 1: "error", 2: "fail"}


def test_of_two_cases_that_can_have_printed_it_the_one_with_the_line_in_its_kmsg() -> None:
    offsets = {0: (0, len(OOPS)), 1: (0, len(OOPS))}
    rows = (HELLO, MODULE, start(0), *kmsg(0, OOPS), end(0), *whole(1, 2))
    assert words(attribute(boot(*rows, console=OOPS, console_offsets=offsets), CELL)) == {
        0: "fail",
        1: "pass",
        2: "pass",
    }
    # Without such a line it is the last that began.
    settled = attribute(boot(HELLO, MODULE, *whole(0, 1, 2), console=OOPS, console_offsets=offsets), CELL)
    assert words(settled) == {0: "pass", 1: "fail", 2: "pass"}


def test_a_report_between_two_cases_is_the_next_ones() -> None:
    offsets = {0: (0, 0), 1: (len(OOPS) + 1, len(OOPS) + 2)}
    settled = attribute(boot(HELLO, MODULE, *whole(0, 1, 2), console=OOPS, console_offsets=offsets), CELL)
    assert words(settled) == {0: "pass", 1: "fail", 2: "pass"}
    # One that no case began after is charged to the case that was to begin.
    last = boot(HELLO, MODULE, *whole(0, 1), console=OOPS, console_offsets={0: (0, 0), 1: (0, 0)}, **DEAD)
    settled = attribute(last, CELL)
    assert words(settled) == {0: "pass", 1: "pass", 2: "fail"}
    assert settled[2].message.startswith("the kernel reported before this case began")


def test_a_guest_that_was_given_up_has_no_next_case() -> None:
    rows = (HELLO, MODULE, *whole(0), start(1), end(1, how="stuck"))
    one = boot(*rows, console=OOPS, console_offsets={0: (0, 0), 1: (0, 0)}, end=GuestEnd.STUCK)
    settled = attribute(one, CELL)
    assert words(settled) == {0: "pass", 1: "fail"}
    assert settled[1].reports and not settled[0].reports


def test_a_report_that_only_the_ring_had_is_charged_to_its_case() -> None:
    settled = attribute(boot(HELLO, MODULE, *whole(0), start(1), *kmsg(1, OOPS), end(1), *whole(2)), CELL)
    assert words(settled) == {0: "pass", 1: "fail", 2: "pass"}
    assert [(one.title, one.log, one.offset) for one in settled[1].reports] == [
        (OOPS_TITLE, "verdict.log", 0)
    ]


def test_a_report_that_both_console_and_ring_had_is_there_once() -> None:
    rows = (HELLO, MODULE, start(0), *kmsg(0, OOPS), end(0), *whole(1, 2))
    settled = attribute(boot(*rows, console=OOPS, console_offsets={0: (0, len(OOPS))}), CELL)
    assert [one.log for one in settled[0].reports] == ["console.log"]


def test_a_report_that_is_let_off_is_kept_and_costs_nothing() -> None:
    (report,) = kernel_log.parse(OOPS)
    rule = Benign(kind=report.kind.value, title=report.title, reason="the toy is known for it")
    cell = replace(CELL, known_benign=KnownBenign((rule,)))
    # One before the case that was to begin keeps it from nothing, and is the last one's that began.
    one = boot(HELLO, MODULE, *whole(0, 1), console=OOPS, console_offsets={0: (0, 0), 1: (0, 0)}, **DEAD)
    settled = attribute(one, cell)
    assert 2 not in settled and [one.benign for one in settled[1].reports] == [rule.reason]
    whole_plan = boot(HELLO, MODULE, *whole(0, 1, 2), console=OOPS, console_offsets={0: (0, len(OOPS))})
    assert set(words(attribute(whole_plan, cell)).values()) == {"pass"}
    # The search for reports ends at a bound: what may lie behind it is not let off.
    many = replace(whole_plan, console_reports=(report,) * kernel_log.MAX_REPORTS)
    assert words(attribute(many, cell))[0] == "fail"


def test_behind_more_reports_in_the_ring_than_are_searched_for_none_is_let_off() -> None:
    (report,) = kernel_log.parse(OOPS)
    rule = Benign(kind=report.kind.value, title=report.title, reason="the toy is known for it")
    cell = replace(CELL, known_benign=KnownBenign((rule,)))
    settled = attribute(boot(HELLO, MODULE, start(0), *kmsg(0, OOPS), end(0), *whole(1, 2)), cell)
    assert words(settled)[0] == "pass"
    many = OOPS * kernel_log.MAX_REPORTS
    settled = attribute(boot(HELLO, MODULE, start(0), *kmsg(0, many), end(0), *whole(1, 2)), cell)
    assert words(settled) == {0: "fail", 1: "pass", 2: "pass"}


def test_a_retired_guest_settles_what_ran_and_leaves_the_rest() -> None:
    retired = ("retired", {"cases": "2", "why": "a taint"})
    settled = attribute(boot(HELLO, MODULE, *whole(0, 1), retired, end=GuestEnd.RETIRED), CELL)
    assert words(settled) == {0: "pass", 1: "pass"}


# -- the backstops -------------------------------------------------------------------------------------
WARNED = b"""\
[    2.000000] ------------[ cut here ]------------
[    2.000001] WARNING: CPU: 0 PID: 24 at fs/toy.c:10 toy_write+0x5/0x20 [toy]
[    2.000002] CPU: 0 PID: 24 Comm: run.sh Not tainted 5.10.223 #1
[    2.000003] Call Trace:
[    2.000004]  toy_write+0x5/0x20 [toy]
[    2.000005] ---[ end trace 0000000000000000 ]---
"""
LET_OFF = replace(
    CELL,
    known_benign=KnownBenign(
        (Benign(kind="WARNING", title="WARNING in toy_write", reason="the toy is known for it"),)
    ),
)


@pytest.mark.parametrize(
    ("left", "verdict"),
    [("taint:W", "pass"), ("taint:DW", "fail"), ("taint:W,lockdep:off", "fail"), ("taint:?W", "fail")],
)
def test_a_benign_report_does_not_hide_one_that_was_not_heard(left: str, verdict: str) -> None:
    rows = (HELLO, MODULE, start(0), *kmsg(0, WARNED), end(0, left=left), *whole(1, 2))
    settled = attribute(boot(*rows), LET_OFF)
    assert words(settled) == {0: verdict, 1: "pass", 2: "pass"}
    assert [one.title for one in settled[0].reports] == ["WARNING in toy_write"]
    assert verdict == "pass" or settled[0].outcome == "unheard"


def test_a_report_under_an_unknown_header_behind_a_benign_one_fails_the_case() -> None:
    """Both leave the same taint, so that the taint alone would not show the second."""
    second = WARNED.replace(b"WARNING: CPU: 0 PID: 24 at fs/toy.c:10 toy_write+0x5/0x20 [toy]", b"toy: odd")
    rows = (HELLO, MODULE, start(0), *kmsg(0, WARNED + second), end(0, left="taint:W"), *whole(1, 2))
    settled = attribute(boot(*rows), LET_OFF)
    assert words(settled)[0] == "fail"
    assert [one.kind for one in settled[0].reports] == ["WARNING", "unknown report"]


# -- what is watched for ---------------------------------------------------------------------------------
FS_ERROR = (
    b"[    2.000000] EXT4-fs error (device loop0): ext4_lookup:1613: inode #2: comm ls: deleted inode\n"
)


@pytest.mark.parametrize(
    ("own", "project", "verdict"),
    [
        ((), (), "pass"),
        (("fs-errors",), (), "fail"),
        ((), ("fs-errors",), "fail"),
        (("irq-errors",), (), "pass"),
    ],
)
@pytest.mark.parametrize("console", [True, False])
def test_an_error_counts_where_it_is_watched_for(
    own: tuple[str, ...], project: tuple[str, ...], verdict: str, console: bool
) -> None:
    cases = (replace(CASES[0], watch=own), *CASES[1:])
    rows = (HELLO, MODULE, start(0), *([] if console else kmsg(0, FS_ERROR)), end(0), *whole(1, 2))
    log = FS_ERROR if console else b""
    settled = attribute(
        boot(*rows, console=log, console_offsets={0: (0, len(log))}),
        replace(CELL, cases=cases, watch=project),
    )
    assert words(settled) == {0: verdict, 1: "pass", 2: "pass"}


def test_errors_that_are_not_watched_for_fill_no_bound() -> None:
    """Behind many of them a benign report is still let off, and a crash is still found."""
    flood = FS_ERROR * 2 * kernel_log.MAX_REPORTS
    for last, verdict in ((WARNED, "pass"), (OOPS, "fail")):
        rows = (HELLO, MODULE, start(0), end(0, left=""), *whole(1, 2))
        one = boot(*rows, console=flood + last, console_offsets={0: (0, len(flood + last))})
        assert words(attribute(one, LET_OFF))[0] == verdict


# -- rate limits ---------------------------------------------------------------------------------------
LIMIT = b"[    2.000000] toy_read: 4 callbacks suppressed\n"
QUIET = replace(
    CELL,
    cases=tuple(replace(c, expect=(Expectation("exit-0", "quiet", no_kmsg=("refused",)),)) for c in CASES),
)


def test_what_a_limit_kept_back_after_other_cases_is_for_another_guest_to_tell() -> None:
    rows = [HELLO, MODULE, *whole(0), start(1), end(1), start(2), *kmsg(2, LIMIT), end(2)]
    # Heard by the third: of the second a message may be lost as well. The first had the limit for itself.
    assert words(attribute(boot(*rows), QUIET)) == {0: "pass"}
    assert words(attribute(boot(*rows), CELL)) == {0: "pass", 1: "pass", 2: "pass"}


def test_what_a_limit_kept_back_of_the_first_case_is_no_verdict() -> None:
    rows = [HELLO, MODULE, start(1), *kmsg(1, LIMIT), end(1), *whole(2)]
    settled = attribute(boot(*rows, batch=(1, 2)), QUIET)
    assert words(settled) == {1: "error", 2: "pass"}


def test_a_limit_does_not_hide_that_a_case_failed() -> None:
    rows = [HELLO, MODULE, *whole(0), start(1), *kmsg(1, LIMIT), end(1, status="1"), *whole(2)]
    assert words(attribute(boot(*rows), QUIET)) == {0: "pass", 1: "fail", 2: "pass"}
