"""The answer on the screen."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.analysis.cover import text
from kmodpipe.analysis.cover.join import Question, join
from tests.support.coverage import changes, coverage


def shown(*, crash: bool = False) -> list[str]:
    return list(text.lines(join(Question("fix", "linux-6.1", changes()), coverage(crash=crash))))


def test_the_first_line_is_the_answer_and_then_the_hunk_with_its_line() -> None:
    lines = shown()
    assert lines[0] == "1 of 5 changed lines is executed by no case (80.0 % executed)"
    at = lines.index("fs/toy/super.c, 0001.patch, hunk 1 (static int toy_fill(void))")
    assert [line[:9].rstrip() for line in lines[at + 1 : at + 6]] == [
        "       14",
        "  ✓    15",
        "  ✗    16",
        "       17",
        "       18",
    ]
    at = lines.index("executed, with a branch that no case takes:")
    assert lines[at + 1] == "  fs/toy/super.c:15 if (err): 1 of 2 branches taken"
    assert not any("0002.patch" in line for line in lines), "hunks that are executed are not shown"
    assert lines[-1] == "  toy_fill (fs/toy/super.c:10): 5 of 6 lines executed, 3 of 4 branches taken"


def test_what_is_not_known_has_a_sign_and_a_reason_of_its_own() -> None:
    lines = shown(crash=True)
    assert any(line.startswith("  ?    16") for line in lines)
    assert "    not known of other: no counters came: kernel BUG" in lines


def test_hostile_text_stays_on_its_line() -> None:
    answer = join(Question("fix", "linux-6.1", changes()), coverage())
    hunks = tuple(replace(h, path="a\nb\x1b[31m", header="\x07") for h in answer.hunks)
    assert all(line.isprintable() for line in text.lines(replace(answer, hunks=hunks)))
