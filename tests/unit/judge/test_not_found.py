"""A program that is not in the guest is found in what its shell printed; what reads alike is not."""

from __future__ import annotations

import pytest

from kmodpipe.judge.not_found import programs_not_found


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/kmodpipe/cases/a/a.sh: line 7: setfattr: not found", "setfattr"),
        ("./a.sh: line 7: mkfs.ext3: not found", "mkfs.ext3"),
        ("a.sh: line 7: g++: not found", "g++"),
        ("a.sh: eval: line 17: fio: not found", "fio"),
        ("a.sh: exec: line 28: fio: not found", "fio"),
        ("a.sh: line 28: exec: fio: not found", "fio"),
        ("sh: fio: not found", "fio"),
        ("bash: line 1: fio: command not found", "fio"),
        ("a.sh: line 20: /usr/bin/fio: not found", "/usr/bin/fio"),
        ("env: can't execute 'bash': No such file or directory", "bash"),
        ("timeout: can't execute 'fio': No such file or directory", "fio"),
        ("xargs: fio: No such file or directory", "fio"),
    ],
)
def test_a_program_that_was_called(line: str, name: str) -> None:
    assert programs_not_found(f"before\n{line}\nafter\n".encode()) == (name,)


@pytest.mark.parametrize(
    "line",
    [
        "typ: not found",  # `type typ`
        "a.sh: line 19: ./helper: not found",  # a file of the case's own
        "a.sh: line 19: merged/helper: not found",
        "find: lower: No such file or directory",
        "cat: merged/f: No such file or directory",
        "mount: mounting overlay on merged failed: No such file or directory",
        "overlayfs: lowerdir not found",
        "the entry was not found",
        "a.sh: line 3: fio: not found.",
        "x" * 1000 + ": line 3: fio: not found",
        "",
    ],
)
def test_what_only_reads_alike(line: str) -> None:
    assert programs_not_found(line.encode()) == ()


def test_each_is_named_once_in_order_and_the_first_eight() -> None:
    names = [f"p{n}" for n in range(20)]
    text = "".join(f"sh: {name}: not found\n" for name in ["b", "a", "b", *names])
    assert programs_not_found(text.encode()) == ("b", "a", *names[:6])


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert programs_not_found(b"\xff\xfe\nsh: \xff: not found\nsh: fio: not found") == ("fio",)
