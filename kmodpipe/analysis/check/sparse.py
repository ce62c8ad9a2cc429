"""Read what sparse printed of each source. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from kmodpipe.analysis.check import sections
from kmodpipe.build.compile_warnings import CompileWarning, in_order

_LINE = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+):(?:\d+:)? (?P<text>.*)$")
_KIND = re.compile(r"^(?P<kind>warning|error|info): (?P<text>.*)$")
# Sparse's statuses: 1 after an error.
_STATUSES = (0, 1)


@dataclass(frozen=True)
class Said:
    """What a tool says of one state of a source."""

    lines: tuple[CompileWarning, ...] = ()
    # Why it is not known what it says, wholly or in part; empty if it is.
    failed: str = ""


def parse(text: str, named: Callable[[str], str]) -> Said:
    """Return what sparse says; ``named`` makes a path relative to the tree.

    ``text`` is the file ``sparse`` of `check_recipes`.
    """
    if text.strip() == sections.NONE:
        return Said(failed="there is no sparse here")
    found: list[CompileWarning] = []
    failed = ""
    parts = sections.parse(text)
    for part in parts:
        source = named(part.words[-1]) if len(part.words) > 1 else ""
        if part.status not in _STATUSES:
            failed = failed or f"sparse ended with status {part.status} on {source}"
        for line in part.lines:
            match = _LINE.match(line)
            if match is None:
                failed = failed or f"sparse printed {sections.quoted(line)}"
                continue
            file, number, said = named(match["file"]), int(match["line"]), match["text"]
            if kind := _KIND.match(said):
                if kind["kind"] == "info":
                    continue
                found.append(CompileWarning(file, number, kind["text"], f"sparse {kind['kind']}"))
            elif found:
                # "   expected restricted __le32": more on the line before.
                last = found.pop()
                more = f"{last.text}; {' '.join(said.split())}"
                found.append(CompileWarning(last.file, last.line, more, last.flag))
    if not parts:
        failed = "sparse was run on no source"
    return Said(in_order(found), failed)
