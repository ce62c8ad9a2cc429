"""The records of a run: what was planned, and the results. Pure.

Every planned case of every planned cell is in a `Run` from the start, as an error "not run", and only a
verdict replaces it, so that no case can be lost. A run is a frozen value: `with_cell` returns a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.logs.evidence import KernelReport
from kmodpipe.logs.ktap import Subtest
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.text import count, one_line

ENDED_EARLY = "ended-early"
"""The property of a run that an error or a signal ended, with the reason. Such results are incomplete."""

REFUSED = "the kernel refused the module"
"""How the message of a case begins whose guest could not load a module."""
WOULD_REFUSE = "the kernel would refuse the module"
"""How the reason of a cell begins that is not booted, because its module was built and would not load."""
WORKTREE = "worktree"
"""The variant that is what the working tree of a module's own repository has on top of its control."""
OWN_MODULE = "module.own"
"""The property of a run whose module is in no tree: what its control is."""
ALLOW_EMPTY = "allow-empty"
"""The property of a run that may have no judged case, as a whole or of a series."""

CLOSE_TO_LIMIT = 0.5
"""A case that used more than this part of its time limit was close to it, and may time out another day."""

# What a results.json may say of these, which anyone can have edited. A year 10000 has no date.
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Moment = Annotated[float, Field(ge=0, le=2.5e11, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Part = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Verdict(StrEnum):
    """The judgement on one case in one cell."""

    PASS = "pass"
    # The kernel's or the test's fault.
    FAIL = "fail"
    # The infrastructure's fault: nothing is known about the kernel.
    ERROR = "error"
    # The case cannot apply in this cell.
    SKIP = "skip"


class State(StrEnum):
    """How far a cell got."""

    RAN = "ran"
    SKIPPED = "skipped"
    # The kernel's fault.
    BUILD_FAILED = "build-failed"
    # An infrastructure error; nothing is known about the kernel. The same holds for the two below.
    INFRA = "infra"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not-run"


@dataclass(frozen=True)
class CaseInfo:
    """What reports need of a case that is the same in every cell."""

    id: str
    """Its name."""
    summary: str
    """What it tries, in one line."""
    goal: str
    """What a user wants of it: outcomes, joined by `or`."""
    digest: str = ""
    """SHA-256 of everything that the case does in a guest."""
    argument: str = ""
    """What `--case` takes for it, if not its id."""
    question: str = ""
    """Digest of the case with its expectations and all else that decides a verdict on it."""


@dataclass(frozen=True)
class Attempt:
    """One of several runs of a case in one cell."""

    verdict: Verdict
    """The judgement on this attempt."""
    message: str = ""
    """What came out of it."""
    outcome: str = ""
    """What was observed in it, as one word."""
    duration_s: Seconds = 0.0
    """Seconds that it took."""
    guest: Count = 0
    """The number of the guest that it ran in, from 1; 0 if there was none."""


@dataclass(frozen=True)
class CaseResult:
    """The result of one case in one cell."""

    case: str
    """The case's id."""
    verdict: Verdict
    """The judgement."""
    message: str = ""
    """What came out. Its first line is the sentence that a developer needs."""
    outcome: str = ""
    """What was observed, as one word of the case; of the host if the case could not report (`timeout`,
    `died`, a kind of crash)."""
    expected: str = ""
    """The expected outcome."""
    reason: str = ""
    """Why that outcome is expected."""
    goal_met: bool | None = None
    """Whether a user got what the case's goal describes; null if unknown."""
    known_defect: bool = False
    """Passed with an outcome that is a known defect of the design."""
    lacking: bool = False
    """The design does not have the feature that the case is about."""
    by_goal: bool = False
    """The series has no design: the verdict is by the case's goal, compared with the control."""
    evidence: str = ""
    """Text that supports the verdict: the kernel's report, decoded, and the like."""
    reports: tuple[KernelReport, ...] = ()
    """The kernel's reports during the case, known benign ones included."""
    output_excerpt: str = ""
    """What the case printed."""
    kmsg: tuple[str, ...] = ()
    """The kernel's last messages during the case."""
    observations: Mapping[str, str] = field(default_factory=dict)
    """What the case recorded, by name."""
    subtests: tuple[Subtest, ...] = ()
    """The results of the TAP or KTAP report that it printed."""
    duration_s: Seconds = 0.0
    """Seconds that it took in the guest."""
    attempts: Count = 0
    """How many boots tried the case."""
    failures: Count = 0
    """How many of several attempts failed."""
    flaky: bool = False
    """It both failed and passed, which is a failure of a kind of its own."""
    limit_used: Part = 0.0
    """The part of its time limit that it used, 1.0 for all of it; of several attempts the largest."""
    tries: tuple[Attempt, ...] = ()
    """The attempts one by one, if there were only a few."""
    guest: Count = 0
    """The number, from 1, of the cell's guest that the evidence is from; 0 if there was none."""

    @property
    def word(self) -> str:
        """The outcome; the verdict as a word if there is no outcome."""
        by_verdict = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.ERROR: "no verdict"}
        return self.outcome or by_verdict.get(self.verdict, "skipped")


@dataclass(frozen=True)
class CellResult:
    """The result of one cell."""

    cell: str
    """Its id, which is also the name of its folder."""
    variant: str
    """The series, or `unpatched`."""
    design: str
    """The design whose expectations hold; `none` of the unpatched tree, empty if the series has none."""
    choice: Mapping[str, str] = field(default_factory=dict)
    """The value of each axis."""
    state: State = State.NOT_RUN
    """How far it got."""
    reason: str = ""
    """Why the state is not `ran`."""
    cases: tuple[CaseResult, ...] = ()
    """A result for every planned case."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Provenance: what was built and booted."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """A file's name (`console.log`, `reproduce.sh`) to its path relative to the run's folder."""
    flavour: str = ""
    """The flavour; empty for the plain cells."""
    kernel: str = ""
    """The name of its kernel; empty where the run has one kernel."""

    def case(self, case_id: str) -> CaseResult | None:
        """Return the result of a case, None if there is none."""
        return next((c for c in self.cases if c.case == case_id), None)


@dataclass(frozen=True)
class DeadAxis:
    """An axis whose values give the same module in some or all cells of one variant."""

    axis: str
    """The axis."""
    symbol: str
    """Its symbol."""
    variant: str
    """The series, or `unpatched`."""
    cells: tuple[tuple[str, ...], ...]
    """Each inner list holds cells that differ in the axis only and ran the same module."""
    failure: bool
    """The axis makes no difference in any cell, so that their results prove nothing about it. If false,
    this entry is for information only."""
    message: str
    """What was found, in a sentence."""
    clues: tuple[str, ...] = ()
    """Places in the source that may explain it."""


@dataclass(frozen=True)
class Span:
    """A piece of work, and when it was done."""

    kind: str
    """The kind of a step (`base`, `module`, `test` …), or `guest` for one boot."""
    subject: str
    """The cell, or what else the work was for."""
    began: Moment
    """Seconds since 1970, so that spans from several machines can be merged."""
    seconds: Seconds
    """How long it took."""
    outcome: str = ""
    """How it ended."""
    boot_s: Seconds | None = None
    """Seconds from a guest's start to its /init; null if it did not come so far, and for other work."""


@dataclass(frozen=True)
class Run:
    """One run over the matrix.

    Raise ValueError if two cells or two cases have the same id, or a cell has a case that is not among them.
    """

    id: str
    """Its name, which is also the name of its folder."""
    started: str
    """When it began: ISO 8601, UTC."""
    cases: tuple[CaseInfo, ...] = ()
    """The planned cases."""
    cells: tuple[CellResult, ...] = ()
    """The planned cells with their results."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Provenance: tree, series, builder image, machine."""
    finished: str = ""
    """ISO 8601, UTC; empty while the run goes on."""
    dead_axes: tuple[DeadAxis, ...] = ()
    """Axes that make no difference."""
    timeline: tuple[Span, ...] = ()
    """Work that was done; what came from the cache took no time and is not listed."""

    def __post_init__(self) -> None:
        _unique("case", (c.id for c in self.cases))
        _unique("cell", (c.cell for c in self.cells))
        planned = {c.id for c in self.cases}
        for cell in self.cells:
            _unique(f"case in {cell.cell}", (c.case for c in cell.cases))
            if unplanned := {c.case for c in cell.cases} - planned:
                raise ValueError(f"case {min(unplanned)} in {cell.cell} was not planned")

    def results(self) -> Iterable[tuple[CellResult, CaseResult]]:
        """Yield every case result with its cell."""
        for cell in self.cells:
            for case in cell.cases:
                yield cell, case


def _unique(kind: str, names: Iterable[str]) -> None:
    """Raise ValueError if a name occurs more than once."""
    doubled = [name for name, n in Counter(names).items() if n > 1]
    if doubled:
        raise ValueError(f"{kind} twice in the results: {', '.join(doubled)}")


def of_tree(key: str, kernel: str = "") -> str:
    """Return the name of a run's property about a tree: ``tree.commit``, ``tree.debian-6.1.version``.

    *kernel* is the name of the kernel where the run has several.
    """
    return f"tree.{kernel}.{key}" if kernel else f"tree.{key}"


# -- every planned case stays in the results ----------------------------------------------------------
def planned(run: Run) -> Run:
    """Return *run* with every planned case in every cell.

    A case without a result gets one from the state of its cell ("not run", "the cell did not build" …);
    existing results stay.
    """
    return replace(run, cells=tuple(_filled(cell, run.cases) for cell in run.cells))


def with_cell(run: Run, cell: CellResult) -> Run:
    """Return *run* with the result of *cell* replaced, every planned case in it.

    Raise ValueError for a cell or a case that was not planned.
    """
    if cell.cell not in {c.cell for c in run.cells}:
        raise ValueError(f"cell {cell.cell} was not planned")
    unplanned = {c.case for c in cell.cases} - {c.id for c in run.cases}
    if unplanned:
        raise ValueError(f"case {', '.join(sorted(unplanned))} was not planned")
    _unique(f"case in {cell.cell}", (c.case for c in cell.cases))
    filled = _filled(cell, run.cases)
    return replace(run, cells=tuple(filled if c.cell == cell.cell else c for c in run.cells))


def interrupted(run: Run, reason: str = "interrupted", after: str = "") -> Run:
    """Return *run* marked as ended early, and every cell that has not run as interrupted.

    Existing verdicts stay. *reason*, and how far the run came (``after 12 of 144 results``), become the
    property `ENDED_EARLY`.
    """

    def mark(cell: CellResult) -> CellResult:
        if cell.state is not State.NOT_RUN:
            return cell
        settled = tuple(c for c in cell.cases if c.attempts or c.verdict is not Verdict.ERROR)
        return replace(cell, state=State.INTERRUPTED, reason=cell.reason or reason, cases=settled)

    properties = {**run.properties, ENDED_EARLY: one_line(f"{reason} {after}".rstrip())}
    return planned(replace(run, cells=tuple(mark(cell) for cell in run.cells), properties=properties))


def progress(run: Run) -> str:
    """Return how many of the results that can be had are there: ``12 of 144 results``.

    Those of skipped cells do not count.
    """
    cells = [cell for cell in run.cells if cell.state is not State.SKIPPED]
    done = sum(
        c.verdict is not Verdict.ERROR or cell.state is State.RAN for cell in cells for c in cell.cases
    )
    return f"{done:,} of {count(len(cells) * len(run.cases), 'result')}"


def _filled(cell: CellResult, cases: Iterable[CaseInfo]) -> CellResult:
    known = {c.case: c for c in cell.cases}
    return replace(cell, cases=tuple(known.get(info.id) or _unreached(cell, info) for info in cases))


def _unreached(cell: CellResult, info: CaseInfo) -> CaseResult:
    """Return the result of a case that has not run, from the state of its cell."""
    verdict, text = {
        State.SKIPPED: (Verdict.SKIP, "the cell is skipped"),
        State.BUILD_FAILED: (Verdict.FAIL, "not run: the cell did not build"),
        State.INFRA: (Verdict.ERROR, "not run: infrastructure"),
        State.INTERRUPTED: (Verdict.ERROR, "not run: interrupted"),
        State.NOT_RUN: (Verdict.ERROR, "not run"),
        State.RAN: (Verdict.ERROR, "not run: the cell ran and left no verdict of this case"),
    }[cell.state]
    reason = "" if cell.reason in text else f": {cell.reason}"
    return CaseResult(info.id, verdict, message=text + reason)


# -- was anything judged? -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Unjudged:
    """A run, or a series of it, that proves nothing, because no case was judged."""

    # The series' name; empty for the run as a whole.
    variant: str
    # A sentence that names it, and why.
    message: str


def unjudged(run: Run) -> tuple[Unjudged, ...]:
    """Return what of a run proves nothing although nothing went wrong: each case in it was skipped.

    That is the run as a whole, or each series without a judged case (a pass or a failure) in any cell. The
    control need not have one: a case may be about what only the series has. The first patches of a series
    (``NAME@2``) are steps on the way to it, and need not have one either. Results without verdict are errors
    of their own, and do not count as skipped.
    """
    if not run.cells or not run.cases:
        return (Unjudged("", f"no {'case' if run.cells else 'cell'} was planned"),)
    if _all_skipped(run.cells):
        return (Unjudged("", f"no case was judged: {_why_skipped(run.cells)}"),)
    found = []
    for variant in dict.fromkeys(cell.variant for cell in run.cells):
        own = [cell for cell in run.cells if cell.variant == variant]
        if variant != CONTROL and "@" not in variant and _all_skipped(own):
            message = f"no case was judged with series {one_line(variant)}: {_why_skipped(own)}"
            found.append(Unjudged(variant, message))
    return tuple(found)


def may_be_empty(run: Run) -> bool:
    """Return whether the user accepts a run without a judged case (--allow-empty)."""
    return bool(run.properties.get(ALLOW_EMPTY))


def _all_skipped(cells: Iterable[CellResult]) -> bool:
    return all(
        cell.state is State.SKIPPED
        or (cell.state is State.RAN and all(case.verdict is Verdict.SKIP for case in cell.cases))
        for cell in cells
    )


def _why_skipped(cells: Sequence[CellResult]) -> str:
    ran = [cell for cell in cells if cell.state is State.RAN]
    if ran:
        reasons = dict.fromkeys(case.message.strip() for cell in ran for case in cell.cases)
        where = "the one cell" if len(ran) == 1 else f"all {len(ran)} cells"
        lead = f"every case was skipped in {where} that ran"
    else:
        reasons = dict.fromkeys(cell.reason.strip() for cell in cells)
        lead = (
            "its one cell could not run" if len(cells) == 1 else f"none of its {len(cells)} cells could run"
        )
    first = one_line(next(iter(reasons), "").partition("\n")[0]) or "no reason was recorded"
    more = f" (and {len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
    return f"{lead}: {first}{more}"


# -- exit code and totals -----------------------------------------------------------------------------
def exit_code(run: Run) -> ExitCode:
    """Return the exit code of a run: 1 if anything failed, else 3 if anything has no verdict, else 0.

    A dead axis is a failure. A failure wins over an infrastructure error: it is a fact about the kernel, and
    a CI job that retries on 3 must not retry until a regression is gone; the report shows the error as well.
    A run that is not finished and one that ended early prove nothing: 3. Nor does one in which no case was
    judged, as a whole or of a series (`unjudged`), unless it may be empty.
    """
    verdicts = {case.verdict for _, case in run.results()}
    states = {cell.state for cell in run.cells}
    if Verdict.FAIL in verdicts or State.BUILD_FAILED in states or any(d.failure for d in run.dead_axes):
        return ExitCode.FAILURE
    if Verdict.ERROR in verdicts or not states <= {State.RAN, State.SKIPPED}:
        return ExitCode.INFRA
    whole = run.finished and ENDED_EARLY not in run.properties
    if not whole or not verdicts or not run.cases:
        return ExitCode.INFRA
    return ExitCode.INFRA if unjudged(run) and not may_be_empty(run) else ExitCode.OK


def totals(run: Run) -> dict[str, int]:
    """Return the number of case results by verdict, in the order of `Verdict`.

    ``known defects`` are counted among the passes too, ``flaky`` among the failures; ``dead axes`` counts
    axes, not cases.
    """
    counts = Counter(case.verdict for _, case in run.results())
    numbers = {verdict.value: counts[verdict] for verdict in Verdict}
    numbers["flaky"] = sum(case.flaky for _, case in run.results())
    numbers["known defects"] = sum(case.known_defect for _, case in run.results())
    return {**numbers, "dead axes": sum(dead.failure for dead in run.dead_axes)}
