"""What a signature is: the kinds of reports, and the row of a table that names one header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class Kind(StrEnum):
    """The kinds of reports."""

    PANIC = "panic"
    OOPS = "oops"
    BUG = "BUG"
    WARNING = "WARNING"
    GPF = "general protection fault"
    KASAN = "KASAN"
    KFENCE = "KFENCE"
    KMSAN = "KMSAN"
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
    # The kernel reported something, under a header that no signature has.
    UNKNOWN = "unknown report"
    # A message that is an error only where a case or the project watches for it.
    WATCHED = "watched message"


# Reports that count nowhere: dumps that were requested. They are read so that their lines are not taken for
# a report under an unknown header.
QUIET = "quiet"


@dataclass(frozen=True)
class Signature:
    """The header line of one kind of report."""

    kind: Kind
    # A regular expression.
    written: str
    # A format over the pattern's groups and {function}; `` in {function}`` is left out if there is none.
    title: str
    # A substring of every line that matches; the pattern is tried on lines that have it.
    token: str
    # The pattern is tried at the start of a message only, as it is too unspecific elsewhere.
    start_only: bool = False
    # The function is taken from the call trace even if the report has an RIP, which is in the reporting.
    frame: bool = False
    # The report is this line; what follows is not part of it.
    single: bool = False
    # A `Watch` for which the report counts, or `QUIET`; empty if it always counts.
    watch: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The regular expression, compiled when a line first has the token: most never do."""
        return re.compile(self.written)


SYM = r"[A-Za-z_][A-Za-z0-9_.]*"


def sig(
    kind: Kind,
    pattern: str,
    title: str,
    *,
    token: str,
    start_only: bool = False,
    frame: bool = False,
    single: bool = False,
    watch: str = "",
) -> Signature:
    """Return one row of a table."""
    return Signature(kind, pattern, title, token, start_only, frame, single, watch)
