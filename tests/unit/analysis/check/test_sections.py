"""What the recipes leave is read in parts, whatever stands between them."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.analysis.check import sections


def test_parts_begin_with_two_signs() -> None:
    first, second = sections.parse("before\n== 1 0 a b\nx\n\n  y\n== 2 7\n")
    assert (first.words, first.lines, first.status) == (("1", "0", "a", "b"), ("x", "  y"), 1)
    assert (second.words, second.lines, second.status) == (("2", "7"), (), 2)
    assert first.lines_stripped == ("x", "y")
    assert sections.parse("") == ()


def test_a_file_that_is_no_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"== 0 a\n\xff\xfe\n")
    (part,) = sections.parse(sections.read(tmp_path / "out"))
    assert part.lines == ("��",)


def test_what_a_tool_printed_is_quoted_on_one_short_line() -> None:
    assert sections.quoted(" a\x1b[31m\n::error::\n" + "x" * 500) == repr(
        "a\\x1b[31m\\n::error::\\n" + "x" * 78 + "…"
    )
