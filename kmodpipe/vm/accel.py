"""Find an accelerator that works, by running a program in it: that /dev/kvm opens is no proof.

    CACHE/accel.json    the result, valid for this QEMU, this boot of the host and this /dev/kvm

`probe` runs the ROM of `accel_rom` under TCG, and under KVM with each CPU model worth having, each within a
time limit. `confirm` tries a real kernel: KVM is not used if that kernel reaches its init under TCG and does
not under KVM.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from io import FileIO
from pathlib import Path
from typing import IO

from kmodpipe.cache.store import Store
from kmodpipe.util import costs, document, process, process_id
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen
from kmodpipe.vm import accel_rom
from kmodpipe.vm.cpu_time import Bound
from kmodpipe.vm.qemu import PROGRAM, Accel, base_argv, file_of, guarded

_KVM_CPUS = ("host", "max", "qemu64")
# TCG emulates string instructions byte by byte. Without the CPU flags that advertise fast ones the kernel
# copies and clears in loops, and a boot takes five sixths of the time.
_TCG_CPU = "max,-erms,-fsrm"
_TCG_PLAIN_CPU = "max"
_BOUND_S = 3.0
_TCG_BOUND_S = 20.0
_OUTPUT_BYTES = 4096
# Printed by every kernel since 2.6 just before its init; ignore_loglevel shows them on the console.
_AT_INIT = (b"as init process", b"Freeing unused kernel", b"Freeing unused decrypted")


@costs.step(costs.Part.MACHINE)
def probe(
    cache: Path, screen: Screen, *, program: Path = PROGRAM, kvm: Path = Path("/dev/kvm"), fresh: bool = False
) -> Accel:
    """Return the best accelerator that works on this machine; ``fresh`` ignores the cached result.

    Takes about a second if it is not cached, and three seconds more with a KVM that hangs. Raises InfraError
    if not even TCG runs the program.
    """
    file = cache / "accel.json"
    # Taken before QEMU runs, so that a file that replaces it later is noticed.
    qemu = file_of(program)
    key = _key(program, kvm)
    with lock(cache / "locks" / "accel", waiting=screen.say):
        known = None if fresh else _read(file, key)
        if known:
            return replace(known, qemu=qemu)
        with screen.step("prove the accelerator") as step:
            accel = _probe(cache, program, kvm)
            step.finish(accel.reason)
        _write(file, key, accel)
    return replace(accel, qemu=qemu)


def _probe(cache: Path, program: Path, kvm: Path) -> Accel:
    with Store(cache).scratch("accel-") as folder:
        rom = folder / "rom"
        rom.write_bytes(accel_rom.image())
        tcg = Accel("tcg", _TCG_CPU)
        first = _run_rom([tcg], program, rom, _TCG_BOUND_S)[0]
        if not first.ok and "not found" in first.stderr:
            # An older QEMU, which does not know these CPU flags.
            tcg = replace(tcg, cpu=_TCG_PLAIN_CPU)
            first = _run_rom([tcg], program, rom, _TCG_BOUND_S)[0]
        if not first.ok and "sandbox" in first.stderr:
            tcg = replace(tcg, confined=False)
            first = _run_rom([tcg], program, rom, _TCG_BOUND_S)[0]
        if not first.ok:
            raise InfraError(
                f"QEMU cannot run a test program: it {first.describe()}",
                where=str(program),
                detail=first.stderr,
                hint="install QEMU again: invoke setup",
            )
        unusable = _unusable(kvm)
        if unusable:
            return replace(tcg, reason=f"{unusable}; using TCG")
        candidates = [replace(tcg, name="kvm", cpu=cpu) for cpu in _KVM_CPUS]
        # A busy host is slow with either, so the time under TCG sets the limit for KVM.
        runs = _run_rom(candidates, program, rom, max(_BOUND_S, 10 * first.duration_s))
    for accel, run in zip(candidates, runs, strict=True):
        if run.ok:
            return replace(accel, reason=f"KVM works, CPU model {accel.cpu}")
    best = max(runs, key=lambda run: len(run.stages))
    return replace(tcg, reason=f"KVM opens, but a test program {best.describe()}; using TCG")


def _unusable(kvm: Path) -> str:
    if not kvm.exists():
        return f"there is no {kvm}"
    try:
        os.close(os.open(kvm, os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        return f"{kvm} cannot be opened ({e.strerror})"
    return ""


# -- running the ROM -----------------------------------------------------------------------------
@dataclass(frozen=True)
class _RomRun:
    """One run of the ROM."""

    returncode: int | None  # None: it was still running at its time limit
    stages: str  # the letters of the stages that it reached
    stderr: str
    duration_s: float

    @property
    def ok(self) -> bool:
        return self.returncode == accel_rom.EXIT_STATUS and self.stages.endswith("u")

    def describe(self) -> str:
        """Return what went wrong, as the predicate of "a test program"."""
        where = accel_rom.STAGES.get(self.stages[-1:], "somewhere")
        if self.returncode is None:
            return f"hangs {where}"
        if self.returncode == 0:
            return f"resets the machine {where}"
        if self.stages.endswith("u") or self.returncode == accel_rom.EXIT_STATUS:
            return "gives a wrong answer"
        reason = next((ln for ln in self.stderr.splitlines() if "warning:" not in ln), "").strip()
        return f"makes QEMU fail {where}: {reason or process.describe_status(self.returncode)}"


def _run_rom(accels: Sequence[Accel], program: Path, rom: Path, bound_s: float) -> list[_RomRun]:
    """Run the ROM under all accelerators at once, so that those that hang cost the time limit only once.

    ``bound_s`` counts QEMU's own time: a busy machine must not look like a hang.
    """
    started = time.monotonic()
    children: list[process.Piped] = []
    ended: dict[int, float] = {}
    try:
        for accel in accels:
            argv = base_argv(accel, program=program, memory_mib=4)
            argv += ["-monitor", "none", "-bios", os.fspath(rom)]
            argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
            argv += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
            children.append(process.spawn_piped(guarded(argv)))
        bounds = [Bound(child.pid, bound_s) for child in children]
        running = set(range(len(children)))
        while running and not process.stopping():
            for n in sorted(running):
                if children[n].poll() is not None:
                    ended[n] = time.monotonic() - started
                if n in ended or bounds[n].passed:
                    running.discard(n)
            time.sleep(0.01)
        return [
            _RomRun(
                child.returncode if n in ended else None,
                "".join(c for c in _available(child.stdout) if c in accel_rom.STAGES),
                _available(child.stderr),
                ended.get(n, bound_s),
            )
            for n, child in enumerate(children)
        ]
    finally:
        for child in children:
            process.end(child, grace_s=0.5)


def _available(stream: IO[bytes]) -> str:
    """Return what a pipe holds now, at most 4 KiB."""
    fd = stream.fileno()
    os.set_blocking(fd, False)
    with suppress(BlockingIOError):
        return os.read(fd, _OUTPUT_BYTES).decode("ascii", "replace")
    return ""


# -- the kernel itself ---------------------------------------------------------------------------
@dataclass(frozen=True)
class ProofKernel:
    """A kernel that proves an accelerator by reaching its init."""

    kernel: Path
    initramfs: Path
    # QEMU's own seconds that it may take under KVM; under TCG it may take four times as many.
    bound_s: float = 15.0


@costs.step(costs.Part.MACHINE)
def confirm(
    accel: Accel,
    proof: ProofKernel,
    cache: Path,
    screen: Screen,
    *,
    program: Path = PROGRAM,
    kvm: Path = Path("/dev/kvm"),
) -> Accel:
    """Return ``accel``, or TCG if the kernel reaches its init under TCG and not under ``accel``.

    Costs one boot for each kernel file under a KVM that works, nothing under TCG.
    """
    if accel.name != "kvm":
        return accel
    file = cache / "accel.json"
    digest = digest_file(proof.kernel)
    if digest in _confirmed(file):
        return accel
    with screen.step("prove KVM with the kernel") as step:
        if _reaches_init(accel, proof, program, proof.bound_s):
            _write(file, _key(program, kvm), accel, [*_confirmed(file), digest])
            step.finish("works")
            return accel
        tcg = replace(accel, name="tcg", cpu=_TCG_CPU)
        if not _reaches_init(tcg, proof, program, 4 * proof.bound_s):
            # The kernel fails under both, so it is the kernel's fault: the run will report it.
            step.finish("not decided, the kernel comes to init nowhere")
            return accel
        tcg = replace(tcg, reason="KVM runs a test program but not this kernel; using TCG")
        _write(file, _key(program, kvm), tcg)
        step.finish(tcg.reason)
        return tcg


def _reaches_init(accel: Accel, proof: ProofKernel, program: Path, bound_s: float) -> bool:
    argv = base_argv(accel, program=program)
    argv += ["-monitor", "none", "-kernel", os.fspath(proof.kernel), "-initrd", os.fspath(proof.initramfs)]
    argv += ["-append", "console=ttyS0 ignore_loglevel panic=-1"]
    argv += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
    console, console_end = process.pipe()
    with console:
        with console_end:
            child = process.spawn(guarded(argv), stdout=console_end.fileno(), stderr=subprocess.DEVNULL)
        try:
            return _shows_init(console, Bound(child.pid, bound_s))
        finally:
            process.end(child, grace_s=0.5)


def _shows_init(console: FileIO, bound: Bound) -> bool:
    seen = b""
    with selectors.DefaultSelector() as selector:
        selector.register(console, selectors.EVENT_READ)
        while not bound.passed and not process.stopping():
            if not selector.select(0.1):
                continue
            data = os.read(console.fileno(), 65536)
            if not data:
                return False
            seen = seen[-64:] + data
            if any(mark in seen for mark in _AT_INIT):
                return True
    return False


# -- the cached result ---------------------------------------------------------------------------
def machine(program: Path = PROGRAM, kvm: Path = Path("/dev/kvm")) -> Mapping[str, str]:
    """Return QEMU's version, and the KVM device with this user's rights on it.

    Raises InfraError if QEMU is not installed.
    """
    version = process.run(
        [program, "--version"], timeout_s=10, hint="is this a QEMU that can run here? run: invoke setup"
    )
    try:
        s = kvm.stat()
        device = f"{s.st_rdev:#x} {s.st_mode:o} {s.st_uid}:{s.st_gid} {os.access(kvm, os.R_OK | os.W_OK)}"
    except OSError:
        device = "none"
    return {"qemu": version.text.partition("\n")[0], "kvm": device}


def _key(program: Path, kvm: Path) -> Mapping[str, str]:
    """Return what the cached result depends on: a reboot, another QEMU or other rights make it invalid."""
    return {
        **machine(program, kvm),
        "host": os.uname().release,
        "models": " ".join((_TCG_CPU, *_KVM_CPUS)),
        "boot": process_id.boot_id(),
        "rom": digest_of(accel_rom.CODE.hex()),
    }


def _load(file: Path) -> dict[str, object]:
    try:
        return document.read_object(file)
    except (OSError, ValueError):
        return {}


def _read(file: Path, key: Mapping[str, str]) -> Accel | None:
    value = _load(file)
    found = value.get("accel")
    if value.get("key") != dict(key) or not isinstance(found, dict):
        return None
    try:
        return Accel(**found)
    except TypeError:
        return None


def _confirmed(file: Path) -> list[str]:
    value = _load(file).get("confirmed")
    return [str(digest) for digest in value][-64:] if isinstance(value, list) else []


def _write(file: Path, key: Mapping[str, str], accel: Accel, confirmed: Sequence[str] = ()) -> None:
    value = {"key": dict(key), "accel": asdict(replace(accel, qemu="")), "confirmed": list(confirmed)}
    write_atomically(file, json.dumps(value, indent=1) + "\n")


__all__ = ["Accel", "ProofKernel", "confirm", "probe"]
