"""Read what the project declares: its kmodpipe.toml, or ``[tool.kmodpipe]`` of its pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from kmodpipe.logs.watch import WatchName
from kmodpipe.source import TreeSpec
from kmodpipe.source.kernels import KernelSpec
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.util import paths, shipped, toml
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.vm.limits import Deadlines

Tables = Mapping[str, Mapping[str, object]]
Spec = TypeVar("Spec", TreeSpec, PackagedKernelSpec)

OWN_FILE = "kmodpipe.toml"
"""The file that declares a project which is nothing but that."""
# The kernels that every project knows.
_SHIPPED = "kernels.toml"
# What names a file or a folder in the table of a kernel.
_FILES = ("path", "tarball", "keyring", "vmlinuz", "modules", "headers", "config")


class _Shipped(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    trees: dict[str, dict[str, object]] = Field(default_factory=dict)
    kernels: dict[str, dict[str, object]] = Field(default_factory=dict)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tree: str = ""
    series: tuple[str, ...] = ()
    matrix: str | dict[str, object] = "kconfigs/matrix.toml"
    cases: str = ""
    benign: str = ""
    watch: tuple[WatchName, ...] = ()
    jobs: int | None = Field(default=None, ge=1)
    share: str = ""
    trees: dict[str, dict[str, object]] = Field(default_factory=dict)
    kernels: dict[str, dict[str, object]] = Field(default_factory=dict)
    deadlines: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    receivers: dict[str, dict[str, object]] = Field(default_factory=dict)


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

    @property
    def kernels(self) -> Mapping[str, KernelSpec]:
        """All declared kernels, by name."""
        return {**self.trees, **self.packaged}

    @property
    def images(self) -> Path:
        """The folder of recipes: the project's own, or the package's if it has none."""
        return shipped.or_shipped(self.root / "images", shipped.folder("images"))

    @property
    def patches(self) -> Path:
        """The folder of series."""
        return self.root / "patches"

    @property
    def has_cases(self) -> bool:
        """Whether it has cases of its own; those that come with the package are overlayfs's."""
        return bool(self.own_cases) or self.file.name != OWN_FILE or paths.is_dir(self.root / "images")

    @property
    def cases(self) -> Path:
        """The folder of cases."""
        return self.own_cases or self.images / "guest" / "cases"


def _settings(root: Path, *, required: bool) -> tuple[_Table, Path, tuple[str, ...]]:
    """Return the project's settings, the file that has them, and where in it."""
    own = root / OWN_FILE
    if paths.is_file(own):
        return toml.load(own, _Table, OWN_FILE), own, ()
    path, at = root / "pyproject.toml", ("tool", "kmodpipe")
    table = toml.read(path, "pyproject.toml").get("tool", {}) if paths.exists(path) else {}
    if "kmodpipe" in table:
        return toml.validate(_Table, table["kmodpipe"], "[tool.kmodpipe]", path, at=at), path, at
    if not required:
        return _Table(), own, ()
    raise UserError(
        f"this folder is in no project: there is no {OWN_FILE}, and no pyproject.toml with [tool.kmodpipe]",
        where=str(root),
        hint="invoke init makes one here; or run it in a project, or below",
    )


def load(root: Path, *, required: bool = True) -> Project:
    """Read ``root/kmodpipe.toml`` or pyproject.toml. Raises UserError with the name of a wrong field.

    Unless it is ``required``, a folder that declares no project has what the package brings along.
    """
    settings, path, at = _settings(root, required=required)
    trees, packaged = _kernels(settings.trees, settings.kernels, path, at)
    ready_trees, ready_packaged = _ready()
    trees = {**{name: one for name, one in ready_trees.items() if name not in packaged}, **trees}
    packaged = {**{name: one for name, one in ready_packaged.items() if name not in trees}, **packaged}
    known = [f.name for f in fields(Deadlines)]
    for name in settings.deadlines:
        if name not in known:
            place = (*at, "deadlines", name)
            raise unknown_name("deadline", name, known, where=toml.place(path, place))
    deadlines = Deadlines(**settings.deadlines)
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
        own_cases=_own_cases(root, settings.cases, path, at),
        packaged=packaged,
    )


def ready_kernels() -> Mapping[str, KernelSpec]:
    """Return the kernels that every project knows, by name."""
    trees, packaged = _ready()
    return {**trees, **packaged}


def _ready() -> tuple[dict[str, TreeSpec], dict[str, PackagedKernelSpec]]:
    path = shipped.folder("kconfigs") / _SHIPPED
    ready = toml.load(path, _Shipped, _SHIPPED)
    return _kernels(ready.trees, ready.kernels, path, ())


def _own_cases(root: Path, name: str, path: Path, at: tuple[str, ...]) -> Path | None:
    """Return the folder of the project's cases, if it names one. Raise UserError if there is none."""
    if not name:
        return None
    if not paths.is_dir(root / name):
        raise UserError(f"the folder of cases does not exist: {name}", where=toml.place(path, (*at, "cases")))
    return root / name


def _kernels(
    trees: Tables, kernels: Tables, path: Path, at: tuple[str, ...]
) -> tuple[dict[str, TreeSpec], dict[str, PackagedKernelSpec]]:
    """Read the tables of trees and of distributions' kernels in a file. Raise UserError for a wrong field."""
    if both := sorted(trees.keys() & kernels.keys()):
        place = toml.place(path, (*at, "kernels", both[0]))
        raise UserError(f"both a tree and a distribution's kernel are named {both[0]}", where=place)

    def read(model: type[Spec], kind: str, tables: Tables) -> dict[str, Spec]:
        found = {}
        for name, given in tables.items():
            place = (*at, kind, name)
            values = {"name": name, **{key: _from(path.parent, key, value) for key, value in given.items()}}
            found[name] = toml.validate(model, values, f"[{'.'.join(place)}]", path, at=place)
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
