"""Counters are kept in a cell's folder as they were taken; how they come is in tests/unit/agent."""

from __future__ import annotations

import pytest

from kmodpipe.logs.counters import Kept, Taken, from_lines, to_line
from kmodpipe.util.document import Unreadable


def test_what_is_kept_is_read() -> None:
    kept = [
        Kept("(load)", Taken({"obj/a.gcda": bytes(5000), "obj/b.gcda": b"x"})),
        Kept("mount", Taken({}, "the guest ended before they were sent")),
    ]
    assert list(from_lines("".join(map(to_line, kept)))) == kept


@pytest.mark.parametrize(
    "line", ["{}", "[]", '{"case":"x","lost":"","files":{"a":"!"}}', "{", '{"files":[]}']
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(Unreadable):
        list(from_lines(line))
