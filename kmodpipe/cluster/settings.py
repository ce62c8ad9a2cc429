"""Read ``[tool.kmodpipe.cluster.NAME]``: where `--on NAME` runs.

The docstring below a field is its description in docs/reference and in the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from kmodpipe.util import paths, toml
from kmodpipe.util.errors import UserError

Launcher = Literal[
    "ssh", "slurm", "pbs", "lsf", "sge", "oar", "htcondor", "moab", "kubernetes",
]  # fmt: skip

CLASSES: Mapping[str, tuple[str, str]] = {
    "ssh": ("distributed", "SSHCluster"),
    "slurm": ("dask_jobqueue", "SLURMCluster"),
    "pbs": ("dask_jobqueue", "PBSCluster"),
    "lsf": ("dask_jobqueue", "LSFCluster"),
    "sge": ("dask_jobqueue", "SGECluster"),
    "oar": ("dask_jobqueue", "OARCluster"),
    "htcondor": ("dask_jobqueue", "HTCondorCluster"),
    "moab": ("dask_jobqueue", "MoabCluster"),
    "kubernetes": ("dask_kubernetes.operator", "KubeCluster"),
}
"""The module and the class of each launcher."""


class TlsToml(BaseModel):
    """The certificates with which a `tls://` scheduler and its clients know each other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: str
    """The file of the certificate that signed the others."""
    cert: str
    """The file of the client's certificate."""
    key: str
    """The file of its private key."""


class ClusterToml(BaseModel):
    """Where `--on NAME` runs: a scheduler that is there, or one that is started for the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: str = ""
    """The address of a Dask scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`."""
    launcher: Launcher | None = None
    """What starts a scheduler and workers for the run: `slurm` is dask-jobqueue's SLURMCluster."""
    workers: int = Field(default=1, ge=1)
    """How many workers, or jobs with workers, the launcher is to start. `ssh` starts one a host."""
    options: dict[str, object] = Field(default_factory=dict)
    """The launcher's own settings, which are handed to it as they stand."""
    patience_s: float = Field(default=0, ge=0)
    """Seconds to wait for the first worker. Without it 15; 600 for what a launcher starts."""
    tls: TlsToml | None = None
    """Certificates. Without them those of Dask's own configuration are taken."""
    requires: dict[str, float] = Field(default_factory=dict)
    """Dask resources that a worker has to have for any of our work, such as `{ kvm = 1 }`."""


def parse(
    tables: Mapping[str, Mapping[str, object]], path: Path, at: tuple[str, ...]
) -> Mapping[str, ClusterToml]:
    """Return the clusters that a project's file declares, by name. Raise UserError for a wrong one."""
    return {name: _one(name, table, path, (*at, "cluster", name)) for name, table in tables.items()}


def _one(name: str, table: Mapping[str, object], path: Path, at: tuple[str, ...]) -> ClusterToml:
    place = toml.place(path, at)
    if name == "local" or "://" in name or ":" in name:
        raise UserError(f"{name!r} is no name for a cluster", where=place, hint="--on local is this machine")
    found = toml.validate(ClusterToml, table, f"[{'.'.join(at)}]", path, at=at)
    if bool(found.scheduler) == bool(found.launcher):
        raise UserError(
            f"cluster {name} takes a scheduler or a launcher, one of the two",
            where=place,
            hint='scheduler = "tcp://HOST:8786", or launcher = "slurm"',
        )
    if found.tls is None:
        return found
    home = path.parent
    files = {key: str(home / paths.expanded(value)) for key, value in found.tls.model_dump().items()}
    return found.model_copy(update={"tls": TlsToml(**files)})
