"""A report as a run: in JUnit, HTML, mail, Markdown and on the screen, without a word about a control."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from rich.console import Console

from kmodpipe import results
from kmodpipe.analysis.check.as_run import as_run, sentence
from kmodpipe.analysis.check.model import Finding, Level, Outcome
from kmodpipe.report import html, junit, mail, markup, summary, terminal, wording
from kmodpipe.results import Verdict, exit_code
from tests.support.sample_check import REPORT

RUN = as_run(
    REPORT, "2026-11-29T14:00:00+00:00", "2026-11-29T14:01:00+00:00", {"repeat-with": "invoke check"}
)


def verdicts(cell: str) -> dict[str, Verdict]:
    (found,) = [one for one in RUN.cells if one.cell == cell]
    return {case.case: case.verdict for case in found.cases}


def test_patches_are_cells_and_checks_are_cases() -> None:
    assert [cell.cell for cell in RUN.cells] == ["toy-fix@1", "toy-fix@2"]
    assert verdicts("toy-fix@1") == {
        "builds": Verdict.PASS, "compiler": Verdict.FAIL, "sparse": Verdict.ERROR, "checkpatch": Verdict.FAIL,
        "kernel-doc": Verdict.SKIP, "tags": Verdict.FAIL, "size": Verdict.PASS,
    }  # fmt: skip
    assert [info.id for info in RUN.cases][:3] == ["builds", "compiler", "sparse"]
    assert exit_code(RUN) == 1
    assert results.from_json(results.to_json(RUN)) == RUN


def test_what_was_not_checked_alone_is_no_success() -> None:
    assert sentence(Outcome("c", (), "why")) == "not checked: why"
    both = Outcome("c", (Finding(Level.ERROR, "x"), Finding(Level.ERROR, "y")), "why")
    assert sentence(both) == "2 findings: x …; not checked in part: why"


def page(form: str) -> str:
    if form == "terminal":
        console = Console(width=160, color_system=None)
        with console.capture() as shown:
            console.print(terminal.report(RUN))
        return shown.get()
    return {
        "html": lambda: html.text(RUN),
        "mail": lambda: mail.text(RUN),
        "markdown": lambda: markup.markdown(summary.whole(RUN, None), 60_000),
        "junit": lambda: junit.text(RUN),
    }[form]()


@pytest.mark.parametrize("form", ["terminal", "html", "mail", "markdown", "junit"])
def test_every_form_tells_the_findings_and_speaks_of_no_control(form: str) -> None:
    made = page(form)
    assert "unused variable" in made and "there is no sparse here" in made, made
    for word in ("unpatched", "nothing was compared", "Kconfig cell", "--cell", "Tested-by"):
        assert word not in made, word
    assert "\x1b" not in made
    assert form not in ("html", "junit") or "<script>alert" not in made
    # A patch's text has no line of its own.
    assert not any(line.strip().startswith(("::error", "##[")) for line in made.splitlines())


def test_the_verdict_on_a_series_names_its_checks() -> None:
    (verdict,) = wording.verdicts(RUN)
    assert verdict.text() == (
        "toy-fix brings something new in 3 checks (compiler, checkpatch (1 of 2 patches), tags); "
        "was not checked in 1 check (sparse)."
    )
    assert verdict.bad


def test_junit_has_a_suite_a_patch() -> None:
    whole, *suites = ElementTree.fromstring(junit.text(RUN))
    assert [one.get("name") for one in (whole, *suites)] == ["(run)", "toy-fix@1", "toy-fix@2"]
    failed = {c.get("name") for c in suites[0] if c.find("failure") is not None}
    assert failed == {"compiler", "checkpatch", "tags"}
