"""The patches on the page, with what the cases execute of them."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.analysis.cover.join import Question, join
from kmodpipe.report import html
from kmodpipe.report.html import patches
from kmodpipe.results import CaseInfo, CellResult, Run, State
from kmodpipe.results.cover_answer import Answer
from tests.support.coverage import changes, coverage
from tests.support.hostile import MARKUP
from tests.unit.report.html.test_init import found, parsed, words

CELLS = ("fix.MORE=n.gcov", "fix.MORE=y.gcov")
RUN = Run(
    "r", "2026-01-01T00:00:00Z", (CaseInfo("mount", "", ""), CaseInfo("other", "", "")),
    tuple(CellResult(name, "fix", "", state=State.RAN) for name in CELLS),
    {"series.fix.0001.patch": "a" * 64, "series.fix.0002.patch": "b" * 64, "series.fix.subject": "x"},
)  # fmt: skip


def answer() -> Answer:
    return join(Question("fix", "linux-6.1", changes()), coverage())


def test_without_coverage_they_are_names_and_digests() -> None:
    made = patches.of_run(RUN, None)
    assert [(p.name, p.digest, p.hunks) for p in made.parts] == [
        ("0001.patch", "a" * 12, ()),
        ("0002.patch", "b" * 12, ()),
    ]
    assert "was not counted; <code>invoke cover</code> does." in html.text(RUN)


def test_a_line_says_whether_and_by_what_it_is_executed() -> None:
    made = patches.of_run(RUN, answer())
    assert [(p.name, p.digest) for p in made.parts] == [("0001.patch", "a" * 12), ("0002.patch", "b" * 12)]
    (hunk,) = made.parts[0].hunks
    assert (hunk.told, hunk.complete) == ("2 of 3 lines executed", False)
    told = {line.number: (line.state[2] if line.state else "", line.by) for line in hunk.lines if line.number}
    assert told["16"] == ("executed by no case", "no case")
    assert told["12"][0] == "executed" and told["14"] == ("", "")
    assert [hunk.told for hunk in made.parts[1].hunks] == ["1 of 1 line executed", "1 of 1 line executed"]


def test_each_result_leads_to_the_lines_that_it_executed() -> None:
    made = patches.of_run(RUN, answer())
    hunks = {f"#{hunk.anchor}" for part in made.parts for hunk in part.hunks}
    for hunk in answer().hunks:
        for line in hunk.lines:
            for case, cells in line.cases.items():
                assert made.by_case[case]
                assert all(made.touched[cell, case] for cell in cells)
    links = [link for own in made.touched.values() for link in own]
    assert {href for _, href in links} <= hunks and all(name.startswith("super.c:") for name, _ in links)


def test_the_page_has_them_and_their_text_is_text() -> None:
    own = answer()
    bad = replace(own.hunks[0], header=MARKUP, path=MARKUP, patch=MARKUP, text=f"@@ -1 +1 @@\n {MARKUP}")
    root = parsed(html.text(RUN, covered=replace(own, hunks=(bad, *own.hunks))))
    assert len(found(root, "script")) == 1 and not [e for e in root.iter() if e.tag == "img"]
    (section,) = found(root, "section", aria_labelledby="patches")
    assert "1 of 5 changed lines is executed by no case" in words(section) and MARKUP in words(section)
    ids = {e.get("id") for e in root.iter()}
    links = [a.get("href") or "" for a in root.iter("a")]
    assert not [href for href in links if href.startswith("#") and href[1:] not in ids]


def test_a_long_series_is_a_link_to_its_own_page() -> None:
    own = answer()
    long = replace(own.hunks[0], text="\n".join(["+x"] * 5000))
    made = patches.of_run(RUN, replace(own, hunks=(long,)))
    assert made.sentence and not any(part.hunks for part in made.parts) and not made.touched
