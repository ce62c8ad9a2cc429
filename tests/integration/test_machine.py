"""The machine and the accelerator probe with the real QEMU, and kernels of a few bytes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmodpipe.util.screen import Mode, Screen
from kmodpipe.vm import accel, accel_rom, boot, speed
from kmodpipe.vm.boot_record import BootRecord, BootSpec, GuestEnd
from kmodpipe.vm.limits import Deadlines, Limits
from kmodpipe.vm.qemu import MachineSpec, base_argv, qemu_argv
from tests.integration.conftest import require

pytestmark = pytest.mark.integration

NONCE = "00112233445566778899aabbccddeeff"
HANG = bytes.fromhex("fa f4 eb fd")  # cli; 1: hlt; jmp 1b
RESET = bytes.fromhex("b0 fe e6 64 f4 eb fd")  # mov $0xfe,%al; out %al,$0x64; 1: hlt; jmp 1b
FLOOD = bytes.fromhex("ba f8 03 b0 41 ee eb fd")  # mov $0x3f8,%dx; mov $'A',%al; 1: out %al,%dx; jmp 1b
# A kernel's way to print: wait until the port takes a byte. 256 KiB, counting; drain; reset.
PATTERN = bytes.fromhex(
    "31db 31f6 bafd03 ec a820 74fb baf803 88d8 ee 43 75ef 46 83fe04 72e9 bafd03 ec a840 74f8b0fe e664 f4 ebfd"
)
HELLO = bytes.fromhex("ba f8 03 b0 21 ee") + HANG  # mov $'!',%al; out %al,%dx
PATTERN_BYTES = 4 * 65536


def needs(*programs: str) -> None:
    """Skip with the reason where a program is missing; fail where everything has to be there."""
    missing = [p for p in programs if shutil.which(p) is None]
    require(not missing, f"needs {', '.join(missing)}")


def kernel(path: Path, code: bytes) -> Path:
    """The least that QEMU boots as a Linux: boot sector, a setup header, and 16-bit code in its setup."""
    image = bytearray(512 * 8)
    image[0x1F1] = 1  # setup_sects
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x200:0x202] = b"\xeb\x66"  # jmp 0x268
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = struct.pack("<H", 0x0202)
    image[0x211] = 1  # LOADED_HIGH
    image[0x268 : 0x268 + len(code)] = code
    path.write_bytes(image)
    return path


@pytest.fixture
def boot_guest(tmp_path: Path) -> Callable[..., BootRecord]:
    needs("qemu-system-x86_64")

    def run(code: bytes, deadlines: Deadlines | None = None, limits: Limits | None = None) -> BootRecord:
        (tmp_path / "initrd").write_bytes(b"none")
        spec = BootSpec(
            MachineSpec(kernel(tmp_path / "kernel", code), tmp_path / "initrd", "quiet", memory_mib=16),
            nonce=NONCE,
            case_timeouts={0: 1},
            deadlines=deadlines or Deadlines(boot_s=20),
            console_path=tmp_path / "console.log",
            channel_path=tmp_path / "channel.log",
            limits=limits or Limits(),
        )
        return boot.run(spec)

    return run


def test_a_kernel_that_says_nothing(boot_guest: Callable[..., BootRecord]) -> None:
    session = boot_guest(HANG, Deadlines(boot_s=2))
    assert session.end is GuestEnd.NO_BOOT
    assert session.console_bytes == 0
    assert 2 <= session.duration_s < 6


def test_a_kernel_that_resets_at_once(boot_guest: Callable[..., BootRecord]) -> None:
    session = boot_guest(RESET)
    assert session.end is GuestEnd.EARLY_EXIT
    assert session.returncode == 0


def test_a_kernel_that_floods_the_console(boot_guest: Callable[..., BootRecord], tmp_path: Path) -> None:
    session = boot_guest(FLOOD, limits=Limits(total_bytes=100_000, file_bytes=20_000, tail_bytes=1000))
    assert session.end is GuestEnd.FLOOD
    assert (tmp_path / "console.log").stat().st_size < 22_000


def test_a_file_that_is_no_kernel(boot_guest: Callable[..., BootRecord], tmp_path: Path) -> None:
    spec = MachineSpec(tmp_path / "none", tmp_path / "none", "")
    session = boot.run(
        BootSpec(
            spec, nonce=NONCE, case_timeouts={}, deadlines=Deadlines(boot_s=20),
            console_path=tmp_path / "c", channel_path=tmp_path / "v",
        )
    )  # fmt: skip
    assert session.end is GuestEnd.QEMU_FAILED
    assert "none" in session.detail


def test_console_bytes_arrive_whole(boot_guest: Callable[..., BootRecord], tmp_path: Path) -> None:
    assert boot_guest(PATTERN).end is GuestEnd.EARLY_EXIT
    assert (tmp_path / "console.log").read_bytes() == bytes(range(256)) * (PATTERN_BYTES // 256)


@pytest.mark.parametrize("kind", ["socket", "pipe"])
def test_a_slow_reader_slows_the_guest_and_loses_nothing(tmp_path: Path, kind: str) -> None:
    needs("qemu-system-x86_64")
    (tmp_path / "initrd").write_bytes(b"none")
    spec = MachineSpec(kernel(tmp_path / "kernel", PATTERN), tmp_path / "initrd", "", memory_mib=16)
    where: int | str
    # The smallest buffer there is, so that it is full nearly all the time.
    if kind == "socket":
        ours, theirs = (end.detach() for end in socket.socketpair())
        with socket.socket(fileno=os.dup(theirs)) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        where = theirs
    else:
        ours, theirs = os.pipe()
        assert fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096) == 4096
        where = f"/proc/self/fd/{theirs}"
    with subprocess.Popen(qemu_argv(spec, console=where), pass_fds=[theirs]) as qemu:
        os.close(theirs)
        received = bytearray()
        while data := os.read(ours, 65536):
            received += data
            if len(received) < (1000 if kind == "socket" else 20_000):
                time.sleep(0.01)
        assert qemu.wait(10) == 0
    os.close(ours)
    assert received == bytes(range(256)) * (PATTERN_BYTES // 256)


def test_a_shell_in_the_guest_has_the_terminal_and_gives_it_back(tmp_path: Path) -> None:
    needs("qemu-system-x86_64")
    kernel(tmp_path / "kernel", HELLO)
    (tmp_path / "initrd").write_bytes(b"none")
    code = f"""
from pathlib import Path
from kmodpipe.vm.qemu import MachineSpec, interactive
folder = Path({str(tmp_path)!r})
raise SystemExit(interactive(MachineSpec(folder / "kernel", folder / "initrd", "", memory_mib=16)))
"""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as driver:
        shown = b""
        while b"!" not in shown:
            assert select.select([ours], [], [], 30)[0], shown
            shown += os.read(ours, 1024)
        os.write(ours, b"\x01x")  # Ctrl-a x
        assert driver.wait(20) == 0
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


# -- the accelerator ---------------------------------------------------------------------------------
def test_the_accelerator_that_is_proved_runs_a_guest(tmp_path: Path) -> None:
    needs("qemu-system-x86_64")
    screen = Screen(Mode.QUIET)
    proved = accel.probe(tmp_path / "cache", screen)
    assert proved.name in ("kvm", "tcg") and proved.reason
    started = time.monotonic()
    assert accel.probe(tmp_path / "cache", screen) == proved
    assert time.monotonic() - started < 1
    rom = tmp_path / "rom"
    rom.write_bytes(accel_rom.image())
    argv = [*base_argv(proved, memory_mib=4), "-monitor", "none", "-bios", str(rom)]
    argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    argv += ["-chardev", "stdio,id=console", "-serial", "chardev:console"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (accel_rom.EXIT_STATUS, b"rpltfu")


# Stops QEMU for three quarters of the time.
HELD_UP = """\
#!/bin/sh
(while kill -STOP $$ && sleep 0.06 && kill -CONT $$ && sleep 0.02; do :; done) >/dev/null 2>&1 &
exec qemu-system-x86_64 "$@"
"""


def test_the_speed_is_what_the_program_had_of_this_machine(tmp_path: Path) -> None:
    """Time in which it was kept from running does not count.

    Two measurements are not compared: a machine's own speed may be another one a second later.
    """
    needs("qemu-system-x86_64")
    proved = accel.probe(tmp_path / "cache", Screen(Mode.QUIET))
    alone = speed.measure(proved, tmp_path)
    held_up = tmp_path / "held-up"
    held_up.write_text(HELD_UP)
    held_up.chmod(0o755)
    held = speed.measure(proved, tmp_path, program=held_up)
    for one in (alone, held):
        assert one.trouble == "" and 0 < one.seconds < speed.REFERENCE_S * speed.MOST
    assert held.waited_s > held.seconds


@pytest.mark.parametrize("rom", [accel_rom, speed], ids=["accelerator", "speed"])
def test_the_rom_is_what_its_source_says(tmp_path: Path, rom: Any) -> None:
    needs("as", "ld", "objcopy")
    source, elf, binary = tmp_path / "rom.S", tmp_path / "rom.elf", tmp_path / "rom.bin"
    source.write_text(rom.SOURCE)
    subprocess.run(["as", "--64", "-o", tmp_path / "rom.o", source], check=True)
    subprocess.run(
        ["ld", "-m", "elf_x86_64", "-Ttext=0xff000", "-e", "0xff000", "-o", elf, tmp_path / "rom.o"],
        check=True,
    )
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", elf, binary], check=True)
    assert accel_rom.image(rom.CODE)[-4096:] == binary.read_bytes()
