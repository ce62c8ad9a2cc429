"""The main job with everything real: Debian's or the list's kernel tree, Docker, QEMU, the series.

Artifacts are shared with the user's own cache, so that a warm machine does not compile the base again.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from kmodpipe.build.runtime import LABEL, docker_engine
from tests.integration.conftest import require_machinery

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2400)]

REPO = Path(__file__).resolve().parents[2]
PATCHED = "index-nouuid.INDEX=y.NOUUID=y"
RELAXED_BY_OPTION = "index-nouuid.INDEX=y.NOUUID=n"
CONTROL = "unpatched.INDEX=y.NOUUID=n"
BOTH = ("--series", "index-nouuid", "--series", "uuid-off")


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


class Ran:
    """A finished command and the results it wrote."""

    def __init__(self, done: subprocess.CompletedProcess[str], out: Path) -> None:
        self.code, self.stdout, self.stderr, self.latest = (
            done.returncode,
            done.stdout,
            done.stderr,
            out / "latest",
        )

    @property
    def text(self) -> str:
        return " ".join((self.stdout + self.stderr).split())

    def run(self) -> Any:
        return json.loads((self.latest / "results.json").read_text())["run"]

    def case(self, cell: str, case: str) -> Any:
        found = next(c for c in self.run()["cells"] if c["cell"] == cell)
        return next(c for c in found["cases"] if c["case"] == case)


def invoke(out: Path, *argv: str, timeout_s: float = 2300) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *argv, "--out", str(out)],
        cwd=REPO,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ran(done, out)


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return invoke(tmp_path_factory.mktemp("out"), "ci")


@pytest.fixture(scope="module")
def both_designs(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return invoke(tmp_path_factory.mktemp("both"), "ci", *BOTH)


def test_the_control_fails_and_the_series_mounts(main_job: Ran) -> None:
    assert main_job.code == 0, main_job.stdout + main_job.stderr
    for case in ("uuid-remount-index-on", "uuid-remount-default"):
        assert main_job.case(CONTROL, case)["outcome"] == "ESTALE"
    assert main_job.case(CONTROL, "uuid-remount-index-nouuid")["outcome"] == "EINVAL"
    assert main_job.case(RELAXED_BY_OPTION, "uuid-remount-index-nouuid")["outcome"] == "mounted"
    assert main_job.case(RELAXED_BY_OPTION, "uuid-remount-default")["outcome"] == "ESTALE"
    assert main_job.case(PATCHED, "uuid-remount-default")["outcome"] == "mounted"


def test_the_hardlink_case_tells_the_truth(main_job: Ran) -> None:
    split = main_job.case(PATCHED, "remount-on-to-nouuid")
    assert split["outcome"] == "hardlinks-split"
    assert split["known_defect"] is True
    assert split["observations"]["without_first_write"] == "h2 h3"
    healthy = main_job.case(PATCHED, "remount-on-to-on-same-uuid")
    assert (healthy["outcome"], healthy["observations"]["hardlinks"]) == ("intact", "shared")


def test_precedence_is_a_full_product(main_job: Ran) -> None:
    pairs = main_job.case(PATCHED, "precedence-index")["subtests"]
    assert {p["verdict"] for p in pairs} == {"pass"}
    assert len(pairs) > 40
    by_kconfig = next(p for p in pairs if p["name"] == "unset/none")
    assert by_kconfig["note"] == "set=- reads=2 mount=mounted shown=default stored=real after=mounted"


def test_illegal_cells_are_skipped_with_the_reason(main_job: Ran) -> None:
    reasons = {c["cell"]: c["reason"] for c in main_job.run()["cells"] if c["state"] == "skipped"}
    assert set(reasons) == {
        "unpatched.INDEX=y.NOUUID=y",
        "unpatched.INDEX=n.NOUUID=y",
        "index-nouuid.INDEX=n.NOUUID=y",
    }
    assert "no symbol OVERLAY_FS_INDEX_NOUUID" in reasons["unpatched.INDEX=y.NOUUID=y"]
    assert "depends on OVERLAY_FS_INDEX" in reasons["index-nouuid.INDEX=n.NOUUID=y"]


def test_junit_has_every_planned_case(main_job: Ran) -> None:
    suites = {s.name: list(s) for s in JUnitXml.fromfile(str(main_job.latest / "junit.xml"))}
    assert suites.pop("(run)") == []
    planned = {c["id"] for c in main_job.run()["cases"]}
    assert len(suites) == 8
    assert all({case.name for case in cases} == planned for cases in suites.values())


def test_a_result_says_what_was_really_tested(main_job: Ran) -> None:
    properties = main_job.run()["properties"]
    assert properties["tree.kernel-version"].startswith("5.10.")
    assert properties["builder.image"].startswith("sha256:")
    assert properties["accel"] in ("kvm", "tcg")


@pytest.mark.thorough
def test_both_designs_stand_trial(both_designs: Ran) -> None:
    assert both_designs.code == 0, both_designs.stdout + both_designs.stderr
    rescued = {
        variant: both_designs.case(f"{variant}.INDEX=y.NOUUID=y", "copy-default")["outcome"]
        for variant in ("index-nouuid", "uuid-off")
    }
    assert rescued == {"index-nouuid": "hardlinks-split", "uuid-off": "intact"}
    assert both_designs.case(CONTROL, "copy-default")["outcome"] == "ESTALE"
    assert both_designs.run()["dead_axes"] == []


@pytest.mark.thorough
def test_the_page_of_findings_is_what_a_run_says(both_designs: Ran, tmp_path: Path) -> None:
    written = tmp_path / "findings.md"
    assert invoke(tmp_path, "report", "--run", str(both_designs.latest), "--to", str(written)).code == 0

    def findings(path: Path) -> list[str]:
        return [line for line in path.read_text().splitlines() if not line.startswith("Generated by")]

    # Made by: invoke ci --series index-nouuid --series uuid-off && invoke report --to docs/findings.md
    assert findings(written) == findings(REPO / "docs" / "findings.md")


@pytest.mark.thorough
def test_the_order_of_the_cases_does_not_matter(both_designs: Ran, tmp_path: Path) -> None:
    cells = (CONTROL, "uuid-off.INDEX=y.NOUUID=y")
    shuffled = invoke(
        tmp_path, "test", *BOTH, "--shuffle", "random", *(w for cell in cells for w in ("--cell", cell))
    )
    assert shuffled.code == 0, shuffled.text
    for cell in cells:
        for case in (c["id"] for c in both_designs.run()["cases"]):
            one, other = both_designs.case(cell, case), shuffled.case(cell, case)
            assert (one["verdict"], one["outcome"]) == (other["verdict"], other["outcome"]), (cell, case)


@pytest.mark.thorough
def test_every_patch_builds_and_breaks_nothing_on_the_way(tmp_path: Path) -> None:
    cases = (
        "uuid-remount-index-on", "uuid-remount-index-nouuid", "remount-on-to-on-same-uuid",
        "remount-uuidoff-to-uuidoff", "two-fs-nouuid-lower", "two-fs-uuidoff-same", "reject-index-bogus",
    )  # fmt: skip
    ran = invoke(
        tmp_path, "test", "--each-patch", *BOTH, "--cell", "*INDEX=y.NOUUID=n",
        *(word for case in cases for word in ("--case", case)),
    )  # fmt: skip
    assert ran.code == 0, ran.text
    built = [c["cell"] for c in ran.run()["cells"] if c["state"] == "ran"]
    assert len(built) == 1 + 6 + 6


def test_reproduce_boots_the_cell_again(main_job: Ran) -> None:
    done = subprocess.run(
        ["sh", str(main_job.latest / PATCHED / "reproduce.sh")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "hardlinks-split" in done.stdout
    # By hand: test_by_hand.py. It knows the cases that this guest had.
    script = main_job.latest / PATCHED / "reproduce.sh"
    wrong = subprocess.run(["sh", script, "--case", "nosuch"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "there is no case 'nosuch'" in wrong.stderr
    known = subprocess.run(["sh", script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "uuid-remount-default" in known.partition("cases: ")[2].split()


def test_unchanged_build_makes_nothing(main_job: Ran, tmp_path: Path) -> None:
    again = invoke(tmp_path, "build")
    assert again.code == 0, again.text
    assert "0 steps made" in again.stdout


def copied_series(tmp_path: Path) -> Path:
    folder = tmp_path / "index-nouuid"
    shutil.copytree(REPO / "patches" / "index-nouuid", folder)
    return folder


def test_one_line_in_a_patch_rebuilds_modules_alone(main_job: Ran, tmp_path: Path) -> None:
    series = copied_series(tmp_path)
    patch = next(series.glob("0003-*.patch"))
    text = patch.read_text()
    assert "falling back to index=on.\\n" in text
    # New in every run: the cache of an earlier one must not know it.
    changed = f"falling back to index=on {secrets.token_hex(4)}\\n"
    patch.write_text(text.replace("falling back to index=on.\\n", changed))
    built = invoke(tmp_path / "out", "build", "--series", str(series))
    assert built.code == 0, built.text
    assert "3 steps made" in built.stdout


def test_module_that_does_not_compile(main_job: Ran, tmp_path: Path) -> None:
    series = copied_series(tmp_path)
    patch = next(series.glob("0003-*.patch"))
    patch.write_text(patch.read_text().replace('+\t"nouuid",', "+\tnouuid,"))
    ran = invoke(tmp_path / "out", "build", "--series", str(series), "--cell", f"*{RELAXED_BY_OPTION[12:]}")
    assert ran.code == 1
    assert re.search(r"does not compile: fs/overlayfs/super\.c:\d+: 'nouuid' undeclared", ran.text)


def script(tmp_path: Path, name: str, *lines: str) -> str:
    path = tmp_path / f"{name}.sh"
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    return str(path)


def test_guests_that_misbehave_never_pass_and_cost_one_case(main_job: Ran, tmp_path: Path) -> None:
    scripts = {
        "good-first": ("exit 0",),
        "panics": ("echo c > /proc/sysrq-trigger", "exit 0"),
        "exits-7": ("echo about to fail", "exit 7"),
        "reboots": ("reboot -f", "sleep 5", "exit 0"),
        "forges": (
            "for port in /dev/ttyS0 /dev/console; do",
            "  echo 'KP 00000000000000000000000000000000 9 00000000 done cases=6' > $port",
            "done",
            "echo 'ok 1 - all is well'",
            "reboot -f",
        ),
        "skips": ("echo not here", "exit 4"),
        "good-last": ("exit 0",),
    }
    named = [a for name, lines in scripts.items() for a in ("--case", script(tmp_path, name, *lines))]
    ran = invoke(tmp_path / "out", "test", "--no-control", "--cell", PATCHED, *named)
    assert ran.code == 1, ran.text
    verdicts = {name: ran.case(PATCHED, name)["verdict"] for name in scripts}
    assert verdicts == {
        "good-first": "pass",
        "panics": "fail",
        "exits-7": "fail",
        "reboots": "fail",
        "forges": "fail",
        "skips": "skip",
        "good-last": "pass",
    }
    assert "sysrq" in ran.case(PATCHED, "panics")["message"].lower()


# -- Docker under fire --------------------------------------------------------------------------------
@pytest.fixture
def slow_tree(tmp_path: Path) -> Path:
    """A tree whose make never ends: a container that is still running when something happens to it."""
    tree = tmp_path / "slow"
    (tree / "scripts").mkdir(parents=True)
    (tree / "scripts" / "none").write_text("")
    (tree / "Makefile").write_text("VERSION = 5\nPATCHLEVEL = 10\nSUBLEVEL = 0\n%:\n\tsleep 300\n")
    requested = {
        symbol
        for file in [REPO / "kconfigs/matrix.toml", *sorted((REPO / "kconfigs").glob("*.config"))]
        for symbol in re.findall(r'(?:CONFIG_|symbol = ")([A-Z0-9_]+)', file.read_text())
    }
    symbols = "".join(f'config {symbol}\n\tbool "{symbol}"\n' for symbol in sorted(requested))
    (tree / "Kconfig").write_text(f'mainmenu "slow"\n{symbols}')
    module = tree / "fs" / "overlayfs"
    module.mkdir(parents=True)
    (module / "Makefile").write_text("obj-$(CONFIG_OVERLAY_FS) += overlay.o\n")
    return tree


@pytest.fixture
def slow_build(slow_tree: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "invoke", "build", "--tree", str(slow_tree), "--series", "none",
         "--out", str(tmp_path / "out")],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    yield child
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def container_of(child: subprocess.Popen[str]) -> Any:
    client = docker_engine.connect()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for container in client.containers.list(filters={"label": LABEL}):
            if container.labels[LABEL].startswith(f"{child.pid}-"):
                return container
        time.sleep(0.1)
    raise AssertionError("no container was started")


def containers_of(pid: int) -> list[Any]:
    found = docker_engine.connect().containers.list(all=True, filters={"label": LABEL})
    return [c for c in found if c.labels[LABEL].startswith(f"{pid}-")]


def test_killed_container_is_infrastructure_trouble(slow_build: subprocess.Popen[str]) -> None:
    container_of(slow_build).kill()
    _, err = slow_build.communicate(timeout=30)
    assert slow_build.returncode == 3
    assert "container" in err and "killed" in err
    assert "Traceback" not in err
    assert containers_of(slow_build.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_leaves_no_container(slow_build: subprocess.Popen[str], number: signal.Signals) -> None:
    container_of(slow_build)
    slow_build.send_signal(number)
    _, err = slow_build.communicate(timeout=30)
    assert slow_build.returncode == 3
    assert "interrupted" in err
    assert containers_of(slow_build.pid) == []


def test_docker_out_of_reach_offers_the_host_by_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "build", "--out", str(tmp_path)],
        cwd=REPO, env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "--runtime host" in done.stderr
