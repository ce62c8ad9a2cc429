"""`invoke report`: what it prints and writes of runs, and the mail that one could send."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.cli import report as command
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import ReportOptions, RunOptions, Use, command_line
from kmodpipe.cli.resolve import resolve
from kmodpipe.report import compare, mail, markup, rerun, summary, wording
from kmodpipe.results import CaseResult, Run, State, Verdict
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.screen import Mode, Screen
from tests.support import REPO
from tests.support.sample_run import INFOS, cell, change, failed, finished, ran, seen
from tests.unit.report.test_markup import tokens

Y_Y = "index-nouuid.INDEX=y.NOUUID=y"
KNOWN = {
    "repeat-with": "invoke test --tree ~/linux",
    "tree.kernel-version": "5.10.223",
    "tree": "linux",
    "series.index-nouuid": "72694c37212960c5f85a4b96250694d5",
    "series.index-nouuid.subject": "[PATCH v2 0/6] ovl: index=nouuid",
    "series.index-nouuid.message-id": "<20200924.1@example.org>",
    "accel": "tcg",
}


def good() -> Run:
    """A run without a known defect."""
    run = replace(finished(), properties=KNOWN)
    for c in run.cells:
        if any(r.known_defect for r in c.cases):
            run = change(run, c.cell, seen(3, "shared"))
    return run


def bad() -> Run:
    return change(replace(good(), id="20201014-120000"), Y_Y, failed(2, "ESTALE", "mounted"))


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

17 passed, 1 failed, 0 errors, 10 skipped: exit 1.
"""
MAIL = """\
Subject: Re: [PATCH v2 0/6] ovl: index=nouuid
In-Reply-To: <20200924.1@example.org>
References: <20200924.1@example.org>

I ran this series (index-nouuid) on Linux 5.10.223 (linux): 3 Kconfig
cells, 4 cases, each beside the unpatched tree.

index-nouuid breaks nothing; fixes 2 cases (uuid-remount-index-nouuid,
uuid-remount-default (1 of 3 cells)); leaves 2 cases failing as without
it; leaves 2 cases working; cannot be compared in 1 case.

Fixed:

  case                       unpatched  patched  cells
  -------------------------  ---------  -------  -----
  uuid-remount-index-nouuid  EINVAL     mounted  3
  uuid-remount-default       ESTALE     mounted  1

To reproduce:

    invoke test --tree ~/linux --series index-nouuid

- SHA-256 over the patches: 72694c37212960c5
- guests: QEMU, tcg

Tested-by: T Ester <t@example.org>
"""


def test_a_comparison_as_text(shell: Shell) -> None:
    told = shell.report(against=good().id)
    assert told.startswith(COMPARED)
    assert "Evidence" not in told.removeprefix(COMPARED)
    assert shell.code == 0


def test_a_mail_as_it_would_be_sent() -> None:
    assert mail.text(good(), tester="T Ester <t@example.org>") == MAIL


@pytest.mark.parametrize(
    "run",
    [
        bad(),
        change(good(), Y_Y, replace(seen(3, "hardlinks-split"), known_defect=True)),
        change(good(), Y_Y, CaseResult(INFOS[0].id, Verdict.ERROR, "not run")),
        change(good(), Y_Y, seen(3, "EIO")),  # a regression that somebody expected
        results.with_cell(good(), cell("index-nouuid", "y", "y", state=State.INFRA)),
        replace(good(), properties={**KNOWN, "tree.stand-in-for": "the tree that was meant"}),
        results.planned(replace(good(), cells=tuple(c for c in good().cells if c.variant != "unpatched"))),
    ],
)
def test_nobody_vouches_for_what_is_not_well(run: Run) -> None:
    assert "Tested-by" not in mail.text(run)


def test_a_mail_without_known_headers_is_no_reply_to_anything() -> None:
    run = replace(good(), properties={})
    assert mail.headers(run, "index-nouuid") == "Subject: Re: [PATCH] index-nouuid\n"
    hostile = {"series.index-nouuid.subject": "x\nBcc: evil@x", "series.index-nouuid.message-id": "a\nB: c"}
    lines = mail.headers(replace(run, properties=hostile), "index-nouuid").splitlines()
    assert [line.split(":")[0] for line in lines] == ["Subject", "In-Reply-To", "References"]


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


def test_one_outcome_that_is_taken_for_another_thing_says_so() -> None:
    then = change(replace(good(), id="c"), Y_Y, seen(2, "ESTALE", defect=True))
    told = markup.text(summary.of_comparison(compare.runs(then, bad()), bad()))
    assert "ESTALE (known defect)" in told and "ESTALE (not as expected)" in told


def test_digests_are_told_by_their_first_digits() -> None:
    digests = [f"{n}" * 64 for n in (1, 2)]
    runs = [
        replace(good(), id=d, properties={"tree.sha256": d, "builder.image": f"sha256:{d}"}) for d in digests
    ]
    told = markup.text(summary.of_comparison(compare.runs(*runs), runs[1]))
    assert "  builder.image  sha256:111111111111…  sha256:222222222222…\n" in told


# -- the command --------------------------------------------------------------------------------------
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


# -- what it says -------------------------------------------------------------------------------------
def test_the_command_that_repeats_a_result() -> None:
    run = replace(good(), cases=(replace(INFOS[0], argument="./my case.sh"), *INFOS[1:]))
    there = run.cells[-1]
    stem = "invoke test --tree ~/linux"
    assert rerun.command(run, there, run.cases[0]) == (
        f"{stem} --series index-nouuid --cell {Y_Y} --case './my case.sh'"
    )
    control = run.cells[0]
    assert rerun.command(run, control) == f"{stem} --series index-nouuid --cell {control.cell}"
    known = {**KNOWN, "series.index-nouuid.argument": "~/fixes.mbox"}
    partial = replace(there, variant="index-nouuid@2")
    assert rerun.command(replace(run, properties=known), partial).startswith(
        f"{stem} --series '~/fixes.mbox' --cell"
    )


def test_a_cell_that_did_not_build_is_one_row_not_one_a_case() -> None:
    broken = cell("index-nouuid", "y", "y", state=State.BUILD_FAILED, reason="inode.c:7: error")
    run = results.with_cell(replace(good(), id="c"), broken)
    told = markup.text(summary.whole(run, compare.runs(good(), run)))
    assert f"(all of {Y_Y})" in told and "4 newly failing" in told
    assert wording.verdicts(run)[0].text().startswith("index-nouuid does not build in 1 cell; breaks nothing")
    assert f"{Y_Y}: build-failed: inode.c:7: error" in markup.text(summary.of_run(run))


def test_cells_that_did_not_run_are_told_by_their_reason() -> None:
    run = good()
    for number, c in enumerate(run.cells):
        reason = "no disk" if number < 5 else "no disk either"
        run = results.with_cell(run, replace(c, state=State.INFRA, reason=reason, cases=()))
    told = " ".join(markup.text(summary.failures(run)).split())
    assert f"{run.cells[3].cell} and 1 more: infra: no disk " in told and "infra: no disk either" in told


def test_failures_that_differ_in_numbers_only_are_told_once() -> None:
    run = good()
    for number, c in enumerate(run.cells):
        if c.state is State.RAN:
            run = change(run, c.cell, replace(failed(2, "x", "y"), message=f"died at 0x{number}f"))
    told = markup.text(summary.failures(run))
    assert told.count("died at") == 1 and "and 1 more: died at" in told


def test_a_huge_run_is_told_in_a_few_pages() -> None:
    infos = tuple(replace(INFOS[0], id=f"case-{n}") for n in range(100))
    cells = tuple(
        replace(
            cell("s" if n else "unpatched", str(n), "y", state=State.RAN),
            cases=tuple(replace(failed(0, f"o{i}", "x"), case=info.id) for i, info in enumerate(infos)),
        )
        for n in range(100)
    )
    run = Run("huge", "", infos, cells, {"x" * 100: "y" * 1000})
    for page in (command.job_summary(run), markup.markdown(summary.whole(run, None), 60_000)):
        assert len(page) <= 60_000
    assert len(markup.text(summary.whole(run, compare.runs(run, replace(run, id="b")))).splitlines()) < 300


def test_the_command_that_repeats_names_what_is_not_the_default(tmp_path: Path) -> None:
    assert resolve(RunOptions(series=("uuid-off",)), Invocation(REPO)).repeat_command == "invoke test"
    own = RunOptions(
        tree="~/linux", matrix="/m.toml", head=True, each_patch=True, runtime="host",
        flavour=("xfs",), module="fs/x", series=("a.mbox",), jobs=3, case=("x",), cell=("y",), share="none",
    )  # fmt: skip
    told = "--tree ~/linux --head --each-patch --matrix /m.toml --module fs/x --flavour xfs --runtime host"
    assert command_line(own, Use.REPEAT) == told.split()
    folder = tmp_path / "elsewhere"
    shutil.copytree(REPO / "patches" / "uuid-off", folder)
    spec = resolve(RunOptions(series=(str(folder),)), Invocation(REPO))
    assert spec.series_arguments == {spec.series[0].name: str(folder)}


def test_results_say_more_and_are_read_without_it() -> None:
    document = json.loads(results.to_json(good()))
    for c in document["run"]["cells"]:
        for r in c["cases"]:
            del r["tries"], r["guest"]
    for info in document["run"]["cases"]:
        del info["argument"]
    del document["run"]["timeline"]
    assert results.from_json(json.dumps(document)) == good()
