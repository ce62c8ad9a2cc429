"""The plan of a run over many machines: every cell, the job that runs it, and the arguments of that job.

The tree's Kconfig files decide which cells are legal. If the tree and the patched trees are in the cache,
they are read without building anything, and an illegal cell gets the reason and no job. Otherwise every cell
has a job, which finds out. What depends on a whole configuration is found out by the job in either case. A
moving branch head is looked up once, here, so that jobs that begin at different times test the same tree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from kmodpipe import __version__, results, series, source
from kmodpipe.build.configured import RuledOut
from kmodpipe.build.sharing import Subject
from kmodpipe.kconfig import Cell
from kmodpipe.pipeline import question
from kmodpipe.pipeline.axis_values import Planned, planned_cells, require_possible
from kmodpipe.pipeline.builder import CellBuilder
from kmodpipe.pipeline.patched import control_subject
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.sampling import not_applied, sampled
from kmodpipe.pipeline.series_kconfig import Found, look
from kmodpipe.pipeline.stage_maker import StageMaker
from kmodpipe.pipeline.workspace import Workspace, settled
from kmodpipe.results import CaseInfo
from kmodpipe.source import Tree, TreeSpec, kernels
from kmodpipe.source.kernels import KernelSource
from kmodpipe.util import document
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import count
from kmodpipe.util.workers import workers

SCHEMA = "kmodpipe-plan"
VERSION = 2
_MOST_MIB = 64

LIMITS: Mapping[str, int] = {"gitlab": 200, "github": 256, "json": 200}
"""The most jobs that a matrix of each CI may have."""


@dataclass(frozen=True)
class PlannedCell:
    """One cell of the plan."""

    cell: str
    variant: str
    design: str
    # Axis to value.
    choice: Mapping[str, str]
    # Axis to the symbol that it stands for in this variant.
    axes: Mapping[str, str]
    flavour: str = ""
    # The name of its tree; empty where the plan has one kernel.
    kernel: str = ""
    # Why the tree rules it out; empty if it does not, or if that is not known yet.
    skip: str = ""
    # Empty for a skipped cell.
    job: str = ""


@dataclass(frozen=True)
class PlannedJob:
    """One call of ``invoke ci``."""

    # Its number, ``01``.
    job: str
    cells: tuple[str, ...]
    # With ``--cell ID`` for each cell.
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """The title of the job: its number and its first cell."""
        more = f" and {len(self.cells) - 1} more" if len(self.cells) > 1 else ""
        return f"{self.job} {self.cells[0]}{more}"


@dataclass(frozen=True)
class Legality:
    """Which cells the tree rules out."""

    # The tree's identity by kernel, of those that are known.
    trees: Mapping[str, str] = field(default_factory=dict)
    # Why cells are ruled out, by their ids.
    reasons: Mapping[str, str] = field(default_factory=dict)
    # The identity of the module's own source, if it is known.
    own: str = ""


@dataclass(frozen=True)
class Plan:
    """All cells, cases and jobs of a run over many machines."""

    cells: tuple[PlannedCell, ...]
    cases: tuple[CaseInfo, ...]
    jobs: tuple[PlannedJob, ...] = ()
    # What the run of every job must have: `question.comparable`, and the tree's identity if known.
    properties: Mapping[str, str] = field(default_factory=dict)
    # Cells were chosen with --cell: the plan does not cover the matrix.
    selected: bool = False


def make(spec: RunSpec, legality: Legality, arguments: Sequence[str], per_job: int, most: int) -> Plan:
    """Return the plan of a run whose jobs are called with *arguments*.

    *per_job* is the number of cells in a job, 0 for as few as *most* jobs allow. Raise UserError if that
    makes too many jobs, or if no cell is legal.
    """
    lib = (spec.project.images / "guest" / "lib.sh").read_bytes()
    asked = question.case_facts(spec)
    plan = Plan(
        cells=tuple(_planned(cell, legality.reasons.get(cell.id, "")) for cell in spec.cells),
        cases=tuple(
            CaseInfo(
                c.id,
                c.summary,
                c.goal,
                c.digest(lib),
                spec.case_arguments.get(c.id, ""),
                asked[c.id],
                c.unruled,
            )
            for c in spec.cases
        ),
        properties={
            "kmodpipe": __version__,
            "module": spec.module,
            "shuffle": str(spec.shuffle),
            "attempts": str(spec.retries.attempts),
            "repeat": str(spec.retries.repeat),
            **{f"series.{one.name}": one.digest for one in spec.series},
            **question.comparable(spec),
            **({results.ALLOW_EMPTY: "yes"} if spec.allow_empty else {}),
            **{results.of_tree("identity", kernel): it for kernel, it in legality.trees.items()},
            **({results.OWN_IDENTITY: legality.own} if legality.own else {}),
        },
        selected=spec.selected,
    )
    return _with_jobs(plan, arguments, per_job, most)


def _planned(cell: Cell, skip: str) -> PlannedCell:
    symbols = {axis: entry.symbol for axis, entry in cell.axes.items()}
    variant = cell.variant
    return PlannedCell(
        cell.id, variant.name, variant.design, dict(cell.choice), symbols,
        cell.flavour.name, cell.kernel, skip,
    )  # fmt: skip


# -- legality -----------------------------------------------------------------------------------------
def from_cache(spec: RunSpec, cache: Path) -> tuple[RunSpec, Legality]:
    """Return the run as trees in the cache settle and sample it, and what their Kconfig files rule out.

    Nothing is fetched or applied. Raise UserError for a value of an axis that no cell can have, for a symbol
    that no variant has, and for a sample that cannot be worked out from what is here.
    """
    trees: dict[str, KernelSource] = {}
    identities: dict[str, str] = {}
    for kernel, wanted in spec.kernels:
        if tree := kernels.locate(wanted, spec.project.trees, cache):
            trees[kernel], identities[kernel] = tree, tree.identity
        elif isinstance(wanted, TreeSpec) and wanted.commit and not wanted.first_parent:
            # The commit of a tree that was pinned for this plan is its identity.
            identities[kernel] = f"git:{wanted.commit}"
    parts = settled(spec, trees)
    # Of a distribution's kernel every cell can be had that its configuration allows: its jobs say so.
    built = {kernel: tree for kernel, tree in trees.items() if isinstance(tree, Tree)}
    subjects = {kernel: _subjects(parts[kernel], tree, cache) for kernel, tree in built.items()}
    if spec.sample:
        for kernel, wanted in spec.kernels:
            if not isinstance(wanted, TreeSpec):
                continue
            if kernel not in parts or not_applied(parts[kernel], built[kernel], subjects[kernel]):
                raise UserError(
                    f"{wanted.name} cannot be sampled: its tree, or that of a series, is not here",
                    where="--sample",
                    hint="run invoke patch with the same trees and series first; with a series that does not "
                    "apply to one of them, add --prepare",
                )
        parts = {
            kernel: sampled(part, subjects[kernel]) if kernel in subjects else part
            for kernel, part in parts.items()
        }
    spec = spec.joined(parts)
    planned = [one for kernel, own in subjects.items() for one in _planned_on(parts[kernel], own)]
    if len(planned) == len(spec.cells):
        require_possible(spec, planned)
    own = source.locate(spec.own.spec, {}, cache) if spec.own else None
    reasons = {one.cell.id: one.ruled_out for one in planned if one.ruled_out}
    return spec, Legality(identities, reasons, own.identity if own else "")


def _subjects(spec: RunSpec, tree: Tree, cache: Path) -> list[Subject]:
    """Return the control, and each series with a cell that is applied in the cache."""
    subjects = [control_subject(tree)]
    for one, cells in spec.series_on(tree):
        if spec.own:
            # Its series are not for the tree, which alone says what is legal.
            subjects.append(Subject(cells[0].variant, None, tree.path))
        elif path := series.applied_path(one, tree, cache):
            subjects.append(Subject(cells[0].variant, one, path))
    return subjects


def _planned_on(spec: RunSpec, subjects: Sequence[Subject]) -> Iterator[Planned]:
    """Yield the cells of the sources on one kernel."""
    found = look(subjects, subjects[0].src)
    for subject in subjects:
        if found.get(subject.variant.name, Found()).failure:
            # Its jobs fail, and say why.
            yield from (Planned(subject, cell) for cell in spec.cells_of(subject.variant.name))
        else:
            yield from planned_cells(spec, subject)


def prepare(workspace: Workspace, folder: RunFolder) -> Legality:
    """Build what cells share, the bases and the guest; return what the full configurations rule out."""
    builder = CellBuilder(workspace, StageMaker(workspace, folder))
    with workers(workspace.spec.jobs) as pool:
        rows = builder.prepare(pool)
    reasons = {one.cell.id: one.reason for _, one in rows if isinstance(one, RuledOut)}
    trees = {kernel: tree.identity for kernel, tree in workspace.sources.items()}
    return Legality(trees, reasons, workspace.own_identity)


# -- jobs ---------------------------------------------------------------------------------------------
def _with_jobs(plan: Plan, arguments: Sequence[str], per_job: int, most: int) -> Plan:
    """Return *plan* with its cells distributed over jobs; the arguments are those of `make`."""
    todo = [cell for cell in plan.cells if not cell.skip]
    if not todo:
        raise UserError("the tree rules out every requested cell", detail=plan.cells[0].skip)
    groups = _groups(todo, per_job or 1)
    if len(groups) > most and not per_job:
        per_job = next(n for n in range(2, len(todo) + 1) if len(_groups(todo, n)) <= most or n == len(todo))
        groups = _groups(todo, per_job)
    if len(groups) > most:
        raise UserError(
            f"{count(len(todo), 'cell')} make {count(len(groups), 'job')}, and {most} are allowed",
            hint="put more cells into each job: --per-job N; 0 takes as few as fit",
        )
    width = max(2, len(str(len(groups))))
    jobs = []
    for number, cells in enumerate(groups, 1):
        ids = tuple(cell.cell for cell in cells)
        # A job runs its cells and no other: the control has jobs of its own.
        called = (*arguments, "--no-control", *(word for i in ids for word in ("--cell", i)))
        jobs.append(PlannedJob(f"{number:0{width}}", ids, called))
    owner = {cell: job.job for job in jobs for cell in job.cells}
    return replace(
        plan, jobs=tuple(jobs), cells=tuple(replace(c, job=owner.get(c.cell, "")) for c in plan.cells)
    )


def _groups(cells: Sequence[PlannedCell], size: int) -> list[list[PlannedCell]]:
    """Return the cells in groups of at most *size*, each of one kernel and flavour.

    These have a base of their own, which the cells of one job share.
    """
    by_base: dict[tuple[str, str], list[PlannedCell]] = {}
    for cell in cells:
        by_base.setdefault((cell.kernel, cell.flavour), []).append(cell)
    return [own[at : at + size] for own in by_base.values() for at in range(0, len(own), size)]


# -- the file -----------------------------------------------------------------------------------------
def to_json(plan: Plan) -> str:
    """Return the text of ``plan.json``."""
    made = {
        "schema": SCHEMA,
        "version": VERSION,
        "plan": TypeAdapter(Plan).dump_python(plan, mode="json"),
    }
    return json.dumps(made, indent=1, ensure_ascii=True)


def load(path: Path) -> Plan:
    """Return the plan in a file. Raise UserError if it cannot be read or is of another version."""
    where = str(path)
    with document.given("the plan", where):
        found = document.read_json(path, most=_MOST_MIB * document.MIB)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UserError(
            "this is no plan of kmodpipe", where=where, hint="invoke matrix --format json makes it"
        )
    if found.get("version") != VERSION:
        version = str(found.get("version"))[:40]
        raise UserError(f"the plan has version {version}, this kmodpipe reads {VERSION}", where=where)
    plan = document.validated(Plan, found.get("plan"), "the plan", where)
    if bad := [job.job for job in plan.jobs if not re.fullmatch(r"[0-9]{1,9}", job.job)]:
        raise UserError(f"a job is a number, {bad[0][:80]!r} is not", where=where)
    if any(not job.cells for job in plan.jobs):
        raise UserError("a job of the plan has no cell", where=where)
    if bad := [cell.cell for cell in plan.cells if not cell.axes.keys() <= cell.choice.keys()]:
        raise UserError(f"the cell {bad[0][:80]!r} of the plan has an axis without a value", where=where)
    try:
        # A Run checks that cells and cases are unique: a doubled cell could hide a missing one.
        results.Run("plan", "", plan.cases, tuple(results.CellResult(c.cell, "", "") for c in plan.cells))
    except ValueError as e:
        raise UserError(f"the plan does not match its schema: {e}", where=where) from None
    return plan
