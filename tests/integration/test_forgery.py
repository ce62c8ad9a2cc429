"""Guests that lie: what a case prints, writes and takes makes no verdict better, and breaks nothing.

Real guests, root in them, and everything that root can reach: the four ways out (output, console, kernel log,
and the verdict port itself), the agent's memory, the files that the next case runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml
from lxml import etree

from kmodpipe import engine, host
from tests.integration.conftest import require

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2400)]

REPO = Path(__file__).resolve().parents[2]
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
TIMEOUT_S = {"much-text": 90, "much-console": 6, "much-port": 6, "fills": 30}

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
}
LOOK = "grep -q '^overlay ' /proc/modules || die 'not loaded'\nobserve outcome through\n"
# In the order in which they run, the ones that share a guest.
TAKERS = (
    "rewrites", "victim", "scribbles-script", "scribbled", "scribbles-module", "look", "scribbles-library",
    "looks-in-vain",
)  # fmt: skip


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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project with cases that lie; what it builds is the same, so the cache has it."""
    require(engine.look().state is engine.State.ANSWERS, "no Docker Engine answers")
    require(shutil.which(host.QEMU.program) is not None, "no QEMU for x86")
    require(shutil.which("gcc") is not None, "no C compiler")
    root = tmp_path_factory.mktemp("forgery")
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(REPO / name, root)
    for name in ("kconfigs", "patches"):
        shutil.copytree(REPO / name, root / name)
    shutil.copytree(REPO / "images", root / "images", ignore=shutil.ignore_patterns("cases"))
    folder = root / "images/guest/cases/forgery"
    folder.mkdir(parents=True)
    table = ""
    for name, script in LIARS.items():
        table += declare(folder, name, LIES + script, alone=True, timeout_s=TIMEOUT_S.get(name, 20))
    scripts = {"rewrites": REWRITES, "look": LOOK, "looks-in-vain": LOOK}
    for name in TAKERS:
        if name in SCRIBBLES:
            table += entry(name, "thief", arguments=SCRIBBLES[name]) + EXPECT
        else:
            table += declare(folder, name, scripts.get(name, VICTIM))
    source = REPO / "tests/integration/thief.c"
    subprocess.run(["gcc", "-O1", "-static", "-o", folder / "thief", source], check=True)
    table += entry("thief", "thief", alone=True) + EXPECT
    number = str(len(LIARS) + len(TAKERS) + 1)
    table += entry("listener", "thief", alone=True, arguments=(number,)) + EXPECT
    (folder / "case.toml").write_text(table)
    return root


EXPECT = '[[case.expect]]\noutcome = "through"\nreason = "nothing is in its way"\n'


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


@pytest.fixture(scope="module")
def ran(project: Path) -> Ran:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, project / "peak", "test", "--cell", CELL],
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


@pytest.mark.parametrize("name", [*LIARS, "victim", "scribbled", "looks-in-vain", "thief", "listener"])
def test_no_lie_is_a_pass(ran: Ran, name: str) -> None:
    assert ran.case(name)["verdict"] in ("fail", "error"), ran.case(name)
    assert ran.code == 1, ran.text


@pytest.mark.parametrize("name", ["stdout", "stderr", "console", "serial", "port", "kmsg"])
def test_words_alone_do_not_even_change_why_a_case_fails(ran: Ran, name: str) -> None:
    found = ran.case(name)
    assert found["verdict"] == "fail"
    assert found["message"].startswith("the script ended with exit status 1"), found["message"]


def test_what_is_written_over_is_noticed_and_the_next_case_gets_a_fresh_guest(ran: Ran) -> None:
    assert ran.case("rewrites")["verdict"] == "pass", "the attack did not work"
    assert "files:changed" in ran.case("rewrites")["evidence"]
    assert ran.case("victim")["message"].startswith("the script ended with exit status 1; its last line: the")


def test_what_is_written_over_through_a_mapping_is_not_believed(ran: Ran) -> None:
    for name in SCRIBBLES:
        assert ran.case(name)["verdict"] == "pass", "the attack did not work"
    assert "module:refused" in ran.case("scribbles-module")["evidence"]
    assert any("EKEYREJECTED" in value for value in ran.cell["properties"].values())
    assert ran.case("look")["verdict"] == "pass"
    for name in ("scribbled", "looks-in-vain"):
        assert ran.case(name)["verdict"] == "error"
        assert "not the script and lib.sh that were packed" in ran.case(name)["message"]


def test_the_nonce_is_out_of_reach(ran: Ran) -> None:
    console = ran.logs("console")
    assert b"STOLEN" not in console and b"TRACED" not in console
    # The attacks really took place.
    assert b"thief: run by the kernel" in console
    assert re.search(rb"thief: heard record \d+", console)
    packed = b"".join(p.read_bytes() for p in (ran.folder / CELL).glob("cell*.cpio"))
    nonces = re.findall(rb"nonce ([0-9a-f]{32})\n", packed)
    assert len(nonces) >= len(LIARS)
    for nonce in nonces:
        assert nonce not in console and nonce not in ran.logs("verdict")
        assert nonce.decode() not in (ran.folder / "results.json").read_text() + ran.text


def test_the_files_and_the_terminal_are_whole(ran: Ran) -> None:
    tree = etree.parse(str(ran.folder / "junit.xml"))
    names = [c.get("name") for c in tree.iter("testcase") if c.get("classname") == CELL]
    assert sorted(names) == sorted([*LIARS, *TAKERS, "thief", "listener"])
    assert sum(len(list(s)) for s in JUnitXml.fromfile(str(ran.folder / "junit.xml"))) >= len(names)
    text = (ran.folder / "junit.xml").read_text()
    assert "ATTACHMENT" in text and not re.search(r"\[\[ATTACHMENT", text, re.IGNORECASE)
    assert (ran.folder / "junit.xml").stat().st_size < 20_000_000
    # What may stand on a terminal: text and line ends.
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", ran.text)
    assert "Traceback" not in ran.text


def test_memory_is_bounded(ran: Ran) -> None:
    assert ran.peak_mib < MEMORY_MIB
