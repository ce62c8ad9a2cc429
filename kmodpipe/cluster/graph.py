"""The tasks of a plan: one that builds what cells share, for each kernel and flavour, and one for each cell.

A cell waits for the base of its kernel and flavour, so that no two workers build one base at once; that of
the base is named by its content, so that two runs of one project wait for the same task. What a task needs of
a worker is declared as Dask's resources, which our plugin sets on each worker (`worker.Plugin`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kmodpipe.ci.job_plan import Plan, PlannedCell
from kmodpipe.cluster import facts
from kmodpipe.util.digest import digest_of

# What a cell takes if no earlier run says so.
_SECONDS = 30.0
# Bases come before all cells.
_FIRST = 1e6

PLAN = "plan.json"
"""The word of a base's job for a file, which the worker puts among its own."""

Needs = Mapping[str, float]


@dataclass(frozen=True)
class Settings:
    """What all tasks of a run have in common."""

    run: str
    # The digest of the bundle.
    bundle: str
    # The digest of the program's code, and the resource of the workers that can do its work.
    program: str
    resource: str
    arch: str = "x86_64"
    # What a worker has to have beside.
    requires: Needs = field(default_factory=dict)
    # What of a base travels through Dask: nothing, its artifacts, or the builder image as well.
    carry: str = ""
    # test, ci or build: what the cells' jobs are called with.
    command: str = "ci"


@dataclass(frozen=True)
class Task:
    """One job on a worker."""

    key: str
    kind: str
    # Of a base the cells that wait for it; of a cell itself.
    cells: tuple[str, ...]
    # The command line, from the command on.
    words: tuple[str, ...]
    needs: Needs
    # The keys of the tasks that it waits for.
    after: tuple[str, ...] = ()
    priority: float = 0.0

    @property
    def cell(self) -> str:
        """The cell of a cell's task."""
        return self.cells[0]


def bundle_key(settings: Settings) -> str:
    """Return the key under which the bundle is."""
    return f"kmodpipe-project-{settings.bundle[:32]}"


def tasks(
    plan: Plan, settings: Settings, memory_mib: Mapping[str, int], seconds: Mapping[str, float]
) -> list[Task]:
    """Return the tasks of a plan, bases first.

    ``memory_mib`` is what the guest of each cell has, ``seconds`` how long cells took in an earlier run.
    """
    jobs = {job.cells[0]: job for job in plan.jobs}
    groups: dict[tuple[str, str], list[PlannedCell]] = {}
    for cell in plan.cells:
        if cell.cell in jobs:
            groups.setdefault((cell.kernel, cell.flavour), []).append(cell)
    found: list[Task] = []
    for cells in groups.values():
        base = _base(cells, [jobs[cell.cell].arguments for cell in cells], settings)
        found.append(base)
        for cell in cells:
            found.append(_cell(cell.cell, jobs[cell.cell].arguments, settings, base.key, memory_mib, seconds))
    return sorted(found, key=lambda one: -one.priority)


def _base(cells: Sequence[PlannedCell], lines: Sequence[Sequence[str]], settings: Settings) -> Task:
    """Return the task that builds what these cells of one kernel and flavour share."""
    common = without(lines[0], ("--cell",), flags=("--no-control", "--allow-empty"))
    chosen = tuple(word for cell in cells for word in ("--cell", cell.cell))
    # With --allow-empty a cell that the tree rules out is no usage error, but in the plan with the reason.
    asked = ("--no-control", "--allow-empty", "--prepare", "--format", "json", "--to", PLAN)
    words = ("matrix", *common, *chosen, *asked)
    content = digest_of([settings.bundle, settings.program, words])
    needs = {"build": 1.0, "memory-mib": facts.BASE_MEMORY_MIB, "disk-mib": facts.BASE_DISK_MIB}
    return Task(
        f"kmodpipe-base-{content[:32]}", "base", tuple(cell.cell for cell in cells), words,
        {**_always(settings), **needs}, priority=_FIRST + len(cells),
    )  # fmt: skip


def _cell(
    cell: str,
    arguments: Sequence[str],
    settings: Settings,
    base: str,
    memory_mib: Mapping[str, int],
    seconds: Mapping[str, float],
) -> Task:
    content = digest_of([settings.run, settings.bundle, cell])
    memory = memory_mib.get(cell, 256) + facts.BESIDE_GUEST_MIB
    needs = {"guest": 1.0, "memory-mib": memory, "disk-mib": facts.CELL_DISK_MIB}
    return Task(
        f"kmodpipe-cell-{content[:32]}", "cell", (cell,), (settings.command, *arguments),
        {**_always(settings), **needs}, (base,), seconds.get(cell, _SECONDS),
    )  # fmt: skip


def _always(settings: Settings) -> dict[str, float]:
    own = {settings.resource: 1.0, f"arch-{settings.arch}": 1.0}
    return {**own, **settings.requires}


def without(words: Sequence[str], valued: Sequence[str], flags: Sequence[str] = ()) -> tuple[str, ...]:
    """Return a command line without some options and their values."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in valued:
            skip = True
        elif word not in flags:
            kept.append(word)
    return tuple(kept)


def unmet(needs: Needs, offers: Sequence[Mapping[str, float]]) -> str:
    """Return what no worker has of what a task needs, in words; empty if one has all of it."""
    if any(all(offer.get(name, 0) >= need for name, need in needs.items()) for offer in offers):
        return ""
    lacking = []
    for name, need in needs.items():
        most = max((offer.get(name, 0) for offer in offers), default=0)
        if most < need:
            lacking.append(f"{name} {need:g} (the most is {most:g})")
    return ", ".join(lacking) or "all of it at once: " + ", ".join(f"{n} {v:g}" for n, v in needs.items())
