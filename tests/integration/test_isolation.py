"""What a case leaves behind, in a real guest with the real module: the next one never finds it, in any order.

The project's own cases are replaced by ones that misbehave, and one that looks around, after each of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import require_machinery

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(2400)]

REPO = Path(__file__).resolve().parents[2]
CELL = "unpatched.INDEX=y.NOUUID=n"
MODULE = "/sys/module/overlay"

LOOK = f"""\
cat {MODULE}/initstate > /dev/null || die "the module is not loaded"
[ "$(cat {MODULE}/parameters/index)" = Y ] || die "index is no more what Kconfig says"
[ "$(cat {MODULE}/refcnt)" = 0 ] || die "the module is in use"
[ "$(wc -l < /proc/modules)" = 1 ] || die "other modules: $(cat /proc/modules)"
[ "$(cat /proc/sys/kernel/tainted)" = 0 ] || die "the kernel is tainted"
[ -z "$(losetup -a)" ] || die "loop devices: $(losetup -a)"
[ -z "$(find /proc/fs/ext4 -mindepth 1 2>/dev/null)" ] || die "an ext4 is mounted somewhere"
[ "$(wc -l < /proc/mounts)" = 8 ] || die "mounts: $(cat /proc/mounts)"
ps | grep -v grep | grep sleep && die "a process is left"
[ ! -e /written ] && [ -e /dev/loop0 ] || die "somebody wrote to / or /dev"
observe parameters "$(grep -r . {MODULE}/parameters | sort)"
"""
OVERLAY = """\
must mkdir disk merged
make_disk disk.img 16
must mount -t ext4 "$DISK" disk
must mkdir disk/lower disk/upper disk/work
mount_overlay index=on
[ "$MOUNT_RESULT" = mounted ] || die "$MOUNT_RESULT"
"""
MISBEHAVING = {
    "writes-parameter": f"""\
echo N > {MODULE}/parameters/index
[ "$(cat {MODULE}/parameters/index)" = N ] || die "not written"
""",
    "loads-with-another": f"""\
must rmmod overlay
must insmod "$KMODPIPE_MODULE" index=N redirect_max=100
[ "$(cat {MODULE}/parameters/index)" = N ] || die "not taken"
""",
    "removes": "must rmmod overlay\n",
    "leaves-all": OVERLAY
    + """\
exec 9> merged/open
(cd merged && exec sleep 1000) &
must truncate -s 1M second.img
must losetup "$(losetup -f)" second.img
""",
    "hangs": "sleep 1000 &\nwhile :; do :; done\n",
    "panics": "echo c > /proc/sysrq-trigger\n",
    "taints": "echo 64 > /proc/sys/kernel/tainted\n",
    # Under another name the agent does not find it; its file is on the overlay, so it holds the module too.
    "clings": OVERLAY
    + """\
must truncate -s 1M merged/image
clinging=$(losetup -f)
must losetup "$clinging" merged/image
mv "$clinging" /dev/elsewhere
""",
    # A frozen file system outlives its mount, and who writes to it cannot be killed.
    "freezes": OVERLAY + "must fsfreeze --freeze disk\n",
    "wedges": OVERLAY
    + """\
must fsfreeze --freeze disk
echo word > merged/file &
sleep 0.2
""",
    "writes-root": "must mount -o remount,rw /\nmust touch /written\n",
}
RETIRE = {
    "taints": "the kernel is tainted (U)",
    "clings": "a module is not what it was (EAGAIN), a loop device cannot be detached, /dev was written to",
    "freezes": "a loop device cannot be detached",
    "wedges": "a process is stuck in the kernel",
    "writes-root": "the root file system was written to: /written",
}
# What survives a case by itself, by kind: what is done, and what has to be named.
SURVIVES = {
    "sysctl": ("echo /bin/false > /proc/sys/kernel/modprobe", "/proc/sys/kernel/modprobe"),
    "hostname": ("hostname other", "/proc/sys/kernel/hostname"),
    "console-level": ("dmesg -n 1", "/proc/sys/kernel/printk"),
    "disk-setting": (
        "echo 64 > /sys/block/loop3/queue/read_ahead_kb",
        "/sys/devices/virtual/block/loop3/queue/read_ahead_kb",
    ),
    "disk-ioctl": ("blockdev --setro /dev/loop5", "/sys/block/loop5/ro"),
    "attribute-mode": ("chmod 600 /sys/block/loop3/queue/iostats", "/queue/iostats"),
    "mount-option": ("mount -o remount,hidepid=2 /proc", "/proc/self/mountinfo"),
    "cleared-log": ("dmesg -c > /dev/null", "the kernel log"),
    "serial-port": ("stty -F /dev/ttyS0 -opost", "a serial port"),
    "clock": ("date -s @2000000000", "the clock"),
    "priority": ("renice -n 5 -p 1", "the agent's priority"),
    "oom-score": ("echo 500 > /proc/1/oom_score_adj", "/proc/self/oom_score_adj"),
    "other-node": ("rm /dev/zero && mknod -m 666 /dev/zero c 1 7", "/dev/zero"),
    "more-nodes": ("mknod /dev/more c 1 3", "/dev/more"),
    "fewer-nodes": ("rm /dev/full", "/dev/full"),
    "node-mode": ("chmod 600 /dev/null", "/dev/null"),
    "file-mode": ("mount -o remount,rw / && chmod 600 /etc/passwd", "/etc/passwd"),
    "file-owner": ("mount -o remount,rw / && chown 1 /etc/group", "/etc/group"),
    "other-link": ("mount -o remount,rw / && ln -sf sh /bin/cat", "/bin/cat"),
    "fewer-files": ("mount -o remount,rw / && rm /etc/mtab", "/etc/mtab"),
}


def survivors() -> dict[str, str]:
    """Name → script, of `SURVIVES`."""
    return {name: f"{done} || die 'not done'\n" for name, (done, _) in SURVIVES.items()}


def cases() -> dict[str, str]:
    """Name → script, a look around first and after each misbehaviour."""
    found = {"look": LOOK}
    for name, script in MISBEHAVING.items():
        found |= {name: script, f"look-after-{name}": LOOK}
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project with other cases; what it builds is the same, so the cache has it."""
    require_machinery()
    root = tmp_path_factory.mktemp("project")
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(REPO / name, root)
    for name in ("kconfigs", "patches"):
        shutil.copytree(REPO / name, root / name)
    shutil.copytree(REPO / "images", root / "images", ignore=shutil.ignore_patterns("cases"))
    return root


def declare(project: Path, names: list[str]) -> None:
    scripts = cases() | survivors()
    folder = project / "images/guest/cases/isolation"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table = ""
    for name in names:
        script = f'#!/bin/sh\n. "$KMODPIPE_LIB"\n{scripts[name]}observe outcome through\n'
        (folder / f"{name}.sh").write_text(script)
        table += f'[[case]]\nid = "{name}"\nsummary = "misbehaves, or looks"\nscript = "{name}.sh"\n'
        table += f'timeout_s = {2 if name == "hangs" else 20}\ngoal = "through"\n'
        table += '[[case.expect]]\noutcome = "through"\nreason = "nothing is in its way"\n'
    (folder / "case.toml").write_text(table)


def run(project: Path, *argv: str, code: int = 1) -> Any:
    """The cell's results."""
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "test", "--no-control", "--cell", CELL, *argv],
        cwd=project,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=2300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    found = json.loads((project / "out/latest/results.json").read_text())["run"]["cells"]
    return next(c for c in found if c["cell"] == CELL)


@pytest.fixture(scope="module")
def declared(project: Path) -> Any:
    declare(project, list(cases()))
    return run(project)


def told(cell: Any) -> dict[str, tuple[str, str]]:
    """Verdicts, and what they say but for how fast the machine was and what it did meanwhile."""
    return {c["case"]: (c["verdict"], re.split("; QEMU had| [(]×", c["message"])[0]) for c in cell["cases"]}


def case(cell: Any, name: str) -> Any:
    return next(c for c in cell["cases"] if c["case"] == name)


def test_every_look_around_finds_a_guest_as_it_was(declared: Any) -> None:
    verdicts = {c["case"]: (c["verdict"], c["message"]) for c in declared["cases"]}
    failed = {name: v for name, v in verdicts.items() if v[0] != "pass"}
    assert set(failed) == {"hangs", "panics", "wedges"}, failed
    assert "stuck in the kernel" in failed["wedges"][1]
    assert "did not end within 2 s" in failed["hangs"][1]
    assert "sysrq" in failed["panics"][1].lower()
    looks = [c["observations"]["parameters"] for c in declared["cases"] if c["case"].startswith("look")]
    assert len(looks) == len(MISBEHAVING) + 1 and len(set(looks)) == 1


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("look", "mounts:0,loops:0,procs:0"),
        ("writes-parameter", "mounts:0,loops:0,procs:0,module:reloaded"),
        ("loads-with-another", "mounts:0,loops:0,procs:0,module:reloaded"),
        ("removes", "mounts:0,loops:0,procs:0,module:reloaded"),
        ("leaves-all", "mounts:2,loops:2,procs:1"),
        ("hangs", "mounts:0,loops:0,procs:2"),
        ("taints", "mounts:0,loops:0,procs:0,taint:U"),
        ("clings", "mounts:2,loops:2,procs:0,module:busy,loops:kept,dev:changed,kernel:changed"),
        ("freezes", "mounts:2,loops:1,procs:0,loops:kept,kernel:changed"),
        ("writes-root", "mounts:0,loops:0,procs:0,files:changed"),
    ],
)
def test_what_a_case_left_is_in_its_evidence(declared: Any, name: str, left: str) -> None:
    (line,) = (
        line for line in case(declared, name)["evidence"].splitlines() if line.startswith("left behind")
    )
    assert line.partition(",differs:")[0] == f"left behind: {left}"
    assert ("changed" in left) == ("differs:" in line)


def test_a_thread_of_the_kernel_that_stays_is_named(declared: Any) -> None:
    # Linux 5.10 has one for each loop device that is in use.
    assert re.search(
        r"differs:.*processes \(of the kernel:[^)]* loop\d\)", case(declared, "clings")["evidence"]
    )


def test_a_guest_is_given_up_where_it_has_to_be_and_nowhere_else(declared: Any) -> None:
    ends = {k: v for k, v in declared["properties"].items() if k.startswith("boot.")}
    assert declared["properties"]["boots"] == str(len(RETIRE) + 2)
    retired = [v for v in ends.values() if v.startswith("retired")]
    for told, (name, why) in zip(retired, RETIRE.items(), strict=True):
        assert told.startswith(f"retired: after case {name}: {why}"), told
    assert next(v for v in ends.values() if not v.startswith("retired")).startswith("panic")


def test_what_survives_a_case_is_named_and_ends_the_guest(declared: Any, project: Path) -> None:
    declare(project, list(survivors()))
    cell = run(project, code=0)
    for name, (_, differs) in SURVIVES.items():
        (left,) = (
            line for line in case(cell, name)["evidence"].splitlines() if line.startswith("left behind")
        )
        assert re.search(rf"differs:.*{re.escape(differs)}", left), (name, left)
    assert cell["properties"]["boots"] == str(len(SURVIVES))
    declare(project, list(cases()))


def test_the_order_does_not_matter(declared: Any, project: Path) -> None:
    wanted = told(declared)
    declare(project, list(reversed(cases())))
    assert told(run(project)) == wanted
    declare(project, list(cases()))
    for seed in ("1", "2"):
        assert told(run(project, "--shuffle", seed)) == wanted
