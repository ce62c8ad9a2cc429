"""What is said of an answer."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.analysis.bisect import wording
from kmodpipe.analysis.bisect.model import Result, Seen, Side, Suspect, in_words
from tests.support.sample_answer import ANSWER, BAD, GOOD


def test_outcomes_in_words() -> None:
    assert in_words({"mounted": 1}) == "mounted"
    assert in_words({"mounted": 5}) == "mounted in 5 of 5 runs"
    assert in_words({"died": 3, "mounted": 7}) == "mounted in 7 of 10 runs, died in 3"
    assert Seen("x", "", Side.SKIPPED, why="the cell is ruled out").told == "the cell is ruled out"
    assert Seen("x", "", Side.SKIPPED, {"EIO": 1}, "as at neither end").told == "EIO (as at neither end)"


def test_the_sentence_comes_first_and_the_commands_last() -> None:
    assert list(wording.lines(ANSWER)) == [
        "it is this one",
        "  0123 ovl: a change",
        "  see it: kmodpipe test …",
    ]


def test_the_confidence_is_said_with_the_number_of_runs() -> None:
    said = list(wording.lines(replace(ANSWER, confidence=0.9931)))
    assert "  confidence 99.31%, from 11 runs" in said


def test_no_rate_is_certain() -> None:
    for sure in (0.99996, 1 - 1e-9):
        assert "  confidence 99.99%, from 11 runs" in wording.lines(replace(ANSWER, confidence=sure))


def test_the_table_has_a_row_for_each_state() -> None:
    table = wording.table(ANSWER)
    assert table is not None and table.row_count == 2
    assert wording.table(replace(ANSWER, result=Result.SAME)) is None


def test_the_line_above_it_is_one_line() -> None:
    long = replace(ANSWER, what=f"file:///{'x' * 200} a..b,\n3 commits", case="remount")
    assert wording.heading(long) == f"  file:///{'x' * 200} a..b,\\n3 commits: remount"
    assert wording.heading(replace(long, what="ends", result=Result.CHOOSE)) == "  ends"


def test_one_patch_and_one_of_several() -> None:
    one = (Suspect("0003-c.patch"),)
    assert wording.named("patch 3 of 6", one, of="posted") == "patch 3 of 6 of posted (0003-c.patch)"
    assert wording.named("patch 3 of 6", one * 2, of="posted") == "one of 2 patches of posted"
    said = wording.summary("patch 3", "remount", (GOOD, BAD))
    assert said == "patch 3 changes remount: ESTALE before, mounted in 7 of 10 runs, died in 3 with it"
