"""Read what the project declares: ``[tool.kmodpipe]`` of its pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from kmodpipe.logs.watch import WatchName
from kmodpipe.source import TreeSpec
from kmodpipe.util import paths, shipped, toml
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.vm.limits import Deadlines


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tree: str
    series: tuple[str, ...] = ()
    matrix: str = "kconfigs/matrix.toml"
    benign: str = ""
    watch: tuple[WatchName, ...] = ()
    jobs: int | None = Field(default=None, ge=1)
    share: str = ""
    trees: dict[str, dict[str, object]] = Field(default_factory=dict)
    deadlines: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    receivers: dict[str, dict[str, object]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A checkout, with its declared trees and defaults."""

    root: Path
    # The default tree, by name.
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

    @property
    def file(self) -> Path:
        """The file that declares the project."""
        return self.root / "pyproject.toml"

    @property
    def images(self) -> Path:
        """The folder of recipes: the project's own, or the package's if it has none."""
        return shipped.or_shipped(self.root / "images", shipped.folder("images"))

    @property
    def patches(self) -> Path:
        """The folder of series."""
        return self.root / "patches"

    @property
    def cases(self) -> Path:
        """The folder of cases."""
        return self.images / "guest" / "cases"


def load(root: Path) -> Project:
    """Read ``root/pyproject.toml``. Raises UserError with the name of a wrong field."""
    path = root / "pyproject.toml"
    table = toml.read(
        path, "pyproject.toml", missing_hint="run it in the checkout, or in a folder below"
    ).get("tool", {})
    if "kmodpipe" not in table:
        raise UserError("pyproject.toml has no [tool.kmodpipe]", where=str(path))
    settings = toml.validate(_Table, table["kmodpipe"], "[tool.kmodpipe]", path, at=("tool", "kmodpipe"))
    trees = {
        name: toml.validate(
            TreeSpec,
            {"name": name, **given},
            f"[tool.kmodpipe.trees.{name}]",
            path,
            at=("tool", "kmodpipe", "trees", name),
        )
        for name, given in settings.trees.items()
    }
    known = [f.name for f in fields(Deadlines)]
    for name in settings.deadlines:
        if name not in known:
            place = ("tool", "kmodpipe", "deadlines", name)
            raise unknown_name("deadline", name, known, where=toml.place(path, place))
    deadlines = Deadlines(**settings.deadlines)
    return Project(
        root=root,
        tree=settings.tree,
        series=settings.series,
        matrix=_kconfig_file(root, settings.matrix),
        benign=_kconfig_file(root, settings.benign) if settings.benign else None,
        jobs=settings.jobs or os.cpu_count() or 1,
        trees=trees,
        deadlines=deadlines,
        receivers=settings.receivers,
        share=os.environ.get("KMODPIPE_SHARE") or settings.share,
        watch=settings.watch,
    )


def _kconfig_file(root: Path, name: str) -> Path:
    """Return the path of a file of the project, or the package's if the project has no ``kconfigs/NAME``."""
    first, _, rest = name.partition("/")
    if first == "kconfigs" and paths.is_plain(rest):
        return shipped.or_shipped(root / name, shipped.folder("kconfigs") / rest)
    return root / name
