"""The lines of a console at a failure."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.logs.evidence import KernelReport
from kmodpipe.report.html import console
from kmodpipe.report.html.console import Excerpt
from kmodpipe.results import CaseResult
from tests.support.sample_run import failed

BOOT = [f"[    0.{n:06}] booting, step {n}" for n in range(40)]
OWN = [
    "[    3.100000] EXT4-fs (loop0): mounted filesystem",
    "[    3.200000] overlayfs: failed to verify origin (/lower, ino=12, err=-116)",
    "[    3.300000] overlayfs: unmounted",
]
KMSG = tuple(line[15:].strip() for line in OWN)


def excerpt(result: CaseResult, lines: list[str], path: str = "c/console.log") -> Excerpt | None:
    data = "\r\n".join(lines).encode() + b"\r\n"

    def read(name: str, offset: int, size: int) -> bytes:
        assert name == path and offset >= 0
        return data[offset : offset + size]

    return console.at_fault(result, path, read)


def test_of_the_messages_of_a_case_the_line_that_tells_of_trouble_is_marked() -> None:
    found = excerpt(replace(failed(0, "x", "y"), kmsg=KMSG), [*BOOT, *OWN, "[    4.000000] next case"])
    assert found and found.line == OWN[1] and found.place == "line 42 of 44 lines"
    assert found.before.split("\n")[-1] == OWN[0] and found.before.split("\n")[0] == BOOT[33]
    assert found.after.split("\n") == [OWN[2], "[    4.000000] next case"]


def test_what_two_cases_may_have_caused_is_not_shown() -> None:
    own = replace(failed(0, "x", "y"), kmsg=KMSG)
    assert excerpt(own, [*BOOT, *OWN, *OWN]) is None
    assert excerpt(own, [*BOOT, *OWN[:2]]) is None, "its messages are not there as a whole"
    assert excerpt(own, []) is None
    assert excerpt(replace(own, kmsg=()), [*BOOT, *OWN]) is None
    assert console.at_fault(own, "", lambda *_: b"x") is None


def test_a_report_of_the_kernel_says_where_it_is() -> None:
    lines = [*BOOT, "[    5.000000] BUG: kernel NULL pointer dereference", "[    5.000001] RIP: ovl_x"]
    offset = sum(len(line) + 2 for line in BOOT)
    report = KernelReport("BUG", "BUG: in ovl_x", log="console.log", offset=offset)
    own = replace(failed(0, "oops", "y"), kmsg=(), reports=(report,))
    found = excerpt(own, lines)
    assert found and found.line == lines[40] and found.after == lines[41]
    # Another guest's log, a benign report, a place behind the end: nothing is claimed.
    assert excerpt(replace(own, reports=(replace(report, log="console-2.log"),)), lines) is None
    assert excerpt(replace(own, reports=(replace(report, benign="known"),)), lines) is None
    assert excerpt(replace(own, reports=(replace(report, offset=10**9),)), lines) is None
