"""What stands in the kernel's reports of every kind, and so shows one whose header no table has. Data.

Each line is printed by the code that all reports share: `report_bug`, `oops_end`, `print_modules`,
`show_regs_print_info`. A report that has a known header continues with them, and is not begun by them.
"""

from __future__ import annotations

from kmodpipe.logs.signatures.model import Kind as K
from kmodpipe.logs.signatures.model import Signature, sig

TITLE = "unknown report in {function}"
# Printed before a report: the header follows.
CUT_HERE = sig(K.UNKNOWN, r"-{3,}\[ cut here \]-|8<--- cut here ---", TITLE, token="cut here")
# Printed within one.
TASK = sig(K.UNKNOWN, r"^CPU: \d+ (?:UID: \d+ )?PID: \d+ Comm: ", TITLE, token=" Comm: ")
MODULES = sig(K.UNKNOWN, r"^Modules linked in:", TITLE, token="Modules linked in:")
BACKTRACE = sig(K.UNKNOWN, r"NMI backtrace for cpu \d", TITLE, token="NMI backtrace")
# Printed after one.
END_TRACE = sig(K.UNKNOWN, r"---\[ end trace ", "unknown report", token="end trace", single=True)
EXITED = sig(
    K.UNKNOWN, r"note: .{1,20}\[\d+\] exited with (?:preempt_count|irqs disabled)", "unknown report",
    token="] exited with ", single=True,
)  # fmt: skip
AFTER = (END_TRACE, EXITED)
UNKNOWN: tuple[Signature, ...] = (CUT_HERE, TASK, MODULES, BACKTRACE, *AFTER)
