"""Judge the cases that one boot of a cell settled. Pure.

A crash costs one case: it is charged to the case in progress, and the cases after that are left for a fresh
guest. Nothing is judged unless the guest proved that it runs the kernel and modules built for the cell: it
sends their build ids, and digests of the modules' files and of each script just before it runs, on the
verdict channel, and they are compared here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.judge import rate_limits
from kmodpipe.judge.cases import Case, CellContext
from kmodpipe.judge.verdict import CaseEvidence, judge
from kmodpipe.logs import evidence, kernel_log
from kmodpipe.logs.case_record import CaseRecord, case_records
from kmodpipe.logs.evidence import FEWER_LINES, LINES, KernelReport
from kmodpipe.logs.kernel_log import Report
from kmodpipe.logs.known_benign import KnownBenign
from kmodpipe.logs.symbolize import Decoder
from kmodpipe.results import REFUSED, CaseResult, Verdict
from kmodpipe.util.text import one_line
from kmodpipe.vm.boot_record import BootRecord, GuestEnd
from kmodpipe.vm.limits import TimeScale
from kmodpipe.vm.protocol import Record

_BELIEVED_ENDS = (GuestEnd.DONE, GuestEnd.RETIRED)
# Ends that the kernel did not cause: cases that they leave without a verdict are errors, not failures.
_INFRA_ENDS = (GuestEnd.QEMU_FAILED, GuestEnd.INTERRUPTED)


# -- the records --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Packed:
    """What was built and packed for a cell's guests, to be compared with what a guest reports."""

    kernel_build_id: str
    # By the module's name.
    module_build_ids: Mapping[str, str]
    # SHA-256 of each module's file, by name: a build id covers neither relocations nor symbol names.
    module_digests: Mapping[str, str]
    # SHA-256 of each case's script, in the order of the cell's cases.
    script_digests: tuple[str, ...]
    # SHA-256 of the cases' shell library.
    lib_digest: str


@dataclass(frozen=True)
class CellUnderTest:
    """One cell: what is the same in all its boots."""

    context: CellContext
    cases: tuple[Case, ...]
    packed: Packed
    # Decodes traces of the cell's kernel and modules.
    decoder: Decoder = field(default_factory=Decoder)
    known_benign: KnownBenign = field(default_factory=KnownBenign)
    # The factors on the cases' time limits.
    time_scale: TimeScale = field(default_factory=TimeScale)
    # The groups of messages that every case watches for, beside its own.
    watch: Collection[str] = ()


@dataclass(frozen=True)
class BootEvidence:
    """One boot of a cell. Cases are known by their index in the cell."""

    record: BootRecord
    # The kernel's reports on the console, in order.
    console_reports: tuple[Report, ...]
    # The cases that were packed, in the order in which they should run.
    batch: tuple[int, ...]
    # All cases of the cell without a verdict so far, including the batch.
    left: tuple[int, ...]
    # The guest's number in its cell.
    guest: int = 0
    # What the kernel said of the module that it refused.
    refusal: tuple[str, ...] = ()


# -- attribution --------------------------------------------------------------------------------------
def attribute(boot: BootEvidence, cell: CellUnderTest) -> Mapping[int, CaseResult]:
    """Return the results of the cases that one boot settled, by index; there is at least one.

    Those are the cases of its batch that ended, the one in which the guest died, and all that are left if
    another boot would go the same way.
    """
    return _Attribution(boot, cell).results()


class _Attribution:
    def __init__(self, boot: BootEvidence, cell: CellUnderTest) -> None:
        self.boot, self.cell, self.end = boot, cell, boot.record.end
        self.records = {
            index: _checked(index, record, cell.packed)
            for index, record in case_records(boot.record.records).items()
            if index in boot.batch
        }
        heard = ((index, rate_limits.told(record.kmsg)) for index, record in self.records.items())
        self.told = {index: lines for index, lines in heard if lines}
        early = self.end not in _BELIEVED_ENDS
        self.ending = f"{self.end.value}: {boot.record.detail}" if early else ""
        self.infra = boot.record.detail if self.end in _INFRA_ENDS else ""

    def results(self) -> Mapping[int, CaseResult]:
        records = self.boot.record.records
        if difference := _other_build(records, self.cell.packed):
            return self.give_up(self.boot.left, infra=difference)
        if no_tools := _refused_disk(records):
            return self.give_up(self.boot.left, infra=no_tools)
        if not self.records:
            prevented = (
                _refusal(records, self.boot.refusal) or self.ending or "the guest ended before its first case"
            )
            return self.give_up(self.boot.left, infra=self.infra, prevented=prevented)
        settled = self.judge_batch()
        if self.end is GuestEnd.DONE:
            # The agent completed its plan, so another guest would not run these cases either.
            rest = [i for i in self.boot.batch if i not in settled and i not in self.records]
            settled |= self.give_up(rest, prevented="the guest ended without it")
        return settled

    def give_up(
        self, indices: Iterable[int], *, infra: str = "", prevented: str = ""
    ) -> Mapping[int, CaseResult]:
        """Judge cases that will not run in any guest."""
        found = CaseEvidence(infra=infra, prevented=prevented, guest=self.boot.guest)
        return {index: judge(self.cell.cases[index], self.cell.context, found) for index in indices}

    def judge_batch(self) -> dict[int, CaseResult]:
        """Judge the cases of the batch that began, or to which a crash is charged."""
        reports = charge_reports(self.boot, self.cell, self.records)
        crashed = {i for i, own in reports.items() if any(not report.benign for report in own)}
        whole_until = -1 if self.boot.record.damaged else self.whole_until(crashed)
        settled: dict[int, CaseResult] = {}
        for place, index in enumerate(self.boot.batch):
            if index not in self.records and index not in crashed:
                continue
            found = self.case_evidence(index, reports.get(index, ()), whole=place <= whole_until)
            result = judge(self.cell.cases[index], self.cell.context, found)
            # The first settles, so that each boot brings the cell forward.
            if not settled or not self.lacks_messages(index, found, result):
                settled[index] = result
        return settled

    def lacks_messages(self, index: int, found: CaseEvidence, result: CaseResult) -> bool:
        """Return whether all that speaks against a verdict is that the kernel's rate limits, which earlier
        cases in this guest may have used up, kept messages back. Another guest can tell."""
        if result.verdict is not Verdict.ERROR or found.record is None:
            return False
        told = rate_limits.told(found.record.kmsg)
        heard = tuple(line for line in found.record.kmsg if line not in told)
        without = replace(found, record=replace(found.record, kmsg=heard), told_later=())
        return judge(self.cell.cases[index], self.cell.context, without).verdict is not Verdict.ERROR

    def whole_until(self, crashed: Iterable[int]) -> int:
        """Return the position in the batch up to which the stream is whole: the end, or the last case to
        which the guest's early end is charged; -1 if it is charged to none."""
        if self.end in _BELIEVED_ENDS:
            return len(self.boot.batch)
        charged = {i for i, r in self.records.items() if not r.ended or r.how == "stuck"}.union(crashed)
        return max((place for place, index in enumerate(self.boot.batch) if index in charged), default=-1)

    def case_evidence(self, index: int, reports: tuple[KernelReport, ...], *, whole: bool) -> CaseEvidence:
        """Return what is known of one case of the batch."""
        record = self.records.get(index)
        in_flight = record is not None and not record.ended
        crashed = any(not report.benign for report in reports)
        charged = in_flight or crashed or (record is not None and record.how == "stuck")
        return CaseEvidence(
            record=record,
            reports=reports,
            channel_whole=in_flight or whole,
            ending=self.ending if charged else "",
            infra=self.infra if in_flight else "",
            time_scale=self.cell.time_scale,
            spent=self.boot.record.case_spent.get(index),
            unseen=_unseen(self.boot.record, index),
            told_later=self.told_after(index),
            guest=self.boot.guest,
        )

    def told_after(self, index: int) -> tuple[str, ...]:
        """Return what later cases heard of messages that were kept back while this or an earlier one ran.

        For the first case there is none: a limit that it used up itself let its messages through before.
        """
        place = self.boot.batch.index(index)
        later = self.boot.batch[place + 1 :] if place else ()
        return tuple(line for i in later for line in self.told.get(i, ()))


# -- did the guest run what was built? ------------------------------------------------------------------
def _checked(index: int, record: CaseRecord, packed: Packed) -> CaseRecord:
    """Return the record, with a problem added if the guest ran another script or library than was packed.

    An earlier case can have written to them.
    """
    if not record.started or record.digests == (packed.script_digests[index], packed.lib_digest):
        return record
    text = "what the guest ran is not the script and lib.sh that were packed"
    return replace(record, problems=(*record.problems, text))


def refused_module(records: Iterable[Record]) -> str:
    """Return the name of the module that the kernel refused; empty if it refused none."""
    refused = (r.fields for r in records if r.type == "refused" and r.fields.get("what") == "module")
    return next((fields.get("name", "?") for fields in refused), "")


def _refused_disk(records: Iterable[Record]) -> str:
    """Return that the guest could not mount the disk with its tools, and why; empty if it could."""
    refused = (r.fields for r in records if r.type == "refused" and r.fields.get("what") == "disk")
    fields = next(refused, None)
    if fields is None:
        return ""
    errno, name = fields.get("errno", "?"), fields.get("name", "")
    return f"the guest could not mount the disk with its tools{f', {name}' if name else ''}: {errno}"


def _refusal(records: Iterable[Record], said: Sequence[str]) -> str:
    """Return which module the kernel refused and why, with what it said; empty if it refused none."""
    refused = next((r for r in records if r.type == "refused"), None)
    if refused is None:
        return ""
    name, errno = refused.fields.get("name", "?"), refused.fields.get("errno", "?")
    quoted = f" ({'; '.join(said)})" if said else ""
    # A driver's own init says so where it finds nothing to drive: include/uapi/asm-generic/errno-base.h.
    lacks = ", it found no device: a flavour's devices give it one" if errno in ("ENODEV", "ENXIO") else ""
    return f"{REFUSED} {name}: {errno}{lacks}{quoted}"


def _other_build(records: Sequence[Record], packed: Packed) -> str:
    """Return how the guest's kernel or modules differ from those of this cell.

    Empty if they do not, or if the guest died before it reported anything.
    """
    if not any(r.type in ("hello", "module", "start") for r in records):
        return ""
    hello = next((r.fields for r in records if r.type == "hello"), {})
    if difference := _difference("kernel", "build id", packed.kernel_build_id, hello.get("build_id", "")):
        return difference
    loaded = {r.fields.get("name", ""): r.fields for r in records if r.type == "module"}
    started = any(r.type == "start" for r in records)
    for name, build_id in packed.module_build_ids.items():
        # A module that was not loaded is a difference only once a case has started without it.
        if not (name in loaded or started):
            continue
        found, what = loaded.get(name, {}), f"module {name}"
        if difference := (
            _difference(what, "build id", build_id, found.get("build_id", ""))
            or _difference(what, "SHA-256", packed.module_digests.get(name, ""), found.get("sha256", ""))
        ):
            return difference
    return ""


def _difference(what: str, kind: str, built: str, found: str) -> str:
    """Return a sentence if the guest's id is not the built one, or missing; empty if they are equal."""
    if built and built == found:
        return ""
    return (
        f"the guest ran another {what} than the one built for this cell "
        f"({kind} {found or 'none'}, built {built or 'none'})"
    )


# -- the kernel's reports -----------------------------------------------------------------------------
def charge_reports(
    boot: BootEvidence, cell: CellUnderTest, records: Mapping[int, CaseRecord]
) -> Mapping[int, tuple[KernelReport, ...]]:
    """Return the kernel's reports by the case that each is charged to.

    They come from the console and from the kernel messages that the agent read from the ring buffer.
    """
    charges = _Charges(boot, cell, records)
    charges.charge_console()
    charges.charge_ring()
    return charges.by_case


class _Charges:
    def __init__(self, boot: BootEvidence, cell: CellUnderTest, records: Mapping[int, CaseRecord]) -> None:
        self.boot, self.cell, self.records = boot, cell, records
        self.by_case: dict[int, tuple[KernelReport, ...]] = {}
        # The search stops at so many reports. As there may be more, no report counts as benign then.
        all_found = sum(not report.watch for report in boot.console_reports) < kernel_log.MAX_REPORTS
        self.known = cell.known_benign if all_found else KnownBenign()

    def charge_console(self) -> None:
        """Charge the reports on the console."""
        for report in self.boot.console_reports:
            reason = self.benign_reason(report)
            owner = self.owner(report)
            if owner is None:
                owner = self.neighbour(report, benign=bool(reason))
            self.charge(owner, report, reason, self.boot.record.console_path)

    def charge_ring(self) -> None:
        """Charge the reports that the agent read from the ring buffer during a case.

        A case can turn console output off, for itself and for later cases, and no process can forge kernel
        messages in the ring. A report that is charged to the same case already is not repeated; one that is
        charged to another case is charged to this one as well.
        """
        for index, record in self.records.items():
            known = {(one.title, one.benign) for one in self.by_case.get(index, ())}
            # /dev/kmsg escapes newlines within a message like this.
            ring = "".join(f"{text}\n" for text in record.kmsg).replace(r"\x0a", "\n")
            reports = kernel_log.parse(ring.encode("utf-8", "surrogateescape"))
            all_found = len(reports) < kernel_log.MAX_REPORTS
            for report in reports:
                reason = self.benign_reason(report) if all_found else ""
                if (one_line(report.title), reason) not in known:
                    self.charge(index, replace(report, offset=0), reason, self.boot.record.channel_path)

    def charge(self, owner: int, report: Report, reason: str, log: Path) -> None:
        """Add a report of ``log`` to a case, unless the case has enough; ``reason``: why it is benign.

        A report that counts only where it is watched for is left out elsewhere.
        """
        own = self.by_case.get(owner, ())
        if report.watch and report.watch not in (*self.cell.watch, *self.cell.cases[owner].watch):
            return
        if not evidence.has_room(own, benign=bool(reason)):
            return
        made = evidence.of(
            report,
            self.cell.decoder,
            left=self.records[owner].left if owner in self.records else "",
            log=log.name,
            benign=reason,
            most_lines=FEWER_LINES if own else LINES,
        )
        self.by_case[owner] = (*own, made)

    def benign_reason(self, report: Report) -> str:
        return self.known.reason_for(report, self.cell.context.flavour)

    def owner(self, report: Report) -> int | None:
        """Return the case during which a report on the console was printed; None if there was none.

        Of several it is the one whose kernel messages have the header; if none has, as the guest died
        before it sent them, the last one that began.
        """
        boot = self.boot.record
        possible = boot.owners(boot.stream_offset(report.offset))
        for index in possible:
            if index in self.records and any(report.header in text for text in self.records[index].kmsg):
                return index
        return possible[0] if possible else None

    def neighbour(self, report: Report, *, benign: bool) -> int:
        """Return the case to charge with a report between two cases: the next to begin, else the last.

        After a benign report, or in a guest that was given up because of a case, a case that has not begun is
        not charged.
        """
        boot, batch = self.boot.record, self.boot.batch
        offset = boot.stream_offset(report.offset)
        later = [i for i, (start, _) in boot.console_offsets.items() if start > offset]
        pending = [] if benign or self.given_up() else [i for i in batch if i not in self.records]
        begun = [i for i in boot.console_offsets if i in self.records]
        return (later or pending or begun[-1:] or [batch[-1]])[0]

    def given_up(self) -> bool:
        retired = any(r.type == "retired" for r in self.boot.record.records)
        return retired or any(record.how == "stuck" for record in self.records.values())


def _unseen(boot: BootRecord, index: int) -> str:
    """Return which part of the console during a case was not kept in its file; empty if all was."""
    start, stop = boot.console_offsets.get(index, (0, 0))
    cut_from, cut_to = boot.console_cut
    if not (cut_from < stop and start < cut_to):
        return ""
    return f"{cut_to - cut_from} bytes were cut out of the console, as there was too much of it"


__all__ = ["BootEvidence", "CellUnderTest", "Packed", "attribute", "refused_module"]
