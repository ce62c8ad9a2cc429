"""Write and read results.json, which holds a whole run. Pure except for `save` and `load`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kmodpipe.results.effects import Effect, effects
from kmodpipe.results.model import Run, exit_code, totals, unjudged
from kmodpipe.util import document
from kmodpipe.util.errors import ExitCode, UserError
from kmodpipe.util.files import write_atomically

SCHEMA: Literal["kmodpipe-results"] = "kmodpipe-results"
VERSION: Literal[1] = 1
# A larger results.json is not read. A run of 1000 cells with 100 cases has about 100 MiB if a tenth of them
# failed.
MOST_BYTES = 256 * document.MIB


@dataclass(frozen=True)
class Results:
    """A whole run: `run` is what is read again, the rest is computed of it, so that readers need not do
    so."""

    schema: Literal["kmodpipe-results"]
    """What this document is."""
    version: Literal[1]
    """It is raised when a field gets another meaning. A later kmodpipe may add fields without that."""
    exit_code: ExitCode
    """0: all as expected, 1: a kernel or test failure, 3: something has no verdict."""
    totals: Mapping[str, int]
    """The number of case results by verdict: `pass`, `fail`, `error`, `skip`; and of `flaky` ones (among the
    failures), of `known defects` (among the passes), of `dead axes`."""
    unjudged: tuple[str, ...]
    """Sentences that say what of the run proves nothing, because no case was judged."""
    effects: tuple[Effect, ...]
    """What each series did to each case, compared with the control."""
    run: Run
    """The run."""


def to_json(run: Run) -> str:
    """Return the run as JSON, with what readers need not compute: exit code, totals, effects, unjudged."""
    made = Results(
        schema=SCHEMA,
        version=VERSION,
        exit_code=exit_code(run),
        totals=totals(run),
        unjudged=tuple(one.message for one in unjudged(run)) if run.finished else (),
        effects=effects(run),
        run=run,
    )
    return json.dumps(plain(made), indent=1, ensure_ascii=True) + "\n"


def plain(value: Any) -> Any:
    """Return *value* as plain JSON values.

    Lone surrogates are written out as the text ``\\udc80``, since many JSON readers refuse them.
    """
    if isinstance(value, str):
        return str(value) if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def from_json(text: str | bytes, *, where: str = "") -> Run:
    """Return the run in the text of a results.json.

    Raise UserError if it is not one, or is of another version. *where* is the file's name for the error.
    """
    with document.given("results.json", where):
        found = document.parse(text)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UserError("this is no results.json of kmodpipe", where=where)
    if found.get("version") != VERSION:
        raise UserError(
            f"results.json has version {str(found.get('version'))[:40]}, this kmodpipe reads {VERSION}",
            where=where,
        )
    return document.validated(Run, found.get("run"), "results.json", where)


def save(run: Run, path: Path) -> None:
    """Write results.json to *path* atomically. Cheap enough to call after every cell."""
    write_atomically(path, to_json(run))


def load(path: Path) -> Run:
    """Return the run in the file *path*. Raise UserError if it cannot be read."""
    with document.given("results.json", str(path)):
        raw = document.read(path, most=MOST_BYTES)
    return from_json(raw, where=str(path))
