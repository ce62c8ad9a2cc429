"""Warnings of every place, leaks that taint nothing, and BUG with any text. Data.

Sources: kernel/panic.c, lib/bug.c, fs/super.c, fs/open.c, fs/dcache.c, net/core/dev.c, net/ipv4,
lib/kobject.c, arch/x86/kernel/unwind_*.c, 4.19 to 7.0.
"""

from __future__ import annotations

from kmodpipe.logs.signatures.model import SYM, sig
from kmodpipe.logs.signatures.model import Kind as K

# A warning names its place in the source (with CONFIG_DEBUG_BUGVERBOSE; before it the condition, with
# CONFIG_DEBUG_BUGVERBOSE_DETAILED), and its address: a symbol, or a number if no symbol has it.
_ADDRESS = rf"(?:(?P<at>{SYM})\+0x[0-9a-f]|0x[0-9a-f]|[0-9a-f]{{8}})"
WARNINGS = (
    # Until 6.18: "WARNING: CPU: 0 PID: 12 at fs/foo.c:10 foo+0x1/0x2 [foo]".
    sig(
        K.WARNING,
        rf"WARNING: CPU: \d+ PID: \d+ at (?:.{{0,900}}? )?{_ADDRESS}",
        "WARNING in {function}",
        token="WARNING: CPU",
    ),
    sig(K.WARNING, r"WARNING: CPU: \d+ PID: \d+ at ", "WARNING in {function}", token="WARNING: CPU"),
    # Since: "WARNING: fs/foo.c:10 at foo+0x1/0x2 [foo], CPU#0: mount/12".
    sig(
        K.WARNING,
        rf"WARNING: (?:.{{0,900}}? )?at {_ADDRESS}.{{0,200}}?, CPU#\d+: ",
        "WARNING in {function}",
        token="WARNING: ",
    ),
    sig(
        K.WARNING,
        rf"WARNING: (?:.{{0,900}}?:\d+ )?at (?P<at>{SYM})\+0x[0-9a-f]+/0x",
        "WARNING in {function}",
        token="WARNING: ",
    ),
    sig(K.WARNING, r"WARNING: .{0,900}, CPU#\d+: ", "WARNING in {function}", token="WARNING: "),
    # The unwinder's, which stand within other reports.
    sig(
        K.WARNING,
        r"WARNING: kernel stack (?P<what>regs|frame pointer) at +\S+ in .{1,40} has bad",
        "WARNING: kernel stack {what} has a bad value",
        token="WARNING: kernel stack",
        single=True,
    ),
    sig(
        K.WARNING,
        r"WARNING: (?P<what>can't (?:dereference|access) (?:registers|stack)|unrecognized unwind stack type|"
        r"stack recursion on stack type|bad lookup \w+|Corrupt \.orc_unwind table)",
        "WARNING: {what}",
        token="WARNING: ",
        single=True,
    ),
)
LEAKS = (
    sig(
        K.BUG,
        r"VFS: Busy inodes after unmount of",
        "VFS: Busy inodes after unmount in {function}",
        token="VFS: Busy inodes",
        frame=True,
    ),
    sig(
        K.BUG,
        r"VFS: Close: file count is (?:0|zero)",
        "VFS: Close: file count is 0 in {function}",
        token="VFS: Close: file count",
        frame=True,
    ),
    sig(
        K.BUG,
        r"BUG: Dentry .{1,400}still in use",
        "BUG: Dentry still in use in {function}",
        token="still in use",
        frame=True,
    ),
    sig(
        K.BUG,
        r"unregister_netdevice: waiting for .{1,40} to become free",
        "unregister_netdevice: waiting for a device to become free",
        token="unregister_netdevice: waiting",
        single=True,
    ),
    sig(
        K.BUG,
        r"(?P<what>Attempt to release (?:alive inet|TCP) socket)",
        "{what}",
        token="Attempt to release",
        single=True,
    ),
    sig(K.BUG, r"neighbour leakage", "neighbour leakage", token="neighbour leakage", single=True),
    sig(
        K.BUG,
        r"\w\(\): percpu_ref underflow",
        "percpu_ref underflow",
        token="percpu_ref underflow",
        single=True,
    ),
    sig(
        K.BUG,
        r"(?:^|: )tree is corrupted: \d",
        "vmalloc: a tree is corrupted",
        token="tree is corrupted",
        single=True,
    ),
    sig(K.BUG, r"(?:^|: )BUG in (?P<what>\w+): ", "BUG in {what}", token="BUG in ", frame=True),
    sig(
        K.BUG,
        r"(?P<what>Freeing alive \w+ socket)",
        "{what}",
        token="Freeing alive",
        single=True,
    ),
    sig(
        K.BUG,
        r"kobject: .{1,200}(?P<what>tried to init an initialized object|"
        r"is not initialized, yet kobject_\w+\(\) is being called)",
        "kobject: {what} in {function}",
        token="kobject: ",
        frame=True,
    ),
    sig(
        K.BUG,
        r"sysfs: cannot create duplicate filename",
        "sysfs: cannot create duplicate filename in {function}",
        token="sysfs: cannot create",
        frame=True,
    ),
)
# After all others. A driver may have put its name before it.
BUGS = (
    sig(
        K.BUG,
        r"(?:^|: |\] )BUG: (?P<what>[A-Za-z_].{3,100})",
        "BUG: {what} in {function}",
        token="BUG: ",
        frame=True,
    ),
)
