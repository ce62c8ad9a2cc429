"""Merge the runs of many jobs, each over some cells, into the run that was planned.

Runs are merged only if they answer one question (`kmodpipe.pipeline.question`): tree, builder image, series,
matrix, cases, expectations and all else that can change a verdict have to be equal, and as planned. Each
planned cell gets one result; a cell that no job reported, that was not finished, or that two jobs reported
has no verdict. Dead axes, which show only when cells are compared, are worked out again over all cells.

    OUT/<run>/results.json junit.xml          the merged run
    OUT/<run>/jobs/<run of a job>/…           the files of each job, unchanged
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe import results
from kmodpipe.ci.job_plan import Plan, PlannedCell
from kmodpipe.judge import dead_axes
from kmodpipe.kconfig import Cell, Flavour, SymbolRequest, Variant
from kmodpipe.pipeline import question
from kmodpipe.results import CellResult, DeadAxis, Run, State, journal
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError, KmodpipeError, UserError
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import some

COLLECTED = "collected"
"""The property of a merged run, with the ids of its parts."""
# How far below a folder results are searched.
_DEPTH = 4
# The properties that have to be equal; all others may differ between machines.
_COMPARED = re.compile(
    r"^(kmodpipe|tree\.(.*\.)?identity|tree\.(.*\.)?kernel-version|series\..*|builder\.(?!from$).*"
    r"|module|module\.identity|shuffle|attempts|repeat|question(\..*)?)$"
)
_OF_A_KERNEL = re.compile(r"tree\.(.+)\.(?:identity|kernel-version)")
_NAMES = 8


@dataclass(frozen=True)
class Part:
    """The run of one job, and its folder."""

    folder: Path
    run: Run

    @property
    def name(self) -> str:
        """The folder, relative to the working directory."""
        return os.path.relpath(self.folder)


@dataclass(frozen=True)
class Collected:
    """The merged run, and what is wrong with it."""

    run: Run
    # Cells without a result, and why.
    missing: Mapping[str, str]
    # Cells with several results, and the folders of these.
    doubled: Mapping[str, tuple[str, ...]]


# -- finding ------------------------------------------------------------------------------------------
def find(patterns: Sequence[str], screen: Screen) -> tuple[Part, ...]:
    """Return the runs in and below the folders that *patterns* match, each once; no merged ones.

    Raise UserError for a pattern that matches no folder.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        folders = sorted(path for path in _matching(pattern) if path.is_dir())
        if not folders:
            raise UserError(
                f"no folder {pattern}", where="--dir", hint="patterns with * work; quote them in a shell"
            )
        for folder in folders:
            files |= dict.fromkeys(_results_below(folder))
    parts: dict[tuple[str, str], Part] = {}
    for file in files:
        try:
            run = results.load(file)
        except UserError as e:
            screen.warn(f"{file}: {e.what}; it is left out")
            continue
        if COLLECTED not in run.properties:
            parts.setdefault((run.id, _digest_of_files(file)), Part(file.parent, run))
    return tuple(parts.values())


def _digest_of_files(results_file: Path) -> str:
    """Return a digest of what a run is read from."""
    both = (results_file, results_file.with_name(journal.NAME))
    return digest_of([digest_file(path) for path in both if path.is_file()])


def _matching(pattern: str) -> Iterator[Path]:
    path = Path(pattern)
    top = Path(path.anchor or ".")
    yield from top.glob(str(path.relative_to(top) if path.anchor else path)) if str(path) != "." else (path,)


def _results_below(folder: Path) -> list[Path]:
    # Links are not followed: out/latest is a second name of one of the runs.
    here = folder.resolve()
    found: list[Path] = []
    for place, folders, files in os.walk(here):
        if "results.json" in files:
            found.append(Path(place) / "results.json")
            folders.clear()
        elif len(Path(place).relative_to(here).parts) >= _DEPTH:
            folders.clear()
        folders.sort()
    return found


# -- comparing ----------------------------------------------------------------------------------------
def disagreements(plan: Plan, parts: Sequence[Part]) -> list[str]:
    """Return the differences of the runs from each other and from the plan, a line each."""
    lines: list[str] = []
    names = dict.fromkeys(n for p in parts for n in p.run.properties if _COMPARED.match(n))
    for name in (*dict.fromkeys(plan.properties), *(n for n in names if n not in plan.properties)):
        if name == results.ALLOW_EMPTY:
            continue  # each job may be empty, and the plan says whether the run may
        values: dict[str, list[str]] = {}
        if name in plan.properties:
            values[plan.properties[name]] = ["the plan"]
        for part in parts:
            if not _concerns(name, part.run):
                continue
            values.setdefault(part.run.properties.get(name, "none"), []).append(part.name)
        lines += _differing(_in_words(name), values)
    for case in dict.fromkeys([c.id for c in plan.cases] + [c.id for p in parts for c in p.run.cases]):
        values = {_digest(plan.cases, case): ["the plan"]}
        for part in parts:
            values.setdefault(_digest(part.run.cases, case), []).append(part.name)
        lines += _differing(f"case {case}", values)
    return lines


def _concerns(name: str, run: Run) -> bool:
    """Return whether a job has to have a property: that of a kernel's tree only if it has a cell on it."""
    kernel = _OF_A_KERNEL.fullmatch(name)
    return kernel is None or any(cell.kernel == kernel[1] for cell in run.cells)


def _in_words(name: str) -> str:
    """Return the name of a property, with what it stands for if it is a digest of a part of the question."""
    words = question.WORDS.get(name.removeprefix("question."), "")
    return f"{name} ({words})" if words and name.startswith("question.") else name


def _digest(cases: Iterable[results.CaseInfo], case: str) -> str:
    """Return what a case does in a guest and how it is judged, as a digest; ``none`` if it is not there."""
    found = next((c for c in cases if c.id == case), None)
    return digest_of([found.digest, found.question]) if found else "none"


def _differing(name: str, values: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the line about a property whose *values*, with the folders that have them, differ."""
    if len(values) < 2:
        return []
    places = "; ".join(f"{_short(value)} in {some(names, _NAMES)}" for value, names in values.items())
    return [f"{name}: {places}"]


def _short(value: str) -> str:
    return re.sub(r"[0-9a-f]{40,}", lambda m: m.group()[:12], value)[:120]


# -- merging ------------------------------------------------------------------------------------------
def merge(plan: Plan, parts: Sequence[Part], run_id: str, now: str) -> Collected:
    """Return the planned run, made from *parts*; *now* is ISO 8601. Raise InfraError if they do not fit."""
    if differences := disagreements(plan, parts):
        raise InfraError(
            f"these are not parts of one run: {differences[0].partition(':')[0]} differs",
            detail="\n".join(differences),
            hint="run all jobs of one plan on one tree, in one builder image (--share gives it to all), and "
            "collect nothing else",
        )
    planned = {cell.cell: cell for cell in plan.cells}
    if unplanned := sorted({c.cell for p in parts for c in p.run.cells} - planned.keys()):
        raise InfraError(
            f"cells that were not planned: {some(unplanned, _NAMES)}", hint="is this the plan of these jobs?"
        )
    missing: dict[str, str] = {}
    doubled: dict[str, tuple[str, ...]] = {}
    cells = []
    by_cell: dict[str, list[tuple[Part, CellResult]]] = {}
    for part in parts:
        for cell in part.run.cells:
            by_cell.setdefault(cell.cell, []).append((part, cell))
    for one in plan.cells:
        reported = by_cell.get(one.cell, [])
        settled = [
            (p, c) for p, c in reported if p.run.finished or c.state not in (State.NOT_RUN, State.INTERRUPTED)
        ]
        if len(settled) > 1:
            doubled[one.cell] = tuple(p.name for p, _ in settled)
            why = f"reported {len(settled)} times: {', '.join(doubled[one.cell])}"
            cells.append(replace(blank(one), state=State.INFRA, reason=why))
        elif settled:
            cells.append(_taken(*settled[0]))
        elif one.skip:
            cells.append(replace(blank(one), state=State.SKIPPED, reason=one.skip))
        else:
            missing[one.cell] = _why_missing(one, [p for p, _ in reported])
            cells.append(replace(blank(one), reason=missing[one.cell]))
    run = Run(
        id=run_id,
        started=min((p.run.started for p in parts), default=now),
        cases=plan.cases,
        cells=tuple(cells),
        properties=_properties(plan, parts),
        finished=now,
        dead_axes=dead_axes_of(plan, cells),
        timeline=tuple(span for part in parts for span in part.run.timeline),
    )
    return Collected(results.judged_against_control(results.planned(run)), missing, doubled)


def blank(cell: PlannedCell) -> CellResult:
    """Return the cell without a result."""
    return CellResult(
        cell.cell, cell.variant, cell.design, dict(cell.choice), flavour=cell.flavour, kernel=cell.kernel
    )


def _why_missing(cell: PlannedCell, begun: Sequence[Part]) -> str:
    job = f"job {cell.job}" if cell.job else "its job"
    if begun:
        return f"{job} began and did not end it ({', '.join(p.name for p in begun)})"
    return f"{job} never reported it"


def _taken(part: Part, cell: CellResult) -> CellResult:
    """Return a job's result of a cell as it stands in the merged run."""
    folder = folder_of(part)
    return replace(
        cell,
        properties={**cell.properties, "run": part.run.id},
        artifacts={name: f"{folder}/{path}" for name, path in cell.artifacts.items()},
    )


def folder_of(part: Part) -> str:
    """Return the folder of a part in the merged run. Raise InfraError if its id cannot name a folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}", part.run.id):
        raise InfraError(
            f"a run has the id {part.run.id!r}",
            where=str(part.folder),
            hint="its results.json was edited, or is of another program: run that job again",
        )
    return f"jobs/{part.run.id}"


def _properties(plan: Plan, parts: Sequence[Part]) -> Mapping[str, str]:
    """Return the run's properties; different values of one are joined with ``|``."""
    found: dict[str, str] = dict(plan.properties)
    for name in dict.fromkeys(n for p in parts for n in p.run.properties):
        values = dict.fromkeys(p.run.properties[name] for p in parts if name in p.run.properties)
        found[name] = " | ".join(values)
    if results.ALLOW_EMPTY not in plan.properties:
        found.pop(results.ALLOW_EMPTY, None)
    # The states of its cells show what a job that ended early did not run.
    found.pop(results.ENDED_EARLY, None)
    return {**found, COLLECTED: ", ".join(p.run.id for p in parts)}


# -- dead axes ----------------------------------------------------------------------------------------
def dead_axes_of(plan: Plan, cells: Sequence[CellResult]) -> tuple[DeadAxis, ...]:
    """Return the dead axes, compared over the cells of all jobs."""
    found: list[DeadAxis] = []
    for kernel in dict.fromkeys(one.kernel for one in plan.cells):
        products = [
            dead_axes.Product(_cell(one), _content(cell))
            for one, cell in zip(plan.cells, cells, strict=True)
            if cell.state is not State.SKIPPED and one.kernel == kernel
        ]
        found += dead_axes.find(products, {}, "", selected=plan.selected, kernel=kernel)
    return tuple(found)


def _cell(one: PlannedCell) -> Cell:
    """Return the part of a cell that the search for dead axes compares: its axes and its flavour."""
    axes = {
        axis: SymbolRequest(symbol, one.choice[axis], f"axis {axis}") for axis, symbol in one.axes.items()
    }
    requested = {entry.symbol: entry for entry in axes.values()}
    requested["."] = SymbolRequest(".", one.flavour, "flavour")
    variant = Variant(one.variant, one.design, {})
    return Cell(one.cell, variant, one.choice, axes, requested, Flavour(one.flavour))


def _content(cell: CellResult) -> str:
    """Return a digest of base and modules that a cell ran, as in `dead_axes`; empty if not recorded."""
    modules = {n: v for n, v in cell.properties.items() if re.fullmatch(r"module\..*\.sha256", n)}
    base = cell.properties.get("base", "")
    return digest_of([base, modules]) if base and modules else ""


# -- files --------------------------------------------------------------------------------------------
def copy_parts(parts: Sequence[Part], folder: Path) -> None:
    """Copy each job's files below *folder*; equal files of ``shared`` folders are hard-linked.

    Symbolic links are left out, since those from another machine must not point to files of this one.
    """
    known: dict[str, Path] = {}

    def copy(source: str, target: str) -> None:
        shared = Path(source).parent.name == "shared"
        digest = digest_file(Path(source)) if shared else ""
        if shared and digest in known:
            os.link(known[digest], target)
        else:
            shutil.copy(source, target)
            if shared:
                known[digest] = Path(target)

    def links(place: str, names: list[str]) -> list[str]:
        return [name for name in names if (Path(place) / name).is_symlink()]

    try:
        for part in parts:
            shutil.copytree(part.folder, folder / folder_of(part), copy_function=copy, ignore=links)
    except (OSError, shutil.Error) as e:
        raise InfraError(
            f"what the jobs left could not be copied: {e}",
            where=str(folder),
            hint="check the space and the permissions of both folders",
        ) from e


def problem(collected: Collected, planned: int) -> KmodpipeError | None:
    """Return the error that names each missing and each doubled cell, None if there are none."""
    lines = [f"missing: {cell}: {why}" for cell, why in collected.missing.items()]
    lines += [f"doubled: {cell}: in {', '.join(where)}" for cell, where in collected.doubled.items()]
    if not lines:
        return None
    counts = [
        f"{len(found)} {word}"
        for found, word in ((collected.missing, "missing"), (collected.doubled, "doubled"))
        if found
    ]
    return InfraError(
        f"{' and '.join(counts)} of {planned} planned cells",
        detail="\n".join(lines),
        hint="run the jobs of the missing ones again, and collect each cell once",
    )
