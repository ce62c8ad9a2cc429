"""Run one cell's cases in guests: boot until every case has its verdict.

A crash costs one case: it is the verdict of the case in progress, and a fresh guest continues with the next.
A guest that retires, because a case left it in a state that could affect the next, costs no case. The order
of the cases must not matter: a shuffled run checks that. `judge.attribution` judges what a boot settled.
"""

from __future__ import annotations

import itertools
import math
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from kmodpipe.judge import attempts
from kmodpipe.judge.attribution import BootEvidence, attribute, refused_module
from kmodpipe.judge.verdict import CaseEvidence, judge
from kmodpipe.logs import counters, kernel_log
from kmodpipe.logs.case_record import case_records
from kmodpipe.logs.module_lines import about_module
from kmodpipe.pipeline import soak
from kmodpipe.pipeline.case_times import dealt
from kmodpipe.pipeline.cell_job import CellJob, cmdline
from kmodpipe.pipeline.soak import GuestSlots, LogRetention, Progress
from kmodpipe.results import CaseResult, Verdict
from kmodpipe.results.coverage import LOAD
from kmodpipe.util import costs
from kmodpipe.util.errors import Interrupted
from kmodpipe.util.screen import now
from kmodpipe.util.workers import Pool
from kmodpipe.vm import boot, devices
from kmodpipe.vm.boot_record import BootRecord, BootSpec, GuestEnd
from kmodpipe.vm.initramfs import BootContents, PlannedCase, concatenate, memory_mib, pack_cell
from kmodpipe.vm.protocol import Record
from kmodpipe.vm.qemu import MachineSpec

# A further guest takes a second to boot, a case a fifth of one.
_WORTH_A_GUEST = 20


@dataclass(frozen=True)
class Boot:
    """One guest of a cell."""

    number: int  # from 1
    record: BootRecord
    cell_cpio: Path  # the archive of the cell's own files
    began: float  # seconds since 1970
    kept: bool = True  # whether its files are kept

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of this guest alone."""
        return self.cell_cpio, self.record.console_path, self.record.channel_path


@dataclass(frozen=True)
class Executed:
    """The verdicts of a cell."""

    results: tuple[CaseResult, ...]  # in the order of the cases
    boots: tuple[Boot, ...]  # all guests, by number


class Execution:
    """Runs the cases of one cell in as many guests as it takes."""

    def __init__(
        self,
        job: CellJob,
        on_progress: Callable[..., None] | None = None,
        slots: GuestSlots | None = None,
        at_once: int = 1,
        enough: Callable[[Sequence[CaseResult]], bool] | None = None,
    ) -> None:
        """``on_progress`` is called like `screen.Step.update`; ``slots`` limit the guests of a soak, which by
        default run one at a time. Without a soak there are ``at_once`` guests at most. After each guest
        ``enough`` is asked whether what it settled will do; then the other cases are left out."""
        self._job = job
        self._cases = job.cases
        self._on_progress = on_progress
        self._slots = slots or GuestSlots(1)
        self._at_once = at_once
        self._numbers = itertools.count(1)
        self._enough = enough
        self._cell = job.under_test()
        self._lock = threading.Lock()
        self._retention = LogRetention()
        # How many guests of a soak run a case for the first time: those with numbers up to this.
        self._firsts = 0
        # The results of a case (by its index), by the number of the guest.
        self._runs: dict[int, dict[int, CaseResult]] = {}
        self._boots: list[Boot] = []

    def run(self) -> Executed:
        """Boot until every case has a verdict.

        Raises Interrupted; the verdicts up to then are in `results_so_far`.
        """
        left = []
        for index, case in enumerate(self._cases):
            if case.not_here(self._job.context) or case.lacking(self._job.context):
                self._record(index, judge(case, self._job.context, CaseEvidence()))
            else:
                left.append(index)
        left = self._in_order(left)
        if self._job.retries.repeat > 1:
            self._soak(left)
        else:
            self._run_all(left)
            self._try_again(left)
        return Executed(self.results_so_far(), self.boots)

    def _run_all(self, left: list[int]) -> None:
        """Boot until each of these cases has run once, with several guests at once where it is worth that."""
        parts = min(self._at_once, len(left) // _WORTH_A_GUEST)
        if parts < 2:
            self._run(left)
            return
        # A shuffled order is to be had again.
        took = {} if self._job.shuffle else self._job.took
        seconds = {index: took[self._cases[index].id] for index in left if self._cases[index].id in took}
        with Pool(parts, thread_name_prefix="guest") as pool:
            running = [pool.submit(self._run, part) for part in dealt(left, seconds, parts)]
        for one in running:
            one.result()

    def _run(self, left: list[int]) -> None:
        """Boot, one guest after another, until each of these cases has run once."""
        while left:
            with self._lock:
                number = next(self._numbers)
            settled = self._one_guest(number, self._next_batch(left), left)
            if self._enough and self._enough(tuple(settled.values())):
                return
            left = [index for index in left if index not in settled]

    def _one_guest(self, number: int, batch: Sequence[int], left: Sequence[int]) -> Mapping[int, CaseResult]:
        """Boot once; record and return the results that this settled, by index of the case."""
        boot = self._boot(number, batch)
        console = boot.record.console_path
        refused = refused_module(boot.record.records)
        with costs.step(costs.Part.JUDGE):
            evidence = BootEvidence(
                boot.record, kernel_log.parse_file(console), tuple(batch), tuple(left), number,
                about_module(console, refused) if refused else (),
            )  # fmt: skip
            settled = attribute(evidence, self._cell)
        records = boot.record.records
        # There may be thousands of guests: what they sent is dropped as soon as it is judged.
        boot = replace(boot, record=replace(boot.record, records=()))
        with self._lock:
            if not self._keeps(boot, settled):
                soak.remove(boot.files)
                boot = replace(boot, kept=False)
            else:
                self._write_output(number, records)
            if self._job.files.notes:
                self._write_counters(records)
            self._boots.append(boot)
            for index, result in settled.items():
                self._record(index, result)
        if boot.record.end is GuestEnd.INTERRUPTED:
            raise Interrupted("interrupted while a guest ran", where=self._job.context.cell_id)
        return settled

    def _write_output(self, number: int, records: Sequence[Record]) -> None:
        """Write what each case of a guest printed to a file of its own."""
        folder = self._job.folder / f"output{'' if number == 1 else f'-{number}'}"
        for record in case_records(records).values():
            if not record.output or not 0 <= record.index < len(self._cases):
                continue
            dropped = record.dropped.get("out", 0)
            note = f"\n[{dropped} bytes more were dropped in the guest]\n" if dropped else ""
            folder.mkdir(exist_ok=True)
            (folder / f"{self._cases[record.index].id}.txt").write_bytes(record.output + note.encode())

    def _write_counters(self, records: Sequence[Record]) -> None:
        """Add what each case of a guest executed to the cell's counters."""
        lines = [
            counters.to_line(counters.Kept(LOAD if index is None else self._cases[index].id, one))
            for index, one in counters.taken(records).items()
            if index is None or 0 <= index < len(self._cases)
        ]
        with (self._job.folder / counters.FILE_NAME).open("a", encoding="utf-8") as f:
            f.writelines(lines)

    def _keeps(self, boot: Boot, settled: Mapping[int, CaseResult]) -> bool:
        """Return whether to keep the guest's files. In a soak it ran one case only."""
        if self._job.retries.repeat == 1:
            return True
        wanted = [self._retention.keeps(result) for result in settled.values()]
        return any(wanted) or boot.number <= self._firsts

    def _soak(self, cases: Sequence[int]) -> None:
        """Run each case as often as requested, each time in a guest of its own, many guests at once."""
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
        """Record a result. The guests of a soak may end in another order than they began."""
        runs = self._runs.setdefault(index, {})
        *_, runs[result.guest] = attempts.kept(tuple(runs.values()), result)

    @property
    def boots(self) -> tuple[Boot, ...]:
        """The guests so far, by number."""
        with self._lock:
            return tuple(sorted(self._boots, key=lambda boot: boot.number))

    def results_so_far(self) -> tuple[CaseResult, ...]:
        with self._lock:
            runs = {index: tuple(runs[n] for n in sorted(runs)) for index, runs in self._runs.items()}
        return tuple(attempts.merge(runs[i], self._job.retries) for i in sorted(runs))

    def _in_order(self, left: list[int]) -> list[int]:
        """Return the cases in the order to run them, shuffled if requested.

        The sort key of a case depends only on the seed, the cell and the case's id: a selection of the cases
        runs in the same order as in a run of all.
        """
        if not self._job.shuffle:
            return left
        salt = f"{self._job.shuffle}/{self._job.context.cell_id}"
        return sorted(left, key=lambda i: sha256(f"{salt}/{self._cases[i].id}".encode()).digest())

    def _next_batch(self, left: Sequence[int]) -> list[int]:
        """Return the cases for the next guest: all that can share one; then, one by one, the others.

        Nobody compares what is on a disk or in a network with what it was before a case, so with devices each
        case has a guest of its own.
        """
        if self._job.files.devices:
            return [left[0]]
        return [i for i in left if not self._cases[i].alone] or [left[0]]

    @costs.step(costs.Part.PACK)
    def _boot(self, number: int, batch: Sequence[int]) -> Boot:
        job, files, nonce = self._job, self._job.files, secrets.token_hex(16)
        suffix = "" if number == 1 else f"-{number}"
        cell_cpio = job.folder / f"cell{suffix}.cpio"
        self._pack(cell_cpio, batch, nonce)
        initramfs = concatenate(
            job.scratch / f"initramfs{suffix}.cpio", (files.rootfs, *files.tools, cell_cpio)
        )
        disks = job.scratch / f"disks{suffix}"
        disks.mkdir()
        devices.make_disks(files.devices, disks)
        began = now()
        spec = BootSpec(
            MachineSpec(
                files.kernel,
                initramfs,
                cmdline(files.cpus, files.cmdline, devices=bool(files.devices)),
                memory_mib(files.memory_mib, (*files.tools, cell_cpio), files.hint),
                files.cpus,
                job.accel,
                devices=files.devices,
                tools=files.disk,
                disks=disks,
            ),
            nonce=nonce,
            console_path=job.folder / f"console{suffix}.log",
            channel_path=job.folder / f"verdict{suffix}.log",
            case_timeouts={i: float(self._cases[i].timeout_s) for i in batch},
            deadlines=job.deadlines,
            time_scale=job.time_scale,
        )
        with costs.step(costs.Part.BOOT):
            record = boot.run(spec, self._report_start)
        initramfs.unlink(missing_ok=True)
        shutil.rmtree(disks)
        return Boot(number, record, cell_cpio, began)

    def _pack(self, cell_cpio: Path, batch: Sequence[int], nonce: str) -> None:
        """Write the archive of the cell's own files: its modules and the cases of the batch."""
        files, factor = self._job.files, self._job.time_scale.factor
        planned = [
            PlannedCase(
                i,
                case.id,
                case.timeout_s * factor,
                case.path,
                case.arguments(self._job.context),
                {one.name: one.path for one in case.files},
            )
            for i in batch
            for case in [self._cases[i]]
        ]
        env = {**files.env, "KMODPIPE_SLOW": str(math.ceil(factor))}
        contents = BootContents(
            nonce=nonce,
            lib=files.lib,
            modules=files.modules,
            module_params=files.parameters,
            cases=planned,
            env=env,
            slow=factor,
            with_disk=files.disk is not None,
            counters=files.notes is not None,
        )
        pack_cell(cell_cpio, contents)

    def _report_start(self, record: Record) -> None:
        if record.type == "start" and self._on_progress and self._job.retries.repeat == 1:
            self._on_progress(record.fields.get("id", ""))
