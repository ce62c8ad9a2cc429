"""What gcov prints, and what is refused of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kmodpipe.analysis.cover import gcov_json
from kmodpipe.results.coverage import FileCounts, FileLines, Function
from kmodpipe.util.document import Unreadable


def line(number: int, count: int, *ways: int) -> dict[str, Any]:
    return {
        "line_number": number,
        "count": count,
        "branches": [{"count": way, "throw": False} for way in ways],
    }


def document(*lines: dict[str, Any], name: str = "/src/fs/toy/super.c", calls: int = 1) -> bytes:
    function = {"name": "f", "start_line": 1, "end_line": 9, "execution_count": calls}
    file = {"file": name, "lines": list(lines), "functions": [function]}
    return json.dumps({"current_working_directory": "/obj", "files": [file]}).encode()


def place(name: str) -> str | None:
    return name.removeprefix("/src/") if name.startswith("/src/") else None


def test_lines_counts_functions_and_branches_are_read() -> None:
    found = gcov_json.read(document(line(3, 2, 2, 0), line(5, 0), line(4, 1, 1)), place)
    assert found == {
        "fs/toy/super.c": (
            FileLines((3, 4, 5), {"f": Function(1, 9)}, {3: 2}),
            FileCounts({3: 2, 4: 1}, {"f": 1}, {3: (2, 0)}),
        )
    }


def test_a_line_of_two_functions_is_the_sum_and_keeps_both_ways() -> None:
    found = gcov_json.read(document(line(3, 2, 2, 0), line(3, 1, 0, 1)), place)
    lines, counts = found["fs/toy/super.c"]
    assert lines.branches == {3: 4} and counts.lines == {3: 3} and counts.branches == {3: (2, 0, 0, 1)}


def test_names_are_relative_to_where_the_compiler_ran_and_others_are_left_out() -> None:
    assert list(gcov_json.read(document(line(1, 1), name="../src/fs/a.c"), place)) == ["fs/a.c"]
    assert gcov_json.read(document(line(1, 1), name="../usr/include/x.h"), place) == {}
    assert gcov_json.read(b"", place) == {}


@pytest.mark.parametrize(
    "text", [b"{}", b"[]", b"{", b'{"files": 3}', document({"line_number": "x"}), b"\xff"]
)
def test_other_text_is_refused(text: bytes) -> None:
    with pytest.raises(Unreadable):
        gcov_json.read(text, place)


def test_damaged_counts_are_bounded() -> None:
    found = gcov_json.read(document(line(3, -5), line(4, 10**19 + 5), line(0, 3)), place)
    lines, counts = found["fs/toy/super.c"]
    assert lines.lines == (3, 4) and counts.lines == {4: 10**19 + 5}


def test_together_is_the_union_and_the_sum() -> None:
    one = FileCounts({1: 1}, {"f": 1}, {1: (1, 0)})
    two = FileCounts({1: 2, 2: 1}, {"g": 1}, {1: (0, 3)})
    assert gcov_json.sum_of([one, two]) == FileCounts({1: 3, 2: 1}, {"f": 1, "g": 1}, {1: (1, 3)})
    a, b = FileLines((1, 3), {"f": Function(1, 2)}, {1: 2}), FileLines((2, 3), {}, {1: 4})
    assert gcov_json.all_lines([a, b]) == FileLines((1, 2, 3), {"f": Function(1, 2)}, {1: 4})
