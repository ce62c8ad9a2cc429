"""Check every file of a project, and report all faults of all of them. Nothing is fetched or built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmodpipe import series
from kmodpipe.judge import cases
from kmodpipe.judge.cases import Case
from kmodpipe.kconfig import matrix as matrices
from kmodpipe.kconfig.matrix_toml import MatrixToml
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.logs import known_benign
from kmodpipe.pipeline import config, own_module
from kmodpipe.pipeline.config import Project
from kmodpipe.publish import receivers
from kmodpipe.report import findings
from kmodpipe.series import Series, from_list
from kmodpipe.series.changes import hunks
from kmodpipe.series.unnoticed import unmatched
from kmodpipe.source import kernels
from kmodpipe.util import paths, toml
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import count
from kmodpipe.vm import devices

# FILE, FILE:LINE, and what may stand behind it.
_WHERE = re.compile(r"(?P<file>.*?)(:(?P<line>[0-9]+))?((, | and |: )(?P<more>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Fault:
    """Something wrong in a file."""

    what: str
    # From 1; 0 if it is not known.
    line: int = 0
    # The way to it, ``axes.INDEX.symbol``; empty where it is no field.
    field: str = ""
    hint: str = ""


@dataclass
class Checked:
    """A file, what is in it, and what is wrong with it."""

    name: str
    holds: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def check(root: Path) -> tuple[Checked, ...]:
    """Return the files of a project, in the order in which a run reads them.

    Raise UserError if there is no project, or its file is not TOML.
    """
    found = _Check(root)
    found.read()
    return tuple(found.files.values())


def lines(found: Sequence[Checked]) -> Iterator[str]:
    """Yield a line for each file, those of its faults below it, and one for all."""
    for one in found:
        yield f"{'✗' if one.faults else '✓'} {one.name}{': ' * bool(one.holds)}{', '.join(one.holds)}"
        hint = ""
        for fault in one.faults:
            place = f"{one.name}:{fault.line}" if fault.line else one.name
            yield f"    {place}: {f'{fault.field}: ' if fault.field else ''}{fault.what}"
            if fault.hint not in ("", hint):
                hint = fault.hint
                yield f"      hint: {hint}"
    wrong = [one for one in found if one.faults]
    faults, files = sum(len(one.faults) for one in wrong), count(len(found), "file")
    yield f"{count(faults, 'fault')} in {len(wrong)} of {files}" if wrong else f"{files}, nothing wrong"


def document(found: Sequence[Checked], code: int) -> Mapping[str, object]:
    """Return the same as a JSON document."""
    files = [
        {"file": one.name, "holds": one.holds, "faults": [vars(fault) for fault in one.faults]}
        for one in found
    ]
    return {"schema": "kmodpipe-config", "version": 1, "exit_code": code, "files": files}


class _Check:
    """Reads a project, and collects what is wrong."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.files: dict[Path, Checked] = {}
        # What is being read: a file, and the field that a fault without a line is about.
        self._reading: tuple[Path, tuple[str, ...]] = (root, ())
        # Kernels of the project's file by name, also those with faults.
        self._declared: Sequence[str] = ()

    def read(self) -> None:
        table, file, _ = config.own_table(self._root)
        self._reading = (file, ())
        self._file(file)
        project = config.load(self._root, self._report)
        self._project(project, table if isinstance(table, dict) else {})
        axes, flavours = self._matrix(project)
        self._series(project)
        known = self._cases(project)
        for error in cases.misfits(known, axes, flavours):
            self._report(error)
        self._claims(project, known)
        if project.benign:
            with self._about(project.file, *project.at, "benign"):
                self._holds(project.benign, count(len(known_benign.load(project.benign)), "rule"))

    # -- files and faults -----------------------------------------------------------------------------
    def _file(self, path: Path) -> Checked:
        inside = path.is_relative_to(self._root)
        return self.files.setdefault(path, Checked(str(path.relative_to(self._root) if inside else path)))

    def _holds(self, path: Path, *what: str) -> None:
        self._file(path).holds.extend(what)

    @contextmanager
    def _about(self, path: Path, *place: str) -> Iterator[None]:
        """Report what is raised meanwhile: about this field of this file, unless it names another one."""
        before, self._reading = self._reading, (path, place)
        self._file(path)
        try:
            yield
        except UserError as e:
            self._report(e)
        finally:
            self._reading = before

    def _report(self, error: UserError) -> None:
        if isinstance(error, toml.Invalid):
            for one in error.faults:
                # A fault of a whole table has no field of its own.
                way = ".".join((*error.at, *([one.field] if one.place or not error.at else [])))
                self._file(error.path).faults.append(Fault(one.text, one.line, way, error.hint))
            return
        match = _WHERE.fullmatch(error.where)
        own, place = self._reading
        path = self._named(match["file"]) if match else None
        if match is None or path is None:
            # It names none of our files: a folder, say, or a file that is not there.
            path, line, what = own, 0, error.sentence
        else:
            line = int(match["line"] or 0)
            what = f"{error.what} ({match['more']})" if match["more"] else error.what
        way = ""
        if path == own and place and not line:
            line, way = self._line(own, place), ".".join(place)
        self._file(path).faults.append(Fault(what, line, way, error.hint))

    def _named(self, name: str) -> Path | None:
        """Return the file that an error names; None if it names none."""
        own = self._reading[0]
        # A fragment is named as the matrix names it.
        if name and (str(own) == name or str(own).endswith(f"/{name}")):
            return own
        path = Path(name)
        return path if path in self.files or (path.is_absolute() and paths.is_file(path)) else None

    def _line(self, path: Path, place: Sequence[str]) -> int:
        _, _, line = toml.place(path, place).rpartition(":")
        return int(line) if line.isdigit() else 0

    # -- what is read ---------------------------------------------------------------------------------
    def _project(self, project: Project, table: Mapping[str, Any]) -> None:
        self._declared = [name for kind in ("trees", "kernels") for name in _table(table.get(kind))]
        self._holds(project.file, *_counts(kernel=len(self._declared), receiver=len(project.receivers)))
        for name, given in project.receivers.items():
            with self._about(project.file, *project.at, "receivers", name):
                receivers.parse({name: given}, project.file, project.at)
        with self._about(project.file, *project.at, "tree"):
            if project.tree and project.tree not in self._declared:
                kernels.resolve(project.tree, project.kernels)
        for name in project.series:
            with self._about(project.file, *project.at, "series"):
                # Those below patches/ are read in any case, and a mail of a list would have to be fetched.
                if name not in series.available(project.patches) and not from_list.is_message(name):
                    series.load(name, project.patches)

    def _matrix(self, project: Project) -> tuple[Sequence[str], Sequence[str]]:
        """Read the matrix and its fragments; return the names of axes and flavours."""
        path = project.matrix
        table: Mapping[str, Any] = {}
        at: tuple[str, ...] = ()
        with self._about(project.file, *project.at, "matrix"):
            table, at = matrices.table_of(path)
        axes, flavours = _table(table.get("axes")), _table(table.get("flavours"))
        if not table:
            return (), ()
        with self._about(path):
            spec, at = matrices.read_file(path)
            self._holds(path, count(len(axes), "axis", "axes"), count(len(flavours), "flavour"))
            self._fields_of_matrix(project, spec, path, at)
        for name, place in _fragments(table, at):
            with self._about(path, *place):
                fragment = matrices.find_fragment(path, name)
                with self._about(fragment):
                    requests = matrices.read_fragment(fragment, name, self._report)
                    self._holds(fragment, count(len(requests), "symbol"))
        return list(axes), list(flavours)

    def _fields_of_matrix(self, project: Project, spec: MatrixToml, path: Path, at: tuple[str, ...]) -> None:
        for error in matrices.misfits(spec, path, at):
            self._report(error)
        for name, flavour in spec.flavours.items():
            with self._about(path, *at, "flavours", name, "devices"):
                devices.parse(flavour.devices, str(path))
        for name in spec.kernels:
            with self._about(path, *at, "kernels"):
                if name not in self._declared:
                    kernels.resolve(name, project.kernels)
        with self._about(path, *at, "module"):
            if isinstance(spec.module, OwnSource):
                own_module.find(spec.module, path.parent, (), none=True)

    def _series(self, project: Project) -> None:
        listed = series.available(project.patches)
        folders = sorted(project.patches.iterdir()) if paths.is_dir(project.patches) else []
        for folder in folders:
            own = [name for name in ("series.toml", "series") if paths.is_file(folder / name)]
            if own:
                with self._about(folder / own[0]):
                    found = series.load(
                        folder.name if folder.name in listed else str(folder), project.patches
                    )
                    self._holds(folder / own[0], count(len(found.patches), "patch", "patches"))
                    self._unnoticed(found, folder / "series.toml")

    def _unnoticed(self, series: Series, path: Path) -> None:
        """Report the entries of a series.toml that are about nothing in its patches."""
        for number, why in unmatched(series.unnoticed, hunks(series)):
            where = toml.place(path, ("unnoticed", number, "line"))
            hint = "name a line that the patches add or remove, as it is in them"
            self._report(UserError(why, where=where, hint=hint))

    def _cases(self, project: Project) -> tuple[Case, ...]:
        folder = project.cases
        files = [*sorted(folder.glob("*/case.toml")), *sorted(folder.glob("*.sh"))]
        for file in files:
            self._file(file)
        found: tuple[Case, ...] = ()
        with self._about(project.file, *project.at, "cases"):
            if paths.is_dir(folder):
                found = cases.load(folder, self._report)
        for file in files:
            own = [case for case in found if file in (case.path, case.path.parent / "case.toml")]
            self._holds(file, count(len(own), "case"))
        return found

    def _claims(self, project: Project, known: Sequence[Case]) -> None:
        path = project.cases / findings.FILE
        if not paths.is_file(path):
            return
        # A case that could not be read may be the one that stands for a claim.
        whole = not any(one.faults for file, one in self.files.items() if file.name == "case.toml")
        with self._about(path):
            tables = findings.load_claims(project.cases, known, self._report if whole else lambda _: None)
            self._holds(path, count(sum(len(one.rows) for one in tables), "claim"))


def _counts(**numbers: int) -> Iterator[str]:
    """Yield how many there are of each, of what there is any."""
    return (count(number, noun) for noun, number in numbers.items() if number)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _fragments(table: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each fragment that a matrix names, also one with faults, and the field that names it first."""
    seen: set[str] = set()
    own = [
        ((), table),
        *((("flavours", name), _table(one)) for name, one in _table(table.get("flavours")).items()),
    ]
    for way, one in own:
        given = one.get("fragments")
        for name in given if isinstance(given, list) else ():
            if isinstance(name, str) and name not in seen:
                seen.add(name)
                yield name, (*at, *way, "fragments")
