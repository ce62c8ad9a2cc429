"""The question that a run answers: digests of everything that can change one of its verdicts.

They are made from the records themselves: every field of a `RunSpec`, and of every record in it, counts,
unless `EXEMPT` names it with the reason why no verdict depends on it. A field that is added to a record is
part of the question by itself. A path counts with what the file holds. Beside the spec stand the recipes for
kernels and guests with the agent, the cases' shell library, and the code of this program.

`invoke ci --if-changed` compares the facts of two runs, ``invoke collect`` those of a plan and of its jobs.
What is known only with a workspace (the identities of the tree and of a module's own source, the builder
image) is compared beside them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

from pydantic import BaseModel

from kmodpipe import __version__
from kmodpipe.judge.cases import Case, Expectation
from kmodpipe.kconfig import Flavour, Matrix, SymbolRequest
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.pipeline import snapshot
from kmodpipe.pipeline.config import Project
from kmodpipe.pipeline.own_module import ModuleUnderTest
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.series import Patch, Port, Series
from kmodpipe.source.tree import ModuleSpec
from kmodpipe.util.digest import digest_file, digest_of, digest_tree

_PLACE = "where files are, not what they hold"
_PEOPLE = "text for people, in no comparison"
_RESOLVED = "a name; what it stands for is a field of its own"
_WORK = "how the work is done, not what is tested"

EXEMPT: Mapping[type, Mapping[str, str]] = {
    RunSpec: {
        "trees": "where the trees come from; their identities are compared",
        "head": "which commits the trees are, whose identities are compared; how new the tools' packages are",
        "companions": "how cells came to be chosen; the cells themselves are compared",
        "sample_notes": _PEOPLE,
        "skip_illegal": "a cell that is ruled out runs no case either way",
        "out": _PLACE,
        "jobs": _WORK,
        "share": "artifacts from a registry are the same as built here, by key and digest",
        "shuffle": "the order of cases changes no verdict, and a random one would differ every night",
        "awaited": "in which order cells are tested",
        "command": _PEOPLE,
        "repeat_command": _PEOPLE,
        "series_arguments": _PLACE,
        "case_arguments": _PLACE,
        "question": "the command line, by which the answer is found; all that it means is in other fields",
    },
    Project: {
        "root": _PLACE,
        "file": _PLACE,
        "at": _PLACE,
        "own_cases": "the cases themselves are compared",
        "packaged": "where kernels come from; the identity of the tested one is compared",
        "tree": _RESOLVED,
        "series": _RESOLVED,
        "matrix": _RESOLVED,
        "benign": _RESOLVED,
        "jobs": _WORK,
        "trees": "where trees come from; the identity of the tested one is compared",
        "receivers": "where results go, not what they are",
        "clusters": _WORK,
        "share": "artifacts from a registry are the same as built here, by key and digest",
    },
    Matrix: {
        "path": _PLACE,
        "configured": "which kernels are a distribution's; their identities are compared",
    },
    ModuleUnderTest: {"control": _PEOPLE},
    ModuleSpec: {
        "name": _PEOPLE,
        "summary": _PEOPLE,
        "git": "where the module's source comes from; its identity is compared",
        "path": "where the module's source is; its identity is compared",
    },
    OwnSource: {"source": _PLACE},
    Flavour: {"summary": _PEOPLE},
    SymbolRequest: {"origin": "the line of a fragment, for messages"},
    Series: {
        "summary": _PEOPLE,
        "origin": _PLACE,
        "subject": _PEOPLE,
        "message_id": _PEOPLE,
        "text": _PEOPLE,
        "notices": _PEOPLE,
        "unnoticed": "what invoke ablate explains, which changes no verdict",
    },
    Port: {"name": _PLACE},
    Patch: {"name": _PEOPLE, "path": _PLACE, "text": _PEOPLE},
    Case: {"summary": _PEOPLE, "proves": _PEOPLE},
    Expectation: {"reason": _PEOPLE},
}
"""By record and field: why no verdict depends on it."""

OF_A_JOB: Mapping[str, str] = {
    "cells": "a job has some of the plan's; each is made of the matrix and the series, which are compared",
    "chosen": "a job's cells are always a selection; the plan says whether its own are",
    "allow_empty": "a job may have cells without a case for them; the plan says whether the whole run may",
}
"""The fields of a `RunSpec` that differ between the jobs of one plan, and why these are parts of one run."""

WORDS: Mapping[str, str] = {
    "project": "the project's deadlines, or what it watches for",
    "matrix": "the matrix",
    "module": "the module under test",
    "own": "the module's own source",
    "series": "a series, or what its series.toml declares",
    "case": "the cases, or what is expected of them",
    "benign": "the known benign reports",
    "retries": "how often cases run",
    "runtime": "where builds run",
    "chosen": "how cells were chosen",
    "allow_empty": "whether a run may be empty",
    "program": "kmodpipe itself",
    "recipes": "the recipes for kernels and guests",
    "library": "the cases' library",
}
"""What a part of the question is, in words."""

# The word for one element, where it is not the field's name.
_ONE_OF = {"cells": "cell", "cases": "case"}
_PREFIX = "question"
_SHOWN = 32


def facts(spec: RunSpec) -> Mapping[str, str]:
    """Return a digest (SHA-256, hex) of each part of the question, by a name for messages.

    Series, cases and cells have one each (``series.NAME``, ``case.ID``, ``cell.ID``). Raise OSError for a
    script or a recipe that cannot be read.
    """
    found = dict(_outside(spec))
    for name in _fields(spec):
        found |= {part: digest_of(plain(value)) for part, value in _parts(name, getattr(spec, name))}
    return found


def comparable(spec: RunSpec) -> Mapping[str, str]:
    """Return the facts that all jobs of one plan share, one for each kind, as properties of a run."""
    of_a_job = {*OF_A_JOB, *(_ONE_OF.get(name, name) for name in OF_A_JOB)}
    kinds: dict[str, dict[str, str]] = {}
    for name, digest in facts(spec).items():
        kinds.setdefault(name.partition(".")[0], {})[name] = digest
    shared = {kind: digest_of(found) for kind, found in kinds.items() if kind not in of_a_job}
    return {
        **{f"{_PREFIX}.{kind}": digest[:_SHOWN] for kind, digest in shared.items()},
        # The last: a message names the part that differs.
        _PREFIX: digest_of(shared)[:_SHOWN],
    }


def case_facts(spec: RunSpec) -> Mapping[str, str]:
    """Return the digest of each case with its expectations, by its id."""
    return {case.id: digest_of(plain(case))[:_SHOWN] for case in spec.cases}


def plain(value: object) -> object:
    """Return *value* as plain JSON without the exempt fields; equal only if equal questions.

    Raise TypeError for a value of a kind that is not known here: none is left out unnoticed.
    """
    if isinstance(value, Enum):
        return [type(value).__name__, plain(value.value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, Path):
        return _content(value)
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        return {name: plain(getattr(value, name)) for name in _fields(value)}
    if isinstance(value, Mapping):
        # In their order, which some records give a meaning.
        return [[plain(key), plain(inner)] for key, inner in value.items()]
    if isinstance(value, (tuple, list)):
        return [plain(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted(digest_of(plain(inner)) for inner in value)
    raise TypeError(f"a {type(value).__name__} in a run's question")


def _fields(record: object) -> list[str]:
    """Return the names of a record's fields that are not exempt."""
    if isinstance(record, BaseModel):
        names = list(type(record).model_fields)
    else:
        names = [f.name for f in dataclasses.fields(record)]  # type: ignore[arg-type]
    exempt = EXEMPT.get(type(record), {})
    return [name for name in names if name not in exempt]


def _parts(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the parts of one field: each record that has a name or an id, else the whole value."""
    records = value if isinstance(value, tuple) else ()
    names = [_name_of(one) for one in records]
    if not names or not all(names):
        yield name, value
        return
    for own, one in zip(names, records, strict=True):
        yield f"{_ONE_OF.get(name, name)}.{own}", one


def _name_of(record: object) -> str:
    return str(getattr(record, "id", "") or getattr(record, "name", ""))


def _content(path: Path) -> list[str]:
    """Return the name of a file and the digest of what it holds."""
    return [path.name, digest_tree(path) if path.is_dir() else digest_file(path)]


def _outside(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Yield what a verdict depends on and no field of the spec holds."""
    images = spec.project.images
    yield "program", program_digest()
    yield "recipes", snapshot.recipes_digest(images)
    yield "library", digest_file(images / "guest" / "lib.sh")


@functools.cache
def program_digest() -> str:
    """Return the digest of the code of this program, as it was loaded."""
    package = Path(__file__).resolve().parent.parent
    code = {p.relative_to(package).as_posix(): digest_file(p) for p in sorted(package.rglob("*.py"))}
    return digest_of([__version__, code])
