"""`invoke report`: what it prints and writes of runs."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.cli import report as command
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import ReportOptions
from kmodpipe.report import compare, mail
from kmodpipe.results import CaseResult, Verdict
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.screen import Mode, Screen
from tests.support import REPO
from tests.support.markdown import tokens
from tests.support.sample_days import Y_Y, bad, good
from tests.support.sample_run import INFOS, change, ran, seen


class Shell:
    """Runs of two days, and `invoke report` on them."""

    def __init__(self, root: Path) -> None:
        self.out = root / "out"
        for run in (good(), bad()):
            results.save(run, self.out / run.id / "results.json")
        (self.out / "latest").symlink_to(bad().id)
        self.code = 0

    def report(self, **wanted: object) -> str:
        shown = io.StringIO()
        given = {"format" if name == "form" else name: value for name, value in wanted.items()}
        options = ReportOptions(out=str(self.out), **given)  # type: ignore[arg-type]
        self.code = int(command.report(options, Invocation(REPO, screen=Screen(Mode.QUIET, out=shown))))
        return shown.getvalue()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in (command.STEP_SUMMARY, "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path)


COMPARED = """\
✗ kmodpipe: index-nouuid on Linux 5.10.223
==========================================

run 20201014-120000 against run 20201013-120000: 1 newly failing, 27 unchanged.

Newly failing: 1 result
=======================

  case                  before   now     cells
  --------------------  -------  ------  -----------------------------
  uuid-remount-default  mounted  ESTALE  index-nouuid.INDEX=y.NOUUID=y

✗ uuid-remount-default in index-nouuid.INDEX=y.NOUUID=y: expected mounted, observed ESTALE: the
origin's UUID is verified

    invoke test --tree ~/linux --series index-nouuid --cell index-nouuid.INDEX=y.NOUUID=y --case \
uuid-remount-default

Evidence of uuid-remount-default in index-nouuid.INDEX=y.NOUUID=y:

| ended: exit 0

Tree, series, compiler and cases are the same.

The run as such:

index-nouuid fixes 1, breaks 0, 1 case not as expected, on Linux 5.10.223.

17 passed, 1 failed, 0 errors, 2 skipped, 2 cells ruled out: exit 1.
"""


def test_a_comparison_as_text(shell: Shell) -> None:
    told = shell.report(against=good().id)
    assert told.startswith(COMPARED)
    assert "Evidence" not in told.removeprefix(COMPARED)
    assert shell.code == 0


def test_a_mail_is_about_one_series(shell: Shell) -> None:
    other = replace(ran("uuid-off", "y", "y", seen(0, "mounted")), variant="uuid-off")
    both = results.planned(replace(good(), cells=(*good().cells, other)))
    with pytest.raises(KmodpipeError, match="several series: index-nouuid, uuid-off"):
        mail.text(both)
    assert "uuid-off" in mail.text(both, "uuid-off")
    with pytest.raises(KmodpipeError, match="did you mean uuid-off"):
        mail.text(both, "uuid-of")
    with pytest.raises(KmodpipeError, match="tested no series"):
        mail.text(replace(good(), cells=good().cells[:3]))


def test_a_mail_about_a_comparison_keeps_its_columns(shell: Shell) -> None:
    told = shell.report(form="mail", against=good().id)
    long = [line for line in told.splitlines() if len(line) > 72]
    assert long and all(line.startswith("    invoke test ") for line in long)
    assert "Since the last time:" in told and "1 newly failing" in told
    assert told.count("Evidence of") == 1


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [((), 0), (("new",), 1), (("lost", "slower"), 0), (("lost", "new"), 1)],
)
def test_a_gate_fails_on_what_it_was_told(shell: Shell, fail_on: tuple[str, ...], code: int) -> None:
    shell.report(against=good().id, fail_on=fail_on)
    assert shell.code == code


def test_a_verdict_that_was_lost_is_infrastructure(shell: Shell) -> None:
    lost = change(replace(good(), id="c"), Y_Y, CaseResult(INFOS[0].id, Verdict.ERROR, "not run"))
    results.save(lost, shell.out / "c" / "results.json")
    shell.report(run="c", against=good().id, fail_on=("new", "lost"))
    assert shell.code == 3


def test_runs_are_found_by_folder_file_and_id(shell: Shell) -> None:
    folder = shell.out / good().id
    told = {shell.report(against=str(name)) for name in (good().id, folder, folder / "results.json")}
    assert len(told) == 1


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"run": "nothing"}, "there is no run 'nothing'.*there are: .*20201014-120000"),
        ({"against": "latest"}, "compared with itself"),
        ({"against": "series:x"}, "unknown series 'x'"),
        ({"form": "mal"}, "unknown format 'mal'; did you mean mail"),
        ({"fail_on": ("new",)}, "--fail-on needs something to compare with"),
        ({"fail_on": ("nw",), "against": "x"}, "unknown change 'nw'; did you mean new"),
        ({"form": "findings", "against": "x"}, "findings is about one run"),
        ({"series": ("x",)}, "--format mail --series NAME"),
        ({"strict": True}, "--strict is a profile of the JUnit file"),
        ({"junit": "."}, "this is a folder"),
        ({"html": "/proc/none/x"}, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(shell: Shell, wanted: dict[str, object], told: str) -> None:
    with pytest.raises(KmodpipeError) as raised:
        shell.report(**wanted)
    assert re.search(told, str(raised.value), re.DOTALL)
    assert raised.value.exit_code == 2


def test_files_are_written_and_nothing_else_is_printed(shell: Shell, tmp_path: Path) -> None:
    told = shell.report(html=str(tmp_path / "r.html"), junit=str(tmp_path / "j.xml"), strict=True)
    assert told == f"written: {tmp_path / 'r.html'}\nwritten: {tmp_path / 'j.xml'}\n"
    assert "./out/20201014-120000/junit.xml" in (tmp_path / "r.html").read_text()
    assert "<testcase" in (tmp_path / "j.xml").read_text()
    told = shell.report(to=str(tmp_path / "r.md"), form="markdown")
    assert told.startswith("written") and (tmp_path / "r.md").read_text().startswith("### ✗ kmodpipe")


def test_open_says_where_the_report_is_and_asks_a_browser(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (shell.out / bad().id / "report.html").resolve()
    assert shell.report(open=True).endswith(f"the report is {page}\n") and page.is_file()
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/asked\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    import webbrowser

    monkeypatch.setattr(webbrowser, "_tryorder", None)
    assert shell.report(open=True) == f"opened: {page}\n"
    assert (tmp_path / "asked").read_text().strip() == page.as_uri()


def test_a_jobs_summary_is_appended_where_there_is_one(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "<summary>Every case in every cell</summary>" in shell.report(form="summary")
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    monkeypatch.setenv(command.STEP_SUMMARY, str(file))
    shell.report(form="summary")
    assert file.read_text().startswith("before\n### ✗ kmodpipe")
    monkeypatch.setenv(command.STEP_SUMMARY, str(tmp_path / "no" / "such" / "folder"))
    assert "could not be written" in shell.report(form="summary") and shell.code == 0


def test_a_summary_is_valid_markdown_with_its_tables() -> None:
    kinds = [t.type for t in tokens(command.job_summary(bad(), compare.runs(good(), bad())))]
    assert kinds.count("table_open") >= 4 and "heading_open" in kinds
