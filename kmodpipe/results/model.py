"""The result model: what was planned, and what came of it. Pure.

Every planned case of every planned cell is in a `Run` from the start, as an error "not run", and only a
verdict takes its place: nothing can vanish. A run is a frozen value; `with_cell` gives the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from kmodpipe.logs.evidence import KernelReport
from kmodpipe.logs.ktap import Subtest
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.text import one_line

ENDED_EARLY = "ended-early"
"""The property of a run that an error or a signal ended, with the reason: whoever gets the results must not
take them for all that there is."""


class Verdict(StrEnum):
    """fail: the kernel's or the test's fault. error: the machinery's, so nothing is known of the kernel.
    skip: cannot apply here."""

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"
    SKIP = "skip"


class State(StrEnum):
    """What became of a cell. build-failed is the kernel's fault; infra, interrupted and not-run are not."""

    RAN = "ran"
    SKIPPED = "skipped"
    BUILD_FAILED = "build-failed"
    INFRA = "infra"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not-run"


@dataclass(frozen=True)
class CaseInfo:
    """What reports say of a case whatever the cell; ``digest`` is the SHA-256 of what it does in a guest,
    ``argument`` what ``--case`` takes for it where that is not its id."""

    id: str
    summary: str
    goal: str
    digest: str = ""
    argument: str = ""


@dataclass(frozen=True)
class Attempt:
    """One of several runs of a case; ``message`` is its sentence, ``guest`` as in `CaseResult`."""

    verdict: Verdict
    message: str = ""
    outcome: str = ""
    duration_s: float = 0.0
    guest: int = 0


@dataclass(frozen=True)
class CaseResult:
    """One case in one cell. ``outcome`` is what was observed as a word, by the case or, where it could not
    tell, by the host (``timeout``, ``died``, a kind of crash); ``expected`` the outcome that was expected
    and ``reason`` why; ``goal_met`` whether a user got what the case is about, None where nobody knows.
    ``lacking`` says that the design does not have what the case is about.
    ``message`` begins with the sentence a developer needs. ``attempts`` counts the boots that tried it, and
    ``failures``, where there were several, those that failed; ``flaky``: it failed and passed, which is a
    failure, of a kind of its own; ``tries`` are the attempts one by one, where there were a few. ``guest`` is
    the number, from 1, of the cell's guest that the evidence is from; 0 where there was none.
    ``limit_used`` is the part of its time limit that it used, of several runs the most. ``reports`` are the
    kernel's that came in it, the benign ones too."""

    case: str
    verdict: Verdict
    message: str = ""
    outcome: str = ""
    expected: str = ""
    reason: str = ""
    goal_met: bool | None = None
    known_defect: bool = False
    lacking: bool = False
    evidence: str = ""
    reports: tuple[KernelReport, ...] = ()
    output_excerpt: str = ""
    kmsg: tuple[str, ...] = ()
    observations: Mapping[str, str] = field(default_factory=dict)
    subtests: tuple[Subtest, ...] = ()
    duration_s: float = 0.0
    attempts: int = 0
    failures: int = 0
    flaky: bool = False
    limit_used: float = 0.0
    tries: tuple[Attempt, ...] = ()
    guest: int = 0

    @property
    def word(self) -> str:
        """The outcome, or what stands for it where there is none."""
        stand_in = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.ERROR: "no verdict"}
        return self.outcome or stand_in.get(self.verdict, "skipped")


@dataclass(frozen=True)
class CellResult:
    """One cell. ``choice`` maps axis to value; ``flavour`` is empty for the plain cells; ``reason`` says why
    the state is not ``ran``; ``properties`` is its provenance, flat; ``artifacts`` maps a file's name
    (``console.log``, ``reproduce.sh``) to its path relative to the run's folder."""

    cell: str
    variant: str
    design: str
    choice: Mapping[str, str] = field(default_factory=dict)
    state: State = State.NOT_RUN
    reason: str = ""
    cases: tuple[CaseResult, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    flavour: str = ""

    def case(self, case_id: str) -> CaseResult | None:
        return next((c for c in self.cases if c.case == case_id), None)


@dataclass(frozen=True)
class DeadAxis:
    """Cells of one variant that differ in one axis and run the same module. ``cells`` are the sets of them;
    ``failure``: the axis makes no difference anywhere, so that the results of its cells say nothing of it;
    otherwise ``message`` says where it makes none, for information. ``clues`` are places in the source."""

    axis: str
    symbol: str
    variant: str
    cells: tuple[tuple[str, ...], ...]
    failure: bool
    message: str
    clues: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """A piece of work and when it was done: ``kind`` is that of a step (``base``, ``module``, ``test`` …) or
    ``guest`` for one boot, ``subject`` the cell or whatever else it was for. ``began`` is in seconds since
    1970, so that spans of several machines fit together; ``boot_s`` is a guest's time to its /init."""

    kind: str
    subject: str
    began: float
    seconds: float
    outcome: str = ""
    boot_s: float | None = None


@dataclass(frozen=True)
class Run:
    """One run over the matrix. ``started`` and ``finished`` are ISO 8601 in UTC, ``finished`` empty while it
    goes on. ``timeline`` is what was done when; what came from the cache took no time and is not in it. Ids
    of cells and of cases are unique (ValueError)."""

    id: str
    started: str
    cases: tuple[CaseInfo, ...] = ()
    cells: tuple[CellResult, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    finished: str = ""
    dead_axes: tuple[DeadAxis, ...] = ()
    timeline: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        _unique("case", (c.id for c in self.cases))
        _unique("cell", (c.cell for c in self.cells))
        for cell in self.cells:
            _unique(f"case in {cell.cell}", (c.case for c in cell.cases))

    def results(self) -> Iterable[tuple[CellResult, CaseResult]]:
        for cell in self.cells:
            for case in cell.cases:
                yield cell, case


def _unique(kind: str, names: Iterable[str]) -> None:
    doubled = [name for name, n in Counter(names).items() if n > 1]
    if doubled:
        raise ValueError(f"{kind} twice in the results: {', '.join(doubled)}")


# -- nothing vanishes ---------------------------------------------------------------------------------
def planned(run: Run) -> Run:
    """``run`` with every planned case in every cell; what has no verdict yet stands there as not run, or as
    what became of its cell. Verdicts that are there already stay."""
    return replace(run, cells=tuple(_filled(cell, run.cases) for cell in run.cells))


def with_cell(run: Run, cell: CellResult) -> Run:
    """``run`` with this cell's result in the place of the old one, every planned case in it.

    Raises ValueError for a cell or a case that was not planned: a result must not appear from nowhere."""
    if cell.cell not in {c.cell for c in run.cells}:
        raise ValueError(f"cell {cell.cell} was not planned")
    stray = {c.case for c in cell.cases} - {c.id for c in run.cases}
    if stray:
        raise ValueError(f"case {', '.join(sorted(stray))} was not planned")
    _unique(f"case in {cell.cell}", (c.case for c in cell.cases))
    filled = _filled(cell, run.cases)
    return replace(run, cells=tuple(filled if c.cell == cell.cell else c for c in run.cells))


def interrupted(run: Run, reason: str = "interrupted") -> Run:
    """``run`` as one that ended early, every cell that has not been run marked as interrupted; verdicts that
    are there already stay."""

    def mark(cell: CellResult) -> CellResult:
        if cell.state is not State.NOT_RUN:
            return cell
        settled = tuple(c for c in cell.cases if c.attempts or c.verdict is not Verdict.ERROR)
        return replace(cell, state=State.INTERRUPTED, reason=cell.reason or reason, cases=settled)

    properties = {**run.properties, ENDED_EARLY: one_line(reason)}
    return planned(replace(run, cells=tuple(mark(cell) for cell in run.cells), properties=properties))


def _filled(cell: CellResult, cases: Iterable[CaseInfo]) -> CellResult:
    there = {c.case: c for c in cell.cases}
    return replace(cell, cases=tuple(there.get(info.id) or _unreached(cell, info) for info in cases))


def _unreached(cell: CellResult, info: CaseInfo) -> CaseResult:
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


# -- how it went --------------------------------------------------------------------------------------
def exit_code(run: Run) -> ExitCode:
    """The exit status of a run: 1 for any failure, a dead axis too, else 3 for anything without a verdict,
    else 0.

    A failure wins over an infrastructure error. It is a fact about the kernel, which no repair of the
    machinery takes back, and a job that retries on 3 must not retry a regression away; the error stands in
    the report beside it. A run in which no cell ran has proved nothing: that is 3, never success; and so has
    one that is not finished, as it was killed or still goes on, and one that ended early.
    """
    verdicts = {case.verdict for _, case in run.results()}
    states = {cell.state for cell in run.cells}
    if Verdict.FAIL in verdicts or State.BUILD_FAILED in states or any(d.failure for d in run.dead_axes):
        return ExitCode.FAILURE
    if Verdict.ERROR in verdicts or not states <= {State.RAN, State.SKIPPED}:
        return ExitCode.INFRA
    whole = run.finished and ENDED_EARLY not in run.properties
    return ExitCode.OK if State.RAN in states and verdicts and whole else ExitCode.INFRA


def totals(run: Run) -> dict[str, int]:
    """Cases by verdict, in the order of `Verdict`; ``known defects`` are among the passes, ``flaky`` ones
    among the failures, ``dead axes`` are no cases."""
    counts = Counter(case.verdict for _, case in run.results())
    numbers = {verdict.value: counts[verdict] for verdict in Verdict}
    numbers["flaky"] = sum(case.flaky for _, case in run.results())
    numbers["known defects"] = sum(case.known_defect for _, case in run.results())
    return {**numbers, "dead axes": sum(dead.failure for dead in run.dead_axes)}
