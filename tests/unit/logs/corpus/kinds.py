"""Every kind of report: how its lines are made, and what they are to be read as."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kmodpipe.logs.kernel_log import Kind, Report
from tests.unit.logs.corpus.forms import ARCHS, FUNCTION, MODULE, PID, TASK, VERSIONS, Kernel

_CUT = "------------[ cut here ]------------"
_RULE = "=" * 66
_X86 = ("x86",)


@dataclass(frozen=True)
class Sample:
    """One kind of report in every form."""

    name: str
    kind: Kind
    # {function} stands for the function; a title without it has none.
    title: str
    lines: Callable[[Kernel], list[str]]
    archs: tuple[str, ...] = ARCHS
    since: str = "4.19"
    until: str = "7.0"
    # What ends it in a panic, if one belongs to it.
    leads_to: str = ""

    @property
    def expected(self) -> str:
        """The title."""
        return self.title.format(function=FUNCTION)

    def is_read(self, found: Sequence[Report]) -> bool:
        """Return whether a log was read as what it has: this report, and no other."""
        if [(one.kind, one.title) for one in found] != [(self.kind, self.expected)]:
            return False
        panic = found[0].consequence
        return self.leads_to in panic if self.leads_to else not panic

    def kernels(self) -> Iterator[Kernel]:
        """Return the kernels that print it."""
        for version in VERSIONS:
            for arch in self.archs:
                kernel = Kernel(version, arch)
                if kernel.since(self.since) and Kernel(self.until, arch).since(version):
                    yield kernel


# -- parts ------------------------------------------------------------------------------------------
def _warns(
    kernel: Kernel,
    place: str = "fs/foo/sync.c:10",
    at: str | None = None,
    *,
    said: str = "",
    before: tuple[str, ...] = (),
) -> list[str]:
    """Return a WARNING: ``place`` is file and line, ``at`` the address as it is printed."""
    where = kernel.place(FUNCTION, MODULE) if at is None else at
    if kernel.since("6.19"):
        header = (
            f"WARNING: {place} at {where}, CPU#0: {TASK}/{PID}"
            if place
            else f"WARNING: at {where}, CPU#0: {TASK}/{PID}"
        )
    else:
        header = f"WARNING: CPU: 0 PID: {PID} at {place} {where}".replace("at  ", "at ")
    exact = kernel.at(before[0]) if before else kernel.at(FUNCTION, MODULE) if "+0x" in where else []
    return [
        _CUT, *([said] if said else []), header, "Modules linked in: foo(O)", *kernel.who(), *exact,
        *kernel.trace(*before), kernel.end(),
    ]  # fmt: skip


def _warning(
    place: str = "fs/foo/sync.c:10", at: str | None = None, **more: object
) -> Callable[[Kernel], list[str]]:
    return lambda kernel: _warns(kernel, place, at, **more)  # type: ignore[arg-type]


def _dies(
    header: Callable[[Kernel], list[str]], what: str, code: str = "0000"
) -> Callable[[Kernel], list[str]]:
    def lines(kernel: Kernel) -> list[str]:
        name = {"arm64": "Oops", "arm": "Oops", "riscv": "Oops"}.get(kernel.arch, what)
        return [*header(kernel), kernel.die(name, code), "Modules linked in: foo(O)", *kernel.who("Tainted: G           O     "),
                *kernel.at(FUNCTION, MODULE), *kernel.trace(), kernel.end()]  # fmt: skip

    return lines


def _panics(lines: Callable[[Kernel], list[str]], text: str) -> Callable[[Kernel], list[str]]:
    """Return an oops that ends in a panic, with the registers that stand between on x86."""

    def more(kernel: Kernel) -> list[str]:
        return [*lines(kernel), *kernel.at(FUNCTION, MODULE), f"Kernel panic - not syncing: {text}",
                "Kernel Offset: disabled", f"---[ end Kernel panic - not syncing: {text} ]---"]  # fmt: skip

    return more


def _null(kernel: Kernel) -> list[str]:
    if kernel.arch == "x86":
        if not kernel.since("5.10"):
            return [
                "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
                "PGD 0 P4D 0 ",
            ]
        return ["BUG: kernel NULL pointer dereference, address: 0000000000000008",
                "#PF: supervisor read access in kernel mode", "#PF: error_code(0x0000) - not-present page", "PGD 0 P4D 0 "]  # fmt: skip
    cut = ["8<--- cut here ---"] if kernel.arch == "arm" and kernel.since("5.10") else []
    return [*cut, "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008"
            + (" when read" if kernel.arch == "arm" and kernel.since("6.1") else ""),
            *(["Mem abort info:", "  ESR = 0x0000000096000004", "  EC = 0x25: DABT (current EL), IL = 32 bits"] if kernel.arch == "arm64" else [])]  # fmt: skip


def _paging(kernel: Kernel) -> list[str]:
    if kernel.arch != "x86":
        return ["Unable to handle kernel paging request at virtual address dead000000000108"]
    if kernel.since("5.10"):
        return [
            "BUG: unable to handle page fault for address: ffffc90000123000",
            "#PF: supervisor write access in kernel mode",
        ]
    return ["BUG: unable to handle kernel paging request at ffffc90000123000"]


def _gpf(kernel: Kernel) -> list[str]:
    if not kernel.since("5.10"):
        header = "general protection fault: 0000 [#1] SMP NOPTI"
    else:
        header = "general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] SMP NOPTI"
    return [
        ("Oops: " if kernel.since("6.12") else "") + header,
        *kernel.who(),
        *kernel.at(FUNCTION, MODULE),
        *kernel.trace(),
        kernel.end(),
    ]


def _bug(place: str = "fs/foo/sync.c:10!") -> Callable[[Kernel], list[str]]:
    def lines(kernel: Kernel) -> list[str]:
        what = {"x86": "invalid opcode", "riscv": "Kernel BUG"}.get(kernel.arch, "Oops - BUG")
        return [_CUT, f"kernel BUG at {place}", kernel.die(what), "Modules linked in: foo(O)", *kernel.who(),
                *kernel.at(FUNCTION, MODULE), *kernel.trace(), kernel.end()]  # fmt: skip

    return lines


def _kasan(kernel: Kernel) -> list[str]:
    reports = (
        ("print_report", "kasan_report")
        if kernel.since("6.1")
        else ("print_address_description.constprop.0", "kasan_report.cold")
    )
    return [
        _RULE, f"BUG: KASAN: slab-out-of-bounds in {kernel.place(FUNCTION, MODULE)}",
        f"Read of size 8 at addr ffff888004c1e280 by task {TASK}/{PID}", "", *kernel.dump(*reports, "__asan_load8"), "",
        f"Allocated by task {PID}:", " kasan_save_stack+0x1b/0x40", " other_alloc+0x12/0x30 [other]", "",
        "The buggy address belongs to the object at ffff888004c1e240", " which belongs to the cache kmalloc-64 of size 64",
        "Memory state around the buggy address:", " ffff888004c1e180: 00 00 00 00 fc fc fc fc 00 00 00 00 fc fc fc fc",
        _RULE,
    ]  # fmt: skip


def _kasan_in_memcpy(kernel: Kernel) -> list[str]:
    return [line.replace(f"in {kernel.place(FUNCTION, MODULE)}", "in memcpy+0x12/0x30") if "BUG: KASAN" in line else
            line.replace("__asan_load8", "memcpy") for line in _kasan(kernel)]  # fmt: skip


def _kfence(kernel: Kernel) -> list[str]:
    return [_RULE, f"BUG: KFENCE: use-after-free read in {kernel.place(FUNCTION, MODULE)}", "",
            "Use-after-free read at 0xffff888004c1e280 (in kfence-#12):", *kernel.trace()[1:], "",
            "kfence-#12: 0xffff888004c1e280-0xffff888004c1e29f, size=32, cache=kmalloc-32", "",
            f"allocated by task {PID} on cpu 0 at 3.000000s:", " other_alloc+0x12/0x30 [other]", "", *kernel.who(), _RULE]  # fmt: skip


def _kmsan(what: str) -> Callable[[Kernel], list[str]]:
    def lines(kernel: Kernel) -> list[str]:
        return ["=" * 53, f"BUG: KMSAN: {what} in {kernel.place(FUNCTION, MODULE)}", *kernel.trace()[1:], "",
                "Uninit was created at:", " slab_post_alloc_hook+0x12f/0x740", " other_alloc+0x12/0x30 [other]", "",
                "Bytes 4-7 of 8 are uninitialized", "", *kernel.who(), "=" * 53]  # fmt: skip

    return lines


def _kcsan(what: str) -> Callable[[Kernel], list[str]]:
    def lines(kernel: Kernel) -> list[str]:
        return ["=" * 66, f"BUG: KCSAN: {what} in {FUNCTION} / other_side", "",
                f"write to 0xffff888004c1e280 of 8 bytes by task {PID} on cpu 0:", *kernel.trace()[1:], "",
                "read to 0xffff888004c1e280 of 8 bytes by task 77 on cpu 1:", " other_side+0x12/0x30", "",
                "Reported by Kernel Concurrency Sanitizer on:", *kernel.who(), "=" * 66]  # fmt: skip

    return lines


def _ubsan(place: str) -> Callable[[Kernel], list[str]]:
    def lines(kernel: Kernel) -> list[str]:
        new = kernel.since("6.12")
        return [_CUT if new else "=" * 80, f"UBSAN: array-index-out-of-bounds in {place}", "index 9 is out of range for type 'int [4]'",
                *kernel.dump("ubsan_epilogue", "__ubsan_handle_out_of_bounds"), kernel.end() if new else "=" * 80]  # fmt: skip

    return lines


def _lockdep(
    header: str,
    *,
    brackets: bool = False,
    checks: tuple[str, ...] = ("check_noncircular", "__lock_acquire", "lock_acquire", "_raw_spin_lock"),
) -> Callable[[Kernel], list[str]]:
    def lines(kernel: Kernel) -> list[str]:
        return ["=" * 54, f"[ INFO: {header} ]" if brackets else f"WARNING: {header}", f"{kernel.version}.0 #1 Not tainted", "-" * 54,
                f"{TASK}/{PID} is trying to acquire lock:", "ffff888004c1e280 (&foo->lock){+.+.}-{2:2}, at: _raw_spin_lock+0x12/0x30", "",
                "but task is already holding lock:", "ffff888004c1e2c0 (&bar->lock){+.+.}-{2:2}, at: _raw_spin_lock+0x12/0x30", "",
                "the existing dependency chain (in reverse order) is:", "", "-> #1 (&bar->lock){+.+.}-{2:2}:",
                "       lock_acquire+0x12/0x30", "       elsewhere_in_time+0x12/0x30", "", "other info that might help us debug this:", "",
                f"1 lock held by {TASK}/{PID}:", "", "stack backtrace:", *kernel.dump(*checks)]  # fmt: skip

    return lines


def _dumped(*header: str, before: tuple[str, ...] = ()) -> Callable[[Kernel], list[str]]:
    """Return a header, and what `dump_stack` prints."""
    return lambda kernel: [*header, *kernel.dump(*before)]


def _single(*lines: str) -> Callable[[Kernel], list[str]]:
    return lambda kernel: list(lines)


def _stalled(header: tuple[str, ...], before: tuple[str, ...]) -> Callable[[Kernel], list[str]]:
    """Return a stall: the interrupt that found it comes first in the trace."""

    def lines(kernel: Kernel) -> list[str]:
        found = [f" {kernel.place(name)}" for name in before]
        return [
            *header,
            *kernel.who(),
            "Call Trace:",
            " <IRQ>",
            *found,
            " </IRQ>",
            *kernel.at(FUNCTION, MODULE),
            *kernel.trace()[1:],
        ]

    return lines


def _hung(header: str) -> Callable[[Kernel], list[str]]:
    return lambda kernel: [
        header, f"      Not tainted {kernel.version}.0 #1",
        '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
        f"task:{TASK}           state:D stack:    0 pid:  {PID} ppid:     1 flags:0x00000002",
        *kernel.trace("__schedule", "schedule", "schedule_preempt_disabled", "__mutex_lock.constprop.0", "mutex_lock"),
    ]  # fmt: skip


def _unknown_header(kernel: Kernel) -> list[str]:
    return [
        _CUT,
        "foo: the frobnicator has lost its marbles",
        "Modules linked in: foo(O)",
        *kernel.who(),
        *kernel.trace(),
        kernel.end(),
    ]


def _slab(cache: str, what: str) -> Callable[[Kernel], list[str]]:
    return lambda kernel: [
        "=" * 77, f"BUG {cache} (Tainted: G    B      O     ): {what}", "-" * 77, "",
        f"INFO: Allocated in other_alloc+0x12/0x30 [other] age=7 cpu=0 pid={PID}", "\tother_alloc+0x12/0x30 [other]",
        "Slab 0x00000000f0f0f0f0 objects=21 used=3 fp=0x0000000012345678 flags=0x100000000000200",
        *kernel.dump("slab_err", "check_object", "free_debug_processing", "kfree"),
        "FIX kmalloc-64: Restoring 0x0000000012345678=0x6b",
    ]  # fmt: skip


_SMP = "smp_processor_id"
_PREEMPT = ("check_preemption_disabled",)
_SAMPLES: tuple[tuple[object, ...], ...] = (
    # -- warnings of any place
    ("warning", Kind.WARNING, "WARNING in {function}", _warning()),
    ("warning with a message", Kind.WARNING, "WARNING in {function}", _warning(said="foo: 3 of 4 are gone")),
    ("warning in rust", Kind.WARNING, "WARNING in {function}", _warning("drivers/foo.rs:10")),
    ("warning of a dkms module", Kind.WARNING, "WARNING in {function}", _warning("/var/lib/dkms/foo/1.0~rc1/build/main.c:10")),
    ("warning of usr src", Kind.WARNING, "WARNING in {function}", _warning("/usr/src/foo-1.0+git/main.c:10")),
    ("warning in a folder with spaces", Kind.WARNING, "WARNING in {function}", _warning("/home/a b/my module/main.c:10")),
    ("warning in C++", Kind.WARNING, "WARNING in {function}", _warning("src/main.cpp:10")),
    ("warning at zero", Kind.WARNING, "WARNING in {function}", _warning("fs/foo.c:10", "0x0")),
    ("warning at a number", Kind.WARNING, "WARNING in {function}", _warning("fs/foo.c:10", "0xffffffffc0a01010")),
    ("warning without BUGVERBOSE", Kind.WARNING, "WARNING in {function}", _warning("")),
    ("warning without BUGVERBOSE at a number", Kind.WARNING, "WARNING in {function}", _warning("", "0xffffffffc0a01010")),
    ("warning with its condition", Kind.WARNING, "WARNING in {function}", _warning("[n == 0 && a[1]] fs/foo.c:10")),
    ("warning of debug objects", Kind.WARNING, "WARNING in {function}",
     _warning("lib/debugobjects.c:505", "debug_print_object+0x12/0x30", said="ODEBUG: free active (active state 0) object type: timer_list",
              before=("debug_print_object", "debug_check_no_obj_freed", "kfree"))),
    ("refcount", Kind.REFCOUNT, "refcount: underflow in {function}",
     _warning("lib/refcount.c:28", "refcount_warn_saturate+0x12/0x30", said="refcount_t: underflow; use-after-free.", before=("refcount_warn_saturate",))),
    ("list", Kind.LIST, "list_del corruption in {function}",
     _warning("lib/list_debug.c:59", "__list_del_entry_valid_or_report+0x12/0x30",
              said="list_del corruption. prev->next should be ffff888004c1e280, but was dead000000000100", before=("__list_del_entry_valid_or_report",))),
    # -- BUG
    ("BUG", Kind.BUG, "kernel BUG in {function}", _bug()),
    ("BUG of a dkms module", Kind.BUG, "kernel BUG in {function}", _bug("/var/lib/dkms/foo/1.0~rc1/build/main.c:10!")),
    ("BUG in a folder with spaces", Kind.BUG, "kernel BUG in {function}", _bug("/home/a b/main.c:10!")),
    ("BUG without BUGVERBOSE", Kind.BUG, "kernel BUG in {function}",
     lambda k: [line.replace("kernel BUG at", "Kernel BUG at") for line in _bug("foo_sync+0x12/0x30 [foo] [verbose debug info unavailable]")(k)]),
    ("BUG of a driver's own", Kind.BUG, "BUG: the state is wrong in {function}", _dumped("mydrv: BUG: the state is wrong")),
    ("BUG of a device's driver", Kind.BUG, "BUG: the state is wrong in {function}", _dumped("mydrv 0000:00:04.0: BUG: the state is wrong")),
    # -- exceptions
    ("null pointer", Kind.OOPS, "BUG: unable to handle kernel NULL pointer dereference in {function}", _dies(_null, "Oops", "0002")),
    ("null pointer that panics", Kind.OOPS, "BUG: unable to handle kernel NULL pointer dereference in {function}",
     _panics(_dies(_null, "Oops", "0002"), "Fatal exception"), ARCHS, "4.19", "7.0", "Fatal exception"),
    ("paging request", Kind.OOPS, "BUG: unable to handle kernel paging request in {function}", _dies(_paging, "Oops", "0002")),
    ("general protection", Kind.GPF, "general protection fault in {function}", _gpf, _X86),
    ("divide error", Kind.OOPS, "divide error in {function}", _dies(lambda k: [], "divide error"), _X86),
    ("oops without its first line", Kind.OOPS, "Oops in {function}", _dies(lambda k: [], "Oops")),
    ("access to user memory", Kind.OOPS, "BUG: unable to handle kernel access to user memory outside uaccess in {function}",
     _dies(lambda k: ["Unable to handle kernel access to user memory outside uaccess routines at virtual address 00007f0012345678"], "Oops"), ("arm64",)),
    ("external abort", Kind.OOPS, "synchronous external abort in {function}",
     lambda k: ["Internal error: synchronous external abort: 96000210 [#1] SMP", "Modules linked in: foo(O)", *k.who(), *k.at(FUNCTION, MODULE), *k.trace(), k.end()], ("arm64",)),
    ("illegal instruction", Kind.OOPS, "Oops - illegal instruction in {function}",
     lambda k: ["Oops - illegal instruction [#1]", "Modules linked in: foo(O)", *k.who(), *k.at(FUNCTION, MODULE), *k.trace(), k.end()], ("riscv",)),
    ("unhandled fault", Kind.OOPS, "Unhandled fault in {function}",
     lambda k: ["8<--- cut here ---", "Unhandled fault: alignment exception (0x801) at 0xc4a3fe69", "[c4a3fe69] *pgd=4",
                "Internal error: : 801 [#1] PREEMPT SMP ARM", *k.who(), *k.at(FUNCTION, MODULE), *k.trace(), k.end()], ("arm",)),
    ("CFI", Kind.BUG, "CFI failure in {function}",
     lambda k: [f"CFI failure at {k.place(FUNCTION, MODULE)} (target: foo_free+0x0/0x40 [foo]; expected type: 0x12345678)", k.die("Oops - CFI" if k.arch != "x86" else "invalid opcode"),
                *k.who(), *k.at(FUNCTION, MODULE), *k.trace(), k.end()], ("x86", "arm64"), "6.1"),
    # -- sanitizers
    ("KASAN", Kind.KASAN, "KASAN: slab-out-of-bounds in {function}", _kasan),
    ("KASAN in a copy", Kind.KASAN, "KASAN: slab-out-of-bounds in {function}", _kasan_in_memcpy),
    ("KFENCE", Kind.KFENCE, "KFENCE: use-after-free in {function}", _kfence, ("x86", "arm64", "riscv"), "5.10"),
    ("KMSAN uninit", Kind.KMSAN, "KMSAN: uninit-value in {function}", _kmsan("uninit-value"), _X86, "6.1"),
    ("KMSAN infoleak", Kind.KMSAN, "KMSAN: kernel-infoleak in {function}", _kmsan("kernel-infoleak"), _X86, "6.1"),
    ("KCSAN", Kind.KCSAN, "KCSAN: data-race in {function} / other_side", _kcsan("data-race"), ("x86", "arm64"), "5.10"),
    ("KCSAN assertion", Kind.KCSAN, "KCSAN: assert: race in {function} / other_side", _kcsan("assert: race"), ("x86", "arm64"), "5.10"),
    ("UBSAN", Kind.UBSAN, "UBSAN: array-index-out-of-bounds in {function}", _ubsan("fs/foo/sync.c:10:3")),
    ("UBSAN of a dkms module", Kind.UBSAN, "UBSAN: array-index-out-of-bounds in {function}", _ubsan("/var/lib/dkms/foo/1.0~rc1/build/main.c:10:3")),
    ("memory leak", Kind.KMEMLEAK, "memory leak in {function}",
     lambda k: ["kmemleak: unreferenced object 0xffff888004c1e280 (size 64):", f'kmemleak:   comm "{TASK}", pid {PID}, jiffies 4294892345',
                "kmemleak:   backtrace (crc 12345678):", "kmemleak:     [<00000000d5c9e2b1>] kmalloc_trace+0x12/0x30",
                f"kmemleak:     [<00000000d5c9e2b2>] {k.place(FUNCTION, MODULE)}"]),
    # -- slabs and pages
    ("slab poison", Kind.SLAB, "slab: Poison overwritten in kmalloc-64", _slab("kmalloc-64", "Poison overwritten")),
    ("slab of a cgroup", Kind.SLAB, "slab: Redzone overwritten in kmalloc-64", _slab("kmalloc-64(33:user.slice)", "Redzone overwritten")),
    ("slab with a space in its name", Kind.SLAB, "slab: Object already free in my cache", _slab("my cache", "Object already free")),
    ("slab destroyed", Kind.SLAB, "slab: foo_cache is destroyed with objects in {function}",
     _dumped("kmem_cache_destroy foo_cache: Slab cache still has objects", before=("kmem_cache_destroy.cold",)), ARCHS, "4.19", "5.10"),
    ("slab destroyed, as a warning", Kind.SLAB, "slab: foo_cache is destroyed with objects in {function}",
     _warning("mm/slab_common.c:548", "kmem_cache_destroy+0x12/0x30", said="kmem_cache_destroy foo_cache: Slab cache still has objects when called from foo_exit+0x12/0x30 [foo]",
              before=("kmem_cache_destroy",)), ARCHS, "6.1"),
    ("bad page state", Kind.BUG, "BUG: Bad page state in {function}",
     lambda k: [f"BUG: Bad page state in process {TASK}  pfn:12345", "page:(____ptrval____) refcount:-1 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x12345",
                "page dumped because: nonzero _refcount", "Modules linked in: foo(O)", *k.dump("bad_page.cold", "free_pcp_prepare", "free_unref_page", "__free_pages")]),
    ("bad page map", Kind.BUG, "BUG: Bad page map in {function}", _dumped(f"BUG: Bad page map in process {TASK}  pte:8000000012345067 pmd:04a34067",
     "addr:00007f0012345000 vm_flags:00000070 anon_vma:0000000000000000 mapping:ffff888004c1e280 index:3", before=("print_bad_pte",))),
    ("bad pud", Kind.BUG, "bad pud in the page tables", _single("mm/pgtable-generic.c:33: bad pud 0000000012345678(8000000012345067)")),
    ("rss counter", Kind.BUG, "BUG: Bad rss-counter state", _single("BUG: Bad rss-counter state mm:0000000012345678 type:MM_ANONPAGES val:1")),
    ("page tables left", Kind.BUG, "BUG: non-zero pgtables_bytes on freeing mm", _single("BUG: non-zero pgtables_bytes on freeing mm: 4096")),
    ("pagealloc", Kind.SLAB, "pagealloc: memory corruption in {function}", _dumped("pagealloc: memory corruption", "00000000: 00 aa aa aa aa aa aa aa                          ........", before=("check_poison_mem", "kernel_map_pages", "post_alloc_hook", "get_page_from_freelist", "__alloc_pages"))),
    # -- leaks that taint nothing
    ("busy inodes", Kind.BUG, "VFS: Busy inodes after unmount", _single("VFS: Busy inodes after unmount of loop0. Self-destruct in 5 seconds.  Have a nice day..."), ARCHS, "4.19", "5.10"),
    ("busy inodes, as a warning", Kind.BUG, "VFS: Busy inodes after unmount in {function}", _warning("fs/super.c:650", "generic_shutdown_super+0x12/0x30", said="VFS: Busy inodes after unmount of loop0 (foo)", before=("generic_shutdown_super",)), ARCHS, "6.12"),
    ("file count", Kind.BUG, "VFS: Close: file count is 0", _single("VFS: Close: file count is 0")),
    ("net device", Kind.BUG, "unregister_netdevice: waiting for a device to become free", _single("unregister_netdevice: waiting for veth0 to become free. Usage count = 2")),
    ("dentry", Kind.BUG, "BUG: Dentry still in use in {function}",
     lambda k: ["BUG: Dentry 00000000f0f0f0f0{i=2,n=my file}  still in use (1) [unmount of foo loop0]", *_warns(k, "fs/dcache.c:1616", "umount_check+0x12/0x30", before=("umount_check",))]),
    ("kobject", Kind.BUG, "kobject: tried to init an initialized object in {function}", _dumped("kobject: '(null)' (00000000f0f0f0f0): tried to init an initialized object, something is seriously wrong.", before=("kobject_init",))),
    # -- locks and context
    *((f"lockdep: {what}", Kind.LOCKDEP, f"{what} in {{function}}", _lockdep(f"{what}{tail}")) for what, tail in (
        ("possible circular locking dependency", " detected"), ("possible recursive locking", " detected"), ("inconsistent lock state", ""),
        ("possible irq lock inversion dependency", " detected"), ("bad unlock balance", " detected!"), ("held lock freed", "!"), ("Nested lock was not taken", ""))),
    ("lockdep: safe and unsafe", Kind.LOCKDEP, "SOFTIRQ-safe -> SOFTIRQ-unsafe lock order in {function}", _lockdep("SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected")),
    ("lockdep in brackets", Kind.LOCKDEP, "possible circular locking dependency in {function}", _lockdep("possible circular locking dependency detected", brackets=True), ARCHS, "4.19", "4.19"),
    ("lockdep BUG in brackets", Kind.LOCKDEP, "bad unlock balance in {function}", lambda k: [line.replace("[ INFO:", "[ BUG:") for line in _lockdep("bad unlock balance detected!", brackets=True, checks=("print_unlock_imbalance_bug", "lock_release"))(k)], ARCHS, "4.19", "4.19"),
    ("RCU usage", Kind.LOCKDEP, "suspicious RCU usage in {function}",
     lambda k: ["=" * 29, "WARNING: suspicious RCU usage", f"{k.version}.0 #1 Not tainted", "-" * 29, "fs/foo/sync.c:10 suspicious rcu_dereference_check() usage!", "",
                "rcu_scheduler_active = 2, debug_locks = 1", "", "stack backtrace:", *k.dump("lockdep_rcu_suspicious")]),
    ("a key that is not static", Kind.LOCKDEP, "lock without a key in {function}", lambda k: ["INFO: trying to register non-static key.", "The code is fine but needs lockdep annotation, or maybe", "turning off the locking correctness validator.",
     *k.dump("register_lock_class", "__lock_acquire", "lock_acquire", "_raw_spin_lock_irqsave")]),
    ("wait context", Kind.LOCKDEP, "Invalid wait context in {function}", lambda k: ["=============================", "[ BUG: Invalid wait context ]", f"{k.version}.0 #1 Not tainted", "stack backtrace:", *k.dump("__lock_acquire.cold", "lock_acquire", "_raw_spin_lock")], ARCHS, "5.10"),
    ("sleep", Kind.ATOMIC_SLEEP, "sleep in atomic context in {function}", _dumped("BUG: sleeping function called from invalid context at mm/slab.h:421", f"in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: {PID}, name: {TASK}",
     "Preemption disabled at:", "[<ffffffff81234567>] elsewhere_in_time+0x12/0x30", before=("___might_sleep.cold", "kmem_cache_alloc"))),
    ("schedule", Kind.ATOMIC_SLEEP, "scheduling while atomic in {function}", _dumped(f"BUG: scheduling while atomic: {TASK}/{PID}/0x00000002", "Modules linked in: foo(O)", before=("__schedule_bug", "__schedule", "schedule", "schedule_timeout", "msleep"))),
    ("preemptible", Kind.ATOMIC_SLEEP, "BUG: using smp_processor_id() in preemptible code in {function}",
     _dumped(f"BUG: using smp_processor_id() in preemptible [00000000] code: {TASK}/{PID}", "caller is foo_sync+0x12/0x30 [foo]", before=_PREEMPT)),
    ("preemptible, behind a helper", Kind.ATOMIC_SLEEP, "BUG: using __this_cpu_add() in preemptible code in {function}",
     _dumped(f"BUG: using __this_cpu_add() in preemptible [00000000] code: {TASK}/{PID}", "caller is __this_cpu_preempt_check+0x12/0x30", before=_PREEMPT)),
    ("spinlock", Kind.BUG, "BUG: spinlock bad magic in {function}", _dumped(f"BUG: spinlock bad magic on CPU#0, {TASK}/{PID}", " lock: 0xffff888004c1e280, .magic: 00000000, .owner: <none>/-1, .owner_cpu: 0", before=("spin_dump", "do_raw_spin_lock", "_raw_spin_lock"))),
    # -- no progress
    ("soft lockup", Kind.SOFT_LOCKUP, "soft lockup in {function}", lambda k: [f"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [{TASK}:{PID}]", "Modules linked in: foo(O)", *k.who(), *k.at(FUNCTION, MODULE), *k.trace()]),
    ("hard lockup", Kind.HARD_LOCKUP, "hard lockup in {function}", lambda k: ["NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", "Modules linked in: foo(O)", *k.who(), *k.at(FUNCTION, MODULE), *k.trace()], ("x86", "arm64")),
    ("RCU stall", Kind.RCU_STALL, "RCU stall in {function}", _stalled(("rcu: INFO: rcu_preempt self-detected stall on CPU", "rcu: \t0-....: (5249 ticks this GP) idle=0b6/1/0x4000000000000002 softirq=1/1 fqs=2625", "NMI backtrace for cpu 0"),
     ("dump_stack", "nmi_cpu_backtrace", "rcu_dump_cpu_stacks", "rcu_sched_clock_irq", "update_process_times", "tick_sched_timer")), _X86),
    ("hung task", Kind.HUNG_TASK, "task hung in {function}", _hung(f"INFO: task {TASK}:{PID} blocked for more than 120 seconds.")),
    ("hung task in I/O", Kind.HUNG_TASK, "task hung in {function}", _hung(f"INFO: task {TASK}:{PID} blocked in I/O wait for more than 120 seconds."), ARCHS, "6.19"),
    ("hung task with a space before its name", Kind.HUNG_TASK, "task hung in {function}", _hung(f"INFO: task  evil:{PID} blocked for more than 120 seconds.")),
    ("hung task with a newline in its name", Kind.HUNG_TASK, "task hung in {function}", _hung(f"INFO: task evil\ntask:{PID} blocked for more than 120 seconds.")),
    ("task that cannot die", Kind.HUNG_TASK, "task can't die in {function}", _hung(f"INFO: task {TASK}:{PID} can't die for more than 143 seconds.")),
    # -- stacks
    ("stack guard", Kind.STACK, "stack overflow in {function}", lambda k: [f"BUG: {'TASK ' if k.since('6.1') else ''}stack guard page was hit at 00000000f0f0f0f0 (stack is 0000000012345678..0000000087654321)", k.die("stack guard page" if k.since("6.12") else "kernel stack overflow (page fault)"), *k.who(), *k.at(FUNCTION, MODULE), *k.trace(), k.end()], _X86),
    ("unwinder", Kind.WARNING, "WARNING: kernel stack regs has a bad value", _single(f"WARNING: kernel stack regs at         (____ptrval____) in {TASK}:{PID} has bad 'bp' value         (____ptrval____)"), _X86),
    ("stack protector", Kind.STACK, "kernel stack is corrupted in {function}", _dumped("Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: foo_sync+0x12/0x30 [foo]", before=("panic", "__stack_chk_fail"))),
    ("no stack left", Kind.STACK, "stack overflow in {function}", lambda k: ["Insufficient stack space to handle exception!", "Task stack:     [0xffff800010d38000..0xffff800010d3c000]", *k.who(), *k.at(FUNCTION, MODULE), "Kernel panic - not syncing: kernel stack overflow", *k.who(), *k.trace("dump_stack", "panic")], ("arm64", "riscv"), "5.10", "7.0", "kernel stack overflow"),
    # -- memory that is used up, panics
    ("out of memory", Kind.OOM, f"out of memory: killed {TASK}", lambda k: [f"{TASK} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0", *k.dump("dump_header", "oom_kill_process.cold", "out_of_memory"), "Mem-Info:", "active_anon:3 inactive_anon:12345", f"Out of memory: Killed process {PID} ({TASK}) total-vm:12345kB, anon-rss:12345kB"]),
    ("panic", Kind.PANIC, "kernel panic: the frobnicator is gone", _dumped("Kernel panic - not syncing: the frobnicator is gone", before=("panic",))),
    ("no root", Kind.BOOT, "boot failure: no root file system", _dumped("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", before=("panic",))),
    # -- under a header that nothing knows
    ("unknown header", Kind.UNKNOWN, "unknown report in {function}", _unknown_header),
    ("unknown, no cut", Kind.UNKNOWN, "unknown report in {function}", lambda k: ["foo: the frobnicator has lost its marbles", *k.who(), *k.trace(), k.end()]),
    ("unknown, its end", Kind.UNKNOWN, "unknown report", lambda k: [k.end()]),
    ("unknown, its cut", Kind.UNKNOWN, "unknown report", _single(_CUT)),
    ("unknown, modules", Kind.UNKNOWN, "unknown report in {function}", lambda k: ["Modules linked in: foo(O)", *k.trace()]),
)  # fmt: skip
SAMPLES = tuple(Sample(*row) for row in _SAMPLES)  # type: ignore[arg-type]
