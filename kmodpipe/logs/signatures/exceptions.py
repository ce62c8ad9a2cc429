"""Exceptions of the processor, BUG, panics and a boot that failed, on every architecture. Data.

Sources: arch/*/kernel/traps.c, arch/*/mm/fault.c, lib/bug.c, kernel/panic.c, init/, 4.19 to 7.0.
"""

from __future__ import annotations

from kmodpipe.logs.signatures.model import SYM, sig
from kmodpipe.logs.signatures.model import Kind as K

# In every header of `die`, which counts the oopses of this boot: "Oops: 0002 [#1] SMP".
DIES = "[#"

BOOT = (
    sig(
        K.BOOT,
        r"Kernel panic - not syncing: (?:VFS: )?Unable to mount root fs",
        "boot failure: no root file system",
        token="Kernel panic",
    ),
    sig(
        K.BOOT,
        r"Kernel panic - not syncing: (?:No (?:working )?init found|Requested init \S+ failed)",
        "boot failure: no init",
        token="Kernel panic",
    ),
    sig(
        K.BOOT,
        r"^ ?-- System halted",
        "boot failure: the kernel image does not unpack",
        token="System halted",
    ),
)
# Before the panics, in which they end.
STACKS = (
    sig(
        K.STACK,
        rf"stack-protector: Kernel stack is corrupted in:(?: (?![0-9a-f]{{8,16}}\b)(?P<at>{SYM}))?",
        "kernel stack is corrupted in {function}",
        token="stack-protector",
        frame=True,
    ),
    sig(
        K.STACK,
        r"corrupted stack end detected inside scheduler",
        "corrupted stack end in {function}",
        token="corrupted stack",
        frame=True,
    ),
    sig(
        K.STACK,
        r"BUG: (?:\S+ )?stack guard page was hit at",
        "stack overflow in {function}",
        token="stack guard page",
    ),
    sig(K.STACK, r"[kK]ernel stack overflow", "stack overflow in {function}", token="ernel stack overflow"),
    sig(
        K.STACK,
        r"Insufficient stack space to handle exception",
        "stack overflow in {function}",
        token="Insufficient stack space",
    ),
    sig(
        K.STACK,
        r"(?:PANIC: double fault|traps: double fault|double fault: [0-9a-f]{4} \[#)",
        "double fault in {function}",
        token="double fault",
    ),
)
_NULL, _PAGING = "kernel NULL pointer dereference", "kernel paging request"
# What arm, arm64, riscv and mips call it, and what it is on x86.
EXCEPTIONS = (
    sig(
        K.OOPS,
        rf"(?:BUG: (?:[uU]nable to handle )?|Unable to handle )[kK]{_NULL[1:]}",
        f"BUG: unable to handle {_NULL} in {{function}}",
        token="NULL pointer",
    ),
    sig(
        K.OOPS,
        rf"BUG: (?:[uU]nable to handle|{_PAGING})",
        f"BUG: unable to handle {_PAGING} in {{function}}",
        token="BUG: ",
    ),
    sig(
        K.OOPS,
        r"Unable to handle kernel (?:paging request|pointer dereference|data access)",
        f"BUG: unable to handle {_PAGING} in {{function}}",
        token="Unable to handle kernel",
    ),
    sig(
        K.OOPS,
        r"Unable to handle kernel (?P<what>[a-z][a-z -]{2,60}?)(?: routines?)?(?: at |$)",
        "BUG: unable to handle kernel {what} in {function}",
        token="Unable to handle kernel",
    ),
    sig(
        K.OOPS,
        r"Unable to handle (?P<what>kernel \S.{0,40})",
        f"BUG: unable to handle {_PAGING} in {{function}}",
        token="Unable to handle kernel",
    ),
    sig(
        K.GPF,
        r"general protection fault(?:, |: [0-9a-f]{4} \[#)",
        "general protection fault in {function}",
        token="general protection",
    ),
    sig(K.BUG, r"[kK]ernel BUG at \S", "kernel BUG in {function}", token="ernel BUG at"),
    sig(K.BUG, r"CFI failure (?:at |\()", "CFI failure in {function}", token="CFI failure"),
    sig(
        K.OOPS,
        r"Unhandled (?P<what>fault|prefetch abort|exception)(?: at |: )[\w( ]",
        "Unhandled {what} in {function}",
        token="Unhandled ",
    ),
    sig(
        K.OOPS,
        r"Bad mode in (?P<what>[\w ]{3,40}) handler detected",
        "bad mode in {function}",
        token="Bad mode in",
    ),
    sig(K.OOPS, r"SError Interrupt on CPU\d", "SError in {function}", token="SError Interrupt on"),
    # "Oops: invalid opcode: 0000 [#1]", "Internal error: Oops - BUG: 0 [#1]".
    sig(
        K.OOPS,
        r"(?:Internal error: |Oops: )(?P<what>[A-Za-z][\w ,./()'-]{2,80}(?:: [A-Za-z][\w ]{2,60})?)"
        r"(?:: [0-9a-f]{1,16})?(?: ilc:\d)? \[#\d+\]",
        "{what} in {function}",
        token=DIES,
    ),
    sig(K.OOPS, r"Internal error: [^\[]{0,100}\[#\d+\]", "Internal error in {function}", token=DIES),
    # "Oops: 0002 [#1]", "Oops [#1]", "Oops[#1]:", "Oops - illegal instruction [#1]", "Kernel BUG [#1]".
    sig(
        K.OOPS,
        r"(?P<what>Oops(?: - [\w ]{2,40})?|Kernel BUG)\b[^\[]{0,40}\[#\d+\]",
        "{what} in {function}",
        token=DIES,
    ),
    sig(
        K.OOPS,
        r"(?P<what>[a-z][\w ,()-]{2,50}): [0-9a-f]{4} \[#\d+\]",
        "{what} in {function}",
        token=DIES,
    ),
)
PANICS = (
    sig(
        K.PANIC,
        r"Kernel panic - not syncing(?:: (?P<what>.*))?",
        "kernel panic: {what}",
        token="Kernel panic",
    ),
)
