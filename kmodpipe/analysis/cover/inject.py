"""Fail the allocations of each case, one after the other, and count what that executes.

A case is run once to find out which of its allocations are made while the module under test runs, and then
once for each of these, which fails. The guest's kp-inject does that, by the kernel's own fault injection.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.analysis.cover.gcov_json import sum_of
from kmodpipe.judge.case_files import CaseFile
from kmodpipe.judge.cases import Case
from kmodpipe.judge.retries import RetryPolicy
from kmodpipe.pipeline import run
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.results import Run, Verdict
from kmodpipe.results.coverage import LOAD, CaseCoverage, Coverage, FileCounts
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.util.text import count, one_line
from kmodpipe.vm.accel import Accel

FOLDER = "inject"
"""The folder of a run in which the runs with failing allocations are."""
NEEDS = "FAILSLAB"
"""The symbol that a kernel has to have for it."""
SUFFIX = " (failing allocations)"
"""What a case's name has behind it in the coverage, for the runs in which its allocations fail."""
# The most allocations of one case that are made to fail.
MOST = 400
_BETWEEN = ".fail-"
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
_OBSERVED = re.compile(r"allocations-[0-9]+")
# Each system call of a traced process takes longer, and reading the counters behind it more so.
_SLOWER, _SLOWER_PROFILE = 3, 8


@dataclass(frozen=True)
class Injected:
    """What came of it."""

    # What the cases executed while their allocations failed; None if none could.
    coverage: Coverage | None = None
    tries: int = 0
    # Sentences about reports of the kernel in these runs, and on what was left out.
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """A run with failing allocations, whose counters are not read yet."""

    run: Run
    folder: Path
    tries: int
    notices: tuple[str, ...] = field(default=())


def run_all(workspace: Workspace, ran: Run, folder: Path, proved: Accel) -> Ran | None:
    """Run the cases with failing allocations; return None if no case has any while the module runs."""
    quiet = Screen(Mode.QUIET)
    cases = [case for case in workspace.spec.cases if NEEDS not in case.needs]
    with workspace.screen.step("find the allocations") as step, workspace.store.scratch("inject-") as scratch:
        profiles = tuple(_wrapped(case, "profile", scratch) for case in cases)
        found, _ = _run(workspace, profiles, folder, proved, quiet)
        numbers = allocations(found)
        step.finish(count(sum(map(len, numbers.values())), "allocation"))
    for line in unfound(found):
        workspace.screen.warn(line)
    notices = [
        f"only the first {MOST} of {len(some)} allocations of {case} were made to fail"
        for case, some in numbers.items()
        if len(some) > MOST
    ]
    tries = sum(len(some[:MOST]) for some in numbers.values())
    if not tries:
        return None
    with workspace.screen.step(f"fail {count(tries, 'allocation')}") as step:
        with workspace.store.scratch("inject-") as scratch:
            by_id = {case.id: case for case in cases}
            wrapped = tuple(
                _wrapped(by_id[case], str(number), scratch)
                for case, some in numbers.items()
                for number in some[:MOST]
            )
            again, path = _run(workspace, wrapped, folder, proved, quiet)
        step.finish(f"in {count(len(ran.cells), 'cell')}")
    return Ran(again, path, tries, (*notices, *reported(again)))


def _run(
    workspace: Workspace, cases: tuple[Case, ...], folder: Path, proved: Accel, screen: Screen
) -> tuple[Run, Path]:
    """Run these cases in all cells, in a folder of their own."""
    spec = replace(workspace.spec, cases=cases, retries=RetryPolicy(), allow_empty=True)
    with RunFolder(folder / FOLDER) as own:
        return run.test(replace(workspace, spec=spec, screen=screen), own, proved), own.path


def _wrapped(case: Case, what: str, scratch: Path) -> Case:
    """Return a case that runs another one under kp-inject, for its N-th allocation or a profile."""
    home = scratch / case.id
    home.mkdir(exist_ok=True)
    original = home / case.path.name
    if not original.exists():
        shutil.copyfile(case.path, original)
        original.chmod(0o755)
    script = home / f"{what}.kp-inject"
    script.write_text(f'#!/bin/sh\nexec kp-inject {what} "${{0%/*}}"/{shlex.quote(original.name)} "$@"\n')
    return replace(
        case,
        id=f"{case.id}{_BETWEEN}{what}",
        path=script,
        files=(*case.files, CaseFile(original.name, original, executable=True)),
        timeout_s=case.timeout_s * (_SLOWER_PROFILE if what == "profile" else _SLOWER),
    )


def original(case: str) -> str:
    """Return the case that one with a failing allocation is made of."""
    return case.rpartition(_BETWEEN)[0]


def allocations(profiled: Run) -> Mapping[str, tuple[int, ...]]:
    """Return the numbers of the allocations that each case makes while the module runs, in any cell."""
    found: dict[str, set[int]] = {}
    for cell in profiled.cells:
        for result in cell.cases:
            own = found.setdefault(original(result.case), set())
            for key, text in result.observations.items():
                if _OBSERVED.fullmatch(key):
                    own |= {*_numbers(text)}
    return {case: tuple(sorted(numbers)) for case, numbers in found.items() if numbers}


def unfound(profiled: Run) -> Iterator[str]:
    """Yield a sentence for each case of which the allocations could not be found, as its profile failed."""
    for cell in profiled.cells:
        for result in cell.cases:
            if result.verdict is not Verdict.SKIP and "injected" not in result.observations:
                first = one_line(result.message.splitlines()[0]) if result.message else "it did not run"
                yield f"the allocations of {original(result.case)} in {cell.cell} were not found: {first}"


def _numbers(text: str) -> Iterator[int]:
    """Yield the numbers of ranges such as 3-7,9-9; the text is a guest's."""
    for first, last in _RANGE.findall(text):
        start = int(first)
        yield from range(start, min(int(last), start + MOST) + 1)


def reported(ran: Run) -> Iterator[str]:
    """Yield a sentence for each kind of report that the kernel made where an allocation had failed."""
    places: dict[str, list[str]] = {}
    for cell in ran.cells:
        for result in cell.cases:
            number = result.case.rpartition(_BETWEEN)[2]
            for report in result.reports:
                if not report.benign:
                    where = f"allocation {number} of {original(result.case)} in {cell.cell}"
                    places.setdefault(one_line(report.title), []).append(where)
    for title, found in places.items():
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        yield f"a failing allocation led to a report of the kernel: {title}: {found[0]}{more}"


# -- coverage ------------------------------------------------------------------------------------------
def joined(plain: Coverage, injected: Coverage) -> Coverage:
    """Return the coverage of the cases, with that of the runs in which their allocations failed beside it."""
    cells = {}
    for name, cell in plain.cells.items():
        more = injected.cells.get(name)
        cells[name] = replace(cell, cases={**cell.cases, **_summed(more.cases)}) if more else cell
    return replace(plain, cells=cells)


def _summed(cases: Mapping[str, CaseCoverage]) -> Mapping[str, CaseCoverage]:
    """Return the sum of all tries of each case."""
    groups: dict[str, list[CaseCoverage]] = {}
    for name, one in cases.items():
        if name != LOAD:
            groups.setdefault(original(name), []).append(one)
    return {f"{case}{SUFFIX}": _sum(some) for case, some in groups.items()}


def _sum(some: Sequence[CaseCoverage]) -> CaseCoverage:
    lost = [one.unknown for one in some if one.unknown]
    files: dict[str, list[FileCounts]] = {}
    for path, counts in _files(some):
        files.setdefault(path, []).append(counts)
    why = f"{len(lost)} of {len(some)} tries: {lost[0]}" if lost else ""
    return CaseCoverage(why, {path: sum_of(counts) for path, counts in sorted(files.items())})


def _files(some: Iterable[CaseCoverage]) -> Iterator[tuple[str, FileCounts]]:
    for one in some:
        yield from one.files.items()
