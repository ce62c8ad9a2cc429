"""What guests get beyond their root, for real: Debian's packages, and the files that a case brings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kmodpipe.source import apt
from tests.integration.conftest import require, require_machinery
from tests.integration.test_pipeline import REPO, Ran

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(2400)]

CELL = "index-nouuid.INDEX=y.NOUUID=n"
XATTR = """\
#!/bin/bash
# needs: setfattr getfattr
set -euo pipefail
declare -A seen=([bash]=1)
[[ ${seen[bash]} == 1 ]]
touch file
setfattr -n trusted.greeting -v hello file
[[ $(getfattr --only-values -n trusted.greeting file) == hello ]]
"""
CASE = """\
[[case]]
id = "brings"
summary = "reads what it brings, and runs a program of it with a package's shell"
script = "run.sh"
goal = "as-brought"
tools = ["bash"]
files = ["folder", "prog"]
needs = ["bash", "TMPFS", "CONFIG_OVERLAY_FS"]

[[case]]
id = "lacks"
summary = "needs a program that nothing brings"
script = "run.sh"
goal = "as-brought"
needs = ["frobnicate"]
"""
SCRIPT = """\
#!/bin/sh -e
. "$KMODPIPE_LIB"
[ "$(cat "$KMODPIPE_FILES/folder/below/link")" = content ]
[ "$("$KMODPIPE_FILES/prog")" = "bash 5" ]
[ -z "$(ls -A)" ]
if touch "$KMODPIPE_FILES/new"; then exit 1; fi
observe outcome as-brought
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with this one's kernels and cells, and a case of its own."""
    require_machinery()
    require(shutil.which("apt-get") is not None and apt.KEYRING.is_file(), "no apt with Debian's key ring")
    root = tmp_path / "project"
    for name in ("images", "kconfigs", "patches"):
        shutil.copytree(REPO / name, root / name)
    for name in ("pyproject.toml", "tasks.py"):
        shutil.copy(REPO / name, root / name)
    case = root / "images/guest/cases/brings"
    (case / "folder/below").mkdir(parents=True)
    (case / "folder/below/file").write_text("content\n")
    (case / "folder/below/link").symlink_to("file")
    (case / "prog").write_text('#!/usr/bin/bash\necho "bash ${BASH_VERSINFO[0]}"\n')
    (case / "prog").chmod(0o755)
    (case / "run.sh").write_text(SCRIPT)
    (case / "case.toml").write_text(CASE)
    return root


def invoke(project: Path, *argv: str, path: str = "") -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *argv, "--out", str(project / "out")],
        cwd=project,
        env={
            **os.environ,
            "COLUMNS": "200",
            "PATH": path or os.environ["PATH"],
            # The code under test, whatever is installed.
            "PYTHONPATH": str(REPO),
        },
        capture_output=True,
        text=True,
        timeout=2300,
        check=False,
    )
    return Ran(done, project / "out")


def test_a_case_has_the_programs_and_the_files_that_it_names(project: Path, tmp_path: Path) -> None:
    without, tooled = tmp_path / "without.sh", tmp_path / "tooled.sh"
    without.write_text(XATTR)
    chosen = ("test", "--no-control", "--cell", CELL, "--case")
    ran = invoke(project, *chosen, str(without))
    assert ran.code == 3, ran.text
    assert (
        "no verdict: the guest has no /bin/bash, setfattr, getfattr, and no case can do without" in ran.text
    )
    assert 'add tools = ["bash", "attr"] to the case, or to its script: # tools: bash attr' in ran.text

    tooled.write_text(XATTR.replace("set -euo", "# tools: bash attr\nset -euo", 1))
    named = (*chosen, str(tooled), "--case", "brings", "--case", "lacks")
    ran = invoke(project, *named)
    found = {case: ran.case(CELL, case) for case in ("tooled", "brings", "lacks")}
    assert {case: one["verdict"] for case, one in found.items()} == {
        "tooled": "pass",
        "brings": "pass",
        "lacks": "error",
    }, ran.text
    assert found["lacks"]["message"].startswith("no verdict: the guest has no frobnicate; add the Debian")
    (cell,) = ran.run()["cells"]
    assert cell["properties"]["tools.bash"].startswith("5.") and cell["properties"]["tools.attr"]

    # Again without apt, as without a network: all is in the cache.
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("apt-get", "apt-cache"):
        (programs / name).write_text("#!/bin/sh\necho E: no network >&2\nexit 100\n")
        (programs / name).chmod(0o755)
    again = invoke(project, *named, path=f"{programs}:{os.environ['PATH']}")
    assert "fetch tools" not in again.text and again.case(CELL, "tooled")["verdict"] == "pass", again.text


def test_what_is_no_package_has_near_names(project: Path) -> None:
    toml = project / "images/guest/cases/brings/case.toml"
    toml.write_text(CASE.replace('tools = ["bash"]', 'tools = ["bashh"]'))
    ran = invoke(project, "test", "--no-control", "--cell", CELL, "--case", "brings")
    assert ran.code == 2, ran.text
    assert "no Debian package is called 'bashh'; did you mean bash" in ran.text
    assert "case.toml:6" in ran.text
