"""`invoke bisect` for real: patches and a flaky case, a module's commits and a kernel's over git, symbols.

Only the module is built again, but for the range of a kernel tree, which has a base of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import require_machinery
from tests.integration.test_pipeline import REPO, Ran, invoke
from tests.support.kernel_history import History, overlayfs
from tests.support.servers import git_daemon
from tests.support.trees import commit_all, declared, git

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(1800)]

TREE = "debian-5.10"
PATCHES = REPO / "patches/index-nouuid"
CASE = "uuid-remount-index-nouuid"
CELL = "INDEX=y.NOUUID=n"
SPDX = "// SPDX-License-Identifier: GPL-2.0-only\n"
INCLUDE = "#include <linux/fs.h>\n"
LOCALS = "\tunsigned int numlower;\n\tint err;\n"
FLAKY = "\n\tif (prandom_u32_max(10) < 4)\n\t\treturn -EIO;\n"

Edit = Callable[[Path], None]


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


def answer(out: Path) -> Any:
    (path,) = out.glob("2*/bisect.json")
    return json.loads(path.read_text())


def bases(ran: Ran) -> int:
    return sum(line.startswith("  → base ") for line in ran.text.splitlines())


# -- patches ----------------------------------------------------------------------------------------------
def shipped(number: int) -> Edit:
    """A patch of the shipped series."""
    (path,) = PATCHES.glob(f"{number:04}-*.patch")

    def apply(repo: Path) -> None:
        git(repo, "apply", str(path))

    return apply


def edited(name: str, old: str, new: str) -> Edit:
    """A replacement in one file of the module."""

    def edit(repo: Path) -> None:
        path = repo / "fs/overlayfs" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


def comment(name: str) -> Edit:
    return edited(name, SPDX, f"{SPDX}/* a comment */\n")


def posted(folder: Path, *steps: Sequence[Edit]) -> Path:
    """A series of these steps on the module of the tree."""
    repo, tree = folder / "repo", declared(TREE).path
    for name in ("fs/overlayfs", "Documentation/filesystems"):
        shutil.copytree(tree / name, repo / name, symlinks=True)
    commit_all(repo, "the module")
    for number, step in enumerate(steps, 1):
        for edit in step:
            edit(repo)
        commit_all(repo, f"ovl: step {number}")
    git(repo, "format-patch", "-q", "-o", str(folder / "posted"), f"HEAD~{len(steps)}")
    return folder / "posted"


def test_the_patch_of_six_though_one_does_not_build(tmp_path: Path) -> None:
    broken = "#error not yet\n"
    series = posted(
        tmp_path,
        [comment("util.c")],
        [shipped(1)],
        [edited("namei.c", SPDX, SPDX + broken)],
        [edited("namei.c", broken, ""), shipped(2)],
        [shipped(3)],
        [comment("dir.c")],
    )
    argv = ("--tree", TREE, "--series", str(series), "--case", CASE, "--cell", f"posted.{CELL}")
    ran = invoke(tmp_path / "out", "bisect", *argv)
    assert ran.code == 0, ran.text
    found = answer(tmp_path / "out")
    assert [one["name"] for one in found["found"]] == ["0005-ovl-step-5.patch"]
    sides = {one["name"]: one["side"] for one in found["steps"]}
    assert sides["posted@3"] == "skipped" and len(sides) <= 6
    assert (found["before"]["outcomes"], found["after"]["outcomes"]) == ({"EINVAL": 1}, {"mounted": 1})
    assert bases(ran) == 0


@pytest.mark.kernels
def test_a_flaky_case(tmp_path: Path) -> None:
    series = posted(
        tmp_path,
        [comment("util.c")],
        [comment("dir.c")],
        [
            edited("super.c", INCLUDE, f"{INCLUDE}#include <linux/random.h>\n"),
            edited("super.c", LOCALS, LOCALS + FLAKY),
        ],
        [comment("namei.c")],
    )
    argv = ("--tree", TREE, "--series", str(series), "--case", "remount-on-to-on", "--cell", f"posted.{CELL}")
    ran = invoke(tmp_path / "out", "bisect", *argv, "--repeat", "8", "--confidence", "0.99")
    assert ran.code == 0, ran.text
    found = answer(tmp_path / "out")
    assert [one["name"] for one in found["found"]] == ["0003-ovl-step-3.patch"]
    assert found["confidence"] >= 0.99
    assert len(found["after"]["outcomes"]) == 2 and len(found["before"]["outcomes"]) == 1


# -- commits ----------------------------------------------------------------------------------------------
@pytest.mark.kernels
def test_the_commits_of_a_module_of_its_own_source_over_git(tmp_path: Path) -> None:
    repo = tmp_path / "served" / "hello"
    shutil.copytree(REPO / "examples/hello", repo)
    commit_all(repo, "hello: as it is")
    git(repo, "tag", "v1")
    text = (repo / "hello.c").read_text()
    for number in range(1, 7):
        broken = "#error not yet\n" if number == 3 else ""
        state = text if number < 5 else text.replace("%u", "%x")
        (repo / "hello.c").write_text(f"{broken}{state}/* step {number} */\n")
        commit_all(repo, f"hello: step {number}")
    with git_daemon(repo) as port:
        module = f"git://127.0.0.1:{port}/hello#v1..main"
        argv = ["bisect", "--kernel", "debian-12", "--module", module, "--out", str(tmp_path / "out")]
        done = subprocess.run(
            [sys.executable, "-m", "kmodpipe", *argv],
            cwd=repo, env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(REPO)},
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = answer(tmp_path / "out")
    assert found["found"][0]["title"] == "hello: step 5"
    assert {one["side"] for one in found["steps"] if one["title"] == "hello: step 3"} <= {"skipped"}


@pytest.mark.kernels
@pytest.mark.timeout(7200)
def test_the_commits_of_a_kernel_tree_over_git(tmp_path: Path) -> None:
    """Eleven commits with a merge and one that does not build: one base for all."""
    history = History(tmp_path / "served" / "linux.git")
    known = overlayfs(history, declared(TREE).path, PATCHES)
    with git_daemon(history.path) as port:
        tree = f"git://127.0.0.1:{port}/linux.git#{known['good']}..main"
        argv = ("--tree", tree, "--module", "fs/overlayfs", "--case", CASE, "--cell", f"unpatched.{CELL}")
        ran = invoke(tmp_path / "out", "bisect", *argv, timeout_s=7000)
    assert ran.code == 0, ran.text
    found = answer(tmp_path / "out")
    assert found["found"] == [{"name": known["the option"], "title": "ovl: the option"}]
    assert bases(ran) <= 1


# -- symbols ----------------------------------------------------------------------------------------------
@pytest.mark.kernels
def test_the_symbol_in_which_two_configurations_differ(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.config", tmp_path / "bad.config"
    good.write_text("# CONFIG_OVERLAY_FS_INDEX is not set\n# CONFIG_OVERLAY_FS_REDIRECT_DIR is not set\n")
    symbols = ("INDEX", "REDIRECT_DIR", "XINO_AUTO", "NFS_EXPORT")
    bad.write_text("".join(f"CONFIG_OVERLAY_FS_{one}=y\n" for one in symbols))
    argv = ("--tree", TREE, "--module", "fs/overlayfs", "--case", "uuid-remount-default")
    argv += ("--cell", "unpatched.INDEX=n.NOUUID=n", "--good-config", str(good), "--bad-config", str(bad))
    ran = invoke(tmp_path / "out", "bisect", *argv)
    assert ran.code == 0, ran.text
    assert [one["name"] for one in answer(tmp_path / "out")["found"]] == ["OVERLAY_FS_INDEX=y"]
    assert bases(ran) == 0
