"""Reports of every kind are found in every form, with a maintainer's title.

`python -m tests.corpus` shows all of them."""

from __future__ import annotations

import re

import pytest

from kmodpipe.logs.kernel_log import Report, parse
from kmodpipe.logs.signatures import SIGNATURES, TOKENS, is_messenger
from tests.unit.logs.corpus.forms import FUNCTION, MODULE, STYLES, Kernel, log
from tests.unit.logs.corpus.kinds import SAMPLES, Sample

_STYLES = list(STYLES)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.name)
def test_every_kind_of_every_kernel_is_read(sample: Sample) -> None:
    kernels = list(sample.kernels())
    forms = [(kernel, _STYLES[n % len(_STYLES)]) for n, kernel in enumerate(kernels)]
    forms += [(kernels[n % len(kernels)], style) for n, style in enumerate(_STYLES)]
    wrong = {
        (kernel.version, kernel.arch, style): [(r.kind, r.title) for r in found]
        for kernel, style in forms
        if not sample.is_read(found := parse(log(sample.lines(kernel), style)))
    }
    assert wrong == {}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.name)
def test_titles_hold_no_task_address_or_number(sample: Sample) -> None:
    kernel = next(sample.kernels())
    for report in parse(log(sample.lines(kernel))):
        title = report.title.removeprefix("out of memory: killed mount")
        assert not re.search(r"\bmount\b|\b131\b|0x|[0-9a-f]{8}|:\d|syz", title.replace("after unmount", ""))


@pytest.mark.parametrize("sample", [s for s in SAMPLES if "{function}" in s.title], ids=lambda s: s.name)
def test_a_report_whose_function_is_lost_is_said_to_be_vague(sample: Sample) -> None:
    kernel = next(sample.kernels())
    whole = parse(log(sample.lines(kernel)))[0]
    lines = [line for line in sample.lines(kernel) if "+0x" not in line and f"in {FUNCTION}" not in line]
    cut = parse(log(lines))
    assert not whole.vague
    # What a cut log still has of it may be a report of another kind; none of them passes for one of a place.
    assert all(one.vague or not one.function or one.title == whole.title for one in cut)


def test_every_row_is_reached_by_its_token_alone() -> None:
    for signature in SIGNATURES:
        assert any(token.decode() in signature.token for token in TOKENS)


@pytest.mark.parametrize(
    "name",
    [
        "sched_show_task",
        "spin_dump",
        "spin_bug",
        "check_preemption_disabled",
        "bad_page",
        "__sanitizer_cov_trace_pc",
        "skb_panic",
        "__x86_indirect_thunk_rax",
        "fortify_panic",
        "usercopy_abort",
        "check_cpu_stall",
        "dump_cpu_task",
        "__check_object_size",
        "debug_print_object",
        "context_switch",
        "memcpy",
        "_raw_spin_lock.cold",
        "kmalloc_noprof",
        "rb_erase",
    ],
)
def test_what_only_reports_or_passes_on_is_a_messenger(name: str) -> None:
    assert is_messenger(name)


def test_a_modules_function_is_one_only_if_it_is_listed_whole() -> None:
    assert is_messenger("report_status") and not is_messenger("report_status", "foo")
    assert is_messenger("btrfs_assertfail", "btrfs")


# -- frames of every form ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "frame",
    [
        " foo_sync+0x12/0x30 fs/foo/sync.c:12",
        " foo_sync+0x12/0x30 [foo] fs/foo/sync.c:12",
        " foo_sync+0x12/0x30 (fs/foo/sync.c:12 (discriminator 3)) foo",
        " foo_sync (fs/foo/sync.c:12) foo",
        " foo_sync fs/foo/sync.c:12 [inline]",
        " [<ffffffff81234567>] foo_sync+0x12/0x30 [foo]",
        " [<     inline     >] foo_sync fs/foo/sync.c:12",
        "[c000000049a87a10] [c0000000005f7dc8] foo_sync+0x12/0x30",
        " foo_sync+0x12/0x30 [foo 0123456789abcdef0123456789abcdef01234567]",
        " foo_sync.isra.0+0x12/0x30 [foo]",
        " foo_sync+0x12/0x30 (P)",
    ],
)
def test_a_frame_is_read_however_it_is_printed(frame: str) -> None:
    lines = [
        "BUG: sleeping function called from invalid context at mm/slab.h:421",
        *Kernel("5.10", "x86").who(),
    ]
    (report,) = parse("\n".join([*lines, "Call Trace:", " dump_stack+0x1/0x2", frame, ""]).encode())
    assert report.title == "sleep in atomic context in foo_sync"


# -- registers and traces of every architecture ------------------------------------------------------
@pytest.mark.parametrize(
    ("arch", "first"), [("x86", "RIP: "), ("arm64", "pc : "), ("arm", "PC is at "), ("riscv", "epc : ")]
)
def test_registers_and_frames_of_an_architecture_are_kept(arch: str, first: str) -> None:
    sample = next(s for s in SAMPLES if s.name == "null pointer")
    (report,) = parse(log(sample.lines(Kernel("6.1", arch))))
    assert report.registers[0].startswith(first) and len(report.registers) > 3
    assert report.modules == (MODULE,) and report.call_trace[:2] == ("foo_sync", "foo_ioctl")
    assert (report.task, report.pid, report.cpu) == ("mount", 131, 0)


# -- two at once -------------------------------------------------------------------------------------
def _stamped(lines: list[str], caller: str) -> list[str]:
    return [f"[    3.{n:06d}][  {caller}] {line}" for n, line in enumerate(lines)]


def _read(lines: list[str]) -> list[Report]:
    return list(parse("\n".join(lines).encode()))


@pytest.mark.parametrize("step", [1, 2, 5])
def test_lines_of_two_processors_go_to_their_own_reports(step: int) -> None:
    kernel = Kernel("6.12", "x86")
    one, two = (next(s for s in SAMPLES if s.name == name).lines(kernel) for name in ("warning", "KASAN"))
    two = [line.replace(FUNCTION, "bar_sync") for line in two]
    marked = [_stamped(one, "T12"), _stamped(two, "T13")]
    mixed: list[str] = []
    while any(marked):
        for lines in marked:
            mixed += lines[:step]
            del lines[:step]
    found = _read(mixed)
    assert [r.title for r in found] == ["WARNING in foo_sync", "KASAN: slab-out-of-bounds in bar_sync"]
    assert "bar_sync" not in found[0].call_trace and "foo_sync" not in found[1].call_trace


def test_a_message_within_a_trace_does_not_end_it() -> None:
    kernel = Kernel("5.10", "x86")
    lines = next(s for s in SAMPLES if s.name == "sleep").lines(kernel)
    at = lines.index("Call Trace:") + 2
    (report,) = _read([*lines[:at], "tc_dump_action: action bad kind", *lines[at:]])
    assert report.title == "sleep in atomic context in foo_sync"


def test_the_output_of_a_process_within_a_report_is_not_of_it() -> None:
    sample = next(s for s in SAMPLES if s.name == "warning")
    lines = [f"[    3.000001] {line}" for line in sample.lines(Kernel("5.10", "x86"))]
    middle = len(lines) // 2
    (report,) = _read([*lines[:middle], *["the case prints and prints"] * 400, *lines[middle:]])
    assert report.title == "WARNING in foo_sync" and not any("prints" in line for line in report.lines)


# -- the class is closed -----------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["unknown header", "unknown, no cut", "unknown, its end"])
def test_a_report_that_is_not_known_is_found_behind_one_that_is(name: str) -> None:
    kernel = Kernel("6.1", "x86")
    known, unknown = (next(s for s in SAMPLES if s.name == n) for n in ("warning", name))
    found = _read([*known.lines(kernel), *unknown.lines(kernel)])
    assert [r.title for r in found] == [known.expected, unknown.expected]


def test_what_a_dump_that_was_requested_prints_is_no_report() -> None:
    kernel = Kernel("5.10", "x86")
    for header in ("FAULT_INJECTION: forcing a failure.", "sysrq: Show Regs"):
        (report,) = _read([header, *kernel.dump("should_fail.cold", "kmalloc")])
        assert report.watch == "quiet"


def test_a_dump_that_was_requested_hides_no_report_behind_it() -> None:
    kernel = Kernel("5.10", "x86")
    sample = next(s for s in SAMPLES if s.name == "unknown header")
    found = _read(["sysrq: Show Regs", *kernel.dump(), *sample.lines(kernel)])
    assert [r.title for r in found if not r.watch] == ["unknown report in foo_sync"]


@pytest.mark.parametrize("behind", [" " * 40, "x" * 990, "x" * 3000])
def test_an_overlong_line_hides_no_header_behind_one_that_does_not_count(behind: str) -> None:
    found = _read([f"I/O error, dev sda, sector 1 {behind}BUG: KASAN: use-after-free in foo_sync+0x1/0x2"])
    assert [r.title for r in found] == ["KASAN: use-after-free in foo_sync"]


# -- what may be watched for -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "group"),
    [
        ("EXT4-fs error (device loop0): ext4_lookup:1613: inode #2: comm ls: deleted inode", "fs-errors"),
        ("BTRFS error (device loop0): bad tree block start", "fs-errors"),
        ("BTRFS: error (device loop0) in btrfs_commit:12: errno=-5 IO failure", "fs-errors"),
        ("XFS (loop0): Corruption detected. Unmount and run xfs_repair", "fs-errors"),
        ("XFS (loop0): Metadata corruption detected at xfs_agf_verify+0x1/0x2", "fs-errors"),
        ("blk_update_request: I/O error, dev loop0, sector 8 op 0x0:(READ) flags 0x0", "block-errors"),
        ("I/O error, dev loop0, sector 8 op 0x0:(READ) flags 0x0", "block-errors"),
        ("Buffer I/O error on dev loop0, logical block 3, lost async page write", "block-errors"),
        ("mount: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL)", "allocation-failures"),
        ("irq 16: nobody cared (try booting with the \"irqpoll\" option)", "irq-errors"),
    ],
)  # fmt: skip
def test_what_counts_only_where_it_is_watched_for(line: str, group: str) -> None:
    (report,) = _read([line])
    assert report.watch == group
