"""What the project declares: ``[tool.kmodpipe]`` of its pyproject.toml, and where things are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from kmodpipe.source import TreeSpec
from kmodpipe.util import paths, shipped, toml
from kmodpipe.util.errors import UserError
from kmodpipe.vm.limits import Deadlines


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tree: str
    series: tuple[str, ...] = ()
    matrix: str = "kconfigs/matrix.toml"
    benign: str = ""
    jobs: int | None = Field(default=None, ge=1)
    share: str = ""
    trees: dict[str, dict[str, object]] = Field(default_factory=dict)
    deadlines: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    receivers: dict[str, dict[str, object]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A checkout: its declared trees and defaults, and its folders."""

    root: Path
    tree: str
    series: tuple[str, ...]
    matrix: Path
    benign: Path | None
    jobs: int
    trees: Mapping[str, TreeSpec]
    deadlines: Deadlines
    # As declared; `kmodpipe.publish.receivers.parse` reads them.
    receivers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    share: str = ""

    @property
    def file(self) -> Path:
        """The file that declares the project."""
        return self.root / "pyproject.toml"

    @property
    def images(self) -> Path:
        """The project's own recipes and guest, or those that the package brings along."""
        return shipped.or_shipped(self.root / "images", shipped.folder("images"))

    @property
    def patches(self) -> Path:
        return self.root / "patches"

    @property
    def cases(self) -> Path:
        return self.images / "guest" / "cases"


def find_root(folder: Path) -> Path:
    """Return the nearest of ``folder`` and those above it with a project; ``folder`` if none has one."""
    for candidate in (folder, *folder.parents):
        try:
            if "[tool.kmodpipe]" in (candidate / "pyproject.toml").read_text("utf-8"):
                return candidate
        except (OSError, UnicodeDecodeError):
            continue
    return folder


def load(root: Path) -> Project:
    """Read ``root/pyproject.toml``. Raises UserError naming the field that is wrong."""
    path = root / "pyproject.toml"
    table = toml.read(path, "pyproject.toml", missing_hint="run invoke in the checkout").get("tool", {})
    if "kmodpipe" not in table:
        raise UserError("pyproject.toml has no [tool.kmodpipe]", where=str(path))
    settings = toml.validate(_Table, table["kmodpipe"], "[tool.kmodpipe]", path)
    trees = {
        name: toml.validate(TreeSpec, {"name": name, **given}, f"[tool.kmodpipe.trees.{name}]", path)
        for name, given in settings.trees.items()
    }
    known = [f.name for f in fields(Deadlines)]
    if set(settings.deadlines) - set(known):
        raise UserError(
            "[tool.kmodpipe.deadlines] names a deadline that does not exist",
            where=str(path),
            hint=f"there are: {', '.join(known)}",
        )
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
    )


def _kconfig_file(root: Path, name: str) -> Path:
    """Return a file of the project; ``kconfigs/NAME`` is the package's where the project has none."""
    first, _, rest = name.partition("/")
    if first == "kconfigs" and paths.is_plain(rest):
        return shipped.or_shipped(root / name, shipped.folder("kconfigs") / rest)
    return root / name
