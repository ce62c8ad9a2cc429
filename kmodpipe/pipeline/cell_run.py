"""Runs one cell's cases in guests and judges them.

A crash costs one case: the case in progress is charged with it, and a fresh guest goes on with the next.
A guest that retires, as a case left it in a state that the next one must not find, costs none. The order of
the cases in their guests is of no consequence, and a shuffled run proves it.
Nothing is judged unless the guest proved to be the kernel and the module that were built for this cell: the
kernel's build id, the module's, and the digests of the module's file and of each script as it was about to
run, travel on the verdict channel and are compared here.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from kmodpipe.judge import attempts
from kmodpipe.judge.attempts import RetryPolicy
from kmodpipe.judge.cases import Case, CellContext
from kmodpipe.judge.verdict import judge
from kmodpipe.kconfig import MEMORY_MIB
from kmodpipe.logs import evidence, kernel_log
from kmodpipe.logs.case_record import CaseRecord, case_records
from kmodpipe.logs.evidence import FEWER_LINES, LINES, KernelReport
from kmodpipe.logs.known_benign import KnownBenign
from kmodpipe.logs.symbolize import Decoder
from kmodpipe.pipeline import soak
from kmodpipe.pipeline.soak import GuestSlots, Progress, Shelf
from kmodpipe.results import CaseResult, Verdict
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import Interrupted
from kmodpipe.util.screen import now
from kmodpipe.util.text import one_line
from kmodpipe.vm import boot
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.boot_record import BootRecord, BootSpec, GuestEnd
from kmodpipe.vm.initramfs import PlannedCase, concatenate, pack_cell
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
"""What every guest kernel is told. ``panic=-1``: restart at once, which ends QEMU (-no-reboot).
``earlyprintk``: an early death is not silent. ``tsc=unstable`` and ``nolapic``: under TCG calibrating either
timer costs a third of the boot and gives wrong answers, which the clock watchdog would print into a case."""

_BELIEVED_ENDS = (GuestEnd.DONE, GuestEnd.RETIRED)
# Ends that are QEMU's or ours, not the kernel's: what they leave without a verdict is an error.
_INFRA_ENDS = (GuestEnd.QEMU_FAILED, GuestEnd.INTERRUPTED)


def cmdline(cpus: int) -> str:
    """What the kernel of a guest with so many processors is told. One finds the others by its APIC only."""
    return CMDLINE if cpus > 1 else f"{CMDLINE} nolapic"


@dataclass(frozen=True)
class GuestFiles:
    """What a cell boots: the kernel, the root file system, the cases' shell library, the modules in the order
    they are loaded; and what its flavour adds: archives of tools, variables for every case, the memory and
    processors, and how many times longer everything may take. ``vmlinux`` is what its traces are decoded by.

    A module is known by the SHA-256 of its file as well: a build id of what is linked with -r covers neither
    relocations nor symbol names, so several different modules can have the same."""

    kernel: Path
    rootfs: Path
    lib: Path
    modules: tuple[Path, ...]
    kernel_build_id: str
    module_build_ids: Mapping[str, str]
    module_digests: Mapping[str, str]
    tools: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    memory_mib: int = MEMORY_MIB
    cpus: int = 1
    slow: float = 1.0
    vmlinux: Path | None = None


@dataclass(frozen=True)
class Boot:
    """One guest of a cell, for the record; ``began`` in seconds since 1970. ``kept``: its files are there."""

    number: int
    session: BootRecord
    cell_cpio: Path
    began: float
    kept: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        return self.cell_cpio, self.session.console_path, self.session.channel_path


@dataclass(frozen=True)
class Executed:
    """All verdicts of a cell, in the order of its cases, and the guests it took."""

    results: tuple[CaseResult, ...]
    boots: tuple[Boot, ...]


class Execution:
    """The cases of one cell, through as many guests as it takes."""

    def __init__(
        self,
        where: CellContext,
        cases: Sequence[Case],
        files: GuestFiles,
        folder: Path,
        scratch: Path,
        accel: Accel,
        deadlines: Deadlines,
        on_progress: Callable[..., None] | None = None,
        shuffle: int = 0,
        tries: RetryPolicy | None = None,
        speed: float = 1.0,
        places: GuestSlots | None = None,
        known: KnownBenign | None = None,
    ) -> None:
        """``shuffle`` is the seed of the order in the guests; 0 keeps that of ``cases``. ``tries``: once, if
        nothing else is said. ``speed``: how many times longer than on the reference everything takes here.
        ``places``: of a soak's guests, one at a time if nothing else is said. ``known``: the reports that are
        let off; none. ``on_progress`` is told as `progress.Step.update` is."""
        self._where = where
        self._cases = tuple(cases)
        self._files = files
        self._folder = folder
        self._scratch = scratch
        self._accel = accel
        self._deadlines = deadlines
        self._pace = TimeScale(files.slow, speed)
        self._on_progress = on_progress
        self._shuffle = shuffle
        self._digests = [digest_file(case.path) for case in self._cases]
        self._lib_digest = digest_file(files.lib)
        self._tries = tries or RetryPolicy()
        self._places = places or GuestSlots(1)
        self._known = known or KnownBenign()
        self._decoder = Decoder(files.vmlinux, {p.stem.replace("-", "_"): p for p in files.modules})
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
            if case.not_here(self._where):
                self._record(0, index, judge(case, self._where, None))
            else:
                left.append(index)
        left = self._in_order(left)
        if self._tries.repeat > 1:
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
        """Boot once. What that settled is recorded."""
        boot = self._boot(number, batch)
        settled = self._settle(boot.session, batch, left)
        # Of many guests, what they said is not kept once it is judged.
        boot = replace(boot, session=replace(boot.session, records=()))
        with self._lock:
            if not self._keeps(boot, settled):
                soak.remove(boot.files)
                boot = replace(boot, kept=False)
            self._boots.append(boot)
            for index, result in settled.items():
                self._record(number, index, result)
        if boot.session.end is GuestEnd.INTERRUPTED:
            raise Interrupted("interrupted while a guest ran", where=self._where.cell_id)
        return settled

    def _keeps(self, boot: Boot, settled: Mapping[int, CaseResult]) -> bool:
        """Whether the guest's files stay. In a soak it is of one case."""
        if self._tries.repeat == 1:
            return True
        wanted = [self._shelf.keeps(result) for result in settled.values()]
        return any(wanted) or boot.number <= self._firsts

    def _soak(self, cases: Sequence[int]) -> None:
        """Each case so often as was asked for, each time in a guest of its own, many at once."""
        planned = [index for _ in range(self._tries.repeat) for index in cases]
        self._firsts = len(cases)

        def one(number: int, index: int) -> None:
            self._one_guest(number, [index], [index])
            with self._lock:
                verdicts = Counter(r.verdict for i in cases for r in self._runs.get(i, {}).values())
                done = len(self._boots)
            if self._on_progress:
                told = Progress(done, len(planned), verdicts).describe()
                self._on_progress(told, done=done, total=len(planned))

        if planned:
            soak.in_parallel(planned, self._places, one)

    def _try_again(self, ran: Sequence[int]) -> None:
        """Each case that failed, once more in a guest of its own, until it does not or was tried enough."""
        for _ in range(1, self._tries.attempts):
            for index in ran:
                if all(run.verdict is Verdict.FAIL for run in self._runs[index].values()):
                    self._run([index])

    def _record(self, number: int, index: int, result: CaseResult) -> None:
        """What the guest of this number settled; guests of a soak end in another order than they began."""
        result = replace(result, guest=number)
        runs = self._runs.setdefault(index, {})
        *_, runs[number] = attempts.kept(tuple(runs.values()), result)

    @property
    def boots(self) -> tuple[Boot, ...]:
        """The guests so far."""
        with self._lock:
            return tuple(sorted(self._boots, key=lambda boot: boot.number))

    def results_so_far(self) -> tuple[CaseResult, ...]:
        with self._lock:
            runs = {index: tuple(runs[n] for n in sorted(runs)) for index, runs in self._runs.items()}
        return tuple(attempts.merge(runs[i], self._tries) for i in sorted(runs))

    def _in_order(self, left: list[int]) -> list[int]:
        """The order to run in. A case's place depends on nothing but seed, cell and its own name, so that a
        few that are picked by name keep the order that they had among all."""
        if not self._shuffle:
            return left
        salt = f"{self._shuffle}/{self._where.cell_id}"
        return sorted(left, key=lambda i: sha256(f"{salt}/{self._cases[i].id}".encode()).digest())

    def _next_batch(self, left: Sequence[int]) -> list[int]:
        """What the next guest is to run: all that can share one, and then, one by one, those that cannot."""
        return [i for i in left if not self._cases[i].alone] or [left[0]]

    def _boot(self, number: int, batch: Sequence[int]) -> Boot:
        suffix = "" if number == 1 else f"-{number}"
        nonce = secrets.token_hex(16)
        cell_cpio = self._folder / f"cell{suffix}.cpio"
        files, pace = self._files, self._pace
        planned = [
            PlannedCase(i, case.id, case.timeout_s * pace.factor, case.path, case.arguments(self._where))
            for i in batch
            for case in [self._cases[i]]
        ]
        pack_cell(
            cell_cpio, nonce=nonce, modules=files.modules, cases=planned, lib=files.lib,
            env={**files.env, "KMODPIPE_SLOW": str(math.ceil(pace.factor))}, slow=pace.factor,
        )  # fmt: skip
        initramfs = concatenate(
            self._scratch / f"initramfs{suffix}.cpio", (files.rootfs, *files.tools, cell_cpio)
        )
        began = now()
        spec = BootSpec(
            MachineSpec(
                files.kernel, initramfs, cmdline(files.cpus), files.memory_mib, files.cpus, self._accel
            ),
            nonce=nonce,
            console_path=self._folder / f"console{suffix}.log",
            channel_path=self._folder / f"verdict{suffix}.log",
            case_timeouts={i: float(self._cases[i].timeout_s) for i in batch},
            deadlines=self._deadlines,
            time_scale=pace,
        )
        session = boot.run(spec, self._report_start)
        initramfs.unlink(missing_ok=True)
        return Boot(number, session, cell_cpio, began)

    def _report_start(self, record: Record) -> None:
        if record.type == "start" and self._on_progress and self._tries.repeat == 1:
            self._on_progress(record.fields.get("id", ""))

    # -- judging one guest -----------------------------------------------------------------------
    def _settle(
        self, session: BootRecord, batch: Sequence[int], left: Sequence[int]
    ) -> Mapping[int, CaseResult]:
        """Judge what this guest settled: every case of its ``batch`` that ended, the one it died in, and,
        where it can be no better the next time, all that is ``left``. Never empty."""
        told = {i: self._own(i, t) for i, t in case_records(session.records).items() if i in batch}
        infra = session.detail if session.end in _INFRA_ENDS else ""
        if stranger := self._stranger(session):
            return self._give_up(left, infra=stranger)
        early = session.end not in _BELIEVED_ENDS
        ending = f"{session.end.value}: {session.detail}" if early else ""
        if not told:
            prevented = self._refusal(session) or ending or "the guest ended before its first case"
            return self._give_up(left, infra=infra, prevented=prevented)
        reports = self._reports(session, batch, told)
        crashed = {i for i, own in reports.items() if any(not report.benign for report in own)}
        whole_until = self._whole_until(session, batch, told, crashed)
        settled: dict[int, CaseResult] = {}
        for place, index in enumerate(batch):
            trial, crash = told.get(index), index in crashed
            if trial is None and not crash:
                continue
            in_flight = trial is not None and not trial.ended
            charged = in_flight or crash or (trial and trial.how == "stuck")
            settled[index] = judge(
                self._cases[index],
                self._where,
                trial,
                reports.get(index, ()),
                in_flight or (place <= whole_until and not session.damaged),
                ending=ending if charged else "",
                infra=infra if in_flight else "",
                pace=self._pace,
                spent=session.case_spent.get(index),
                unseen=_unseen(session, index),
            )
        if session.end is GuestEnd.DONE:
            # The agent said it was through: another guest would say the same.
            rest = [i for i in batch if i not in settled]
            settled |= self._give_up(rest, prevented="the guest ended without it")
        return settled

    def _give_up(
        self, indices: Sequence[int], *, infra: str = "", prevented: str = ""
    ) -> Mapping[int, CaseResult]:
        return {
            index: judge(self._cases[index], self._where, None, infra=infra, prevented=prevented)
            for index in indices
        }

    @staticmethod
    def _refusal(session: BootRecord) -> str:
        refused = next((r for r in session.records if r.type == "refused"), None)
        if refused is None:
            return ""
        name, errno = refused.fields.get("name", "?"), refused.fields.get("errno", "?")
        return f"the kernel refused the module {name}: {errno}"

    @staticmethod
    def _whole_until(
        session: BootRecord,
        batch: Sequence[int],
        told: Mapping[int, CaseRecord],
        crashed: Set[int],
    ) -> int:
        """The place in the batch up to which the stream is whole: its end, or the last case that the guest's
        early end is charged to; -1 where it is charged to none."""
        if session.end in _BELIEVED_ENDS:
            return len(batch)
        charged = {i for i, t in told.items() if not t.ended or t.how == "stuck"} | crashed
        return max((place for place, index in enumerate(batch) if index in charged), default=-1)

    def _stranger(self, session: BootRecord) -> str:
        """Why the guest is not the kernel and module of this cell; empty where it is, or where nothing that
        could be believed was said."""
        if not any(r.type in ("hello", "module", "start") for r in session.records):
            return ""
        hello = next((r.fields for r in session.records if r.type == "hello"), {})
        files = self._files
        if told := _differs("kernel", "build id", files.kernel_build_id, hello.get("build_id", "")):
            return told
        loaded = {r.fields.get("name", ""): r.fields for r in session.records if r.type == "module"}
        started = any(r.type == "start" for r in session.records)
        for name, wanted in files.module_build_ids.items():
            # A module that was never loaded matters once a case began without it.
            if not (name in loaded or started):
                continue
            found, what = loaded.get(name, {}), f"module {name}"
            if told := (
                _differs(what, "build id", wanted, found.get("build_id", ""))
                or _differs(what, "SHA-256", files.module_digests.get(name, ""), found.get("sha256", ""))
            ):
                return told
        return ""

    def _own(self, index: int, trial: CaseRecord) -> CaseRecord:
        """The trial; with a problem where the guest was about to run something else than what was packed, as
        an earlier case can have written to it."""
        wanted = (self._digests[index], self._lib_digest)
        if not trial.started or trial.digests == wanted:
            return trial
        told = "what the guest ran is not the script and lib.sh that were packed"
        return replace(trial, problems=(*trial.problems, told))

    def _reports(
        self, session: BootRecord, batch: Sequence[int], told: Mapping[int, CaseRecord]
    ) -> dict[int, tuple[KernelReport, ...]]:
        """Each report on the console, charged to a case: one that can have printed it, else the next to
        begin, else the last; then what only the ring had of a case. A guest that was given up because of a
        case has no next one, and a report that is let off keeps no case from being run."""
        stuck = any(t.how == "stuck" for t in told.values())
        given_up = stuck or any(r.type == "retired" for r in session.records)
        charged: dict[int, tuple[KernelReport, ...]] = {}

        def charge(owner: int, report: kernel_log.Report, reason: str, log: Path) -> None:
            own = charged.get(owner, ())
            if evidence.has_room(own, benign=bool(reason)):
                left = told[owner].left if owner in told else ""
                made = evidence.of(
                    report,
                    self._decoder,
                    left=left,
                    log=log.name,
                    benign=reason,
                    most_lines=FEWER_LINES if own else LINES,
                )
                charged[owner] = (*own, made)

        found = kernel_log.parse_file(session.console_path)
        # Nobody looked behind so many: what may be there is not let off.
        known = self._known if len(found) < kernel_log.MAX_REPORTS else KnownBenign()
        for report in found:
            reason = known.reason_for(report, self._where.flavour)
            offset = session.stream_offset(report.offset)
            owner = self._owner(report, session, told)
            if owner is None:
                later = [i for i, (start, _) in session.console_offsets.items() if start > offset]
                pending = [] if given_up or reason else [i for i in batch if i not in told]
                begun = [i for i in session.console_offsets if i in told]
                owner = (later or pending or begun[-1:] or [batch[-1]])[0]
            charge(owner, report, reason, session.console_path)
        # A case can turn the console down or off, for itself and for those behind it; the agent reads the
        # kernel's ring, and no process can write there what looks like the kernel's.
        # What is charged to a case already is told once; what another case's report looks like is no excuse.
        for index, trial in told.items():
            heard = {(one.title, one.benign) for one in charged.get(index, ())}
            # The ring shows the newlines within a message like this.
            ring = "".join(f"{text}\n" for text in trial.kmsg).replace(r"\x0a", "\n")
            for report in kernel_log.parse(ring.encode("utf-8", "surrogateescape")):
                reason = known.reason_for(report, self._where.flavour)
                if (one_line(report.title), reason) not in heard:
                    charge(index, replace(report, offset=0), reason, session.channel_path)
        return charged

    @staticmethod
    def _owner(report: kernel_log.Report, session: BootRecord, told: Mapping[int, CaseRecord]) -> int | None:
        """Of the cases that can have printed a report, the one whose kernel messages have its first line;
        where none has (the guest died before it could tell), the last to begin."""
        possible = session.owners(session.stream_offset(report.offset))
        for index in possible:
            if index in told and any(report.lines[0] in text for text in told[index].kmsg):
                return index
        return possible[0] if possible else None


def _unseen(session: BootRecord, index: int) -> str:
    """What of the console in a case's time is in no file; empty where all is."""
    start, stop = session.console_offsets.get(index, (0, 0))
    cut_from, cut_to = session.console_cut
    if not (cut_from < stop and start < cut_to):
        return ""
    return f"{cut_to - cut_from} bytes were cut out of the console, as there was too much of it"


def _differs(what: str, kind: str, built: str, found: str) -> str:
    """A sentence where what the guest shows is not what was built. Nothing shown proves nothing."""
    if built and built == found:
        return ""
    return (
        f"the guest ran another {what} than the one built for this cell "
        f"({kind} {found or 'none'}, built {built or 'none'})"
    )
