"""Lockdep and the other checks of context: what may sleep, be preempted, be locked. Data.

Sources: kernel/locking, kernel/sched, kernel/rcu, lib/smp_processor_id.c, kernel/softirq.c, 4.19 to 7.0.
Until 4.11 lockdep's headers stood in brackets, as "[ INFO: … ]" or "[ BUG: … ]".
"""

from __future__ import annotations

from kmodpipe.logs.signatures.model import Kind as K
from kmodpipe.logs.signatures.model import sig

_LOCKDEP = (
    "possible circular locking dependency", "possible recursive locking", "possible bad bit-spinlock",
    "possible irq lock inversion dependency", "inconsistent lock state", "suspicious RCU usage",
    "bad unlock balance", "bad contention", "held lock freed", "lock held when returning to user space",
    "Nested lock was not taken", "trylock before release", "chain_key collision",
)  # fmt: skip
_SPINLOCK = (
    "bad magic", "already unlocked", "wrong owner", "wrong CPU", "recursion", "cpu recursion", "lockup",
    "lockup suspected", "trylock failure on UP", "uninitialized",
)  # fmt: skip
LOCKING = (
    *(
        sig(K.LOCKDEP, rf"(?:WARNING|INFO|BUG): {what}", f"{what} in {{function}}", token=what, frame=True)
        for what in _LOCKDEP
    ),
    sig(
        K.LOCKDEP,
        r"(?:WARNING|INFO): (?P<what>[A-Z_]+(?:-READ)?-safe -> [A-Z_]+(?:-READ)?-unsafe lock order)",
        "{what} in {function}",
        token="-safe -> ",
        frame=True,
    ),
    sig(
        K.LOCKDEP,
        r"BUG: (?P<what>Invalid wait context)",
        "{what} in {function}",
        token="BUG: Invalid wait",
        frame=True,
    ),
    sig(
        K.LOCKDEP,
        r"INFO: trying to register non-static key",
        "lock without a key in {function}",
        token="INFO: trying to register",
        frame=True,
    ),
    sig(
        K.LOCKDEP,
        r"(?:WARNING|BUG): .{0,80}still has locks held",
        "locks still held in {function}",
        token="still has locks held",
        frame=True,
    ),
    sig(
        K.LOCKDEP,
        r"BUG: (?P<what>MAX_(?:LOCK|STACK)\w*) too low",
        "lockdep: {what} too low",
        token="BUG: MAX_",
    ),
    sig(
        K.LOCKDEP,
        r"BUG: (?P<what>key) \S+ (?:not in|has not been)",
        "lockdep: a key that is not registered in {function}",
        token="BUG: key ",
        frame=True,
    ),
    sig(
        K.ATOMIC_SLEEP,
        r"BUG: sleeping function called from invalid context",
        "sleep in atomic context in {function}",
        token="BUG: sleeping",
        frame=True,
    ),
    sig(
        K.ATOMIC_SLEEP,
        r"BUG: scheduling while atomic",
        "scheduling while atomic in {function}",
        token="BUG: scheduling",
        frame=True,
    ),
    sig(
        K.ATOMIC_SLEEP,
        r"BUG: using (?P<what>\w+(?:\(\))?) in preemptible",
        "BUG: using {what} in preemptible code in {function}",
        token="BUG: using",
        frame=True,
    ),
    sig(
        K.ATOMIC_SLEEP,
        r"huh, entered .{1,120} with preempt_count [0-9a-f]+, exited with",
        "a handler changed the preempt count",
        token="huh, entered",
        single=True,
    ),
    sig(
        K.BUG,
        r"BUG: workqueue leaked (?P<what>lock or atomic|atomic, lock or RCU|\w[\w, ]{2,30})",
        "BUG: workqueue leaked {what} in {function}",
        token="BUG: workqueue leaked",
        frame=True,
    ),
    sig(
        K.BUG,
        rf"BUG: (?P<lock>(?:raw )?spinlock|(?:raw_)?(?:spin|rw|write|read)-?lock|rwlock|rt_mutex) "
        rf"(?P<what>{'|'.join(_SPINLOCK)}) on",
        "BUG: {lock} {what} in {function}",
        token="BUG: ",
        frame=True,
    ),
)
