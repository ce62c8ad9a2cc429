"""What `check` finds: findings, the outcome of a check on a patch, and the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from kmodpipe.results.plain import plain


class Level(StrEnum):
    """How much a finding weighs."""

    ERROR = "error"
    WARNING = "warning"
    # It fails nothing.
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that a tool says of a patch, and did not say before it."""

    level: Level
    """`error` and `warning` fail the check, `note` does not."""
    text: str
    """What the tool says."""
    rule: str = ""
    """The tool's own name for it: `LONG_LINE`, `-Wunused-variable`."""
    file: str = ""
    """The file, from the top of the tree; empty for the patch as a whole."""
    line: int = 0
    """The line in the file after this patch; 0 if the tool names none."""
    final_line: int = 0
    """The same line after the whole series; 0 if a later patch removes it."""
    cells: tuple[str, ...] = ()
    """The values of the axes of the cells that show it; empty if it depends on none."""

    @property
    def fails(self) -> bool:
        return self.level is not Level.NOTE

    @property
    def place(self) -> str:
        """``file:line``, or what of it is known."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        at = f"{self.place}: " if self.place else ""
        rule = f" [{self.rule}]" if self.rule else ""
        return f"{at}{self.text}{rule}"


@dataclass(frozen=True)
class Check:
    """One of the checks."""

    id: str
    summary: str


BUILDS = Check("builds", "The module builds in every cell after the patch.")
COMPILER = Check("compiler", "No new warning of the compiler with W=1.")
SPARSE = Check("sparse", "No new line of sparse (C=2).")
COCCINELLE = Check("coccicheck", "No new report of the tree's semantic patches.")
CHECKPATCH = Check("checkpatch", "The tree's checkpatch --strict has no error and no warning.")
KERNEL_DOC = Check("kernel-doc", "No new warning about comments for kernel-doc.")
TAGS = Check("tags", "Subject, message, Signed-off-by and Fixes are as maintainers want them.")
INCLUDES = Check("includes", "A header is included where it is used for the first time.")
STACK = Check("stack", "What the functions' stack frames gain and lose.")
SIZE = Check("size", "What the module's functions and data gain and lose.")
EXPORTS = Check("exports", "Exported symbols and their versions.")
CHECKS = (
    BUILDS, COMPILER, SPARSE, COCCINELLE, CHECKPATCH, KERNEL_DOC, TAGS, INCLUDES, STACK, SIZE, EXPORTS,
)  # fmt: skip
"""All checks, in the order of the report."""


@dataclass(frozen=True)
class Outcome:
    """What one check says of one patch."""

    check: str
    """The check's id."""
    findings: tuple[Finding, ...] = ()
    """What is new, the worst first."""
    not_checked: str = ""
    """Why it could not be checked, wholly or in part; empty if it was."""
    skipped: str = ""
    """Why there is nothing to check; empty if there is."""

    @property
    def fails(self) -> bool:
        return any(one.fails for one in self.findings)

    @property
    def word(self) -> str:
        """``clean``, ``2 new``, ``1 note``, ``not checked``, ``nothing to check``."""
        bad = sum(one.fails for one in self.findings)
        if bad:
            return f"{bad} new"
        if self.not_checked:
            return "not checked"
        if self.skipped:
            return "nothing to check"
        notes = len(self.findings)
        return f"{notes} note{'s' * (notes > 1)}" if notes else "clean"


@dataclass(frozen=True)
class PatchReport:
    """What all checks say of one patch of a series, on one kernel."""

    number: int
    """Its number in the series, from 1."""
    name: str
    """The patch's name."""
    subject: str
    """Its subject, without what is in brackets before it; empty for a bare diff."""
    outcomes: tuple[Outcome, ...]
    """One for each check that was made."""
    path: str = ""
    """The patch's file, from the top of the project; empty if it is not in it."""

    def outcome(self, check: Check) -> Outcome | None:
        return next((one for one in self.outcomes if one.check == check.id), None)


@dataclass(frozen=True)
class SeriesReport:
    """What all checks say of one series on one kernel."""

    series: str
    """The series."""
    kernel: str
    """The kernel's name, where there are several; else empty."""
    patches: tuple[PatchReport, ...]
    """The patches, in order."""
    cells: tuple[str, ...] = ()
    """The cells that the whole series was compiled in."""


@dataclass(frozen=True)
class Report:
    """What `check` found: of each patch what is new, compared with the source before it."""

    run: str
    """The run's id, which is the name of its folder."""
    tree: str
    """The kernels."""
    series: tuple[SeriesReport, ...] = ()
    """A report for each series and kernel."""
    not_checked: Mapping[str, str] = field(default_factory=dict)
    """Why a series was not checked on a kernel, by `SERIES on KERNEL`."""
    schema: Literal["kmodpipe-check"] = "kmodpipe-check"
    """What this document is."""
    version: Literal[1] = 1
    """It is raised when a field gets another meaning. A later kmodpipe may add fields without that."""

    @property
    def findings(self) -> tuple[tuple[SeriesReport, PatchReport, Outcome, Finding], ...]:
        """Every finding, with what it belongs to."""
        return tuple(
            (series, patch, outcome, one)
            for series in self.series
            for patch in series.patches
            for outcome in patch.outcomes
            for one in outcome.findings
        )

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        made: dict[str, object] = plain(self)
        return made
