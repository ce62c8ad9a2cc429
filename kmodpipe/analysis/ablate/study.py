"""Try edits of one series: build them in its cells, run cases, and find out which of them notice.

A difference counts if it comes again: both sides, with and without the edit, run the case once more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum

from kmodpipe.analysis.ablate import outcomes
from kmodpipe.analysis.ablate.edits import HUNK, Edit, Edits, grown
from kmodpipe.analysis.ablate.guests import Guests
from kmodpipe.analysis.ablate.memory import Built, Memory, Record
from kmodpipe.analysis.ablate.modules import Compiled, Modules
from kmodpipe.analysis.ablate.outcomes import Seen
from kmodpipe.analysis.ablate.records import Finding, Status
from kmodpipe.analysis.ablate.telling import Telling
from kmodpipe.analysis.ablate.touching import Touching
from kmodpipe.judge.cases import Case
from kmodpipe.pipeline.builder import BuiltCell
from kmodpipe.results import CaseResult, Verdict
from kmodpipe.series.changes import Origin
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.text import one_line

# So many differences are confirmed at once.
_CONFIRMED = 3
# So many times likely cases are run in a cell before the next cell's.
_TRIES = 2
# How often a build may name further hunks.
_ROUNDS = 8


@dataclass
class Ground:
    """A cell of the whole series, and what its cases come to there."""

    built: BuiltCell
    # Of what it builds, boots and is judged by.
    key: str
    # What the code of its module is, to tell whether an edit changes it.
    content: str
    reference: Record = field(default_factory=Record)
    noticed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def id(self) -> str:
        """The cell's id."""
        return self.built.cell.id

    @property
    def rank(self) -> tuple[int, int]:
        """Where it stands among the cells to try: first those in which most was noticed, with most set."""
        return -self.noticed, -sum(value != "n" for value in self.built.cell.choice.values())


class _Depth(Enum):
    """How far a cell is looked into, before the next cell is."""

    # What is known from before alone, so that a second run does no more than the first.
    KNOWN = "known"
    LIKELY = "likely cases"
    ALL = "all cases"


class _NoTime(Exception):
    """The budget is used up, and something would have to be built or booted."""


@dataclass(frozen=True)
class _Tried:
    """What became of an edit in a cell."""

    status: Status
    case: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    unsteady: tuple[str, ...] = ()
    ran: bool = False
    differing: tuple[str, ...] = ()
    # There are cases left that may notice.
    open: bool = False


class Study:
    """Tries edits, from any thread."""

    def __init__(
        self,
        edits: Edits,
        grounds: Sequence[Ground],
        modules: Modules,
        guests: Guests,
        memory: Memory,
        cases: Sequence[Case],
        digests: Mapping[str, str],
        touching: Touching,
        may_work: Callable[[], bool] = lambda: True,
    ) -> None:
        """``digests`` are those of the cases, by id; ``may_work`` is false when there is no time left."""
        self._edits = edits
        self._grounds = grounds
        self._modules = modules
        self._guests = guests
        self._memory = memory
        self._cases = {case.id: case for case in cases}
        self._digests = digests
        self._touching = touching
        self._may_work = may_work
        self._telling = Telling()
        self._lock = threading.Lock()

    # -- the whole series ------------------------------------------------------------------------------
    def look_at(self, ground: Ground) -> None:
        """Find out what the cases come to with the whole series in one cell."""
        ground.reference = self._memory.recall(ground.key, "")
        have = self._known(ground.reference)
        missing = [case for name, case in self._cases.items() if name not in have]
        if missing:
            results = self._guests.run(ground.built, ground.built.cell.variant, missing)
            self._note(ground, results)

    def usable(self, ground: Ground) -> tuple[str, ...]:
        """Return the cases that can notice something in a cell."""
        return outcomes.usable(self._known(ground.reference))

    def _note(self, ground: Ground, results: Sequence[CaseResult]) -> None:
        """Remember results of the whole series, beside earlier ones."""
        with ground.lock:
            have = self._known(ground.reference)
            found = {}
            for one in map(Seen.of, results):
                if one.verdict is not Verdict.ERROR:
                    found[self._digests[one.case]] = have[one.case].again(one) if one.case in have else one
            ground.reference = ground.reference.with_cases(found)
            self._memory.keep(ground.key, "", ground.reference)

    def _known(self, record: Record) -> dict[str, Seen]:
        return {name: record.cases[key] for name, key in self._digests.items() if key in record.cases}

    # -- an edit ---------------------------------------------------------------------------------------
    def examine(self, edit: Edit) -> Finding:
        """Return what became of an edit. Raise Interrupted."""
        if edit.no_code:
            return self._finding(edit, edit, Status.NO_CODE)
        try:
            return self._examine(edit)
        except _NoTime:
            return self._finding(edit, edit, Status.NOT_TRIED)
        except Interrupted:
            raise
        except InfraError as e:
            return self._finding(edit, edit, Status.UNKNOWN, reason=one_line(str(e)))

    def _examine(self, edit: Edit) -> Finding:
        wider = edit
        tried: dict[str, _Tried] = {}
        for depth in _Depth:
            left = [one for one in self._grounds if one.id not in tried or tried[one.id].open]
            while left:
                ground = self._next_ground(left, wider)
                left.remove(ground)
                record = self._built(ground, wider, depth)
                if record and record.together and wider is edit and wider.kind == HUNK:
                    # It does not build alone: from here on with those that need it.
                    wider = self._with(edit, record.together)
                    record = self._built(ground, wider, depth)
                if record is None:
                    continue
                one = tried[ground.id] = self._in_cell(ground, wider, record, depth)
                if one.status in (Status.CASE, Status.COMPILER, Status.KCONFIG):
                    with self._lock:
                        ground.noticed += 1
                    self._telling.noticed(edit.hunks[0], ground.id, one.differing)
                    return self._finding(edit, wider, one.status, ground.id, one, tried)
        statuses = [one.status for one in tried.values()]
        if Status.UNKNOWN in statuses:
            unknown = next(one for one in tried.values() if one.status is Status.UNKNOWN)
            return self._finding(edit, wider, Status.UNKNOWN, tried=tried, reason=unknown.reason)
        status = Status.UNNOTICED if Status.UNNOTICED in statuses else Status.SAME
        return self._finding(edit, wider, status, tried=tried, reason=self._why(status, wider, tried))

    def _next_ground(self, left: Sequence[Ground], edit: Edit) -> Ground:
        """Return the cell to look into next: one of which something is known, else the most telling."""
        hunk = edit.hunks[0]
        return min(
            left,
            key=lambda one: (not self._is_known(one, edit), -self._telling.times(hunk, one.id), one.rank),
        )

    def _built(self, ground: Ground, edit: Edit, depth: _Depth) -> Record | None:
        """Return what is known of an edit, which is built for it if it may be; else None."""
        if depth is _Depth.KNOWN and not self._is_known(ground, edit):
            return None
        return self._recalled(ground, edit)

    def _is_known(self, ground: Ground, edit: Edit) -> bool:
        return self._memory.recall(ground.key, edit.digest).built is not Built.UNTRIED

    def _with(self, edit: Edit, labels: Sequence[str]) -> Edit:
        more = [origin for label in labels if (origin := self._edits.origin(label))]
        return grown(edit, self._edits, more)

    def _why(self, status: Status, edit: Edit, tried: Mapping[str, _Tried]) -> str:
        if status is Status.UNNOTICED and not any(one.ran for one in tried.values()):
            return "no case that could notice executes it"
        return ""

    def _finding(
        self,
        edit: Edit,
        wider: Edit,
        status: Status,
        cell: str = "",
        one: _Tried | None = None,
        tried: Mapping[str, _Tried] | None = None,
        reason: str = "",
    ) -> Finding:
        tried = tried or {}
        return Finding(
            id=edit.id, kind=edit.kind, patch=edit.hunks[0][0], file=edit.path, line=edit.line,
            function=edit.function, status=status, was=edit.was, becomes=edit.becomes,
            together=tuple(map(self._edits.label, wider.hunks[1:])) if edit.kind == HUNK else (),
            case=one.case if one else "", cell=cell,
            before=one.before if one else "", after=one.after if one else "",
            reason=one.reason if one else reason,
            observe=edit.observe,
            executed_by=self._touching.executed_by(edit),
            tried=tuple(name for name, own in tried.items() if own.ran),
            unsteady=tuple(text for own in tried.values() for text in own.unsteady),
            diff=self._edits.diff(wider).decode("utf-8", "surrogateescape"),
        )  # fmt: skip

    # -- in one cell -----------------------------------------------------------------------------------
    def _recalled(self, ground: Ground, edit: Edit) -> Record:
        """Return what is known of an edit in a cell; build it if nothing is."""
        record = self._memory.recall(ground.key, edit.digest)
        if record.built is not Built.UNTRIED:
            return record
        self._require_time()
        with self._modules.built(edit, ground.built) as made:
            pass
        record = self._record_of(ground, edit, made)
        self._memory.keep(ground.key, edit.digest, record)
        return record

    def _record_of(self, ground: Ground, edit: Edit, made: Compiled) -> Record:
        if made.kind is not Built.COMPILER or edit.kind != HUNK or len(edit.hunks) > len(self._alone(edit)):
            return Record(made.kind, made.reason)
        wider, missed = edit, made.missed
        for _ in range(_ROUNDS):
            if not missed:
                break
            wider = grown(wider, self._edits, self._closed(ground, missed))
            with self._modules.built(wider, ground.built) as again:
                missed = again.missed
            if again.kind is not Built.COMPILER:
                self._memory.keep(ground.key, wider.digest, Record(again.kind, again.reason))
                labels = tuple(map(self._edits.label, wider.hunks[1:]))
                return Record(Built.COMPILER, made.reason, together=labels)
        return Record(Built.COMPILER, made.reason)

    def _closed(self, ground: Ground, some: Iterable[Origin]) -> Sequence[Origin]:
        """Return hunks with those that were found to be needed by one of them before."""
        known = [
            self._edits.origin(label)
            for one in some
            for label in self._memory.recall(ground.key, self._edits.without([one]).digest).together
        ]
        return sorted({*some, *(one for one in known if one)}, key=self._edits.label)

    def _alone(self, edit: Edit) -> tuple[object, ...]:
        return self._edits.without([edit.hunks[0]]).hunks

    def _in_cell(self, ground: Ground, edit: Edit, record: Record, depth: _Depth) -> _Tried:
        match record.built:
            case Built.COMPILER | Built.KCONFIG:
                status = Status.COMPILER if record.built is Built.COMPILER else Status.KCONFIG
                return _Tried(status, reason=record.reason)
            case Built.SAME:
                return _Tried(Status.SAME)
            case _:
                names = self._touching.cases(edit, ground.built.cell, tuple(self._cases))
                return self._by_cases(ground, edit, record, names, depth)

    def _by_cases(
        self, ground: Ground, edit: Edit, record: Record, names: Sequence[str], depth: _Depth
    ) -> _Tried:
        """Run cases until one is found that notices, and confirm it. None runs again without need."""
        silent: set[str] = set()
        built: BuiltCell | None = None
        tries = 0
        with ExitStack() as stack:
            while True:
                reference = self._known(ground.reference)
                able = [name for name in names if name in outcomes.usable(reference)]
                have = {name: one for name, one in self._known(record).items() if name in able}
                different = outcomes.differing(reference, have.values())
                if sure := next((one for one in different if one.times > 1), None):
                    before, after = outcomes.words(reference[sure.case], sure)
                    by = tuple(one.case for one in different)
                    return _Tried(Status.CASE, sure.case, before, after, ran=True, differing=by)
                missing = [name for name in able if name not in have and name not in silent]
                batch = self._batch(edit, missing, depth, tries)
                if depth is _Depth.KNOWN or not (batch or different):
                    break
                self._require_time()
                if built is None:
                    made = stack.enter_context(self._modules.built(edit, ground.built))
                    if made.cell is None:
                        raise InfraError(
                            f"{edit.id} was built before, and cannot be now: {made.reason}",
                            where=ground.id,
                            hint="run the command again",
                        )
                    built = made.cell
                if different:
                    again = [one.case for one in different[:_CONFIRMED]]
                    found = self._confirmed(ground, built, record, again)
                else:
                    again, tries = batch, tries + 1
                    found = self._first(ground, built, reference, again)
                record = record.with_cases({self._digests[name]: one for name, one in found.items()})
                self._memory.keep(ground.key, edit.digest, record)
                if not found:
                    silent |= set(again)
        ran = {name: one for name, one in self._known(record).items() if name in names}
        unsteady = tuple(
            f"{name} in {ground.id}" for name, one in ran.items() if one.unsteady or reference[name].unsteady
        )
        if missing or different:
            return _Tried(Status.UNNOTICED, unsteady=unsteady, ran=bool(ran), open=True)
        if silent:
            reason = f"no verdict of {', '.join(sorted(silent))} in {ground.id}"
            return _Tried(Status.UNKNOWN, reason=reason, unsteady=unsteady, ran=True)
        return _Tried(Status.UNNOTICED, unsteady=unsteady, ran=bool(ran))

    def _batch(self, edit: Edit, missing: Sequence[str], depth: _Depth, tries: int) -> list[str]:
        """Return which cases run next; none if these were so many that the next cell comes first."""
        likely = self._telling.first(edit.hunks[0], missing)
        if depth is _Depth.ALL:
            return likely if len(missing) > 2 * len(likely) and likely else list(missing)
        return likely if tries < _TRIES else []

    def _first(
        self, ground: Ground, built: BuiltCell, reference: Mapping[str, Seen], names: Sequence[str]
    ) -> Mapping[str, Seen]:
        """Run cases once, up to the guest in which one of them differs. Return those with a verdict."""

        def enough(results: Sequence[CaseResult]) -> bool:
            return bool(outcomes.differing(reference, map(Seen.of, results)))

        results = self._run(ground, built, names, enough)
        return {one.case: one for one in map(Seen.of, results) if one.verdict is not Verdict.ERROR}

    def _confirmed(
        self, ground: Ground, built: BuiltCell, record: Record, names: Sequence[str]
    ) -> Mapping[str, Seen]:
        """Run cases again, with the edit and with the whole series, and return what they came to with it."""
        have, reference = self._known(record), self._known(ground.reference)
        results = self._run(ground, built, names, None)
        found = {
            one.case: have[one.case].again(one)
            for one in map(Seen.of, results)
            if one.verdict is not Verdict.ERROR
        }
        doubted = [n for n in names if reference[n].times < 2 or have[n].of_the_clock]
        if doubted:
            whole = self._guests.run(
                ground.built, ground.built.cell.variant, [self._cases[name] for name in doubted]
            )
            self._note(ground, whole)
        return found

    def _run(
        self,
        ground: Ground,
        built: BuiltCell,
        names: Sequence[str],
        enough: Callable[[Sequence[CaseResult]], bool] | None,
    ) -> tuple[CaseResult, ...]:
        cases = [self._cases[name] for name in names]
        return self._guests.run(built, ground.built.cell.variant, cases, enough)

    def _require_time(self) -> None:
        if not self._may_work():
            raise _NoTime


def until(began: float, seconds: float | None) -> Callable[[], bool]:
    """Return a function that is true for so long after ``began``, by the monotonic clock."""
    return lambda: seconds is None or time.monotonic() < began + seconds
