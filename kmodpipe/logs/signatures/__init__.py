"""The headers of the kernel's reports, the title that each gets, and the functions that only report. Data.

A title names the error and the function to look at, and is the same in every boot: it has no address, offset,
task, CPU or line number. Patterns match anywhere in a line, since a process may have written the beginning of
the line; so each has to be specific enough not to match prose.
"""

from __future__ import annotations

from kmodpipe.logs.signatures import exceptions, general, locking, memory, progress, unknown, watched
from kmodpipe.logs.signatures.exceptions import DIES
from kmodpipe.logs.signatures.memory import LEAKED_OBJECT, LEAKS_COUNTED, OOM_BEGINS
from kmodpipe.logs.signatures.messengers import is_messenger, is_reporter, plain_symbol
from kmodpipe.logs.signatures.model import QUIET, SYM, Kind, Signature

# The first signature that matches is used.
SIGNATURES: tuple[Signature, ...] = (
    *exceptions.BOOT,
    *exceptions.STACKS,
    *memory.SANITIZERS,
    *memory.STRUCTURES,
    *locking.LOCKING,
    *progress.PROGRESS,
    *exceptions.EXCEPTIONS,
    *general.WARNINGS,
    *memory.OUT_OF_MEMORY,
    *exceptions.PANICS,
    *general.LEAKS,
    *general.BUGS,
    *watched.WATCHED,
    *unknown.UNKNOWN,
)

# A piece of log without any of these holds no header. Tokens that contain another one are left out.
_TOKENS = {s.token.encode() for s in SIGNATURES}
TOKENS = tuple(t for t in _TOKENS if not any(other in t for other in _TOKENS - {t}))

# After this line a guest never recovers, so there is no use in waiting longer.
FATAL = b"Kernel panic - not syncing"

__all__ = [
    "DIES", "FATAL", "LEAKED_OBJECT", "LEAKS_COUNTED", "OOM_BEGINS", "QUIET", "SIGNATURES", "SYM", "TOKENS",
    "Kind", "Signature", "is_messenger", "is_reporter", "plain_symbol",
]  # fmt: skip
