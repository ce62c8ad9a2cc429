"""Runs one cell's cases in guests: boots until every case has its verdict.

A crash costs one case: the case in progress is charged with it, and a fresh guest goes on with the next.
A guest that retires, as a case left it in a state that the next one must not find, costs none. The order of
the cases in their guests is of no consequence, and a shuffled run proves it. What a boot settled is judged in
`judge.attribution`.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from kmodpipe.judge import attempts
from kmodpipe.judge.attempts import RetryPolicy
from kmodpipe.judge.attribution import BootEvidence, CellUnderTest, Packed, attribute
from kmodpipe.judge.cases import Case, CellContext
from kmodpipe.judge.verdict import CaseEvidence, judge
from kmodpipe.kconfig import MEMORY_MIB
from kmodpipe.logs import kernel_log
from kmodpipe.logs.known_benign import KnownBenign
from kmodpipe.logs.symbolize import Decoder
from kmodpipe.pipeline import soak
from kmodpipe.pipeline.soak import GuestSlots, Progress, Shelf
from kmodpipe.results import CaseResult, Verdict
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import Interrupted
from kmodpipe.util.screen import now
from kmodpipe.vm import boot
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.boot_record import BootRecord, BootSpec, GuestEnd
from kmodpipe.vm.initramfs import BootContents, PlannedCase, concatenate, pack_cell
from kmodpipe.vm.limits import Deadlines, TimeScale
from kmodpipe.vm.protocol import Record
from kmodpipe.vm.qemu import MachineSpec

CMDLINE = " ".join(
    (
        "console=ttyS0,115200 earlyprintk=ttyS0,115200",
        "panic=-1 oops=panic",
        "random.trust_cpu=on",
        "tsc=unstable",
    )
)
"""The command line of every guest kernel. ``panic=-1``: restart at once, which ends QEMU (-no-reboot).
``earlyprintk``: an early death is not silent. ``tsc=unstable`` and ``nolapic``: under TCG calibrating either
timer costs a third of the boot and gives wrong answers, which the clock watchdog would print into a case."""


def cmdline(cpus: int) -> str:
    """Return the command line for a guest with so many processors. One finds the others by its APIC only."""
    return CMDLINE if cpus > 1 else f"{CMDLINE} nolapic"


@dataclass(frozen=True)
class GuestFiles:
    """What a cell boots, and what its flavour adds."""

    kernel: Path
    rootfs: Path
    lib: Path  # the cases' shell library
    modules: tuple[Path, ...]  # in the order they are loaded
    kernel_build_id: str
    module_build_ids: Mapping[str, str]
    module_digests: Mapping[str, str]  # SHA-256 of each module's file
    tools: tuple[Path, ...] = ()  # archives
    env: Mapping[str, str] = field(default_factory=dict)  # variables for every case
    memory_mib: int = MEMORY_MIB
    cpus: int = 1
    slow: float = 1.0  # how many times longer everything may take
    vmlinux: Path | None = None  # its traces are decoded by it


@dataclass(frozen=True)
class CellJob:
    """The cases of one cell, what they run in, and how often."""

    context: CellContext
    cases: tuple[Case, ...]
    files: GuestFiles
    folder: Path  # for the logs of the guests
    scratch: Path
    accel: Accel
    deadlines: Deadlines
    shuffle: int = 0  # the seed of the order in the guests; 0 keeps that of the cases
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    speed: float = 1.0  # how many times longer than on the reference machine everything takes here
    known_benign: KnownBenign = field(default_factory=KnownBenign)

    @property
    def time_scale(self) -> TimeScale:
        return TimeScale(self.files.slow, self.speed)

    def under_test(self) -> CellUnderTest:
        """Return what the boots of the cell are judged by. Reads the scripts."""
        files = self.files
        packed = Packed(
            files.kernel_build_id,
            files.module_build_ids,
            files.module_digests,
            script_digests=tuple(digest_file(case.path) for case in self.cases),
            lib_digest=digest_file(files.lib),
        )
        decoder = Decoder(files.vmlinux, {p.stem.replace("-", "_"): p for p in files.modules})
        return CellUnderTest(self.context, self.cases, packed, decoder, self.known_benign, self.time_scale)


@dataclass(frozen=True)
class Boot:
    """One guest of a cell."""

    number: int
    record: BootRecord
    cell_cpio: Path
    began: float  # seconds since 1970
    kept: bool = True  # its files are there

    @property
    def files(self) -> tuple[Path, ...]:
        return self.cell_cpio, self.record.console_path, self.record.channel_path


@dataclass(frozen=True)
class Executed:
    """All verdicts of a cell, in the order of its cases, and the guests it took."""

    results: tuple[CaseResult, ...]
    boots: tuple[Boot, ...]


class Execution:
    """The cases of one cell, through as many guests as it takes."""

    def __init__(
        self,
        job: CellJob,
        on_progress: Callable[..., None] | None = None,
        slots: GuestSlots | None = None,
    ) -> None:
        """``on_progress`` is called as `screen.Step.update` is. ``slots`` are for the guests of a soak, by
        default one at a time."""
        self._job = job
        self._cases = job.cases
        self._on_progress = on_progress
        self._slots = slots or GuestSlots(1)
        self._cell = job.under_test()
        self._lock = threading.Lock()
        self._shelf = Shelf()
        self._firsts = 0  # of a soak's guests, those that run a case for the first time
        self._runs: dict[int, dict[int, CaseResult]] = {}
        self._boots: list[Boot] = []

    def run(self) -> Executed:
        """Boot until every case is settled. Raises Interrupted; what was settled by then is in
        `results_so_far`."""
        left = []
        for index, case in enumerate(self._cases):
            if case.not_here(self._job.context):
                self._record(index, judge(case, self._job.context, CaseEvidence()))
            else:
                left.append(index)
        left = self._in_order(left)
        if self._job.retries.repeat > 1:
            self._soak(left)
        else:
            self._run(left)
            self._try_again(left)
        return Executed(self.results_so_far(), self.boots)

    def _run(self, left: list[int]) -> None:
        """Boot until these cases are settled once."""
        while left:
            settled = self._one_guest(len(self._boots) + 1, self._next_batch(left), left)
            left = [index for index in left if index not in settled]

    def _one_guest(self, number: int, batch: Sequence[int], left: Sequence[int]) -> Mapping[int, CaseResult]:
        """Boot once, and record what that settled."""
        boot = self._boot(number, batch)
        reports = kernel_log.parse_file(boot.record.console_path)
        evidence = BootEvidence(boot.record, reports, tuple(batch), tuple(left), number)
        settled = attribute(evidence, self._cell)
        # There may be many guests: their records are not kept once they are judged.
        boot = replace(boot, record=replace(boot.record, records=()))
        with self._lock:
            if not self._keeps(boot, settled):
                soak.remove(boot.files)
                boot = replace(boot, kept=False)
            self._boots.append(boot)
            for index, result in settled.items():
                self._record(index, result)
        if boot.record.end is GuestEnd.INTERRUPTED:
            raise Interrupted("interrupted while a guest ran", where=self._job.context.cell_id)
        return settled

    def _keeps(self, boot: Boot, settled: Mapping[int, CaseResult]) -> bool:
        """Whether the guest's files stay. In a soak it is of one case."""
        if self._job.retries.repeat == 1:
            return True
        wanted = [self._shelf.keeps(result) for result in settled.values()]
        return any(wanted) or boot.number <= self._firsts

    def _soak(self, cases: Sequence[int]) -> None:
        """Run each case as often as requested, each time in a guest of its own, many at once."""
        planned = [index for _ in range(self._job.retries.repeat) for index in cases]
        self._firsts = len(cases)

        def one(number: int, index: int) -> None:
            self._one_guest(number, [index], [index])
            with self._lock:
                verdicts = Counter(r.verdict for i in cases for r in self._runs.get(i, {}).values())
                done = len(self._boots)
            if self._on_progress:
                text = Progress(done, len(planned), verdicts).describe()
                self._on_progress(text, done=done, total=len(planned))

        if planned:
            soak.in_parallel(planned, self._slots, one)

    def _try_again(self, ran: Sequence[int]) -> None:
        """Run each case that failed again, each time in a guest of its own, up to the allowed attempts."""
        for _ in range(1, self._job.retries.attempts):
            for index in ran:
                if all(run.verdict is Verdict.FAIL for run in self._runs[index].values()):
                    self._run([index])

    def _record(self, index: int, result: CaseResult) -> None:
        """Record what a guest settled; guests of a soak end in another order than they began."""
        runs = self._runs.setdefault(index, {})
        *_, runs[result.guest] = attempts.kept(tuple(runs.values()), result)

    @property
    def boots(self) -> tuple[Boot, ...]:
        """The guests so far."""
        with self._lock:
            return tuple(sorted(self._boots, key=lambda boot: boot.number))

    def results_so_far(self) -> tuple[CaseResult, ...]:
        with self._lock:
            runs = {index: tuple(runs[n] for n in sorted(runs)) for index, runs in self._runs.items()}
        return tuple(attempts.merge(runs[i], self._job.retries) for i in sorted(runs))

    def _in_order(self, left: list[int]) -> list[int]:
        """The order to run in. A case's place depends on nothing but seed, cell and its own name, so that a
        few that are picked by name keep the order that they had among all."""
        if not self._job.shuffle:
            return left
        salt = f"{self._job.shuffle}/{self._job.context.cell_id}"
        return sorted(left, key=lambda i: sha256(f"{salt}/{self._cases[i].id}".encode()).digest())

    def _next_batch(self, left: Sequence[int]) -> list[int]:
        """What the next guest is to run: all that can share one, and then, one by one, those that cannot."""
        return [i for i in left if not self._cases[i].alone] or [left[0]]

    def _boot(self, number: int, batch: Sequence[int]) -> Boot:
        job, files, nonce = self._job, self._job.files, secrets.token_hex(16)
        suffix = "" if number == 1 else f"-{number}"
        cell_cpio = job.folder / f"cell{suffix}.cpio"
        self._pack(cell_cpio, batch, nonce)
        initramfs = concatenate(
            job.scratch / f"initramfs{suffix}.cpio", (files.rootfs, *files.tools, cell_cpio)
        )
        began = now()
        spec = BootSpec(
            MachineSpec(
                files.kernel, initramfs, cmdline(files.cpus), files.memory_mib, files.cpus, job.accel
            ),
            nonce=nonce,
            console_path=job.folder / f"console{suffix}.log",
            channel_path=job.folder / f"verdict{suffix}.log",
            case_timeouts={i: float(self._cases[i].timeout_s) for i in batch},
            deadlines=job.deadlines,
            time_scale=job.time_scale,
        )
        record = boot.run(spec, self._report_start)
        initramfs.unlink(missing_ok=True)
        return Boot(number, record, cell_cpio, began)

    def _pack(self, cell_cpio: Path, batch: Sequence[int], nonce: str) -> None:
        """Write the archive of the cell's own files: its modules and the cases of the batch."""
        files, factor = self._job.files, self._job.time_scale.factor
        planned = [
            PlannedCase(i, case.id, case.timeout_s * factor, case.path, case.arguments(self._job.context))
            for i in batch
            for case in [self._cases[i]]
        ]
        env = {**files.env, "KMODPIPE_SLOW": str(math.ceil(factor))}
        contents = BootContents(
            nonce=nonce, lib=files.lib, modules=files.modules, cases=planned, env=env, slow=factor
        )
        pack_cell(cell_cpio, contents)

    def _report_start(self, record: Record) -> None:
        if record.type == "start" and self._on_progress and self._job.retries.repeat == 1:
            self._on_progress(record.fields.get("id", ""))
