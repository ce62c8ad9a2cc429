"""The plan of a run over many machines: every cell, the job that runs it, and how that job is called.

Which cells are legal is the tree's word. Where the tree and the patched trees are here already, its Kconfig
files are asked, nothing is built for it, and a cell that they rule out gets the reason and no job. Where they
are not, every cell has a job, which finds out. What depends on a whole configuration is found out by the job
in either case. A moving branch head is looked up here, once: jobs that begin at different times test one
tree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kmodpipe import kconfig, results, series, source
from kmodpipe.build.configured import RuledOut
from kmodpipe.build.stages import Subject
from kmodpipe.ci import comparability
from kmodpipe.kconfig import Cell
from kmodpipe.pipeline.builder import CellBuilder, StageMaker
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.workspace import Workspace, control_subject
from kmodpipe.results import CaseInfo
from kmodpipe.util.errors import UserError
from kmodpipe.util.workers import workers

SCHEMA = "kmodpipe-plan"
VERSION = 1

LIMITS: Mapping[str, int] = {"gitlab": 200, "github": 256, "json": 200}
"""The most jobs that a matrix of each CI may have."""


@dataclass(frozen=True)
class PlannedCell:
    """One cell. ``axes`` maps each axis to the symbol that it stands for in this variant; ``skip`` is why the
    tree rules it out, where that is known; then it has no ``job``."""

    cell: str
    variant: str
    design: str
    choice: Mapping[str, str]
    axes: Mapping[str, str]
    flavour: str = ""
    skip: str = ""
    job: str = ""


@dataclass(frozen=True)
class PlannedJob:
    """One call of ``invoke ci``: its cells and its arguments, each cell among them."""

    job: str
    cells: tuple[str, ...]
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        more = f" and {len(self.cells) - 1} more" if len(self.cells) > 1 else ""
        return f"{self.job} {self.cells[0]}{more}"


@dataclass(frozen=True)
class Legality:
    """The identity of the tree, '' where it is not known, and why it rules out cells, by their ids."""

    tree: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """``properties`` is what every job must have been asked (`question.facts`), and the tree where it is
    known; ``selected``: cells were picked out of the matrix."""

    cells: tuple[PlannedCell, ...]
    cases: tuple[CaseInfo, ...]
    jobs: tuple[PlannedJob, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    selected: bool = False


def make(spec: RunSpec, legality: Legality, arguments: Sequence[str], per_job: int, most: int) -> Plan:
    """Return the plan of a run whose jobs are called with ``arguments``.

    ``per_job`` is the number of cells in a job, 0 for as few as ``most`` jobs allow. Raises UserError.
    """
    facts = comparability.facts(spec)
    plan = Plan(
        cells=tuple(_planned(cell, legality.reasons.get(cell.id, "")) for cell in spec.cells),
        cases=tuple(CaseInfo(c.id, c.summary, c.goal, facts[f"case.{c.id}"]) for c in spec.cases),
        properties={
            **{name: value for name, value in facts.items() if not name.startswith("case.")},
            **({"tree.identity": legality.tree} if legality.tree else {}),
        },
        selected=spec.selected,
    )
    return _with_jobs(plan, arguments, per_job, most)


def _planned(cell: Cell, skip: str) -> PlannedCell:
    symbols = {axis: entry.symbol for axis, entry in cell.axes.items()}
    variant = cell.variant
    return PlannedCell(
        cell.id, variant.name, variant.design, dict(cell.choice), symbols, cell.flavour.name, skip
    )


# -- which are legal ----------------------------------------------------------------------------------
def look(spec: RunSpec, cache: Path) -> Legality:
    """What the Kconfig files of the sources that are here rule out. Nothing is fetched for it."""
    asked_for = spec.tree
    tree = source.locate(asked_for, spec.project.trees, cache)
    if tree is None:
        # The commit of a tree that was pinned for this plan is its identity.
        return Legality(f"git:{asked_for.commit}" if asked_for.commit and not asked_for.first_parent else "")
    subjects = [control_subject(tree)]
    for one in spec.series:
        cells = spec.cells_of(one.name)
        path = series.applied_path(one, tree, cache) if cells else None
        if path:
            subjects.append(Subject(cells[0].variant, one, path))
    reasons = {}
    for subject in subjects:
        cells = spec.cells_of(subject.variant.name)
        index = kconfig.index_symbols(subject.src, {symbol for cell in cells for symbol in cell.requested})
        for cell in cells:
            if reason := kconfig.illegal(cell.own_requests, cell.requested, index):
                reasons[cell.id] = reason
    return Legality(tree.identity, reasons)


def prepare(ready: Workspace, folder: RunFolder) -> Legality:
    """Build what cells share, bases and guest; with every cell configured, all that is illegal is known."""
    builder = CellBuilder(ready, StageMaker(ready, folder))
    with workers(ready.spec.jobs) as pool:
        rows = builder.prepare(pool)
    reasons = {one.cell.id: one.reason for _, one in rows if isinstance(one, RuledOut)}
    return Legality(ready.tree.identity, reasons)


# -- jobs ---------------------------------------------------------------------------------------------
def _with_jobs(plan: Plan, arguments: Sequence[str], per_job: int, most: int) -> Plan:
    todo = [cell for cell in plan.cells if not cell.skip]
    if not todo:
        raise UserError("the tree rules out every cell that was asked for", detail=plan.cells[0].skip)
    groups = _groups(todo, per_job or 1)
    if len(groups) > most and not per_job:
        per_job = next(n for n in range(2, len(todo) + 1) if len(_groups(todo, n)) <= most or n == len(todo))
        groups = _groups(todo, per_job)
    if len(groups) > most:
        raise UserError(
            f"{len(todo)} cells make {len(groups)} jobs, and {most} are allowed",
            hint="give each more of them: --per-job N; 0 takes as few as fit",
        )
    width = max(2, len(str(len(groups))))
    jobs = []
    for number, cells in enumerate(groups, 1):
        ids = tuple(cell.cell for cell in cells)
        called = (*arguments, *(word for i in ids for word in ("--cell", i)))
        jobs.append(PlannedJob(f"{number:0{width}}", ids, called))
    owner = {cell: job.job for job in jobs for cell in job.cells}
    return replace(
        plan, jobs=tuple(jobs), cells=tuple(replace(c, job=owner.get(c.cell, "")) for c in plan.cells)
    )


def _groups(cells: Sequence[PlannedCell], size: int) -> list[list[PlannedCell]]:
    """Cells that share a kernel, in jobs of ``size`` at most: a flavour has a base of its own, and the
    cells of a variant go on from each other's objects."""
    by_flavour: dict[str, list[PlannedCell]] = {}
    for cell in cells:
        by_flavour.setdefault(cell.flavour, []).append(cell)
    return [own[at : at + size] for own in by_flavour.values() for at in range(0, len(own), size)]


# -- the file -----------------------------------------------------------------------------------------
def to_json(plan: Plan) -> str:
    """The plan as ``plan.json``."""
    document = {
        "schema": SCHEMA,
        "version": VERSION,
        "plan": TypeAdapter(Plan).dump_python(plan, mode="json"),
    }
    return json.dumps(document, indent=1, ensure_ascii=True)


def load(path: Path) -> Plan:
    """The plan in a file. Raises UserError."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as e:
        raise UserError(f"the plan cannot be read: {e}", where=str(path)) from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UserError(
            "this is no plan of kmodpipe", where=str(path), hint="invoke matrix --format json makes it"
        )
    if document.get("version") != VERSION:
        raise UserError(f"the plan has version {document.get('version')}, this kmodpipe reads {VERSION}")
    try:
        plan = TypeAdapter(Plan).validate_python(document.get("plan"))
    except (ValidationError, ValueError) as e:
        told = "\n".join(str(e).splitlines()[:12])
        raise UserError("the plan is not as it should be", where=str(path), detail=told) from None
    if bad := [job.job for job in plan.jobs if not re.fullmatch(r"[0-9]+", job.job)]:
        raise UserError(f"a job is a number, {bad[0]!r} is not", where=str(path))
    # As unique as in results: a cell that stands twice could hide one that is missing.
    results.Run("plan", "", plan.cases, tuple(results.CellResult(c.cell, "", "") for c in plan.cells))
    return plan
