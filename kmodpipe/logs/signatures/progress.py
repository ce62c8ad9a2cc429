"""What does not go on: lockups, stalls and hung tasks. Data.

Sources: kernel/watchdog*.c, kernel/rcu/tree_stall.h, kernel/rcu/tasks.h, kernel/hung_task.c,
kernel/workqueue.c.
"""

from __future__ import annotations

from kmodpipe.logs.signatures.model import Kind as K
from kmodpipe.logs.signatures.model import sig

PROGRESS = (
    sig(
        K.SOFT_LOCKUP,
        r"BUG: soft lockup - CPU#\d+ stuck for",
        "soft lockup in {function}",
        token="BUG: soft lockup",
    ),
    sig(
        K.HARD_LOCKUP,
        r"Watchdog detected (?:hard LOCKUP on cpu|Hard LOCKUP)",
        "hard lockup in {function}",
        token="Watchdog detected",
    ),
    sig(
        K.RCU_STALL,
        r"INFO: \w*rcu\w* (?:self-detected stall on CPU|detected (?:expedited )?stalls?\b)",
        "RCU stall in {function}",
        token="INFO: ",
    ),
    # The name of a task may hold a newline, so that the second half stands alone.
    sig(
        K.HUNG_TASK,
        r"(?:INFO: task .{0,60}|^.{0,16}):\d+ blocked (?:in I/O wait )?for more than \d+ seconds",
        "task hung in {function}",
        token=" for more than ",
        frame=True,
    ),
    sig(
        K.HUNG_TASK,
        r"(?:INFO: task .{0,60}|^.{0,16}):\d+ can't die for more than \d+ seconds",
        "task can't die in {function}",
        token="can't die for more than",
        frame=True,
    ),
    sig(K.BUG, r"BUG: workqueue lockup", "workqueue lockup", token="BUG: workqueue lockup"),
)
