"""Deliberate mistakes in the shipped series, and whether the suite catches them.

    mutants.toml        what each mistake is, where it shows, and which case must catch it
    NAME.patch          the mistake, a patch on top of the shipped series

All mutants run in one ``invoke test``, each as a series of its own. They share the base, so that a mutant
costs a module and a boot. ``python -m tests.mutants`` prints the table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from kmodpipe import results
from kmodpipe.results import CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.errors import ExitCode

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]


def one_patch_more(series: str, patch: Path, made: Path) -> Path:
    """A copy of a shipped series as the folder ``made``, with ``patch`` as its last."""
    # A folder that was kept is filled anew: its patch may be an older one.
    shutil.copytree(REPO / "patches" / series, made, dirs_exist_ok=True)
    shutil.copyfile(patch, made / patch.name)
    listing = made / "series"
    listing.write_text(f"{listing.read_text().rstrip()}\n{patch.name}\n")
    return made


class Catch(BaseModel):
    """A case that must fail, observing ``observed`` and, where given, with ``says`` in its message."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    observed: str
    says: str = ""

    def missed(self, result: CaseResult | None) -> str:
        """Why ``result`` is not this catch; empty where it is."""
        if result is None:
            return f"there is no case {self.case}"
        if result.verdict is not Verdict.FAIL:
            return f"{self.case} does not fail: {result.verdict.value}, {result.message}"
        if result.outcome != self.observed or self.says not in result.message:
            said = f" and {self.says!r}" if self.says else ""
            return (
                f"{self.case} fails, but not with {self.observed}{said}: {result.outcome}, {result.message}"
            )
        return ""


class Mutant(BaseModel):
    """One mistake; the fields are explained in mutants.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    series: str
    mistake: str
    cells: tuple[str, ...] = Field(min_length=1)
    caught: tuple[Catch, ...] = Field(min_length=1)
    dead: str = ""

    @property
    def patch(self) -> Path:
        return HERE / f"{self.name}.patch"

    def cell_ids(self, variant: str) -> tuple[str, ...]:
        """Ids of the cells, of the mutant or of the series without the mistake."""
        return tuple(f"{variant}.{cell}" for cell in self.cells)

    def make_series(self, folder: Path) -> Path:
        """A copy of the shipped series below ``folder``, with the mistake as its last patch."""
        return one_patch_more(self.series, self.patch, folder / self.name)


def load() -> tuple[Mutant, ...]:
    table = tomllib.loads((HERE / "mutants.toml").read_text())
    return tuple(Mutant.model_validate(one) for one in table["mutant"])


@dataclass(frozen=True)
class Ran:
    """A finished ``invoke test``: its exit code, what it printed, its results."""

    code: int
    said: str
    latest: Path

    @cached_property
    def run(self) -> Run:
        return results.load(self.latest / "results.json")

    def cells_of(self, variant: str) -> tuple[CellResult, ...]:
        return tuple(cell for cell in self.run.cells if cell.variant == variant)

    def code_of(self, variant: str) -> ExitCode:
        """The exit code of a run of this variant alone."""
        dead = tuple(axis for axis in self.run.dead_axes if axis.variant == variant)
        return results.exit_code(replace(self.run, cells=self.cells_of(variant), dead_axes=dead))


def run_mutants(mutants: Sequence[Mutant], folder: Path, *, whole: bool = False) -> Ran:
    """All these mutants in one run: the cases that must catch one of them, or the ``whole`` suite."""
    made = [str(mutant.make_series(folder / "series")) for mutant in mutants]
    cells = [cell for mutant in mutants for cell in mutant.cell_ids(mutant.name)]
    return invoke_test(made, cells, [] if whole else named_cases(mutants), folder / "out")


def run_sound(mutants: Sequence[Mutant], folder: Path) -> Ran:
    """The shipped series, in the same cells with the same cases."""
    cells = sorted({cell for mutant in mutants for cell in mutant.cell_ids(mutant.series)})
    return invoke_test(sorted({m.series for m in mutants}), cells, named_cases(mutants), folder / "out")


def named_cases(mutants: Iterable[Mutant]) -> list[str]:
    return sorted({catch.case for mutant in mutants for catch in mutant.caught})


def invoke_test(
    series: Iterable[str], cells: Iterable[str], cases: Iterable[str], out: Path, *, tree: str = ""
) -> Ran:
    """``invoke test`` with these series, cells and cases, in a process of its own."""
    chosen = (
        ("--series", series), ("--cell", cells), ("--case", cases), ("--tree", [tree] if tree else []),
    )  # fmt: skip
    argv = [word for flag, names in chosen for name in names for word in (flag, name)]
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "test", *argv, "--out", str(out)],
        cwd=REPO,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout + done.stderr, out / "latest")


# -- what came of it ----------------------------------------------------------------------------------
def problems(mutant: Mutant, ran: Ran) -> list[str]:
    """Everything that speaks against this mutant having been caught as it must be; empty where it was."""
    cells = ran.cells_of(mutant.name)
    if [cell.cell for cell in cells] != list(mutant.cell_ids(mutant.name)):
        return [f"other cells were run: {', '.join(cell.cell for cell in cells) or 'none'}"]
    found = [] if ran.code_of(mutant.name) is ExitCode.FAILURE else ["the run would not have failed"]
    # A mistake of meaning: nothing that a compiler or the machinery would notice, or the cases prove little.
    for cell in cells:
        if cell.state is not State.RAN:
            found.append(f"{cell.cell}: {cell.state.value}, {cell.reason}")
        found += [f"{cell.cell}: {line}" for line in _warnings(ran.latest / cell.cell / "build.log")]
        found += [f"{cell.cell}: {c.case}: {c.message}" for c in cell.cases if c.verdict is Verdict.ERROR]
    found += [text for catch in mutant.caught if (text := catch.missed(cells[0].case(catch.case)))]
    if mutant.dead and (mutant.name, mutant.dead) not in _dead_axes(ran):
        found.append(f"axis {mutant.dead} is not reported as dead")
    return found


def _warnings(log: Path) -> list[str]:
    """What the compiler complained of; nothing where the module came from the cache and has no log here."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return [line for line in lines if "warning:" in line]


def _dead_axes(ran: Ran) -> set[tuple[str, str]]:
    return {(axis.variant, axis.axis) for axis in ran.run.dead_axes if axis.failure}


def table(mutants: Iterable[Mutant], ran: Ran) -> Table:
    """Each mutant, the cases that must catch it, what they expected and saw; then what else failed."""
    made = Table()
    for heading in ("mutant", "mistake", "caught by", "expected → observed", "also caught by"):
        made.add_column(heading, overflow="fold")
    for mutant in mutants:
        named = {catch.case: catch for catch in mutant.caught}
        failed = {c.case: c for cell in ran.cells_of(mutant.name)[:1] for c in cell.cases if _fails(c)}
        rows = [
            (name, _difference(catch, failed[name])) if name in failed else ("NOT CAUGHT", name)
            for name, catch in named.items()
        ]
        if mutant.dead:
            told = "dead" if (mutant.name, mutant.dead) in _dead_axes(ran) else "NOT REPORTED"
            rows.append((f"axis {mutant.dead}", told))
        also = ", ".join(name for name in failed if name not in named)
        for number, row in enumerate(rows):
            made.add_row(
                *(("", "") if number else (mutant.name, mutant.mistake)), *row, "" if number else also
            )
    return made


def _fails(case: CaseResult) -> bool:
    return case.verdict is Verdict.FAIL


def _difference(catch: Catch, case: CaseResult) -> str:
    if case.outcome == case.expected:
        told = case.message.removesuffix(f": {case.reason}") if case.reason else case.message
        return f"{case.outcome}, but {told}"
    said = f": {catch.says}" if catch.says else ""
    return f"{case.expected} → {case.outcome}{said}"
