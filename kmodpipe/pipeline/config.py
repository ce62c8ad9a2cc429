"""Read what the project declares: its kmodpipe.toml, or ``[tool.kmodpipe]`` of its pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from kmodpipe.pipeline.project_toml import ProjectToml
from kmodpipe.source import TreeSpec
from kmodpipe.source.kernels import KernelSpec
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.util import paths, shipped, toml
from kmodpipe.util.errors import Report, UserError, raised, unknown_name
from kmodpipe.vm.limits import Deadlines

Tables = Mapping[str, Mapping[str, object]]
Spec = TypeVar("Spec", TreeSpec, PackagedKernelSpec)

OWN_FILE = "kmodpipe.toml"
"""The file that declares a project which is nothing but that."""
# The kernels that every project knows.
_SHIPPED = "kernels.toml"
# Below a project: its cases, and what a folder of recipes has at least one of.
_CASES = "images/guest/cases"
_RECIPES = ("builder/configure.sh", "external/external.sh", "guest/recipe.sh")
# What names a file or a folder in the table of a kernel.
_FILES = ("path", "tarball", "keyring", "vmlinuz", "modules", "headers", "config")


class _Shipped(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    trees: dict[str, dict[str, object]] = Field(default_factory=dict)
    kernels: dict[str, dict[str, object]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A checkout, with its declared trees and defaults."""

    root: Path
    # The file that declares it, and where in it: in tables of these names.
    file: Path
    at: tuple[str, ...]
    # The default tree, by name; empty if there is none.
    tree: str
    # The default series, by name.
    series: tuple[str, ...]
    # The matrix file.
    matrix: Path
    # The file of known benign reports.
    benign: Path | None
    jobs: int
    # The declared trees, by name.
    trees: Mapping[str, TreeSpec]
    deadlines: Deadlines
    # As declared; `kmodpipe.publish.receivers.parse` reads them.
    receivers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    # The repository of a registry for shared artifacts, or "".
    share: str = ""
    # Groups of kernel messages that fail every case.
    watch: tuple[str, ...] = ()
    # The folder of cases, if it is not that of the recipes.
    own_cases: Path | None = None
    # The declared kernels of distributions, by name.
    packaged: Mapping[str, PackagedKernelSpec] = field(default_factory=dict)
    # As declared; `kmodpipe.cluster.settings.parse` reads them.
    clusters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def kernels(self) -> Mapping[str, KernelSpec]:
        """All declared kernels, by name."""
        return {**self.trees, **self.packaged}

    @property
    def images(self) -> Path:
        """The folder of recipes: the project's own, or the package's if it has none.

        A folder ``images`` without recipes is something else: pictures, say.
        """
        own = self.root / "images"
        if paths.is_dir(own) and not any(paths.exists(own / one) for one in _RECIPES):
            return shipped.folder("images")
        return shipped.or_shipped(own, shipped.folder("images"))

    @property
    def patches(self) -> Path:
        """The folder of series."""
        return self.root / "patches"

    @property
    def has_cases(self) -> bool:
        """Whether it has cases of its own; those that come with the package are overlayfs's."""
        return bool(self.own_cases) or self.file.name != OWN_FILE or paths.is_dir(self.root / _CASES)

    @property
    def cases(self) -> Path:
        """The folder of cases."""
        own = self.root / _CASES
        return self.own_cases or (own if paths.is_dir(own) else self.images / "guest" / "cases")


def _settings(root: Path, report: Report, *, required: bool) -> tuple[ProjectToml, Path, tuple[str, ...]]:
    """Return the project's settings, the file that has them, and where in it."""
    table, path, at = own_table(root, required=required)
    try:
        what = f"[{'.'.join(at)}]" if at else OWN_FILE
        return toml.validate(ProjectToml, table, what, path, at=at), path, at
    except toml.Invalid as e:
        report(e)
        rest = table if isinstance(table, dict) else {}
        return ProjectToml.model_validate(_without(rest, [one.place for one in e.faults])), path, at


def _without(table: Mapping[str, Any], wrong: Iterable[Sequence[object]]) -> dict[str, Any]:
    """Return a table without what is wrong in it: an entry of an inner table, or else a field."""
    rest = dict(table)
    for name, *inner in (place for place in wrong if place):
        field = rest.pop(str(name), None)
        if isinstance(field, dict) and inner:
            rest[str(name)] = {key: value for key, value in field.items() if key != inner[0]}
    return rest


def own_table(root: Path, *, required: bool = True) -> tuple[Any, Path, tuple[str, ...]]:
    """Return what declares a project, as it stands there, the file, and where in it.

    Raise UserError if nothing does, unless one is not ``required``, and for a file that is not TOML.
    """
    own = root / OWN_FILE
    if paths.is_file(own):
        return toml.read(own, OWN_FILE), own, ()
    path, at = root / "pyproject.toml", ("tool", "kmodpipe")
    table = toml.read(path, "pyproject.toml").get("tool") if paths.exists(path) else None
    if isinstance(table, dict) and "kmodpipe" in table:
        return table["kmodpipe"], path, at
    if not required:
        return {}, own, ()
    raise UserError(
        f"this folder is in no project: there is no {OWN_FILE}, and no pyproject.toml with [tool.kmodpipe]",
        where=str(root),
        hint="invoke init makes one here; or run it in a project, or below",
    )


def load(root: Path, report: Report = raised, *, required: bool = True) -> Project:
    """Read ``root/kmodpipe.toml`` or pyproject.toml. Report a UserError with the name of a wrong field.

    Unless it is ``required``, a folder that declares no project has what the package brings along. Raise
    UserError if nothing declares one, or the file is not TOML.
    """
    settings, path, at = _settings(root, report, required=required)
    trees, packaged = _kernels(settings.trees, settings.kernels, path, at, report)
    ready_trees, ready_packaged = _ready()
    trees = {**{name: one for name, one in ready_trees.items() if name not in packaged}, **trees}
    packaged = {**{name: one for name, one in ready_packaged.items() if name not in trees}, **packaged}
    known = [f.name for f in fields(Deadlines)]
    for name in settings.deadlines:
        if name not in known:
            place = (*at, "deadlines", name)
            report(unknown_name("deadline", name, known, where=toml.place(path, place)))
    deadlines = Deadlines(**{name: value for name, value in settings.deadlines.items() if name in known})
    return Project(
        root=root,
        file=path,
        at=at,
        tree=settings.tree,
        series=settings.series,
        # A table of the file itself is read from there: `kconfig.load_matrix`.
        matrix=_kconfig_file(root, settings.matrix) if isinstance(settings.matrix, str) else path,
        benign=_kconfig_file(root, settings.benign) if settings.benign else None,
        jobs=settings.jobs or os.cpu_count() or 1,
        trees=trees,
        deadlines=deadlines,
        receivers=settings.receivers,
        share=os.environ.get("KMODPIPE_SHARE") or settings.share,
        watch=settings.watch,
        own_cases=_own_cases(root, settings.cases, path, at, report),
        packaged=packaged,
        clusters=settings.cluster,
    )


def ready_kernels() -> Mapping[str, KernelSpec]:
    """Return the kernels that every project knows, by name."""
    trees, packaged = _ready()
    return {**trees, **packaged}


def kernels_in_use(project: Project) -> Mapping[str, KernelSpec]:
    """Return the kernels that a project declares, and those that its matrix or its default names.

    With a tree comes the one that stands in for it. All trees that are known where there are none.
    """
    from kmodpipe.kconfig import matrix

    named = {project.tree}
    # What is wrong with a matrix is for other commands to say.
    with suppress(UserError):
        named |= {*matrix.read_file(project.matrix)[0].kernels}
    named |= {tree.stand_in for name in named if (tree := project.trees.get(name)) and tree.stand_in}
    ready = ready_kernels()
    used = {name: one for name, one in project.kernels.items() if name in named or ready.get(name) != one}
    return used or project.trees


def _ready() -> tuple[dict[str, TreeSpec], dict[str, PackagedKernelSpec]]:
    path = shipped.folder("kconfigs") / _SHIPPED
    ready = toml.load(path, _Shipped, _SHIPPED)
    return _kernels(ready.trees, ready.kernels, path, (), raised)


def _own_cases(root: Path, name: str, path: Path, at: tuple[str, ...], report: Report) -> Path | None:
    """Return the folder of the project's cases, if it names one. Report a UserError if there is none."""
    if not name:
        return None
    if not paths.is_dir(root / name):
        place = toml.place(path, (*at, "cases"))
        report(UserError(f"the folder of cases does not exist: {name}", where=place))
    return root / name


def _kernels(
    trees: Tables, kernels: Tables, path: Path, at: tuple[str, ...], report: Report
) -> tuple[dict[str, TreeSpec], dict[str, PackagedKernelSpec]]:
    """Read the tables of trees and of distributions' kernels in a file. Report each wrong field."""
    for both in sorted(trees.keys() & kernels.keys()):
        place = toml.place(path, (*at, "kernels", both))
        report(UserError(f"both a tree and a distribution's kernel are named {both}", where=place))

    def read(model: type[Spec], kind: str, tables: Tables) -> dict[str, Spec]:
        found = {}
        for name, given in tables.items():
            place = (*at, kind, name)
            values = {"name": name, **{key: _from(path.parent, key, value) for key, value in given.items()}}
            try:
                found[name] = toml.validate(model, values, f"[{'.'.join(place)}]", path, at=place)
            except UserError as e:
                report(e)
        return found

    return read(TreeSpec, "trees", trees), read(PackagedKernelSpec, "kernels", kernels)


def _from(home: Path, key: str, value: object) -> object:
    """Return a value of a kernel's table; a file or folder is one of the project's if it is relative."""
    if key not in _FILES or not isinstance(value, str) or not value or "://" in value:
        return value
    return str(home / paths.expanded(value))


def _kconfig_file(root: Path, name: str) -> Path:
    """Return the path of a file of the project, or the package's if the project has no ``kconfigs/NAME``."""
    first, _, rest = name.partition("/")
    if first == "kconfigs" and paths.is_plain(rest):
        return shipped.or_shipped(root / name, shipped.folder("kconfigs") / rest)
    return root / name
