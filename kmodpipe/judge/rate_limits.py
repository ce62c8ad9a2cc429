"""What the kernel's own rate limits kept back. Pure.

A limit belongs to one call of printk, or to a few that share it. It lets through some messages in an interval
(10 in 5 s by default) and drops the others without a trace. With the first message after the interval it says
how many (lib/ratelimit.c). So a case's messages may be dropped because of what earlier cases in its guest
printed, and that is told while a later one runs, if at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOLD = re.compile(r"(?P<limit>.*): \d+ callbacks suppressed$")
# Limits whose messages are news of no trouble: the limit's name, and what each of its messages contains.
_NEWS = {"EXT4-fs mount": "EXT4-fs"}  # mounted, unmounting, remounted: fs/ext4/super.c


def told(kmsg: Iterable[str]) -> tuple[str, ...]:
    """Return the lines by which the kernel says that it kept messages back."""
    return tuple(line for line in kmsg if _TOLD.match(line))


def may_hide(lines: Iterable[str], wanted: Iterable[str]) -> str:
    """Return the first of the lines of `told` whose messages may hold one of the texts; empty if none may."""
    texts = tuple(wanted)
    for line in lines:
        found = _TOLD.match(line)
        common = _NEWS.get(found["limit"]) if found else None
        if texts and (common is None or any(common in text for text in texts)):
            return line
    return ""
