"""Hunks are left out of what a series makes, also where later patches moved or changed the lines."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.trees import git
from tests.unit.analysis.ablate.samples import Work, numbered


def text(content: bytes | None) -> str:
    assert content is not None
    return content.decode()


def test_each_hunk_can_be_left_out_alone(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", {"a.c": numbered(*range(1, 31))})
    new = [str(number) for number in range(1, 31)]
    new[4] = "five"
    new[20:20] = ["x", "y"]
    work.change({"a.c": numbered(*new)})
    edits = work.edits()
    first, second = edits.weave.hunks
    assert text(edits.weave.content("a.c")) == numbered(*new)
    only_second = edits.weave.without(frozenset({(first.patch, first.number)}))
    assert text(only_second["a.c"]).split()[4] == "5" and "x" in text(only_second["a.c"]).split()
    only_first = edits.weave.without(frozenset({(second.patch, second.number)}))
    assert text(only_first["a.c"]) == numbered(*range(1, 5), "five", *range(6, 31))


def test_a_line_that_a_later_patch_changes_goes_with_it(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", {"a.c": numbered(*range(1, 11))})
    work.change({"a.c": numbered(1, 2, 3, 4, "new", *range(6, 11))})
    work.change({"a.c": numbered(1, 2, 3, 4, "newer", *range(6, 11))})
    weave = work.edits().weave
    one, two = ((hunk.patch, hunk.number) for hunk in weave.hunks)
    assert weave.with_dependents([one]) == {one, two} and weave.with_dependents([two]) == {two}
    assert text(weave.without(frozenset({one, two}))["a.c"]) == numbered(*range(1, 11))
    assert text(weave.without(frozenset({two}))["a.c"]) == numbered(1, 2, 3, 4, "new", *range(6, 11))


def test_a_neighbour_of_a_later_patch_stays_though_git_would_refuse(tmp_path: Path) -> None:
    before = numbered(*range(1, 11))
    work = Work(tmp_path / "w", {"a.c": before})
    work.change({"a.c": numbered(1, 2, 3, 4, 5, "on", *range(6, 11))})
    work.change({"a.c": numbered(1, 2, 3, 4, 5, "on", "nouuid", *range(6, 11))})
    edits = work.edits()
    one = edits.weave.hunks[0].patch, edits.weave.hunks[0].number
    assert edits.weave.with_dependents([one]) == {one}
    assert text(edits.weave.without(frozenset({one}))["a.c"]) == numbered(
        1, 2, 3, 4, 5, "nouuid", *range(6, 11)
    )


def test_lines_in_the_midst_of_what_another_hunk_added_go_with_it(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", {"a.c": numbered(*range(1, 11))})
    work.change({"a.c": numbered(1, 2, 3, 4, 5, "enum {", "ON,", "};", *range(6, 11))})
    work.change({"a.c": numbered(1, 2, 3, 4, 5, "enum {", "ON,", "MORE,", "};", *range(6, 11))})
    weave = work.edits().weave
    one, two = ((hunk.patch, hunk.number) for hunk in weave.hunks)
    assert weave.with_dependents([one]) == {one, two}


def test_a_new_file_and_a_removed_one(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", {"a.c": "a\n", "gone.c": numbered(1, 2, 3)})
    work.change({"new.c": numbered("x", "y"), "gone.c": None})
    work.change({"new.c": numbered("x", "y", "z")})
    weave = work.edits().weave
    by_file = {(hunk.path, hunk.patch): (hunk.patch, hunk.number) for hunk in weave.hunks}
    made = by_file["new.c", "0001.patch"]
    assert weave.with_dependents([made]) == {made, by_file["new.c", "0002.patch"]}
    assert weave.without(weave.with_dependents([made])) == {"new.c": None}
    assert weave.content("gone.c") is None
    assert text(weave.without(frozenset({by_file["gone.c", "0001.patch"]}))["gone.c"]) == numbered(1, 2, 3)


def test_a_renamed_file_is_followed(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(40)]
    work = Work(tmp_path / "w", {"old.c": numbered(*lines)})
    lines[10] = "ten"
    work.change({"old.c": numbered(*lines)})
    lines[30] = "thirty"
    work.change({"old.c": None, "new.c": numbered(*lines)})
    weave = work.edits().weave
    first, second = weave.hunks
    assert text(weave.content("new.c")) == numbered(*lines)
    lines[10] = "line 10"
    assert text(weave.without(frozenset({(first.patch, first.number)}))["new.c"]) == numbered(*lines)
    assert second.path == "new.c"


def test_a_file_without_a_last_newline_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", {"a.c": "one\ntwo\x0cthree\n"})
    work.change({"a.c": "one\ntwo\x0cthree\nfour"})
    weave = work.edits().weave
    (hunk,) = weave.hunks
    assert weave.content("a.c") == b"one\ntwo\x0cthree\nfour"
    assert weave.without(frozenset({(hunk.patch, hunk.number)})) == {"a.c": b"one\ntwo\x0cthree\n"}


@pytest.mark.parametrize("seed", range(25))
def test_any_series_can_be_taken_back_patch_by_patch(tmp_path: Path, seed: int) -> None:
    """Without its last patches a file is as it was before them; an edit is a patch that git applies."""
    chance = random.Random(seed)
    lines = [f"{number}" for number in range(40)]
    work = Work(tmp_path / "w", {"a.c": numbered(*lines)})
    for step in range(4):
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(lines))
            lines[at : at + chance.randint(0, 2)] = [
                f"{step}-{chance.random()}" for _ in range(chance.randint(0, 3))
            ]
        lines.append(f"end {step}")
        work.change({"a.c": numbered(*lines)}, context=chance.choice((1, 2, 3)))
    edits = work.edits()
    names = [patch.name for patch in work.patches]
    for kept in range(len(names) + 1):
        left = frozenset(
            (hunk.patch, hunk.number) for hunk in edits.weave.hunks if hunk.patch in names[kept:]
        )
        assert edits.weave.content("a.c", left) == work.states[kept]["a.c"]
    for edit in edits.hunks():
        (tmp_path / "edit.patch").write_bytes(edits.diff(edit))
        git(work.folder, "apply", "--whitespace=nowarn", str(tmp_path / "edit.patch"))
        assert (work.folder / "a.c").read_bytes() == edit.files["a.c"]
        git(work.folder, "checkout", "-q", "--", ".")
