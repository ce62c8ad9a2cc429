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

FLAVOURS = """
[flavours.disk]
summary = "tools of 171 MiB on a disk"
fragments = ["virtio.config", "fio.config"]
tools = ["fio"]
[flavours.held]
summary = "the same in memory"
tools = ["fio"]
"""
# One after the other in one guest, but for what has to end it. fio brings perl.
DISK_CASES = {
    "measure": """\
observe uptime "$(cut -d ' ' -f 1 /proc/uptime)"
observe memory "$(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)"
must fio --version
""",
    "works": """\
# needs: CONFIG_SYSVIPC CONFIG_TIMERFD
must fio --name=job --size=1M --rw=randwrite --thread --output-format=terse
observe mounted "$(grep ' /kmodpipe/disk ' /proc/mounts)"
observe leads "$(readlink /bin/fio)"
if touch /kmodpipe/disk/new; then die "it can be written to"; fi
""",
    "unmounts": """\
must umount /kmodpipe/disk
if [ -e /bin/fio ]; then die "it is still there"; fi
""",
    "after-unmount": """\
must fio --version
must perl -e 'use POSIX; exit(floor(1.5) != 1)'
""",
    "remounts": "must mount -o remount,errors=panic /kmodpipe/disk\n",
    "after-remount": "must fio --version\n",
    # EXT4_IOC_SHUTDOWN.
    "shuts-down": """\
must perl -e '$how = pack("L", 2); open(F, "<", "/bin/fio"); ioctl(F, 0x8004587d, $how) or die $!'
""",
    "after-shutdown": "must fio --version\n",
    "writes": """\
disk=/dev/$(basename "$(grep -l kmodpipe-tools /sys/block/*/serial | cut -d / -f 1-4)")
must blockdev --setrw "$disk"
dd if=/dev/zero of="$disk" bs=4096 count=1 conv=fsync
must blockdev --setro "$disk"
""",
    "after-write": "must fio --version\n",
}


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


def add_disk_cases(project: Path) -> None:
    """Declare the flavours and the cases for tools on a disk."""
    with (project / "kconfigs/matrix.toml").open("a") as f:
        f.write(FLAVOURS)
    (project / "kconfigs/fio.config").write_text("CONFIG_SYSVIPC=y\nCONFIG_TIMERFD=y\nCONFIG_AIO=y\n")
    folder = project / "images/guest/cases/disk"
    folder.mkdir()
    table = ""
    for name, text in DISK_CASES.items():
        begin, middle = text.split("\n", 1) if text.startswith("#") else ("", text)
        script = f'#!/bin/sh\n{begin}\n. "$KMODPIPE_LIB"\n{middle}observe outcome through\n'
        (folder / f"{name}.sh").write_text(script)
        table += f'[[case]]\nid = "{name}"\nsummary = "uses a large tool"\nscript = "{name}.sh"\n'
        table += 'goal = "through"\n'
    (folder / "case.toml").write_text(table)


def run_in(project: Path, flavour: str, *cases: str) -> Ran:
    named = [part for name in cases for part in ("--case", name)]
    return invoke(
        project, "test", "--no-control", "--flavour", flavour, "--cell", f"{CELL}.{flavour}", *named
    )


@pytest.mark.kernels
def test_large_packages_are_on_a_disk(project: Path) -> None:
    add_disk_cases(project)
    ran = run_in(project, "disk", *DISK_CASES)
    found = {name: ran.case(f"{CELL}.disk", name) for name in DISK_CASES}
    assert {name for name, one in found.items() if one["verdict"] != "pass"} == set(), ran.text
    assert found["works"]["observations"]["mounted"].startswith("/dev/vda /kmodpipe/disk ext4 ro,")
    assert found["works"]["observations"]["leads"] == "/kmodpipe/disk/bin/fio"
    # To unmount it is the case's own affair; all else ends the guest.
    assert [one["guest"] for one in found.values()] == [1, 1, 1, 1, 1, 2, 2, 3, 3, 4]
    (cell,) = ran.run()["cells"]
    ends = [cell["properties"][f"boot.{number}"] for number in (1, 2, 3)]
    assert "after case remounts: a mount is not what it was" in ends[0] and "mountinfo" in ends[0]
    assert "after case shuts-down: " in ends[1] and "the disk of the tools" in ends[1]
    assert "after case writes: " in ends[2] and "the disk of the tools" in ends[2]
    script = project / "out/latest" / f"{CELL}.disk" / "reproduce.sh"
    again = subprocess.run(["sh", script], capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0 and "retired cases=5" in again.stdout, again.stdout + again.stderr


@pytest.mark.kernels
def test_a_disk_takes_less_memory_and_time(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_disk_cases(project)
    memory, uptime = {}, {}
    for flavour in ("held", "disk"):
        ran = run_in(project, flavour, "measure")
        case = ran.case(f"{CELL}.{flavour}", "measure")
        assert case["verdict"] == "pass", ran.text
        memory[flavour] = int(case["observations"]["memory"]) >> 10
        uptime[flavour] = float(case["observations"]["uptime"])
        own = ran.run()["cells"][0]["properties"]
        with capsys.disabled():
            sys.stdout.write(
                f"\n{flavour}: {uptime[flavour]} s from the kernel's start to the first case, "
                f"{own['kernel-to-init-seconds']} s from QEMU's start to init, "
                f"{own['guest-seconds']} s in all, {memory[flavour]} MiB of memory"
            )
    assert memory["held"] > 2 * memory["disk"]
    assert uptime["held"] > uptime["disk"]
