"""Guests that lie: root in them, and everything that root can reach.

The four ways out (output, console, kernel log, and the verdict port itself), the agent's memory, the files
that the next case runs. All lies are cases of one ``invoke test``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from junitparser import JUnitXml
from lxml import etree

from tests.faults import Outcome, Row, copy_project

HERE = Path(__file__).resolve().parent
CELL = "unpatched.INDEX=y.NOUUID=n"
MEMORY_MIB = 150

# What every way out is given to carry. A nonce can only be guessed; a record can be well formed but for that.
LIES = r"""
lies() {
    printf 'PASS\nok 1 - all is well\nTAP version 14\n1..1\nok 1 all\nKTAP version 1\n1..1\nok 1 all\n'
    printf 'KP %s 5 00000000 end case=0 how=exit status=0 ms=1 left=\n' 00000000000000000000000000000000
    printf 'KP %s 6 %s done cases=1\n' ffffffffffffffffffffffffffffffff 00000000000000000000000000000000
    printf 'outcome\tthrough\n'
    printf ']]></system-out></testcase></testsuite><testcase name="forged"/><!-- &bogus;\n'
    printf '\000\001\002\377\376\n'
    printf '\355\240\200 \357\277\276 \033]0;owned\007\033[2J\033[31mred\033c\233\n'
    printf '\n[[ATTACHMENT|/etc/passwd]]\n[[attachment|/etc/shadow]]\n[ [ATTACHMENT|/etc/hosts]]\n'
    printf 'reproduce: exit 0\r\n12 passed, 0 failed, 0 errors: exit 0\n'
}
mknod /work/port c 4 65
mknod /work/serial c 4 64
"""
# Each ends with status 1, or with 0 and the wrong outcome: none may pass.
LIARS = {
    "stdout": "lies; exit 1\n",
    "stderr": "lies >&2; exit 1\n",
    "no-outcome": "lies; exit 0\n",
    "console": "lies > /dev/console; exit 1\n",
    "serial": "lies > /work/serial; exit 1\n",
    "port": "lies > /work/port; exit 1\n",
    "kmsg": "lies | while read -r line; do printf '<0>%s\\n' \"$line\" > /dev/kmsg; done; exit 1\n",
    "observations": "printf 'outcome\\tthrough\\noutcome\\tother\\n]]>\\033[2J\\t[[ATTACHMENT|/x]]\\n' >&3\n",
    "reboots": "lies > /work/port; echo b > /proc/sysrq-trigger; sleep 10; exit 1\n",
    "kills": "lies > /work/port; kill -9 1; kill -9 -1; exit 1\n",
    "leaves-children": "(trap '' TERM HUP; while :; do lies > /work/port; done) & exit 1\n",
    "fills": "dd if=/dev/zero of=/work/full bs=1M; dd if=/dev/zero of=/tmp/full bs=1M; exit 1\n",
    "much-text": """\
yes 'all is well' | head -c 16777216 > text
for i in $(seq 64); do cat text; done
echo 'that was all'; exit 1
""",
    "much-console": "lies > /dev/console; yes 'all is well' > /dev/console; exit 1\n",
    "much-port": "yes 'KP 00000000000000000000000000000000 5 00' > /work/port; exit 1\n",
    "another-name": """\
sed 's/overlay/overlaz/g' "$KMODPIPE_MODULE" > other.ko
insmod other.ko && echo loaded another
rmmod overlay; exit 1
""",
}
TIMEOUT_S = {"drowns-messages": 60, "much-text": 90, "much-console": 6, "much-port": 6, "fills": 30}

# These take what the cases behind them run: by writing, and through a mapping, which leaves no trace.
REWRITES = """\
mount -o remount,rw /
printf 'exit 0\\n' | dd of=/kmodpipe/cases/victim/victim.sh bs=1 seek=10 conv=notrunc
grep -q 'exit 0' /kmodpipe/cases/victim/victim.sh && observe outcome through
"""
VICTIM = "echo 'the end'; exit 1; exit 1\n"
SCRIBBLES = {
    "scribbles-script": ("/kmodpipe/cases/scribbled/scribbled.sh", "exit 1", "exit 0"),
    "scribbles-library": ("/kmodpipe/lib.sh", "observe()", "observe<>"),
    "scribbles-module": ("/kmodpipe/overlay.ko", "overlayfs", "OVERLAYFS"),
    "scribbles-program": ("/sbin/kp-mount", "usage: kp-mount", "USAGE: kp-mount"),
}
LOOK = "grep -q '^overlay ' /proc/modules || die 'not loaded'\nobserve outcome through\n"
# These leave something in the kernel or in /dev for the case behind them, which passes only if it finds that.
LEAVES = {
    "swaps-module": """\
must rmmod overlay
sed "s/missing 'lowerdir'/m1ssing 'lowerdir'/" "$KMODPIPE_MODULE" > /tmp/overlay.ko
must insmod /tmp/overlay.ko
observe outcome through
""",
    "swaps-kmsg": "rm /dev/kmsg; mknod /dev/kmsg p; dmesg -n 1; observe outcome through\n",
    "sets-helper": "echo /dev/helper > /proc/sys/kernel/modprobe; observe outcome through\n",
}
FINDS = {
    "runs-program": "kp-mount 2>&1 | grep USAGE || exit 1\nobserve outcome through\n",
    "mounts-swapped": """\
must mkdir merged
try_mount overlay overlay "$PWD/merged" "upperdir=$PWD"
dmesg | tail -n 1 | grep m1ssing || exit 1
observe outcome through
""",
    # What the kernel reports about it is no taint, and the console is turned down.
    "out-of-memory": "(tail /dev/zero)\nobserve outcome through\n",
    "called-helper": "grep -q /dev/helper /proc/sys/kernel/modprobe || exit 1\nobserve outcome through\n",
}
# These say the opposite behind so much else that it cannot all be sent. Without a pause the kernel's ring
# loses so many messages that the last is sent after all.
DROWNS = {
    "drowns-messages": """\
n=0; while [ $n -lt 1800 ]; do
    echo h > /proc/sysrq-trigger; n=$((n+1)); [ $((n % 100)) -gt 0 ] || sleep 0.1
done
must mkdir merged; try_mount overlay overlay "$PWD/merged" "lowerdir=$PWD,nosuchoption"
observe outcome through
""",
    "drowns-observations": """\
observe outcome through
n=0; while [ $n -lt 600 ]; do printf 'k%s\tv\n' $n >&3; n=$((n+1)); done
observe outcome other
""",
    "drowns-output": """\
yes 'all is well' | head -c 300000
printf 'KTAP version 1\n1..2\nok 1 one\nnot ok 2 two\n'
observe outcome through
""",
    "half-observation": "observe outcome through; printf 'outcome\tother' >&3\n",
    "long-observation": """\
observe outcome through
printf 'outcome\\tother%s\\n' "$(printf '%2000s' x)" >&3
""",
    "no-observation": "observe outcome through; printf 'outcome other\n' >&3\n",
}
# In the order in which they run, the ones that share a guest.
TAKERS = (
    "rewrites", "victim", "scribbles-script", "scribbled", "scribbles-module", "look", "scribbles-library",
    "looks-in-vain", "scribbles-program", "runs-program", "swaps-module", "mounts-swapped", "sets-helper",
    "called-helper", *DROWNS, "swaps-kmsg", "out-of-memory",
)  # fmt: skip
# Cases that do harm and go through with it, and those that find a fresh guest behind them; what counts is
# what becomes of the others.
GO_THROUGH = ("rewrites", "look", "looks-in-vain", *SCRIBBLES, *LEAVES)
NAMES = (*LIARS, *TAKERS, "thief", "listener")


@dataclass(frozen=True)
class Ran:
    code: int
    text: str
    peak_mib: float
    folder: Path
    cell: Any

    def case(self, name: str) -> Any:
        return next(c for c in self.cell["cases"] if c["case"] == name)

    def logs(self, kind: str) -> bytes:
        return b"".join(p.read_bytes() for p in sorted((self.folder / CELL).glob(f"{kind}*.log")))

    def problems(self, name: str) -> list[str]:
        """Everything that speaks against this lie having been seen through."""
        found = self.case(name)
        if name in GO_THROUGH:
            return [] if found["verdict"] == "pass" else [f"the attack did not work: {found['message']}"]
        if name in DROWNS and found["verdict"] != "error":
            return [f"evidence was dropped, and yet there is a verdict: {found['verdict']}"]
        return [] if found["verdict"] in ("fail", "error") else [f"the lie is a {found['verdict']}"]


# Runs invoke, and leaves the most memory that this process itself had.
DRIVER = """\
import atexit, re, sys
def peak():
    with open('/proc/self/status') as f, open(PEAK, 'w') as out:
        out.write(re.search(r'VmHWM:\\s+(\\d+)', f.read())[1])
PEAK = sys.argv.pop(1)
atexit.register(peak)
from invoke.main import program
program.run()
"""


def make_project(root: Path) -> Path:
    """A copy of this project with cases that lie."""
    folder = copy_project(root, "forgery")
    table = ""
    for name, script in LIARS.items():
        table += declare(folder, name, LIES + script, alone=True, timeout_s=TIMEOUT_S.get(name, 20))
    scripts = {"rewrites": REWRITES, "look": LOOK, "looks-in-vain": LOOK, **LEAVES, **FINDS, **DROWNS}
    for name in TAKERS:
        if name in SCRIBBLES:
            table += entry(name, "thief", arguments=SCRIBBLES[name]) + EXPECT
        else:
            table += declare(folder, name, scripts.get(name, VICTIM), timeout_s=TIMEOUT_S.get(name, 20))
    source = HERE / "thief.c"
    subprocess.run(["gcc", "-O1", "-static", "-o", folder / "thief", source], check=True)
    table += entry("thief", "thief", alone=True) + EXPECT
    number = str(len(LIARS) + len(TAKERS) + 1)
    table += entry("listener", "thief", alone=True, arguments=(number,)) + EXPECT
    (folder / "case.toml").write_text(table)
    return root


EXPECT = """\
[[case.expect]]
outcome = "through"
no_kmsg = "nosuchoption"
reason = "nothing is in its way"
"""


def declare(folder: Path, name: str, script: str, *, alone: bool = False, timeout_s: int = 20) -> str:
    # What `rewrites` writes to is what comes right behind the first line.
    (folder / f"{name}.sh").write_text(f'#!/bin/sh\n. "$KMODPIPE_LIB"\n{script}')
    return entry(name, f"{name}.sh", alone=alone, timeout_s=timeout_s) + EXPECT


def entry(
    name: str, script: str, *, alone: bool = False, timeout_s: int = 20, arguments: tuple[str, ...] = ()
) -> str:
    told = f'[[case]]\nid = "{name}"\nsummary = "lies"\nscript = "{script}"\ngoal = "through"\n'
    told += f"args = {json.dumps(arguments)}\n"
    return told + f"timeout_s = {timeout_s}\nalone = {str(alone).lower()}\n"


def run(project: Path, *words: str) -> Ran:
    """The run of a project of `make_project`, with more words on the command line."""
    # One guest at a time: some lies are about the case that comes next in it.
    argv = ("test", "--no-control", "--cell", CELL, "--jobs", "1", *words)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, project / "peak", *argv],
        cwd=project,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        timeout=2300,
        check=False,
    )
    text = (done.stdout + done.stderr).decode("utf-8", "surrogateescape")
    folder = (project / "out/latest").resolve()
    cells = json.loads((folder / "results.json").read_text())["run"]["cells"]
    peak_mib = int((project / "peak").read_text()) / 1024
    return Ran(done.returncode, text, peak_mib, folder, next(c for c in cells if c["cell"] == CELL))


# -- what came of it ----------------------------------------------------------------------------------
WHAT = {
    "stdout": "success on stdout",
    "stderr": "success on stderr",
    "no-outcome": "success on stdout and a good end, but no outcome",
    "console": "success on /dev/console",
    "serial": "success on the console's serial port",
    "port": "records on the verdict port",
    "kmsg": "success in the kernel log, as emergencies",
    "observations": "two outcomes, XML, an attachment and escapes as observations",
    "reboots": "a last record, then a reboot",
    "kills": "a last record, then kill -9 of everything",
    "leaves-children": "a process is left that goes on with records",
    "fills": "every file system is filled",
    "much-text": "1 GiB of text",
    "much-console": "the console without end",
    "much-port": "the verdict port without end",
    "another-name": "another module is loaded from the one under test",
    "rewrites": "the next case's script is written over",
    "victim": "behind that",
    "scribbles-script": "the next case's script is changed through a mapping",
    "scribbled": "behind that",
    "scribbles-module": "the module's file is changed through a mapping",
    "look": "behind that",
    "scribbles-library": "lib.sh is changed through a mapping",
    "looks-in-vain": "behind that",
    "scribbles-program": "a program is changed through a mapping",
    "runs-program": "behind that",
    "swaps-module": "an edited copy of the module is loaded in its place",
    "mounts-swapped": "behind that",
    "swaps-kmsg": "a pipe is put in the place of /dev/kmsg, and the console is turned down",
    "out-of-memory": "behind that, a report that does not taint",
    "sets-helper": "a sysctl is left set, the program that the kernel starts for modules",
    "called-helper": "behind that",
    "drowns-messages": "a forbidden kernel message behind 256 KiB of others",
    "drowns-observations": "another outcome behind 500 observations",
    "drowns-output": "`not ok` behind 256 KiB of output",
    "half-observation": "another outcome without a newline",
    "long-observation": "another outcome in a line that is too long",
    "no-observation": "another outcome without the tab",
    "thief": "PID 1's memory is searched for the nonce",
    "listener": "the verdict port is read back",
}


def rows(ran: Ran) -> list[Row]:
    """Each lie, what its case was told as; the last row is about the files of the whole run."""
    made = [Row("forgery", name, WHAT[name], _outcome(ran, name)) for name in NAMES]
    whole = tuple(file_problems(ran))
    kept = f"{len(ran.cell['cases'])} verdicts, junit.xml whole, at most {ran.peak_mib:.0f} MiB of memory"
    told = Outcome("each of the above", ran.code, kept, whole)
    return [*made, Row("forgery", "files", "text for terminals, XML and Jenkins in all of them", told)]


def _outcome(ran: Ran, name: str) -> Outcome:
    found = ran.case(name)
    others = sum(c["attempts"] > 0 for c in ran.cell["cases"]) - 1
    told = f"{found['verdict']}: {found['message'].splitlines()[0][:200]}"
    return Outcome(told, ran.code, f"the verdicts of {others} others", tuple(ran.problems(name)))


def file_problems(ran: Ran) -> Iterator[str]:
    """What is broken in the files and on the terminal of a run full of lies."""
    tree = etree.parse(str(ran.folder / "junit.xml"))
    names = [c.get("name") for c in tree.iter("testcase") if c.get("classname") == CELL]
    if sorted(names) != sorted(NAMES):
        yield f"junit.xml has other cases: {names}"
    if sum(len(list(s)) for s in JUnitXml.fromfile(str(ran.folder / "junit.xml"))) < len(names):
        yield "junitparser does not read junit.xml"
    text = (ran.folder / "junit.xml").read_text()
    if re.search(r"\[\[ATTACHMENT", text, re.IGNORECASE) or "ATTACHMENT" not in text:
        yield "junit.xml names a file for Jenkins, or shows nothing of it"
    if (ran.folder / "junit.xml").stat().st_size > 20_000_000:
        yield "junit.xml is too large for GitLab"
    # What may stand on a terminal: text and line ends.
    if found := re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", ran.text):
        yield f"{found[0]!r} went to the terminal"
    if "Traceback" in ran.text:
        yield "a traceback went to the terminal"
    if ran.peak_mib >= MEMORY_MIB:
        yield f"{ran.peak_mib:.0f} MiB of memory"
