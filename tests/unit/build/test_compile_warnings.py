"""Warnings as records: what is read of a line, and which of two builds are new."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.build import compile_warnings
from kmodpipe.build.compile_warnings import CompileWarning, in_order, new, parse, read_line
from kmodpipe.series import came_from


def named(path: str) -> str:
    return path.removeprefix("/obj/module/")


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (
            "/obj/module/a.c:3:12: warning: ‘f’ defined but not used [-Wunused-function]",
            CompileWarning("a.c", 3, "'f' defined but not used", "-Wunused-function"),
        ),
        ("a.c:7: Warning: odd [x] thing", CompileWarning("a.c", 7, "odd [x] thing", "")),
        (
            "/obj/module/a.o: warning: objtool: f()+0x1c: unreachable instruction",
            CompileWarning("a.o", 0, "f(): unreachable instruction", "objtool"),
        ),
        (
            "WARNING: modpost: /obj/module/a.o(.text+0x12): Section mismatch in reference",
            CompileWarning("", 0, "a.o(.text): Section mismatch in reference", "modpost"),
        ),
        ("/obj/module/a.c:3:12: error: no", None),
        ("/obj/module/a.c:3:12: note: declared here", None),
        ("  CC [M]  /obj/module/warning: a.o", None),
        ("warning: the compiler differs from the one used to build the kernel", None),
    ],
)
def test_a_line(line: str, read: CompileWarning | None) -> None:
    assert parse(line, named) == read


ONE = CompileWarning("a.c", 3, "unused 'x'", "-Wunused")


def test_lines_that_moved_are_not_new_but_one_more_of_the_same_is() -> None:
    moved = CompileWarning("a.c", 30, ONE.text, ONE.flag)
    more = CompileWarning("a.c", 40, ONE.text, ONE.flag)
    other = CompileWarning("b.c", 3, ONE.text, ONE.flag)
    assert new([ONE], [moved]) == ()
    assert new([ONE], [more, moved]) == (more,)
    assert new([ONE], [other, ONE]) == (other,)
    assert new([], [ONE, ONE]) == (ONE,)
    assert new([ONE], []) == ()


def test_the_order_of_compilers_does_not_count() -> None:
    two = CompileWarning("b.c", 1, "x", "")
    assert in_order([two, ONE, two]) == in_order([ONE, two]) == (ONE, two)


def test_they_are_kept(tmp_path: Path) -> None:
    compile_warnings.write(tmp_path / "w", [ONE])
    assert compile_warnings.read(tmp_path / "w") == (ONE,)
    for text in ('{"a": 1}', '[{"file": "a"}]', "[", "[1]"):
        (tmp_path / "w").write_text(text)
        with pytest.raises(ValueError):
            compile_warnings.read(tmp_path / "w")


def test_it_is_shown_as_a_compiler_would() -> None:
    assert str(ONE) == "a.c:3: unused 'x' [-Wunused]"
    assert str(CompileWarning("", 0, "t", "modpost")) == "t [modpost]"


@pytest.mark.parametrize(
    "one",
    [
        ONE,
        CompileWarning("a.c", 7, "odd [x] thing: 'y'", ""),
        CompileWarning("a.o", 0, "f(): unreachable instruction", "objtool"),
        CompileWarning("", 0, "a.o(.text): Section mismatch: in reference", "modpost"),
    ],
)
def test_a_line_that_is_shown_can_be_read_again(one: CompileWarning) -> None:
    assert read_line(str(one)) == one


def test_of_equal_warnings_those_about_added_lines_are_new() -> None:
    """A patch puts one more before an old one: by numbers of lines alone the old one would be new."""
    old, added = CompileWarning("a.c", 13, ONE.text, ONE.flag), CompileWarning("a.c", 3, ONE.text, ONE.flag)

    def origin(file: str, line: int) -> came_from.Place:
        return file, {3: 0, 13: 10}[line]

    assert new([CompileWarning("a.c", 10, ONE.text, ONE.flag)], [added, old], origin) == (added,)


def test_a_file_that_is_renamed_brings_its_warnings_along() -> None:
    after = CompileWarning("b.c", ONE.line, ONE.text, ONE.flag)
    assert new([ONE], [after], lambda file, line: ("a.c", line)) == ()
    assert new([ONE], [after]) == (after,)


def test_numbers_of_lines_in_a_text_do_not_count() -> None:
    one = CompileWarning("a.c", 3, "redefinition of 'x', a.h:12:4 has the first one", "")
    assert new([one], [CompileWarning("a.c", 3, one.text.replace("12:4", "14:9"), "")]) == ()
    assert new([one], [CompileWarning("a.c", 3, one.text.replace("a.h", "b.h"), "")]) != ()


def test_a_line_that_is_replaced_by_one_with_the_same_warning_is_not_new() -> None:
    after = CompileWarning("a.c", 4, ONE.text, ONE.flag)
    assert new([ONE], [after], lambda file, line: (file, 0)) == ()
