"""Read what the tree's semantic patches report of one state of the source. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kmodpipe.analysis.check import sections
from kmodpipe.build.compile_warnings import CompileWarning, in_order

_LINE = re.compile(r"^(?:\./)?(?P<file>[^\s:]+):(?P<line>\d+):\d+-\d+: (?P<text>.*)$")
# What spatch 1.1.1 says of its work, and of a git that is not there.
_FATAL = re.compile(r"^(?:Fatal error|exn while|File \")")
_PROGRESS = re.compile(r"^(?:\d+ files match$|HANDLING: |/bin/sh: \d+: git: )")


@dataclass(frozen=True)
class Reports:
    """What all scripts say of one state."""

    lines: tuple[CompileWarning, ...] = ()
    # Why a script says nothing, by the script; `ALL` if none was run.
    failed: Mapping[str, str] = field(default_factory=dict)
    scripts: int = 0


ALL = ""


def parse(text: str) -> Reports:
    """Return the reports; ``text`` is the recipe's file."""
    if text.strip() == sections.NONE:
        return Reports(failed={ALL: "there is no spatch here, or the tree has no scripts/coccinelle"})
    found: list[CompileWarning] = []
    failed: dict[str, str] = {}
    parts = sections.parse(text)
    for part in parts:
        script = part.words[-1].removeprefix("scripts/coccinelle/") if part.words else ""
        if part.status != 0:
            failed[script] = f"spatch ended with status {part.status}"
        told = False
        for line in part.lines:
            if match := _LINE.match(line):
                name = f"cocci {script.removesuffix('.cocci')}"
                found.append(CompileWarning(match["file"], int(match["line"]), match["text"], name))
            elif told and not _PROGRESS.match(line) and not _FATAL.match(line):
                # misc/bugon.cocci tells in two lines.
                found[-1] = replace(found[-1], text=f"{found[-1].text} {line}")
            elif part.status == 0 and not _PROGRESS.match(line):
                failed.setdefault(script, f"it printed {sections.quoted(line)}")
            told = bool(match)
    if not parts:
        failed[ALL] = "no semantic patch was run"
    return Reports(in_order(found), failed, len(parts))
