"""Read what the cases of a run executed, from the counters and notes in the folders of its cells."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.analysis.cover import gcov_json
from kmodpipe.analysis.cover.gcov_job import Gcov, Pair, Source
from kmodpipe.build.gcov_notes import NOTES
from kmodpipe.logs import counters
from kmodpipe.logs.counters import Kept
from kmodpipe.results import CaseResult, CellResult, Run, State, Verdict
from kmodpipe.results.coverage import LOAD, CaseCoverage, CellCoverage, Coverage, FileCounts, FileLines
from kmodpipe.util import document, paths
from kmodpipe.util.screen import Step
from kmodpipe.util.text import one_line

_COUNTERS_BYTES = 512 * document.MIB
_NO_COUNTERS = "no counters came"
# What comes before a source file's name in the builder: the tree, the objects, a module's own source there.
_TREE, _OBJECTS, _COPIED = "/src/", "/obj/", "/obj/module/"
# Where make runs for a module's own source. The names in its objects are relative (`kbuild.external_flags`).
_KIT = "/obj/kit/"


@dataclass(frozen=True)
class _Cell:
    """A cell with what its guests sent; each object file by the key of gcov's answer."""

    result: CellResult
    # Of the notes alone, by the object's path.
    notes: Mapping[str, str]
    # What was taken, each with the keys by the object's path.
    taken: tuple[tuple[Kept, Mapping[str, str]], ...]


def collect(
    run: Run,
    folder: Path,
    module: str,
    gcov: Gcov,
    scratch: Path,
    place: Callable[[str], str | None],
    step: Step | None = None,
) -> Coverage:
    """Return what the cases of a run executed; cells of other flavours are left out.

    ``place`` returns a source file's name in the tree by its absolute name in the builder, None for one that
    is neither of the module nor of the series.
    """
    cells = [_cell(one, folder / one.cell, gcov) for one in run.cells if (folder / one.cell / NOTES).is_dir()]
    if cells:
        gcov.run(scratch, folder / "shared" / "gcov.log", place, step)
    made = {one.result.cell: _coverage(one, gcov) for one in cells}
    rest = {
        one.cell: CellCoverage(one.variant, one.kernel, one.flavour, unknown=_why_not(one))
        for one in run.cells
        if one.cell not in made and one.state is not State.SKIPPED
    }
    return Coverage(module=module, cells={**made, **rest})


def placed(tree: Path, wanted: Callable[[str], bool], *, own: bool) -> Callable[[str], str | None]:
    """Return the function that names a source file as the tree does, for `collect`.

    The compiler has names of its own: the tree's place in a container or on this machine, and the object
    folder's, in which a module's ``own`` source is copied to a folder of its own.
    """
    known: dict[str, str | None] = {}

    def look(name: str) -> str | None:
        befores = (_COPIED, _KIT) if own else (_TREE, f"{tree}/", _OBJECTS)
        for before in befores:
            _, found, rest = name.partition(before)
            if found and paths.is_plain(rest) and paths.is_file(tree / rest):
                return rest
        return None

    def place(name: str) -> str | None:
        if name not in known:
            found = look(posixpath.normpath(name))
            known[name] = found if found is not None and wanted(found) else None
        return known[name]

    return place


def _why_not(cell: CellResult) -> str:
    if cell.state is State.RAN:
        return "its kernel counts nothing"
    return one_line(cell.reason.splitlines()[0]) if cell.reason else cell.state.value


# -- what was taken ------------------------------------------------------------------------------------
def _cell(result: CellResult, folder: Path, gcov: Gcov) -> _Cell:
    notes = {path.relative_to(folder / NOTES).as_posix(): path for path in (folder / NOTES).rglob("*.gcno")}
    taken = []
    for kept in _kept(folder / counters.FILE_NAME):
        found = {}
        for name, data in kept.taken.files.items():
            if own := _note_of(name, notes):
                found[own] = gcov.add(Pair(notes[own], data))
        taken.append((kept, found))
    return _Cell(result, {name: gcov.add(Pair(path, None)) for name, path in notes.items()}, tuple(taken))


def _kept(path: Path) -> tuple[Kept, ...]:
    try:
        text = document.read_text(path, most=_COUNTERS_BYTES)
        return tuple(counters.from_lines(text))
    except (OSError, document.Unreadable):
        return ()


def _note_of(counter: str, notes: Iterable[str]) -> str:
    """Return the notes of a counter file, whose name begins with the folder that it was compiled in."""
    stem = f"/{counter.removesuffix(counters.SUFFIX)}"
    fitting = [note for note in notes if stem.endswith(f"/{note.removesuffix('.gcno')}")]
    return max(fitting, key=len, default="")


# -- what that says ------------------------------------------------------------------------------------
def _coverage(cell: _Cell, gcov: Gcov) -> CellCoverage:
    unread = [name for name, key in cell.notes.items() if gcov.answer(key) is None]
    lines: dict[str, list[FileLines]] = {}
    for key in cell.notes.values():
        for name, (has, _) in (gcov.answer(key) or {}).items():
            lines.setdefault(name, []).append(has)
    result = cell.result
    cases = {LOAD: _case(cell, LOAD, _NO_COUNTERS, gcov)}
    for case in result.cases:
        if case.verdict is not Verdict.SKIP:
            cases[case.case] = _case(cell, case.case, _reason(case), gcov)
    return CellCoverage(
        result.variant,
        result.kernel,
        result.flavour,
        f"gcov cannot read the notes of {', '.join(sorted(unread)[:3])}" if unread else "",
        {name: gcov_json.all_lines(some) for name, some in sorted(lines.items())},
        cases,
    )


def _reason(case: CaseResult) -> str:
    """Return why there may be no counters of a case."""
    first = case.message.splitlines()[0] if case.message else case.verdict.value
    return f"{_NO_COUNTERS}: {one_line(first)}"


def _case(cell: _Cell, name: str, absent: str, gcov: Gcov) -> CaseCoverage:
    """Return what a case executed, all times that it ran together; ``absent`` if it has no counters."""
    mine = [(kept.taken, keys) for kept, keys in cell.taken if kept.case == name]
    why = "" if mine else absent
    answers: list[Source] = []
    for taken, keys in mine:
        why = why or taken.lost
        missing = cell.notes.keys() - keys.keys()
        for key in keys.values():
            if (answer := gcov.answer(key)) is None:
                why = why or "gcov cannot read its counters"
            else:
                answers.append(answer)
        if missing and not why and not _never_linked(missing, cell):
            why = f"the counters of {sorted(missing)[0].removesuffix('.gcno')} did not come"
    counts: dict[str, list[FileCounts]] = {}
    for answer in answers:
        for path, (_, one) in answer.items():
            if one.lines:
                counts.setdefault(path, []).append(one)
    return CaseCoverage(why, {path: gcov_json.sum_of(some) for path, some in sorted(counts.items())})


def _never_linked(missing: Iterable[str], cell: _Cell) -> bool:
    """Whether no guest of the cell ever had counters of these objects, as of a module that is not loaded."""
    ever = {name for _, keys in cell.taken for name in keys}
    return not ever & {*missing}
