"""A finding keeps its name when its line moves, and equal ones have names of their own."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.analysis.check.fingerprints import Fingerprints
from kmodpipe.analysis.check.model import Finding, Level, PatchReport

ONE = Finding(Level.WARNING, "x", "R", "a.c", 3, 3)
PATCH = PatchReport(1, "1.patch", "ovl: x", ())


def test_lines_do_not_count_and_equal_ones_are_told_apart() -> None:
    first, second = Fingerprints(), Fingerprints()
    names = [first.of("sparse", PATCH, ONE), first.of("sparse", PATCH, ONE)]
    moved = replace(ONE, line=99, final_line=98)
    again = [second.of("sparse", replace(PATCH, number=2), moved), second.of("sparse", PATCH, moved)]
    assert names == again and len(set(names)) == 2
    assert first.of("compiler", PATCH, ONE) not in names
