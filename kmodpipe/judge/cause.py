"""What a case printed: the line that tells why it failed, without usage texts. Pure."""

from __future__ import annotations

import re

# The block that busybox prints under its error, and the invitation of GNU programs.
_USAGE_BEGINS = re.compile(r"BusyBox v\S+ .*multi-call binary|[Uu]sage: |USAGE: ")
_USAGE_ALONE = re.compile(r"Try '.*' for more information\.?|Try `.*' for more information\.?|.* --help\b.*")
# Only the end of a long output is looked at.
_TAIL = 32 * 1024


def cause(output: bytes) -> str:
    """Return the last line that is not usage text; "" if there is none.

    With ``set -x`` that may be the trace of the command that failed without a word.
    """
    lines = output[-_TAIL:].decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(_without_usage(lines)) if line.strip()), "")


def _without_usage(lines: list[str]) -> list[str]:
    """Return the lines without usage texts: from their first line to the next that is a message again."""
    kept: list[str] = []
    in_usage = False
    for line in lines:
        if _USAGE_BEGINS.match(line):
            in_usage = True
        elif in_usage and _ends_usage(line):
            in_usage = False
        if not in_usage and not _USAGE_ALONE.fullmatch(line):
            kept.append(line)
    return kept


def _ends_usage(line: str) -> bool:
    """Return whether a line behind a usage text is a message: ``mount: …``, ``+ command``."""
    return bool(re.match(r"\+ |[^\s:]+: ", line)) and not re.match(
        r"(?:or|Usage|usage|or see|options?): ", line
    )
