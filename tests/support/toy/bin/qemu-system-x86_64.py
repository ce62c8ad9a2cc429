"""Plays QEMU for a toy guest: reads the initramfs that it is given, speaks the verdict protocol on the
inherited sockets, and does in each case what the script's ``# toy:`` lines say.

    observe KEY VALUE     observe-module      observe-env NAME
                          (of ``outcome: X``, or ``outcome: X in 3 of 10, else Y``)
    exit N          print TEXT       console TEXT
    panic                 warn                hang            quit             forge           sleep S
    quiet-warn            as warn, but the console is turned down
    dirty                 what a clean guest does not have; `clean` exits 1 where it is there
    left TEXT             what the agent found and restored; retire WHY: this guest's last case
    stuck                 a process that survives SIGKILL: without `retire`, the agent cannot even say so
    late-panic            while such a guest restarts
    only                  exits 1 where the guest is to run another case
    say                   lies, in every place that takes text; overhear: a record made from one that was read
    rewrite PATH          writes over a file of the guest, as root can
    statuses N N ...      exits with the first in the first guest of this case, and so on, the last again
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote

PANIC = """\
[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    1.000001] Oops: 0000 [#1] SMP
[    1.000002] RIP: 0010:toy_fill_super+0x10/0x20 [toy]
[    1.000003] Call Trace:
[    1.000004]  toy_mount+0x1/0x2 [toy]
[    1.000005] Kernel panic - not syncing: Fatal exception
"""
WARN = """\
[    1.000000] ------------[ cut here ]------------
[    1.000001] WARNING: CPU: 0 PID: 1 at fs/toy/toy.c:3 toy_fill_super+0x10/0x20 [toy]
[    1.000002] Call Trace:
[    1.000003]  toy_mount+0x1/0x2 [toy]
[    1.000004] ---[ end trace 0000000000000000 ]---
"""
LIES = (
    "ok 1 - all\nTAP version 14\n]]></system-out></testcase><testcase name='forged'/>&bogus;\n"
    "\x1b]0;owned\x07\x1b[2J\x00\ufffe\n[[ATTACHMENT|/etc/passwd]]\n12 passed, 0 failed: exit 0\r\n"
)


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of concatenated newc archives."""
    files: dict[str, bytes] = {}
    at = 0
    while at + 110 <= len(data):
        if data[at : at + 6] != b"070701":
            at += 4
            continue
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        size, name_size = fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) & ~3
        files[name] = data[start : start + size]
        at = (start + size + 3) & ~3
    return files


def build_id(elf: bytes) -> str:
    at = elf.find(b"GNU\0")
    return elf[at + 4 : at + 24].hex()


def port(kind: str, where: str) -> Callable[[bytes], object]:
    """What a chardev is: an inherited socket, a file, or the terminal."""
    if kind == "socket":
        return socket.socket(fileno=int(where.removeprefix("fd="))).sendall
    if kind == "file":
        return open(where.removeprefix("path="), "wb", buffering=0).write
    return sys.stdout.buffer.write


class Guest:
    def __init__(
        self,
        kernel: bytes,
        files: dict[str, bytes],
        console: Callable[[bytes], object],
        channel: Callable[[bytes], object],
        tools: Path | None,
    ):
        self.kernel = kernel.decode().split()[-1]
        self.files = files
        self.tools = tools
        self.console, self.channel = console, channel
        self.nonce, self.seq = "", 0
        self.how, self.left, self.retire = "exit", "", ""
        self.dirty = self.late_panic = False
        self.env: dict[str, str] = {}

    def say(self, text: str) -> None:
        self.console(text.encode())

    def send(self, kind: str, **fields: object) -> None:
        body = " ".join(
            [str(self.seq), kind]
            + [f"{k}={quote_from_bytes(str(v).encode(), safe='._:/,+@-')}" for k, v in fields.items()]
        )
        seq, tail = body.split(" ", 1)
        self.channel(f"KP {self.mac('mark')} {seq} {self.mac(body)} {tail}\n".encode())
        self.seq += 1

    def mac(self, text: str) -> str:
        return hmac.digest(self.nonce.encode(), text.encode(), "sha256")[:16].hex()

    def digest(self, name: str) -> str:
        return hashlib.sha256(self.files[name.lstrip("/")]).hexdigest()

    def mounts_tools(self) -> bool:
        """Whether the disk with the tools is an ext4, by its superblock, and the kernel takes it."""
        if self.tools is None or b"NO_DISK" in self.module:
            return False
        with self.tools.open("rb") as f:
            f.seek(1080)
            return f.read(2) == b"\x53\xef"

    def run(self) -> int:
        plan = [
            [unquote(t) for t in line.split()] for line in self.files["kmodpipe/plan"].decode().splitlines()
        ]
        self.nonce = next(line[1] for line in plan if line[0] == "nonce")
        self.env = {line[1]: line[2] for line in plan if line[0] == "env"}
        self.say("[    0.000000] Linux version 5.10.223 (toy)\n")
        modules = [line[1].lstrip("/") for line in plan if line[0] == "module"]
        self.send("hello", proto=1, release="5.10.223", version="toy", build_id=self.kernel, uptime_ms=900)
        self.module = self.files[modules[-1]] if modules else b""
        if any(line[0] == "disk" for line in plan) and not self.mounts_tools():
            self.send("refused", what="disk", name="vda", errno="EINVAL")
            self.send("done", cases=0)
            return 0
        if b"NO_LOAD" in self.module:
            self.send("refused", what="module", name="toy", errno="ENOEXEC")
            self.send("done", cases=0)
            return 0
        for name in modules:
            stem = name.rsplit("/", 1)[-1].removesuffix(".ko").replace("-", "_")
            digest = "0" * 64 if b"STRANGER" in self.module else self.digest(name)
            self.send("module", name=stem, build_id=build_id(self.files[name]), sha256=digest)
        self.cases = [line for line in plan if line[0] == "case"]
        if b"RETIRE" in self.module:
            self.send("retired", cases=0, why="nothing to do here")
            return 0
        for ran, (_, index, case_id, _limit, script, *_) in enumerate(self.cases, 1):
            self.left = ""
            self.send(
                "start",
                case=index,
                id=case_id,
                script=self.digest(script),
                lib=self.digest("kmodpipe/lib.sh"),
            )
            status = self.case(index, self.files[script.lstrip("/")].decode())
            if status is None:
                return 0
            self.send("end", case=index, how=self.how, status=status, ms=12, left=self.left)
            if self.retire:
                self.send("retired", cases=ran, why=self.retire)
            if self.retire or self.how == "stuck":
                self.say(PANIC if self.late_panic else "")
                return 0
        self.send("done", cases=len(self.cases))
        return 0

    def sleep(self, seconds: float) -> None:
        """Alive, as the real agent shows every second."""
        for _ in range(int(seconds / 0.25)):
            time.sleep(0.25)
            self.send("beat", uptime_ms=1000)

    def observed(self, verb: str, rest: str) -> tuple[str, str]:
        if verb == "observe-module":
            found = re.search(
                r"^outcome: (\S+)(?: in (\d+) of (\d+), else (\S+))?$",
                self.module.decode("latin-1"),
                flags=re.M,
            )
            word, some, of, other = found.groups() if found else ("none", None, None, None)
            # A module that is flaky: the nonce is another one in each guest.
            rare = of and int(self.nonce, 16) % int(of) >= int(some)
            return "outcome", other if rare else word
        if verb == "observe-env":
            return rest, self.env.get(rest, "none")
        key, _, value = rest.partition(" ")
        return key, value

    def case(self, index: str, script: str) -> int | None:  # noqa: C901
        status = 0
        for line in re.findall(r"^# toy: (.*)$", script, flags=re.M):
            verb, _, rest = line.partition(" ")
            if verb.startswith("observe"):
                key, value = self.observed(verb, rest)
                self.send("obs", case=index, key=key, value=value)
            elif verb == "exit":
                status = int(rest)
            elif verb == "print":
                self.send("out", case=index, data=rest + "\n")
            elif verb == "console":
                self.say(rest + "\n")
            elif verb in ("warn", "quiet-warn"):
                self.say(WARN if verb == "warn" else "")
                for text in WARN.splitlines():
                    self.send("kmsg", case=index, level=4, ts_us=1000000, text=text.partition("] ")[2])
            elif verb == "sleep":
                self.sleep(float(rest))
            elif verb == "until":
                while not Path(rest).exists():
                    self.sleep(0.25)
            elif verb == "forge":
                self.say(f"KP {'0' * 32} 99 00000000 done cases=1\nok 1 - all is well\n")
                self.channel(
                    b"KP 00000000000000000000000000000000 3 00000000 end case=0 how=exit status=0 ms=1\n"
                )
            elif verb == "panic":
                self.say(PANIC)
                return None
            elif verb == "quit":
                return None
            elif verb == "hang":
                time.sleep(3600)
            elif verb == "clean":
                status = int(self.dirty)
            elif verb == "overhear":
                # What root in a guest can learn on the port is the mark, the number and an old signature.
                forged = f"end case={index} how=exit status=0 ms=1"
                self.channel(f"KP {self.mac('mark')} {self.seq} {self.mac('0 hello')} {forged}\n".encode())
            elif verb == "say":
                self.send("out", case=index, data=LIES)
                self.send("obs", case=index, key=f"key{LIES}", value=LIES)
                self.send("kmsg", case=index, level=4, ts_us=1, text=LIES)
                self.say(LIES)
            elif verb == "rewrite":
                self.files[rest] = b"#!/bin/sh\n# toy: exit 0\n"
            elif verb == "statuses":
                status = self.nth(index, rest.split())
            elif verb == "only":
                status = int(len(self.cases) > 1)
            else:
                self.aftermath(verb, rest)
        return status

    def nth(self, index: str, statuses: list[str]) -> int:
        """Which guest this is for the case is known from what it left on the host."""
        count = Path(f"{os.environ['TOY_CALLS']}.{index}")
        before = len(count.read_bytes()) if count.exists() else 0
        count.write_bytes(b"." * (before + 1))
        return int(statuses[min(before, len(statuses) - 1)])

    def aftermath(self, verb: str, rest: str) -> None:
        """What the case does to the guest, and what the agent makes of it."""
        if verb in ("left", "retire"):
            setattr(self, verb, rest)
        elif verb == "stuck":
            self.how = "stuck"
        elif verb == "dirty":
            self.dirty = True
        elif verb == "late-panic":
            self.late_panic = True


def main(argv: list[str]) -> int:
    if "--version" in argv:
        print("QEMU emulator version 7.2.0 (toy)")
        return 0
    if "-bios" in argv:
        # The accelerator's proof: the program of accelrom ran to its end.
        sys.path.insert(0, os.environ["PYTHONPATH"])
        from kmodpipe.vm import accel_rom, speed

        if argv[argv.index("-bios") + 1].endswith("speed-rom"):
            slow = Path(f"{os.environ['TOY_CALLS']}.speed")
            print("s", end="", flush=True)
            time.sleep(float(slow.read_text()) if slow.exists() else 0)
            print("e", end="", flush=True)
            return speed.EXIT_STATUS
        print("".join(accel_rom.STAGES), end="", flush=True)
        return accel_rom.EXIT_STATUS
    with open(argv[argv.index("-kernel") + 1], "rb") as f:
        kernel = f.read()
    with open(argv[argv.index("-initrd") + 1], "rb") as f:
        files = unpack(f.read())
    ports = {m[2]: (m[1], m[3]) for a in argv if (m := re.fullmatch(r"(\w+),id=(\w+),?(.*)", a))}
    console, channel = port(*ports["console"]), port(*ports["channel"])
    drives = (re.fullmatch(r"driver=file,filename=(.*),node-name=tools,read-only=on", a) for a in argv)
    tools = next((Path(m[1].replace(",,", ",")) for m in drives if m), None)
    return Guest(kernel, files, console, channel, tools).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
