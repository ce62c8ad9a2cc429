"""Kernel faults of every class, seeded into the module under test, and whether each is caught and charged.

    faults.toml                   what each fault is, which kernel catches it, and what must be told
    NAME.patch                    the fault, a patch on top of the shipped series
    before.sh use.sh after.sh     the cases: the second reaches the fault, the others must not notice

All faults run in one ``invoke test``, each as a series of its own in one cell of its flavour, so that a fault
costs a module and two boots.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from kmodpipe import results
from kmodpipe.kconfig.matrix import PLAIN
from kmodpipe.logs import kernel_log
from kmodpipe.results import CaseResult, CellResult, State, Verdict
from kmodpipe.util.errors import ExitCode
from tests.faults import REPO, Outcome, Row
from tests.mutants import Ran, invoke_test, one_patch_more

HERE = Path(__file__).resolve().parent
CORPUS = REPO / "tests/corpus/console"
_FIRST_LINE = b"Run /init as init process"
_MODULE = "fs/overlayfs"
_SILENT = "died"
BEFORE, CHARGED, AFTER = CASES = ("before", "use", "after")


class Fault(BaseModel):
    """One fault in one flavour; the fields are explained in faults.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    fault: str
    at: Literal["mount", "copy-up", "clean-up"]
    flavour: str
    observed: str
    title: str
    guests: int
    by: str = CHARGED
    # The shipped series that it is put on, or "": it is a series of its own (port.py).
    series: str
    choice: str
    # Of its patch.
    folder: Path = HERE

    def __str__(self) -> str:
        return f"{self.name}.{self.flavour}"

    @property
    def patch(self) -> Path:
        return self.folder / f"{self.name}.patch"

    def places(self) -> set[str]:
        """The lines that the fault consists of, as ``file:line`` of the patched tree."""
        found, file, number = set(), "", 0
        for line in self.patch.read_text().splitlines():
            if line.startswith("+++ "):
                file = line.removeprefix("+++ b/")
            elif line.startswith("@@ "):
                number = int(line.split("+")[1].split(",")[0])
            elif file and line[:1] in (" ", "+", ""):
                if line.startswith("+"):
                    found.add(f"{file}:{number}")
                number += 1
        return found

    def cell_id(self, variant: str = "") -> str:
        """The cell of the fault, or of the series without it."""
        own = "" if self.flavour == PLAIN else f".{self.flavour}"
        return f"{variant or self.name}.{self.choice}{own}"

    def make_series(self, folder: Path) -> Path:
        """A copy of the shipped series below ``folder``, with the fault as its last patch."""
        if not self.series:
            return self.folder
        return one_patch_more(self.series, self.patch, folder / self.name)


def load() -> tuple[Fault, ...]:
    table = tomllib.loads((HERE / "faults.toml").read_text())
    common = {"series": table["series"], "choice": table["choice"]}
    return tuple(Fault.model_validate(one | common) for one in table["fault"])


def run_faults(faults: Sequence[Fault], folder: Path, *, tree: str = "") -> Ran:
    """All these faults in one run, on the default tree or another."""
    made = dict.fromkeys(str(fault.make_series(folder / "series")) for fault in faults)
    return _test(faults, made, [fault.cell_id() for fault in faults], folder / "out", tree)


def run_sound(faults: Sequence[Fault], folder: Path) -> Ran:
    """The shipped series, with the same cases in the same flavours."""
    cells = dict.fromkeys(fault.cell_id(fault.series) for fault in faults)
    return _test(faults, dict.fromkeys(fault.series for fault in faults), cells, folder / "out")


def _test(
    faults: Sequence[Fault], series: Iterable[str], cells: Iterable[str], out: Path, tree: str = ""
) -> Ran:
    cases = [str(HERE / f"{case}.sh") for case in CASES]
    cases += sorted({fault.by for fault in faults} - set(CASES))
    return invoke_test(series, cells, cases, out, tree=tree)


# -- what came of it ----------------------------------------------------------------------------------
def cell_of(fault: Fault, ran: Ran) -> CellResult:
    return next(cell for cell in ran.run.cells if cell.cell == fault.cell_id())


def code_of(fault: Fault, ran: Ran) -> ExitCode:
    """The exit code of a run of this fault alone."""
    return results.exit_code(replace(ran.run, cells=(cell_of(fault, ran),), dead_axes=()))


def problems(fault: Fault, ran: Ran) -> list[str]:
    """Everything that speaks against this fault having been caught as it must be; empty where it was."""
    cell = cell_of(fault, ran)
    if cell.state is not State.RAN:
        return [f"{cell.cell}: {cell.state.value}, {cell.reason}"]
    found = [] if code_of(fault, ran) is ExitCode.FAILURE else ["the run would not have failed"]
    found += [
        f"{case.case} does not pass: {case.verdict.value}, {case.message}"
        for case in cell.cases
        if case.case != fault.by and case.verdict not in (Verdict.PASS, _of_others(case))
    ]
    charged = cell.case(fault.by)
    if not {*CASES, fault.by} <= {case.case for case in cell.cases} or charged is None:
        return [*found, f"other cases were run: {', '.join(case.case for case in cell.cases)}"]
    if (charged.verdict, charged.outcome) != (Verdict.FAIL, fault.observed):
        found.append(f"{fault.by}: {charged.verdict.value}, {charged.outcome}: {charged.message}")
    # Later kernels say of which memory it was.
    if fault.title not in charged.message.replace("slab-use-after-free", "use-after-free"):
        found.append(f"{fault.by} is not told as {fault.title!r}: {charged.message}")
    found += _misplaced(fault, charged)
    if cell.properties["boots"] != str(fault.guests):
        found.append(f"{cell.properties['boots']} guests, not {fault.guests}")
    return found + _strange_reports(fault, ran)


def _of_others(case: CaseResult) -> Verdict:
    """What else a case may come to: one that is there for a fault of another flavour is skipped."""
    return Verdict.PASS if case.case in CASES else Verdict.SKIP


def _misplaced(fault: Fault, charged: CaseResult) -> list[str]:
    """Reports whose trace does not lead to the line that the fault is in."""
    found = []
    for report in charged.reports:
        frames = [one.place for one in report.trace if not one.inlined]
        own = [place for place in frames if place.startswith(f"{_MODULE}/")]
        if not own or own[0] not in fault.places():
            found.append(f"{report.title} is placed at {own[0] if own else 'no line'}")
    if fault.observed != _SILENT and not charged.reports:
        found.append("the results have no report")
    return found


def _strange_reports(fault: Fault, ran: Ran) -> list[str]:
    """Reports on the cell's consoles that are of another kind than the fault's."""
    return [
        f"{log.name}: {report.title}"
        for log in consoles(fault, ran)
        for report in kernel_log.parse_file(log)
        # What counts only where it is watched for is no report of another kind.
        if report.kind != fault.observed and not report.watch
    ]


def consoles(fault: Fault, ran: Ran) -> list[Path]:
    return sorted((ran.latest / fault.cell_id()).glob("console*.log"))


def take_log(fault: Fault, ran: Ran) -> Path | None:
    """Put the console that has the fault's report into the corpus, without the boot before it, which is the
    same in all; None where there is no report."""
    charged = cell_of(fault, ran).case(fault.by)
    if charged is None or not charged.reports:
        return None
    named = [one.flavour for one in load() if one.name == fault.name and one.observed != _SILENT]
    own = f"-{fault.flavour}" if len(named) > 1 else ""
    log = (ran.latest / fault.cell_id() / charged.reports[0].log).read_bytes()
    start = log.rfind(b"\n", 0, max(log.find(_FIRST_LINE), 0)) + 1
    path = CORPUS / f"fault-{fault.name}{own}.log"
    path.write_bytes(log[start:])
    return path


def rows(faults: Iterable[Fault], ran: Ran) -> list[Row]:
    """Each fault, what was reported of which case, and what became of the others."""
    return [
        Row("kernel", str(fault), f"{fault.fault}, at {fault.at}", _outcome(fault, ran)) for fault in faults
    ]


def _outcome(fault: Fault, ran: Ran) -> Outcome:
    cell = cell_of(fault, ran)
    failed = [case for case in cell.cases if case.verdict not in (Verdict.PASS, Verdict.SKIP)]
    passed = [case.case for case in cell.cases if case.verdict is Verdict.PASS]
    told = "; ".join(f"{case.case}: {_told(case)}" for case in failed) or cell.reason or "NOTHING"
    kept = f"{', '.join(passed) or 'nothing'} passed, in {cell.properties.get('boots', '0')} guests"
    return Outcome(told, int(code_of(fault, ran)), kept, tuple(problems(fault, ran)))


def _told(case: CaseResult) -> str:
    return f"{case.outcome}: {case.message.split(': ', 1)[-1]}"
