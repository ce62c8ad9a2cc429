"""What a result keeps and says of a guest's text: printable, and of bounded length. Pure."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from kmodpipe.logs import ktap
from kmodpipe.util.text import one_line, visible_lines

# Bytes of output that a result keeps, and that of a pass.
EXCERPT_LIMIT = 64 * 1024
PASS_EXCERPT_LIMIT = 8 * 1024
# Kernel messages of a case that a result keeps, of its beginning and its end alike.
_KMSG = 1000


def excerpt(data: bytes, limit: int = EXCERPT_LIMIT) -> str:
    """Return ``data`` as printable text, without its middle if it has more than ``limit`` bytes."""
    if len(data) <= limit:
        return visible_lines(data.decode("utf-8", "replace"))
    half = limit // 2
    head, tail = (visible_lines(part.decode("utf-8", "replace")) for part in (data[:half], data[-half:]))
    return f"{head}\n[… {len(data) - 2 * half} bytes left out …]\n{tail}"


def shortened(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines without their middle if there are very many."""
    left_out = len(lines) - 2 * _KMSG
    if left_out <= 0:
        return lines
    return [*lines[:_KMSG], f"[… {left_out} messages left out …]", *lines[-_KMSG:]]


def printable(subtest: ktap.Subtest) -> ktap.Subtest:
    """Return a subtest with its text made printable."""
    return ktap.Subtest(one_line(subtest.name), subtest.verdict, one_line(subtest.note))


def words(outcomes: Sequence[str]) -> str:
    """Return observed outcomes as one phrase."""
    return " and ".join(one_line(word) or "nothing" for word in outcomes)


def last_line_of(output: bytes) -> str:
    """Return the last line of a case's output that is not blank."""
    lines = output.decode("utf-8", "replace").rstrip().rsplit("\n", 1)
    return lines[-1].strip()


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9, and ``signal 99`` where there is no such signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
