"""Write findings as workflow commands of GitHub Actions, which shows them beside the lines of a change. Pure.

What a patch says must not become a command: a command is one line, in which a message has no line ends and a
property neither colons nor commas; what else is printed stands between ``::stop-commands::`` and its end.
"""

from __future__ import annotations

from collections.abc import Iterator

from kmodpipe.analysis.check.model import Finding, Level, PatchReport, Report
from kmodpipe.util.text import visible_lines

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}
# GitHub shows ten of each kind of a step, and fifty of a job.
_MOST = 50


def commands(report: Report) -> Iterator[str]:
    """Yield a command for each finding, the worst first, up to what GitHub shows; notes only of lines."""
    found = [
        (patch, outcome.check, one)
        for _, patch, outcome, one in report.findings
        if one.fails or (one.file and one.line)
    ]
    order = list(Level)
    for patch, check, one in sorted(found, key=lambda row: order.index(row[2].level))[:_MOST]:
        yield _command(patch, check, one)


def _command(patch: PatchReport, check: str, one: Finding) -> str:
    file, line = place(patch, one)
    given = {
        "file": file,
        "line": str(line) if line else "",
        "title": f"{check}, patch {patch.number}",
    }
    properties = ",".join(f"{name}={_property(value)}" for name, value in given.items() if value)
    text = one.text + (f" [{one.rule}]" if one.rule else "")
    return f"::{_COMMANDS[one.level]} {properties}::{_data(text)}"


def place(patch: PatchReport, one: Finding) -> tuple[str, int]:
    """Return the file and line of a finding after the whole series; of one about the patch, the patch."""
    if one.file:
        return one.file, one.final_line
    return patch.path, 1 if patch.path else 0


def stop(token: str) -> tuple[str, str]:
    """Return the lines around output in which nothing is a command; ``token`` is what no patch can know."""
    return f"::stop-commands::{token}", f"::{token}::"


def _data(text: str) -> str:
    return visible_lines(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
