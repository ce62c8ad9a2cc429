"""What is tried of a series: its hunks, and the mistakes in its lines, with what they touch."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.analysis.ablate.edits import HUNK, grown
from tests.unit.analysis.ablate.samples import Work

BEFORE = """\
#define A 1

int helper(int x)
{
\treturn x;
}

/* some */
/* lines */
/* between */
/* the two */

int user(int x)
{
\tif (x)
\t\treturn 0;
\treturn helper(x);
}
"""


def sample(folder: Path) -> Work:
    work = Work(folder, {"fs/a.c": BEFORE, "fs/Kconfig": "config A\n\tbool\n"})
    after = BEFORE.replace("helper(int x)", "helper(int x, int y)").replace("helper(x)", "helper(x, 1)")
    work.change({"fs/a.c": after})
    after = after.replace("if (x)", "if (x && x < A)").replace("/* lines */", "/* lines, more of them */")
    work.change({"fs/a.c": after, "Documentation/a.rst": "new\n"})
    return work


def test_ids_kinds_and_places(tmp_path: Path) -> None:
    edits = sample(tmp_path / "w").edits()
    hunks = edits.hunks()
    assert [(one.id, one.path, one.no_code) for one in hunks] == [
        ("1.1", "fs/a.c", False), ("1.2", "fs/a.c", False),
        ("2.1", "Documentation/a.rst", True), ("2.2", "fs/a.c", False),
    ]  # fmt: skip
    assert all(one.kind == HUNK for one in hunks)
    assert {one.id for one in edits.mistakes()} == {
        "1.2-constant-1", "2.2-condition-1", "2.2-condition-2",
    }  # fmt: skip
    second = hunks[3]
    assert (second.function, second.line) == ("user", 9)
    assert any("`x < A`" in text for text in second.observe)


def test_what_an_edit_touches(tmp_path: Path) -> None:
    edits = sample(tmp_path / "w").edits()
    by_id = {one.id: one for one in (*edits.hunks(), *edits.mistakes())}
    assert by_id["1.1"].everywhere, "a declaration concerns whoever calls"
    assert not by_id["1.2"].everywhere and 17 in by_id["1.2"].touches["fs/a.c"]
    assert by_id["2.2-condition-1"].touches == {"fs/a.c": frozenset({15})}
    assert by_id["1.2"].digest != by_id["2.2"].digest


def test_a_hunk_is_left_out_with_others(tmp_path: Path) -> None:
    edits = sample(tmp_path / "w").edits()
    first = edits.hunks()[0]
    more = edits.origin("1.2")
    assert more is not None
    both = grown(first, edits, [more])
    assert both.id == "1.1" and [edits.label(one) for one in both.hunks] == ["1.1", "1.2"]
    text = both.files["fs/a.c"]
    assert text is not None and b"int y" not in text and b"helper(x);" in text and b"x < A" in text
    assert edits.origin("7.1") is None
