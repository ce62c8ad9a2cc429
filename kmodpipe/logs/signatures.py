"""The headers of the kernel's reports, and the title that each gets. Data.

A title names the error and the function to look at, and is the same in every boot: it has no address, offset,
pid, CPU or line number. Patterns match anywhere in a line, since a process may have written the beginning of
the line; so each has to be specific enough not to match prose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of reports."""

    PANIC = "panic"
    OOPS = "oops"
    BUG = "BUG"
    WARNING = "WARNING"
    GPF = "general protection fault"
    KASAN = "KASAN"
    KFENCE = "KFENCE"
    UBSAN = "UBSAN"
    KCSAN = "KCSAN"
    LOCKDEP = "lockdep"
    ATOMIC_SLEEP = "sleep in atomic context"
    RCU_STALL = "RCU stall"
    SOFT_LOCKUP = "soft lockup"
    HARD_LOCKUP = "hard lockup"
    HUNG_TASK = "hung task"
    KMEMLEAK = "memory leak"
    REFCOUNT = "reference count"
    LIST = "list corruption"
    SLAB = "slab corruption"
    OOM = "out of memory"
    STACK = "stack overflow"
    BOOT = "boot failure"


@dataclass(frozen=True)
class Signature:
    """The header line of one kind of report."""

    kind: Kind
    pattern: re.Pattern[str]
    # A format over the pattern's groups and {function}; `` in {function}`` is left out if there is none.
    title: str
    # The pattern is tried at the start of a message only, as it is too unspecific elsewhere.
    start_only: bool = False
    # The function is taken from the call trace even if the report has an RIP, which is in the reporting.
    frame: bool = False
    # A substring of every line that matches; the pattern is tried on lines that have it.
    token: str = ""


_SYM = r"[A-Za-z_][A-Za-z0-9_.]*"


def _sig(
    kind: Kind, pattern: str, title: str, *, token: str = "", start_only: bool = False, frame: bool = False
) -> Signature:
    return Signature(kind, re.compile(pattern), title, start_only, frame, token)


_K = Kind
OOM_BEGINS = "invoked oom-killer"
LEAKED_OBJECT, LEAKS_COUNTED = "unreferenced object", " new suspected memory leaks"
_LOCKDEP = (
    "possible circular locking dependency", "possible recursive locking", "possible bad bit-spinlock",
    "possible irq lock inversion dependency", "inconsistent lock state", "suspicious RCU usage",
    "bad unlock balance", "bad contention", "held lock freed", "lock held when returning to user space",
    "Nested lock was not taken",
)  # fmt: skip
_EXCEPTIONS = (
    "divide error|invalid opcode|stack segment|alignment check|segment not present|invalid TSS|int3|"
    "coprocessor segment overrun|control protection fault|Oops"
)
# Printed before the place with CONFIG_DEBUG_BUGVERBOSE_DETAILED.
_CONDITION = r"(?:\[.{1,500}?\] )?"
# The first signature that matches is used.
SIGNATURES: tuple[Signature, ...] = (
    # -- the kernel did not boot ------------------------------------------------------------------------
    _sig(
        _K.BOOT,
        r"Kernel panic - not syncing: (?:VFS: )?Unable to mount root fs",
        "boot failure: no root file system",
        token="Kernel panic",
    ),
    _sig(
        _K.BOOT,
        r"Kernel panic - not syncing: (?:No (?:working )?init found|Requested init \S+ failed)",
        "boot failure: no init",
        token="Kernel panic",
    ),
    _sig(
        _K.BOOT,
        r"^ ?-- System halted",
        "boot failure: the kernel image does not unpack",
        token="System halted",
    ),
    # -- stacks: before the panics, in which they end ---------------------------------------------------
    _sig(
        _K.STACK,
        rf"stack-protector: Kernel stack is corrupted in: (?P<at>{_SYM})",
        "kernel stack is corrupted in {function}",
        token="stack-protector",
        frame=True,
    ),
    _sig(
        _K.STACK,
        r"corrupted stack end detected inside scheduler",
        "corrupted stack end in {function}",
        token="corrupted stack",
        frame=True,
    ),
    _sig(
        _K.STACK,
        r"BUG: (?:\S+ )?stack guard page was hit at",
        "stack overflow in {function}",
        token="stack guard page",
    ),
    _sig(_K.STACK, r"kernel stack overflow", "stack overflow in {function}", token="stack overflow"),
    _sig(
        _K.STACK,
        r"(?:PANIC: double fault|traps: double fault|double fault: [0-9a-f]{4} \[#)",
        "double fault in {function}",
        token="double fault",
    ),
    # -- sanitizers -------------------------------------------------------------------------------------
    _sig(
        _K.KASAN,
        rf"BUG: KASAN: (?P<what>[a-z-]+(?: or [a-z-]+)?)(?: in (?P<at>{_SYM}))?",
        "KASAN: {what} in {function}",
        token="BUG: KASAN",
        frame=True,
    ),
    _sig(
        _K.KFENCE,
        rf"BUG: KFENCE: (?P<what>[a-z- ]+?)(?: (?:read|write))? in (?P<at>{_SYM})",
        "KFENCE: {what} in {function}",
        token="BUG: KFENCE",
        frame=True,
    ),
    _sig(
        _K.KCSAN,
        rf"BUG: KCSAN: (?P<what>[a-z-]+) in (?P<a>{_SYM})[^/]{{0,60}}(?:/ (?P<b>{_SYM}))?",
        "KCSAN: {what} in {a} / {b}",
        token="BUG: KCSAN",
    ),
    _sig(
        _K.UBSAN,
        r"UBSAN: (?P<what>[A-Za-z-]+(?: behaviour)?) in (?P<file>[\w./-]+):\d+",
        "UBSAN: {what} in {function}",
        token="UBSAN: ",
        frame=True,
    ),
    _sig(
        _K.KMEMLEAK,
        r"unreferenced object 0x[0-9a-f]+ \(size \d+\)",
        "memory leak in {function}",
        token=LEAKED_OBJECT,
        frame=True,
    ),
    _sig(_K.KMEMLEAK, r"kmemleak: \d+ new suspected memory leaks", "memory leak", token=LEAKS_COUNTED),
    # After this message it reports no leak any more, so the absence of reports proves nothing.
    _sig(
        _K.KMEMLEAK, r"Kernel memory leak detector disabled", "kmemleak has given up", token="leak detector"
    ),
    # -- data structures ----------------------------------------------------------------------------------
    _sig(
        _K.REFCOUNT,
        r"refcount_t: (?P<what>[a-z0-9 -]+)",
        "refcount: {what} in {function}",
        token="refcount_t: ",
        frame=True,
    ),
    _sig(
        _K.LIST,
        r"(?P<what>list_(?:add|del)) (?:corruption|double add)",
        "{what} corruption in {function}",
        token="list_",
        frame=True,
    ),
    _sig(
        _K.SLAB,
        r"BUG (?P<cache>[\w.:-]+) \([^)]{0,60}\): (?P<what>[A-Z][A-Za-z ]+)",
        "slab: {what} in {cache}",
        token="BUG ",
        frame=True,
    ),
    # -- lockdep and related checks -----------------------------------------------------------------------
    *(
        _sig(_K.LOCKDEP, rf"(?:WARNING|INFO): {what}", f"{what} in {{function}}", token=what, frame=True)
        for what in _LOCKDEP
    ),
    _sig(
        _K.LOCKDEP,
        r"WARNING: (?P<what>(?:HARD|SOFT)IRQ-safe -> (?:HARD|SOFT)IRQ-unsafe lock order)",
        "{what} in {function}",
        token="IRQ-safe -> ",
        frame=True,
    ),
    _sig(
        _K.LOCKDEP,
        r"BUG: (?P<what>Invalid wait context)",
        "{what} in {function}",
        token="BUG: Invalid wait",
        frame=True,
    ),
    _sig(
        _K.LOCKDEP,
        r"INFO: trying to register non-static key",
        "lock without a key in {function}",
        token="INFO: trying to register",
        frame=True,
    ),
    _sig(
        _K.LOCKDEP,
        r"WARNING: .{1,80} still has locks held!",
        "locks still held in {function}",
        token="still has locks held",
        frame=True,
    ),
    _sig(
        _K.LOCKDEP,
        r"BUG: (?P<what>MAX_LOCK(?:_DEPTH|DEP_\w+)) too low",
        "lockdep: {what} too low",
        token="BUG: MAX_LOCK",
    ),
    _sig(
        _K.ATOMIC_SLEEP,
        r"BUG: sleeping function called from invalid context",
        "sleep in atomic context in {function}",
        token="BUG: sleeping",
        frame=True,
    ),
    _sig(
        _K.ATOMIC_SLEEP,
        r"BUG: scheduling while atomic",
        "scheduling while atomic in {function}",
        token="BUG: scheduling",
        frame=True,
    ),
    # -- no progress -------------------------------------------------------------------------------------
    _sig(
        _K.SOFT_LOCKUP,
        r"BUG: soft lockup - CPU#\d+ stuck for",
        "soft lockup in {function}",
        token="BUG: soft lockup",
    ),
    _sig(
        _K.HARD_LOCKUP,
        r"Watchdog detected hard LOCKUP on cpu",
        "hard lockup in {function}",
        token="hard LOCKUP",
    ),
    _sig(
        _K.RCU_STALL,
        r"INFO: rcu\w* (?:self-detected stall on CPU|detected stalls? on|detected expedited stalls)",
        "RCU stall in {function}",
        token="INFO: rcu",
    ),
    _sig(
        _K.HUNG_TASK,
        r"INFO: task \S.{0,40}:\d+ blocked (?:in I/O wait )?for more than \d+ seconds",
        "task hung in {function}",
        token="INFO: task ",
        frame=True,
    ),
    _sig(_K.BUG, r"BUG: workqueue lockup", "workqueue lockup", token="BUG: workqueue"),
    # -- exceptions ----------------------------------------------------------------------------------------
    _sig(
        _K.OOPS,
        r"BUG: (?:unable to handle )?kernel NULL pointer dereference",
        "BUG: unable to handle kernel NULL pointer dereference in {function}",
        token="NULL pointer",
    ),
    _sig(
        _K.OOPS,
        r"BUG: (?:unable to handle|kernel paging request)",
        "BUG: unable to handle kernel paging request in {function}",
        token="BUG: ",
    ),
    _sig(
        _K.GPF,
        r"general protection fault(?:, |: [0-9a-f]{4} \[#)",
        "general protection fault in {function}",
        token="general protection",
    ),
    _sig(_K.BUG, r"kernel BUG at (?P<file>[\w./-]+):\d+", "kernel BUG in {function}", token="kernel BUG at"),
    _sig(_K.OOPS, rf"(?P<what>{_EXCEPTIONS}): [0-9a-f]{{4}} \[#\d+\]", "{what} in {function}", token=" [#"),
    # -- the rest ------------------------------------------------------------------------------------------
    _sig(
        _K.WARNING,
        rf"WARNING: CPU: \d+ PID: \d+ at {_CONDITION}(?P<file>\S+):\d+(?: (?P<at>[\w.]+)\+)?",
        "WARNING in {function}",
        token="WARNING: CPU",
    ),
    # Without CONFIG_DEBUG_BUGVERBOSE there is no file and line: the formats before 6.19 and since.
    _sig(
        _K.WARNING,
        r"WARNING: (?:CPU: \d+ PID: \d+ )?at (?P<at>[\w.]+)\+0x[0-9a-f]+/0x",
        "WARNING in {function}",
        token="WARNING: ",
    ),
    _sig(
        _K.WARNING,
        rf"WARNING: {_CONDITION}(?P<file>[\w./-]+\.[chS]):\d+ at (?P<at>[\w.]+)\+",
        "WARNING in {function}",
        token="WARNING: ",
    ),
    _sig(
        _K.OOM,
        r"invoked oom-killer: gfp_mask=",
        "out of memory in {function}",
        token=OOM_BEGINS,
        frame=True,
    ),
    _sig(
        _K.OOM,
        r"emory cgroup out of memory: Kill(?:ed)? process \d+ \((?P<comm>[^)]{1,32})\)",
        "out of memory: killed {comm}",
        token="emory cgroup out of memory",
    ),
    _sig(
        _K.OOM,
        r"Out of memory: Kill(?:ed)? process \d+ \((?P<comm>[^)]{1,32})\)",
        "out of memory: killed {comm}",
        token="Out of memory",
    ),
    _sig(
        _K.PANIC,
        r"Kernel panic - not syncing(?:: (?P<what>.*))?",
        "kernel panic: {what}",
        token="Kernel panic",
    ),
    _sig(
        _K.BUG,
        r"BUG: (?P<what>[A-Za-z_][\w ,'/()-]{3,80})",
        "BUG: {what} in {function}",
        token="BUG: ",
        start_only=True,
        frame=True,
    ),
)

# Panics that are the consequence of the report before them, not a report of their own.
CONSEQUENCE = re.compile(
    r"Kernel panic - not syncing: (?:Fatal |panic_on_|kernel: panic_on_|softlockup: |hung_task: |RCU Stall|"
    r"Attempted to kill init|Aiee, killing interrupt|Hard LOCKUP|stack-protector|corrupted stack end|"
    r"kernel stack overflow|Machine halted|System is deadlocked|UBSAN: |KASAN|KFENCE|BUG: |oops|"
    r"Watchdog detected hard LOCKUP|Out of memory)"
)

# Functions of the reporting itself, of locks, allocators, scheduler and entry code: a trace goes through them
# on the way to the function that the report is about.
_MESSENGERS = (
    r"dump_stack\w*|show_stack\w*|__dump_\w+|show_regs|print_\w+|kasan_\w+|__kasan_\w+|__asan_\w+|"
    r"check_memory_region\w*|check_region_\w+|__(?:k?csan|tsan)_\w+|kcsan_\w+|ubsan_\w+|__ubsan_\w+|"
    r"kfence_\w+|end_report|report_\w+|kmem_cache_(?:alloc|free)\w*|k[mzc]alloc\w*|__kmalloc\w*|kfree\w*|"
    r"kv?(?:malloc|free)\w*|slab_\w+|___?slab_\w+|__slab_\w+|__kmem_cache_\w+|object_err|check_(?:object|slab|bytes)\w*|free_debug_\w+|"
    r"alloc_debug_\w+|kmemleak_\w+|create_object|mem(?:cpy|set|move|cmp|dup)\w*|__mem(?:cpy|set|move)\w*|"
    r"kstrdup\w*|kmemdup\w*|kv?asprintf\w*|memdup_\w+|strndup_\w+|str(?:n?cpy|n?cmp|n?len|scpy|lcpy|cat|chr)\w*|"
    r"(?:__|do_)?warn\w*|__warn\w*|panic|nmi_panic|die\w*|oops_\w+|no_context|page_fault_oops|"
    r"__bad_area\w*|bad_area\w*|do_(?:user_addr|kern_addr)_fault|exc_\w+|asm_\w+|handle_bug|do_error_trap|"
    r"do_(?:invalid_op|general_protection|page_fault|trap)\w*|error_entry|page_fault|invalid_op|fixup_bug|"
    r"__?lock_(?:acquire|release)|lock_(?:acquire|release|downgrade|is_held\w*)|check_(?:noncircular|prev_add|prevs_add|deadlock|irq_usage|wait_context|"
    r"lock_unlock\w*|flags)|validate_chain|mark_(?:lock|usage|held_locks)\w*|lockdep_\w+|debug_(?:check|object|smp|locks|mutex|dma)\w*|"
    r"valid_state|register_lock_class|assign_lock_key|look_up_lock_class|"
    r"_?_?_?might_(?:sleep|fault|resched)\w*|__might_\w+|___might_\w+|"
    r"_raw_(?:spin|read|write)_\w+|do_raw_\w+|queued_spin_\w+|native_queued_\w+|pv_queued_\w+|"
    r"(?:__)?mutex_\w+|rwsem_\w+|(?:__)?down(?:_\w+)?|(?:__)?up_(?:read|write)\w*|__down_\w+|percpu_(?:down|up|rwsem)\w*|"
    r"__?schedule\w*|schedule\w*|io_schedule\w*|preempt_\w+|wait_for_\w+|__wait_\w+|do_wait_\w+|bit_wait\w*|"
    r"out_of_line_\w+|wait_on_\w+|prepare_to_\w+|msleep\w*|usleep_\w+|synchronize_\w+|"
    r"dump_header|oom_kill_process|out_of_memory|__alloc_pages\w*|alloc_pages\w*|"
    r"refcount_\w+|__refcount_\w+|kref_\w+|__list_(?:add|del)_\w+|list_(?:add|del)\w*|"
    r"rcu_\w+|watchdog_\w+|hrtimer_\w+|__hrtimer_\w+|tick_\w+|update_process_times|sched_tick|scheduler_tick|"
    r"(?:local_)?apic_timer_\w+|__?sysvec_\w+|sysvec_\w+|asm_sysvec_\w+|smp_\w+|irq_exit\w*|irq_enter\w*|"
    r"nmi_\w+|default_do_nmi|trigger_\w+|arch_trigger_\w+|end_repeat_nmi|perf_\w+|x86_pmu_\w+|intel_pmu_\w+|"
    r"native_(?:safe_)?halt|default_idle\w*|cpu_startup_entry|do_idle|delay_\w+|__(?:const_)?u?delay|"
    r"notifier_\w+|atomic_notifier_\w+|entry_\w+|do_syscall_64|ret_from_fork\w*|__x64_sys_\w+|ksys_\w+"
)
MESSENGER = re.compile(rf"(?:{_MESSENGERS})(?:\.(?:isra|constprop|part|cold|llvm)[.\w]*)?")

# A piece of log without any of these holds no header. Tokens that contain another one are left out.
_TOKENS = {s.token.encode() for s in SIGNATURES}
TOKENS = tuple(t for t in _TOKENS if not any(other in t for other in _TOKENS - {t}))

# After this line a guest never recovers, so there is no use in waiting longer.
FATAL = b"Kernel panic - not syncing"

__all__ = [
    "CONSEQUENCE", "FATAL", "LEAKED_OBJECT", "LEAKS_COUNTED", "MESSENGER", "OOM_BEGINS", "SIGNATURES",
    "TOKENS", "Kind", "Signature",
]  # fmt: skip
