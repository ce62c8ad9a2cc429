"""The line of a case's output that tells why it failed."""

from __future__ import annotations

import pytest

from kmodpipe.judge.cause import cause

BUSYBOX = """\
ls: unrecognized option '--nosuchopt'
BusyBox v1.35.0 (Debian 1:1.35.0-4+deb12u1+b1) multi-call binary.

Usage: ls [-1AaCxdLHRFplinshrSXvctu] [-w WIDTH] [FILE]...

List directory contents

\t-1\tOne column output
\t-a\tInclude names starting with .
or: ls nothing
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("\n  \n", ""),
        ("one\n  two  \n\n", "two"),
        (BUSYBOX, "ls: unrecognized option '--nosuchopt'"),
        (BUSYBOX + "+ exit 1\n", "+ exit 1"),
        (
            BUSYBOX + "cp: cannot stat 'x': No such file or directory\n",
            "cp: cannot stat 'x': No such file or directory",
        ),
        (
            "mkfs.ext4: invalid blocks '8X'\nUsage: mkfs.ext4 [-c] device\n\t[-b block-size]\n",
            "mkfs.ext4: invalid blocks '8X'",
        ),
        ("cp: missing operand\nTry 'cp --help' for more information.\n", "cp: missing operand"),
        ("usage: only this\n", ""),
        (
            "+ mount -t overlay\nmount: mounting overlay failed: Stale file handle\n",
            "mount: mounting overlay failed: Stale file handle",
        ),
        ("+ [ -z x ]\n", "+ [ -z x ]"),
    ],
)
def test_the_last_line_that_is_no_usage_text(output: str, line: str) -> None:
    assert cause(output.encode()) == line


def test_bytes_and_a_long_output_do_no_harm() -> None:
    assert cause(b"\xff\xfe") == "\ufffd\ufffd"
    assert cause(b"x: y\n" * 1_000_000 + b"the end") == "the end"
