"""Write and read results.json, which holds a whole run. Pure except for `save` and `load`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kmodpipe.results import journal
from kmodpipe.results.effects import Effect, effects
from kmodpipe.results.model import Run
from kmodpipe.results.outcome import exit_code, totals, unjudged
from kmodpipe.results.plain import line, rows
from kmodpipe.util import document
from kmodpipe.util.errors import ExitCode, UserError
from kmodpipe.util.files import write_atomically

SCHEMA: Literal["kmodpipe-results"] = "kmodpipe-results"
VERSION: Literal[1] = 1
# A larger results.json is not read. A run of 1000 cells with 100 cases has about 100 MiB if a tenth of them
# failed.
MOST_BYTES = 512 * document.MIB


@dataclass(frozen=True)
class _Read:
    """What is read again of a `Results`."""

    run: Run


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
    return "".join(pieces(run))


def pieces(run: Run) -> Iterator[str]:
    """Yield the text of `to_json` in pieces, a result of a case a line."""
    made = Results(
        schema=SCHEMA,
        version=VERSION,
        exit_code=exit_code(run),
        totals=totals(run),
        unjudged=tuple(one.message for one in unjudged(run)) if run.finished else (),
        effects=effects(run),
        run=run,
    )
    yield "{"
    yield from _members(made, " ", {"effects": rows(made.effects, " "), "run": _run(run)})
    yield "\n}\n"


def _run(run: Run) -> Iterator[str]:
    yield "{"
    lists = {"cases": rows(run.cases, "  "), "cells": _cells(run), "timeline": rows(run.timeline, "  ")}
    yield from _members(run, "  ", lists)
    yield "\n }"


def _cells(run: Run) -> Iterator[str]:
    for number, cell in enumerate(run.cells):
        yield f"{',' if number else '['}\n   {{"
        yield from _members(cell, "   ", {"cases": rows(cell.cases, "    ")})
        yield "\n   }"
    yield "\n  ]" if run.cells else "[]"


def _members(record: Any, indent: str, long: Mapping[str, Iterator[str]]) -> Iterator[str]:
    """Yield the fields of a record, a line each; the text of those that are *long* comes in pieces."""
    for number, one in enumerate(dataclasses.fields(record)):
        yield f"{',' if number else ''}\n{indent}{line(one.name)}: "
        if one.name in long:
            yield from long[one.name]
        else:
            yield line(getattr(record, one.name))


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
    # Read once more from the text: with both in memory, a large run would take twice as much.
    del found
    return document.validated_text(_Read, text, "results.json", where).run


def save(run: Run, path: Path) -> None:
    """Write results.json to *path* atomically."""
    write_atomically(path, pieces(run))


def load(path: Path) -> Run:
    """Return the run in the file *path*; of a run that did not end, with all that was settled.

    While a run goes on, and after it was killed, that is in a file beside it (`kmodpipe.results.journal`).
    Raise UserError if one of them cannot be read.
    """
    with document.given("results.json", str(path)):
        raw = document.read(path, most=MOST_BYTES)
    run = from_json(raw, where=str(path))
    return run if run.finished else journal.settled(run, path.with_name(journal.NAME))
