"""The records of a run: what was planned, and the results. Pure.

Every planned case of every planned cell is in a `Run` from the start, as an error "not run", and only a
verdict replaces it, so that no case can be lost (`kmodpipe.results.filling`). A run is a frozen value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from kmodpipe.logs.evidence import KernelReport
from kmodpipe.logs.ktap import Subtest

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
OWN_IDENTITY = "module.identity"
"""The property of such a run that says which source the control was: ``git:<commit>``, ``dir:<digest>``."""
CHECKED = "check"
"""The property of a run of `check`: its cells are patches, each compared with the source before it."""
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
    unruled: bool = False
    """No rule of it says what to expect: it is judged by its goal alone."""


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
    outcomes: Mapping[str, Count] = field(default_factory=dict)
    """How often each outcome was observed, of a case that was repeated; runs without verdict are left out."""
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
    worker: str = ""
    """The worker of a cluster that did it; empty for work of the machine that ran the command."""


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
        unique("case", (c.id for c in self.cases))
        unique("cell", (c.cell for c in self.cells))
        planned = {c.id for c in self.cases}
        for cell in self.cells:
            unique(f"case in {cell.cell}", (c.case for c in cell.cases))
            if unplanned := {c.case for c in cell.cases} - planned:
                raise ValueError(f"case {min(unplanned)} in {cell.cell} was not planned")

    def results(self) -> Iterable[tuple[CellResult, CaseResult]]:
        """Yield every case result with its cell."""
        for cell in self.cells:
            for case in cell.cases:
                yield cell, case


def unique(kind: str, names: Iterable[str]) -> None:
    """Raise ValueError if a name occurs more than once; *kind* says of what."""
    doubled = [name for name, n in Counter(names).items() if n > 1]
    if doubled:
        raise ValueError(f"{kind} twice in the results: {', '.join(doubled)}")


def of_tree(key: str, kernel: str = "") -> str:
    """Return the name of a run's property about a tree: ``tree.commit``, ``tree.debian-6.1.version``.

    *kernel* is the name of the kernel where the run has several.
    """
    return f"tree.{kernel}.{key}" if kernel else f"tree.{key}"
