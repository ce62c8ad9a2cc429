"""The records of an answer of `invoke ablate`, and ablate.json. Pure except for `save`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from kmodpipe.results import plain
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.files import write_atomically
from kmodpipe.util.text import count

SCHEMA: Literal["kmodpipe-ablation"] = "kmodpipe-ablation"
VERSION: Literal[1] = 1
FILE_NAME = "ablate.json"


class Status(StrEnum):
    """What became of an edit."""

    # A case has another outcome, each time.
    CASE = "noticed-by-case"
    COMPILER = "noticed-by-compiler"
    # A cell that the series has cannot be configured.
    KCONFIG = "noticed-by-kconfig"
    # Every case that could notice has the same outcome.
    UNNOTICED = "unnoticed"
    # So it is, and series.toml says why.
    EXPLAINED = "explained"
    # Comments, documentation, help texts.
    NO_CODE = "no-code"
    # The compiler makes the same module of it in every cell.
    SAME = "same-module"
    # The machine failed, or no case had a verdict.
    UNKNOWN = "unknown"
    # There was no time left.
    NOT_TRIED = "not-tried"


NOTICED = (Status.CASE, Status.COMPILER, Status.KCONFIG)


@dataclass(frozen=True)
class Finding:
    """A hunk that was left out, or a mistake that was made, and who noticed."""

    id: str
    """`3.2` is the second hunk of the third patch, `3.2-constant-1` a mistake in a line of it."""
    kind: str
    """`hunk`, or the operator: `condition`, `error`, `constant`, `call`."""
    patch: str
    """The patch that it is from."""
    file: str
    """The file."""
    line: int
    """The line, in the file after the whole series."""
    function: str
    """The function, if it is in one."""
    status: Status
    """What became of it."""
    was: str = ""
    """Of a mistake: the source that is changed."""
    becomes: str = ""
    """Of a mistake: what it becomes."""
    together: tuple[str, ...] = ()
    """The hunks that were left out with it, as they do not apply or build without it."""
    case: str = ""
    """The case that noticed."""
    cell: str = ""
    """The cell of the series in which it was noticed."""
    before: str = ""
    """The case's outcome with the whole series."""
    after: str = ""
    """Its outcome without."""
    reason: str = ""
    """The compiler's error, why a cell cannot be configured, why it is not noticed, why nothing is known."""
    observe: tuple[str, ...] = ()
    """What a case would have to observe."""
    executed_by: tuple[str, ...] | None = None
    """The cases that execute these lines; null if no coverage says so."""
    tried: tuple[str, ...] = ()
    """The cells in which cases ran on it."""
    unsteady: tuple[str, ...] = ()
    """Differences that did not come again, and so do not count."""
    diff: str = ""
    """What was changed, as a patch on top of the series."""

    @property
    def noticed(self) -> bool:
        """Whether something noticed."""
        return self.status in NOTICED


@dataclass(frozen=True)
class Ablation:
    """The answer of one run."""

    schema: Literal["kmodpipe-ablation"]
    """What this document is."""
    version: Literal[1]
    """It is raised when a field gets another meaning."""
    exit_code: int
    """0: all is noticed or explained; 1: something is not, or series.toml explains what is noticed; 3: of
    something it is not known."""
    summary: str
    """The answer in a sentence."""
    series: str
    """The series."""
    run: str
    """The run's folder."""
    findings: tuple[Finding, ...]
    """One for each hunk and mistake, in the order of the series."""
    stale: tuple[str, ...]
    """Entries of series.toml that match nothing, or what is noticed now."""
    notes: tuple[str, ...]
    """What else a reader should know: whether there was coverage, what could not be tried."""
    seconds: float
    """How long it took."""


def made(
    series: str,
    run: str,
    findings: Sequence[Finding],
    stale: Iterable[str],
    notes: Iterable[str],
    seconds: float,
) -> Ablation:
    """Return the answer, with its sentence and exit code."""
    stale = tuple(stale)
    return Ablation(
        SCHEMA, VERSION, int(_exit_code(findings, stale)), summary(findings), series, run,
        tuple(findings), stale, tuple(notes), round(seconds, 1),
    )  # fmt: skip


def _exit_code(findings: Iterable[Finding], stale: Sequence[str]) -> ExitCode:
    statuses = {one.status for one in findings}
    if Status.UNNOTICED in statuses or stale:
        return ExitCode.FAILURE
    return ExitCode.INFRA if Status.UNKNOWN in statuses else ExitCode.OK


def summary(findings: Sequence[Finding]) -> str:
    """Return the answer in a sentence."""
    kinds = [
        ("hunk", [one for one in findings if one.kind == "hunk"]),
        ("mistake", [one for one in findings if one.kind != "hunk"]),
    ]
    # With both kinds, both numbers: what is said behind them is of all.
    missed = [
        f"{sum(one.status is Status.UNNOTICED for one in own)} of {count(len(own), noun)}"
        for noun, own in kinds
        if own
    ]
    if not findings:
        return "there is no hunk to leave out"
    if any(one.status is Status.UNNOTICED for one in findings):
        told = f"no case notices {' and '.join(missed)}"
    else:
        tried = " and ".join(count(len(own), noun) for noun, own in kinds if own)
        told = f"{tried}, none of which goes unnoticed"
        if any(one.status is Status.NOT_TRIED for one in findings):
            told = f"of {tried}, none that was tried goes unnoticed"
    rest = Counter(one.status for one in findings)
    more = [
        f"{rest[status]} {word}"
        for status, word in (
            (Status.EXPLAINED, "explained"),
            (Status.SAME, "of the same module"),
            (Status.NO_CODE, "no code"),
            (Status.UNKNOWN, "unknown"),
            (Status.NOT_TRIED, "not tried yet"),
        )
        if rest[status]
    ]
    return f"{told} ({', '.join([f'{sum(rest[s] for s in NOTICED)} noticed', *more])})"


def to_json(ablation: Ablation) -> str:
    """Return the document's text."""
    return plain.text(ablation)


def save(ablation: Ablation, folder: Path) -> Path:
    """Write ablate.json into a run's folder, and return its path."""
    path = folder / FILE_NAME
    write_atomically(path, to_json(ablation))
    return path
