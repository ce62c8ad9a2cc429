"""The format of a project's file: `kmodpipe.toml`, or the table ``[tool.kmodpipe]`` of a pyproject.toml.

The docstring below a field is its description in docs/reference and in the JSON Schema. What the tables of
kernels and of receivers hold is read by the rooms that use them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from kmodpipe.logs.watch import WatchName

_Matrix = Annotated[
    Annotated[str, Tag("[file]")] | Annotated[dict[str, object], Tag("[table]")],
    Discriminator(lambda given: "[table]" if isinstance(given, dict) else "[file]"),
]


class ProjectToml(BaseModel):
    """What is tested: kernels, series, matrix and cases. Paths are relative to the file. All of it is
    optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tree: str = ""
    """The kernel to test on if neither the command line nor the matrix names one."""
    series: tuple[str, ...] = ()
    """The series to test if the command line names none."""
    matrix: _Matrix = "kconfigs/matrix.toml"
    """The matrix file, or the matrix itself as a table."""
    cases: str = ""
    """The folder of cases: scripts `NAME.sh`, and folders with a case.toml. Without it,
    `images/guest/cases`."""
    benign: str = ""
    """A file of kernel reports that are known to be harmless."""
    watch: tuple[WatchName, ...] = ()
    """Groups of kernel messages that fail every case."""
    jobs: int | None = Field(default=None, ge=1)
    """How many compilers or guests run at once. Without it, one a processor."""
    share: str = ""
    """A registry's repository to share built artifacts through. `$KMODPIPE_SHARE` is taken first."""
    trees: dict[str, dict[str, object]] = Field(default_factory=dict)
    """Kernels that are built, by name."""
    kernels: dict[str, dict[str, object]] = Field(default_factory=dict)
    """Distributions' kernels, which are booted as they are, by name."""
    deadlines: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Time limits of a boot."""
    receivers: dict[str, dict[str, object]] = Field(default_factory=dict)
    """Where `publish --to NAME` sends results, by name."""
    cluster: dict[str, dict[str, object]] = Field(default_factory=dict)
    """Where `--on NAME` builds and boots cells, by name."""
