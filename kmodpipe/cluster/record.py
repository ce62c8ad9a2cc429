"""What a run folder keeps of a run on a cluster, so that another command can be attached to it.

OUT/<run>/cluster.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kmodpipe.ci.job_plan import Plan
from kmodpipe.cluster.graph import Task
from kmodpipe.util import document
from kmodpipe.util.errors import UserError
from kmodpipe.util.files import write_atomically

NAME = "cluster.json"
SCHEMA = "kmodpipe-cluster"
VERSION = 1
_MOST_MIB = 256


@dataclass(frozen=True)
class Record:
    """A run on a cluster, as it was begun."""

    run: str
    started: str
    # The scheduler's address; and the word behind --on, which may name its certificates.
    address: str
    on: str
    # Whether its scheduler is still there when the command has ended.
    lasts: bool
    program: str
    # That of the workers that can do its work.
    resource: str
    bundle: str
    plan: Plan
    tasks: tuple[Task, ...]
    # The properties that the run has whatever its jobs say.
    properties: Mapping[str, str] = field(default_factory=dict)
    # ci rather than test: the provenance is printed at the end.
    scheduled: bool = False
    # It builds and boots nothing.
    builds: bool = False
    # No registry gives what one worker built to the others: it travels through Dask.
    carries: bool = False
    runtime: str = "docker"
    # The name of the builder image.
    image: str = ""


def save(record: Record, folder: Path) -> None:
    """Write the record into a run's folder."""
    made = {"schema": SCHEMA, "version": VERSION, "record": asdict(record)}
    write_atomically(folder / NAME, json.dumps(made, ensure_ascii=True))


def load(folder: Path) -> Record:
    """Return the record of a run. Raise UserError if the run was on no cluster, or it cannot be read."""
    path = folder / NAME
    if not path.is_file():
        raise UserError(
            "this run is on no cluster: there is nothing to attach to",
            where=str(folder),
            hint="invoke report",
        )
    with document.given("the record of a run on a cluster", str(path)):
        found = document.read_json(path, most=_MOST_MIB * document.MIB)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or found.get("version") != VERSION:
        raise UserError("another version of kmodpipe began this run", where=str(path))
    return document.validated(Record, found.get("record"), "the record of a run on a cluster", str(path))
