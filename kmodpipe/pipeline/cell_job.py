"""Say what is to be run for one cell: its cases, and what its guests boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.build.elf import module_name
from kmodpipe.judge.attribution import CellUnderTest, Packed
from kmodpipe.judge.cases import Case, CellContext
from kmodpipe.judge.retries import RetryPolicy
from kmodpipe.kconfig import MEMORY_MIB
from kmodpipe.logs.known_benign import KnownBenign
from kmodpipe.logs.symbolize import Decoder
from kmodpipe.util.digest import digest_file
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.devices import Device
from kmodpipe.vm.limits import Deadlines, TimeScale

# The command line of every guest kernel (Documentation/admin-guide/kernel-parameters.txt).
# panic=-1: reboot at once, which ends QEMU (-no-reboot). earlyprintk: print even a crash early in the boot.
# tsc=unstable, nolapic: under TCG calibrating either timer takes a third of the boot and gives wrong values,
# which the clocksource watchdog would report during a case.
CMDLINE = " ".join(
    (
        "console=ttyS0,115200 earlyprintk=ttyS0,115200",
        "panic=-1 oops=panic",
        "random.trust_cpu=on",
        "tsc=unstable",
    )
)


def cmdline(cpus: int, more: str = "", *, devices: bool = False) -> str:
    """Return the command line for ``cpus`` processors: more than one are started through the local APIC.

    Without it no message of a PCI device can arrive: a distribution's kernel warns of one that tries
    (pci_msi_setup_msi_irqs). ``more`` stands behind it, so that what is said twice is as ``more`` has it.
    """
    alone = ("nolapic", "pci=nomsi" if devices else "") if cpus == 1 else ()
    return " ".join(filter(None, (CMDLINE, *alone, more)))


@dataclass(frozen=True)
class GuestFiles:
    """What the guests of a cell boot; the fields from ``env`` to ``slow`` are from its flavour."""

    kernel: Path
    rootfs: Path
    lib: Path  # the cases' shell library
    modules: tuple[Path, ...]  # in the order in which they are loaded
    kernel_build_id: str
    module_build_ids: Mapping[str, str]  # by the module's name
    module_digests: Mapping[str, str]  # SHA-256 of each module's file
    tools: tuple[Path, ...] = ()  # archives
    env: Mapping[str, str] = field(default_factory=dict)  # variables for every case
    memory_mib: int = MEMORY_MIB
    cpus: int = 1
    slow: float = 1.0  # how many times longer everything may take
    vmlinux: Path | None = None  # for decoding traces
    devices: tuple[Device, ...] = ()
    cmdline: str = ""  # more of the kernel's
    parameters: Mapping[str, str] = field(
        default_factory=dict
    )  # by the module's file, what it is loaded with
    disk: Path | None = None  # with the tools that are too large to be held in memory
    hint: str = ""  # how there could be one
    notes: Path | None = None  # of the compiler, for counters of what is executed; None: there are none


@dataclass(frozen=True)
class CellJob:
    """The cases of one cell, and how to run them."""

    context: CellContext
    cases: tuple[Case, ...]
    files: GuestFiles
    folder: Path  # for the logs of the guests and the cell's own archives
    scratch: Path
    accel: Accel
    deadlines: Deadlines
    shuffle: int = 0  # the seed of the cases' order; 0 keeps the given order
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    speed: float = 1.0  # how many times longer than on the reference machine everything takes here
    known_benign: KnownBenign = field(default_factory=KnownBenign)
    watch: tuple[str, ...] = ()  # groups of kernel messages that fail every case
    took: Mapping[str, float] = field(default_factory=dict)  # seconds of cases when they last ran, by name

    @property
    def time_scale(self) -> TimeScale:
        """How many times longer than declared everything may take."""
        return TimeScale(self.files.slow, self.speed)

    def under_test(self) -> CellUnderTest:
        """Return what the cell's boots are judged by. Reads the cases' scripts."""
        files = self.files
        packed = Packed(
            files.kernel_build_id,
            files.module_build_ids,
            files.module_digests,
            script_digests=tuple(digest_file(case.path) for case in self.cases),
            lib_digest=digest_file(files.lib),
        )
        decoder = Decoder(files.vmlinux, {module_name(p): p for p in files.modules})
        return CellUnderTest(
            self.context, self.cases, packed, decoder, self.known_benign, self.time_scale, self.watch
        )
