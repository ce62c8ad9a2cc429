"""QEMU's command lines: a bare, confined PC with two serial ports, which is killed if this process dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import InfraError
from kmodpipe.vm import devices
from kmodpipe.vm.devices import Device, HostFolder

PROGRAM = Path("qemu-system-x86_64")
_CONFINEMENT = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_POLL_S = 0.25


@dataclass(frozen=True)
class Accel:
    """An accelerator, as QEMU's options need it."""

    # "kvm" or "tcg".
    name: str
    # QEMU's CPU model: "host", "max" …
    cpu: str
    # Why it was chosen, for the screen and the results.
    reason: str = ""
    # Run QEMU under its own system call filter, which some builds lack.
    confined: bool = True
    # The QEMU that it was proved with (`file_of`); empty if another one may be used.
    qemu: str = field(default="", compare=False)


# QEMU's own emulation, which works wherever QEMU does.
TCG = Accel("tcg", "max")


@dataclass(frozen=True)
class MachineSpec:
    """The machine that is booted."""

    kernel: Path
    initramfs: Path
    cmdline: str
    memory_mib: int = 256
    cpus: int = 1
    accel: Accel = TCG
    program: Path = PROGRAM  # QEMU, a path or a name
    devices: tuple[Device, ...] = ()
    tools: Path | None = None  # the file system on the disk with the tools
    disks: Path | None = None  # the folder of the devices' disks; QEMU's working directory if there is none
    folder: HostFolder | None = None


def base_argv(accel: Accel, *, program: Path = PROGRAM, memory_mib: int = 256, cpus: int = 1) -> list[str]:
    """Return the arguments that all QEMU command lines share: a bare machine without any device."""
    argv = [os.fspath(program), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    if accel.confined:
        argv += ["-sandbox", _CONFINEMENT]
    argv += ["-machine", f"pc,accel={accel.name}", "-cpu", accel.cpu]
    # The MP table, which kernels without ACPI read, lists one processor for each socket.
    smp = str(cpus) if cpus == 1 else f"{cpus},sockets={cpus}"
    return [*argv, "-m", str(memory_mib), "-smp", smp]


def guarded(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` behind a wrapper, so that the kernel kills it when the thread that started it ends.

    QEMU keeps running when the other ends of its sockets close, so without this it would survive a SIGKILL of
    this process and use a CPU for ever. Raises InfraError if the program is not installed.
    """
    path = process.clean_environment()["PATH"]
    if shutil.which(argv[0], path=path) is None:
        raise InfraError(f"{argv[0]} is not installed or not executable", hint="run: invoke setup")
    if setpriv := shutil.which("setpriv", path=path):
        return [setpriv, "--pdeathsig", "KILL", "--", *argv]
    # Without setpriv (an old or reduced util-linux): prctl(PR_SET_PDEATHSIG, SIGKILL), then exec.
    code = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", code, *argv]


def file_of(program: Path) -> str:
    """Return the identity of a program's file: path, inode, size, time of change. Empty if not found."""
    found = shutil.which(program, path=process.clean_environment()["PATH"])
    try:
        s = Path(found or "").stat() if found else None
    except OSError:
        s = None
    return f"{found} {s.st_dev}:{s.st_ino} {s.st_size} {s.st_mtime_ns}" if s else ""


def program_digest(program: Path = PROGRAM) -> str:
    """Return the SHA-256 (hex) of a program's file. Empty if it is not found, or cannot be read."""
    found = shutil.which(program, path=process.clean_environment()["PATH"])
    try:
        return digest_file(Path(found)) if found else ""
    except OSError:
        return ""


def require_same(spec: MachineSpec) -> None:
    """Raise InfraError if QEMU is not the file that the accelerator was proved with, or is gone.

    A failure under an untested QEMU must not be blamed on the kernel.
    """
    proved = spec.accel.qemu
    if proved and (now := file_of(spec.program)) != proved:
        raise InfraError(
            f"{spec.program} {'was replaced' if now else 'is gone'} since this run began",
            where=proved.split()[0],
            hint="run the same command again" if now else "run: invoke setup",
        )


# Where a serial port goes: an inherited socket, "-" (the terminal), a file, or nowhere.
Serial = int | str | os.PathLike[str] | None


def _boot_argv(spec: MachineSpec) -> list[str]:
    argv = base_argv(spec.accel, program=spec.program, memory_mib=spec.memory_mib, cpus=spec.cpus)
    argv += devices.arguments(spec.devices, spec.disks)
    argv += devices.tools_arguments(spec.tools) if spec.tools else []
    argv += devices.folder_arguments(spec.folder) if spec.folder else []
    argv += ["-kernel", os.fspath(spec.kernel), "-initrd", os.fspath(spec.initramfs)]
    return [*argv, "-append", spec.cmdline]


def qemu_argv(spec: MachineSpec, *, console: Serial = "-", channel: Serial = None) -> list[str]:
    """Return QEMU's command line."""
    argv = [*_boot_argv(spec), "-monitor", "none"]
    for name, where in (("console", console), ("channel", channel)):
        argv += ["-chardev", _chardev(name, where), "-serial", f"chardev:{name}"]
    return argv


def _chardev(name: str, where: Serial) -> str:
    if where is None:
        return f"null,id={name}"
    if isinstance(where, int):
        return f"socket,id={name},fd={where}"
    if where == "-":
        # With mux, Ctrl-a x ends QEMU.
        return f"stdio,id={name},mux=on,signal=off"
    return f"file,id={name},path={os.fspath(where).replace(',', ',,')}"


def gdb_arguments(socket: str) -> list[str]:
    """Return QEMU's arguments for a stub that gdb can attach to, by a Unix socket: only its owner can."""
    return ["-gdb", f"unix:{socket.replace(',', ',,')},server=on,wait=off"]


def interactive(
    spec: MachineSpec,
    *,
    channel: Path | None = None,
    gdb: Path | None = None,
    watch: Callable[[], None] = lambda: None,
) -> int:
    """Boot with the console on this terminal (Ctrl-a x ends QEMU); return QEMU's exit status.

    ``channel`` is the file that the second serial port writes to, ``gdb`` the socket of a stub. ``watch`` is
    called again and again while the guest runs.
    """
    argv = [*_boot_argv(spec), "-serial", "mon:stdio"]
    argv += ["-chardev", _chardev("channel", channel), "-serial", "chardev:channel"]
    argv += gdb_arguments(os.fspath(gdb)) if gdb else []
    terminal = sys.stdin.fileno() if sys.stdin.isatty() else None
    settings = termios.tcgetattr(terminal) if terminal is not None else None
    child = process.spawn(
        guarded(argv),
        stdin=sys.stdin.fileno(),
        stdout=sys.stdout.fileno(),
        stderr=sys.stderr.fileno(),
        foreground=True,
    )
    try:
        while child.poll() is None:
            if process.stopping():
                child.terminate()
            watch()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_POLL_S)
        return child.returncode
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        process.forget(child)
        if terminal is not None and settings is not None:
            termios.tcsetattr(terminal, termios.TCSADRAIN, settings)


__all__ = [
    "PROGRAM", "TCG", "Accel", "MachineSpec", "Serial", "base_argv", "file_of", "gdb_arguments", "guarded",
    "interactive", "qemu_argv", "require_same",
]  # fmt: skip
