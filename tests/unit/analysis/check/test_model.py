"""What an outcome is called, and which findings fail."""

from __future__ import annotations

import json

import pytest

from kmodpipe.analysis.check.model import CHECKS, Finding, Level, Outcome, PatchReport, Report, SeriesReport

NOTE, WARNING = Finding(Level.NOTE, "n"), Finding(Level.WARNING, "w", "R", "a.c", 3)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome("c"), "clean"),
        (Outcome("c", (NOTE,)), "1 note"),
        (Outcome("c", (NOTE, NOTE)), "2 notes"),
        (Outcome("c", (WARNING, NOTE)), "1 new"),
        (Outcome("c", (), "no tool"), "not checked"),
        (Outcome("c", (NOTE,), "no tool"), "not checked"),
        (Outcome("c", (WARNING,), "no tool"), "1 new"),
        (Outcome("c", (), "", "no C"), "nothing to check"),
    ],
)
def test_a_word_for_each_outcome(outcome: Outcome, word: str) -> None:
    assert outcome.word == word


def test_a_finding_is_shown_as_a_compiler_would() -> None:
    assert (str(WARNING), str(NOTE)) == ("a.c:3: w [R]", "n")


def test_a_report_is_json_with_every_finding() -> None:
    patch = PatchReport(1, "p", "s", (Outcome("tags", (WARNING, NOTE)),))
    report = Report("r", "t", (SeriesReport("x", "", (patch,)),))
    assert [one for *_, one in report.findings] == [WARNING, NOTE]
    assert (
        json.loads(json.dumps(report.to_json()))["series"][0]["patches"][0]["outcomes"][0]["check"] == "tags"
    )
    assert len({one.id for one in CHECKS}) == len(CHECKS)
