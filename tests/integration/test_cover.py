"""`invoke cover` with real kernels that count: ``pytest -m kernels``. What needs none is tried by all."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.integration.conftest import require_machinery
from tests.integration.test_own_module import Ran, kmodpipe, repository
from tests.integration.test_pipeline import invoke
from tests.support import REPO
from tests.support.trees import git, write

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]
counting = [pytest.mark.thorough, pytest.mark.kernels]
CELL = "index-nouuid.INDEX=y.NOUUID=n.gcov"
SUPER = "fs/overlayfs/super.c"
# hello.c with a path that no case takes, and a change of what only unloading executes.
HELLO = (
    ("\tseq_printf", '\tif (answer == 13)\n\t\tpr_info("unlucky\\n");\n\tseq_printf'),
    ("\tremove_proc", '\tpr_info("hello: gone\\n");\n\tremove_proc'),
)
ANSWER = "[ $(cat /proc/hello) = 42 ]\n"
RELOAD = "rmmod hello\ninsmod $KMODPIPE_MODULE\n"
RESET = """\
mkdir /tmp/d
mount -t debugfs debugfs /tmp/d
cat /proc/hello
echo 0 > /tmp/d/gcov/reset
"""
COVERED = "umount /sys/kernel/debug 2> /dev/null || true\nmount -t tmpfs none /sys\ncat /proc/hello\n"
CRASH = "cat /proc/hello\necho c > /proc/sysrq-trigger\n"


@pytest.fixture(autouse=True)
def machinery() -> None:
    require_machinery()


def answer(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "cover.json").read_text()))


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """The changed lines by their text."""
    return {line["text"].strip(): line for hunk in answer(folder)["hunks"] for line in hunk["lines"]}


def test_a_series_that_compiles_nothing_is_said_before_anything_is_built(tmp_path: Path) -> None:
    whole = (REPO / "patches/index-nouuid/0006-ovl-document-index-nouuid.patch").read_text()
    patch = tmp_path / "documentation.patch"
    patch.write_text(whole[whole.index("diff --git") :])
    ran = invoke(tmp_path / "out", "cover", "--series", str(patch), "--module", "fs/overlayfs")
    assert ran.code == 0, ran.text
    assert "changes nothing that is compiled: Documentation/" in ran.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--series", "none"], "there is no series"),
        (["--series", "index-nouuid", "--series", "uuid-off"], "one series at a time"),
        (["--kernel", "debian-5.10", "--kernel", "debian-6.12"], "one kernel at a time"),
        (["--flavour", "plain"], "the flavour plain counts nothing"),
        (["--fail-under", "120"], "a number from 0 to 100"),
        (["--each-patch"], "--each-patch means nothing"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(tmp_path: Path, argv: list[str], said: str) -> None:
    ran = invoke(tmp_path / "out", "cover", *argv)
    assert ran.code == 2 and said in ran.text, ran.text
    assert not (tmp_path / "out").exists()


def changed(folder: Path, **cases: str) -> Path:
    """The example `hello` with a change in its working tree, on the kernel that we build, and these cases."""
    root = repository(folder, "hello")
    shutil.rmtree(root / "kmodpipe-cases")
    write(root / "kmodpipe-cases", {f"{name}.sh": f"#!/bin/sh -e\n{text}" for name, text in cases.items()})
    toml = (root / "kmodpipe.toml").read_text()
    (root / "kmodpipe.toml").write_text(re.sub(r"kernels = .*", 'kernels = ["debian-5.10"]', toml))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "cases of its own")
    text = (root / "hello.c").read_text()
    for old, new in HELLO:
        assert old in text
        text = text.replace(old, new)
    write(root, {"hello.c": text})
    return root


@pytest.mark.thorough
def test_a_stock_kernel_counts_nothing_and_says_which_symbol_it_lacks(tmp_path: Path) -> None:
    root = changed(tmp_path / "hello", answer=ANSWER)
    ran = kmodpipe(root, "cover", "--kernel", "debian-12")
    assert ran.code in (2, 3), ran.text
    assert "GCOV_KERNEL" in ran.text


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    root = changed(
        tmp_path_factory.mktemp("hello") / "hello",
        answer=ANSWER, reload=RELOAD, reset=RESET, covered=COVERED, crash=CRASH,
    )  # fmt: skip
    return kmodpipe(root, "cover", "--fail-under", "50")


class TestOwnModule:
    pytestmark = counting

    def test_lines_of_a_module_of_its_own_source_have_their_cases(self, hello: Ran) -> None:
        assert hello.code == 0, hello.text
        found = lines(hello.folder / "out/latest")
        assert set(found["if (answer == 13)"]["cases"]) >= {"answer", "covered"}
        assert set(found['pr_info("hello: gone\\n");']["cases"]) == {"reload"}, "unloaded, and kept"
        assert found['pr_info("unlucky\\n");']["cases"] == {}
        line = found["if (answer == 13)"]
        assert (line["ways"], line["ways_taken"]) == (2, 1)

    def test_who_clears_the_counters_or_dies_leaves_unknown_lines(self, hello: Ran) -> None:
        assert lines(hello.folder / "out/latest")['pr_info("unlucky\\n");']["state"] == "unknown"
        (cell,) = answer(hello.folder / "out/latest")["cells"]
        assert set(cell["unknown"]) == {"reset", "crash"}
        assert "opened" in cell["unknown"]["reset"] and "no counters came" in cell["unknown"]["crash"]


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("overlay")
    cases = [w for c in ("uuid-remount-index-on", "uuid-remount-index-nouuid") for w in ("--case", c)]
    ran = invoke(out, "cover", "--series", "index-nouuid", "--cell", CELL, *cases, "--fail-under", "100")
    assert ran.code == 1, ran.text
    assert "--fail-under 100" in ran.text
    return ran.latest


class TestSeries:
    pytestmark = counting

    def test_each_line_is_told_by_case_and_the_numbers_fit(self, overlay: Path) -> None:
        found = answer(overlay)
        assert 0 < found["executed"] < found["code"] < found["changed"]
        assert found["executed"] + found["never"] + found["unknown"] == found["code"]
        known = [line for hunk in found["hunks"] for line in hunk["lines"]]
        # Loading executes none of them: what it executes is asked below.
        assert {case for line in known for case in line["cases"]} == {
            "uuid-remount-index-on",
            "uuid-remount-index-nouuid",
        }
        counts = {state: sum(line["state"] == state for line in known) for state in ("executed", "never")}
        assert counts == {"executed": found["executed"], "never": found["never"]}

    def test_a_line_executed_is_one_of_the_tree_and_gcov_and_the_patch_agree(self, overlay: Path) -> None:
        coverage = json.loads((overlay / "coverage.json").read_text())["cells"][CELL]
        assert SUPER in coverage["files"] and not [name for name in coverage["files"] if "linux/" in name]
        functions = coverage["cases"]["uuid-remount-index-on"]["files"][SUPER]["functions"]
        assert functions["ovl_fill_super"] >= 1
        assert coverage["cases"]["(load)"]["files"][SUPER]["functions"]["ovl_init"] == 1

    def test_others_read_the_formats(self, overlay: Path) -> None:
        whole = etree.fromstring((overlay / "coverage.xml").read_bytes())
        assert SUPER in {one.get("filename") for one in whole.iter("class")}
        assert f"SF:{SUPER}" in (overlay / "coverage.info").read_text()
        assert str(REPO) not in (overlay / "coverage.info").read_text()

    def test_the_page_is_linked_and_complete(self, overlay: Path) -> None:
        assert 'href="./cover.html"' in (overlay / "report.html").read_text()
        text = (overlay / "cover.html").read_text()
        assert "✗" in text and "uuid-remount-index-nouuid" in text


@pytest.mark.thorough
@pytest.mark.kernels
def test_failing_allocations_reach_paths_that_nothing_else_does(tmp_path: Path) -> None:
    cell = "index-nouuid.INDEX=y.NOUUID=n.gcov-inject"
    case = "uuid-remount-index-nouuid"
    ran = invoke(tmp_path, "cover", "--series", "index-nouuid", "--cell", cell, "--case", case, "--inject")
    assert ran.code == 0, ran.text
    found = answer(ran.latest)
    assert found["injected"] > 10
    cases = json.loads((ran.latest / "coverage.json").read_text())["cells"][cell]["cases"]
    plain, more = (
        {(path, line) for path, one in cases[name]["files"].items() for line in one["lines"]}
        for name in (case, f"{case} (failing allocations)")
    )
    assert len(more - plain) > 20
