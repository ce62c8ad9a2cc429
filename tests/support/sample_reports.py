"""Reports as a kernel writes them."""

from __future__ import annotations

from kmodpipe.logs.kernel_log import Report, parse

WARNING = b"""\
[    1.0] ------------[ cut here ]------------
[    1.000001] WARNING: CPU: 1 PID: 27 at first.c:15 caller+0x5/0x20 [first]
[    1.000002] Modules linked in: first
[    1.000003] CPU: 1 PID: 27 Comm: mount Tainted: G        W         5.10.223 #1
[    1.000004] RIP: 0010:caller+0x5/0x20 [first]
[    1.000005] Code: 00 <0f> 0b
[    1.000006] RSP: 0018:ffff8880002f39c8 EFLAGS: 00000246
[    1.000007] RAX: 0000000000000000 RBX: 0000000000000000 RCX: 0000000000000000
[    1.000008] Call Trace:
[    1.000009]  last+0x14/0x20 [first]
[    1.000010]  ? common+0x7/0x10 [first]
[    1.000011]  common+0x7/0x10
[    1.000012]  do_mount+0x7/0x10
[    1.000013] RIP: 0033:0x434b3a
[    1.000014] RSP: 002b:00007fff5b358db8 EFLAGS: 00000246 ORIG_RAX: 00000000000000a5
[    1.000015] ---[ end trace 0000000000000000 ]---
"""
USE_AFTER_FREE = b"""\
==================================================================
BUG: KASAN: use-after-free in caller+0x5/0x20 [first]
Read of size 1 at addr ffff888002f0a500 by task use.sh/24

CPU: 0 PID: 24 Comm: use.sh Not tainted 5.10.223 #1
Call Trace:
 dump_stack+0x20/0x22
 caller+0x5/0x20 [first]

Freed by task 24:
 kfree+0xcd/0x290
 last+0x14/0x20 [first]
==================================================================
"""


def report(log: bytes = WARNING) -> Report:
    (found,) = parse(log)
    return found
