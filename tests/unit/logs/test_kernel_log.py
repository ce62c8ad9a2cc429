"""Console logs are read as what happened: right titles in every log, nothing invented in a clean one."""

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from kmodpipe.logs.kernel_log import MAX_REPORTS, Kind, Parser, Report, Scanner, parse, parse_file
from tests import support

CORPUS = support.CORPUS / "console"
LOGS = sorted(CORPUS.glob("*.log"))
# What a Linux prints around a report; each is of a guest or of the kernel's source.
NULL = b"[    1.5] BUG: kernel NULL pointer dereference, address: 0000000000000008\r\n"
PANIC = b"[    1.6] Kernel panic - not syncing: Fatal exception\r\n"


def told(report: Report) -> str:
    parts = [report.kind, report.title, report.task, " ".join(report.modules), report.consequence]
    return " | ".join(parts).rstrip(" |")


@pytest.mark.parametrize("log", LOGS, ids=lambda p: p.stem)
def test_the_corpus_is_read_as_expected(log: Path) -> None:
    found = "".join(f"{told(report)}\n" for report in parse_file(log))
    expected = log.with_suffix(".expected")
    if os.environ.get("KMODPIPE_UPDATE_CORPUS"):
        expected.write_text(found)
    assert found == expected.read_text()
    assert bool(found) != log.stem.startswith("clean-")


def test_the_corpus_has_every_kind() -> None:
    assert {r.kind for log in LOGS for r in parse_file(log)} == set(Kind)


@pytest.mark.parametrize("log", LOGS, ids=lambda p: p.stem)
@pytest.mark.parametrize("size", [1, 1000])
def test_pieces_of_any_size_give_the_same(log: Path, size: int) -> None:
    data, parser = log.read_bytes(), Parser()
    for at in range(0, len(data), size):
        parser.feed(data[at : at + size])
    assert parser.finish() == parse(data)


@pytest.mark.parametrize("log", [p for p in LOGS if not p.stem.startswith("clean-")], ids=lambda p: p.stem)
def test_a_log_that_is_cut_behind_a_header_still_tells(log: Path) -> None:
    data = log.read_bytes()
    first = parse(data)[0]
    end = data.index(b"\n", first.offset) + 1 if b"\n" in data[first.offset :] else len(data)
    cut = parse(data[:end])
    assert cut and cut[-1].offset == first.offset


@pytest.mark.parametrize("log", LOGS, ids=lambda p: p.stem)
def test_titles_do_not_change_from_boot_to_boot(log: Path) -> None:
    for report in parse_file(log):
        words = report.title.split()
        assert not any(w.startswith("0x") or (w.isdigit() and len(w) > 1) for w in words)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[    1.234567] ",
        "<1>",
        "<1>[    1.234567] ",
        "[    1.234567][    T1] ",
        "[12345.678901][ T1234@C0] ",
    ],
)
def test_prefixes_do_not_matter(prefix: str) -> None:
    lines = [
        "WARNING: CPU: 0 PID: 131 at fs/overlayfs/util.c:20 ovl_want_write+0x12/0x30 [overlay]",
        "CPU: 0 PID: 131 Comm: mount Not tainted 5.10.223 #1",
        "Call Trace:",
        " ovl_rename+0x12/0x30 [overlay]",
        "---[ end trace 3f1c3f8e1a2b3c4d ]---",
    ]
    (report,) = parse("".join(f"{prefix}{line}\n" for line in lines).encode())
    assert report.title == "WARNING in ovl_want_write"
    assert (report.task, report.pid, report.call_trace) == ("mount", 131, ("ovl_rename",))
    assert report.lines == tuple(lines)


@pytest.mark.parametrize(
    "line",
    [
        # Without DEBUG_BUGVERBOSE; with DEBUG_BUGVERBOSE_DETAILED, before 6.19 and from then on.
        "WARNING: CPU: 0 PID: 131 at ovl_want_write+0x12/0x30 [overlay]",
        "WARNING: at ovl_want_write+0x12/0x30 [overlay], CPU#0: mount/131",
        "WARNING: CPU: 0 PID: 131 at [n == 0 && a[1]] fs/overlayfs/util.c:20 ovl_want_write+0x12/0x30",
        "WARNING: [n == 0 && a[1]] fs/overlayfs/util.c:20 at ovl_want_write+0x12/0x30, CPU#0: mount/131",
    ],
)
def test_warnings_in_every_build_of_the_kernel(line: str) -> None:
    (report,) = parse(f"[    1.234567] {line}\n".encode())
    assert (report.kind, report.title) == (Kind.WARNING, "WARNING in ovl_want_write")


def test_offsets_are_bytes_of_the_log() -> None:
    before = "ä\r\n".encode() * 100
    (report,) = parse(before + NULL)
    assert report.offset == len(before)


def test_a_panic_that_follows_from_something_is_its_consequence() -> None:
    trace = b"[    1.5] RIP: 0010:f+0x1/0x2\n[    1.5] ---[ end trace 0 ]---\n"
    (report,) = parse(NULL + trace + PANIC)
    assert report.kind is Kind.OOPS
    assert "Fatal exception" in report.consequence


@pytest.mark.parametrize("registers", [0, 17, 400])
@pytest.mark.parametrize("text", ["Fatal exception", "Fatal exception in interrupt", "Oops: Fatal exception"])
def test_a_panic_is_the_consequence_however_many_registers_stand_between(registers: int, text: str) -> None:
    trace = b"RIP: 0010:f+0x1/0x2\nCall Trace:\n g+0x1/0x2\n---[ end trace 0 ]---\n"
    between = b"RAX: 0000000000000000 RBX: 0000000000000000 RCX: 0000000000000000\n" * registers
    (report,) = parse(NULL + trace + between + f"Kernel panic - not syncing: {text}\n".encode())
    assert report.consequence == f"Kernel panic - not syncing: {text}"


def test_a_panic_on_warn_is_the_warnings_though_its_trace_follows() -> None:
    log = b"WARNING: CPU: 0 PID: 1 at a.c:1 foo_put+0x1/0x2\n"
    log += PANIC.replace(b"Fatal exception", b"panic_on_warn set")
    trace = b"CPU: 0 PID: 1 Comm: mount Not tainted 4.19.0 #1\nCall Trace:\n panic+0x1/0x2\n caller+0x1/0x2\n"
    (report,) = parse(log + trace)
    assert (report.title, report.task) == ("WARNING in foo_put", "mount")
    assert "panic_on_warn" in report.consequence and report.call_trace[-1] == "caller"


def test_a_panic_of_its_own_is_not_the_end_of_an_old_warning() -> None:
    warning = b"WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n---[ end trace 0 ]---\n"
    reports = parse(warning + b"all is well\n" * 50 + b"Kernel panic - not syncing: no reason\n")
    assert [r.title for r in reports] == ["WARNING in f", "kernel panic: no reason"]


LEAK = b"""kmemleak: unreferenced object 0xffff888004c1e280 (size 8):
kmemleak:   comm "use.sh", pid 25, jiffies 4294892345 (age 5.340s)
kmemleak:   hex dump (first 8 bytes):
kmemleak:     66 69 6c 65 00 6b 6b a5                          file.kk.
kmemleak:   backtrace:
kmemleak:     [<(____ptrval____)>] kmemdup_nul+0x31/0x60
kmemleak:     [<00000000d5c9e2b1>] ovl_copy_up_one+0x7a/0x5a0 [overlay]
"""


def test_the_count_behind_leaked_objects_is_no_leak_of_its_own() -> None:
    count = b"kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n"
    reports = parse(LEAK + LEAK + count)
    assert [r.title for r in reports] == ["memory leak in ovl_copy_up_one"] * 2
    assert {(r.task, r.pid, r.modules) for r in reports} == {("use.sh", 25, ("overlay",))}
    # Where the scan tells only how many there are.
    assert [r.title for r in parse(count)] == ["memory leak"]


def test_a_detector_that_gives_up_is_told() -> None:
    (report,) = parse(b"[    5.1] kmemleak: Kernel memory leak detector disabled\n")
    assert report.title == "kmemleak has given up"


def test_where_an_object_came_from_is_not_where_it_was_misused() -> None:
    log = (CORPUS / "fault-use-after-free.log").read_bytes()
    (report,) = parse(log)
    assert b"Freed by task" in log
    assert "kfree" not in report.call_trace and report.call_trace[-1].startswith("entry_SYSCALL")


@pytest.mark.parametrize(
    "line",
    [
        "the test prints BUG: nothing is wrong",
        "WARNING: this is a script",
        "echo possible circular reasoning",
        "Kernel panics are not syncing",
        "ovl: refcount is fine, list_add worked, 0 tasks blocked",
        "Oops: I did it again",
        "out of memory? no",
        # A loop device under xfs, each time: no report, and no harm.
        "blk_update_request: operation not supported error, dev loop0, sector 8 op 0x9:(WRITE_ZEROES)",
    ],
)
def test_prose_is_no_report(line: str) -> None:
    assert parse(f"[    1.000000] init: {line}\n".encode()) == ()


def test_what_looks_like_a_panic_is_taken_for_one() -> None:
    assert [r.kind for r in parse(b"$ echo Kernel panic - not syncing: haha")] == [Kind.PANIC]


# -- the scanner -----------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [1, 3, 26, 27, 1000])
def test_the_scanner_sees_a_panic_in_pieces(size: int) -> None:
    scanner, log = Scanner(), b"x" * 100 + PANIC + b"y" * 100
    seen = [scanner.feed(log[at : at + size]) for at in range(0, len(log), size)]
    first = seen.index(Kind.PANIC)
    assert first * size <= log.index(b"syncing") + len("syncing") <= (first + 1) * size
    assert set(seen[first:]) == {Kind.PANIC}


def test_the_scanner_is_quiet_without_one() -> None:
    scanner = Scanner()
    assert {scanner.feed(piece) for piece in (NULL, b"Kernel panic", b"- not syncing")} == {None}


# -- bad logs ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("filler", [b"x" * 70_000, b"\x00\xff\x1b[2J" * 9000, b"\n" * 40_000, b"A " * 40_000])
def test_a_report_in_rubbish_is_found(filler: bytes) -> None:
    (report,) = parse(filler + NULL + filler)
    assert report.kind is Kind.OOPS


@pytest.mark.parametrize("shift", range(-60, 61, 7))
def test_a_header_at_the_seam_of_a_line_without_end_is_found(shift: int) -> None:
    reports = parse(b"x" * (16 * 1024 + shift) + PANIC.rstrip() + b"y" * 30_000)
    assert [r.kind for r in reports] == [Kind.PANIC]


@pytest.mark.parametrize("line", [b"a plain line of a log that goes on and on\n", NULL, b"x" * 999])
def test_a_huge_log_is_read_in_bounded_memory_and_time(line: bytes) -> None:
    chunk, parser = line * (200_000 // len(line)), Parser()
    started = time.monotonic()
    tracemalloc.start()
    try:
        for _ in range(20):
            parser.feed(chunk)
        reports = parser.finish()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reports) <= MAX_REPORTS
    assert peak_bytes < 16 * 1024 * 1024
    assert time.monotonic() - started < 30
