"""Say what each verdict depends on, so that a change concerns as few of them as it can. Pure but for digests.

The digests are those of `pipeline.question`: a verdict holds as long as all of them are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from kmodpipe import source
from kmodpipe.pipeline import question
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.util.digest import digest_of

Pair = tuple[str, str]
"""A cell and a case, by their ids."""

# How cells were chosen: each of them has a digest of its own.
_CHOICE = frozenset({"chosen", "sample", "allow_empty"})
# Those that belong to one series, cell or case.
_OF_ONE = ("series.", "cell.", "case.", "source.")
# What has a part for each of its elements, and one of its own if it is empty.
_LISTS = ("series", "cells", "cases")
_WORDS = {
    **question.WORDS,
    "matrix": "the matrix",
    "source": "the tree",
    "cell": "what is configured",
}


@dataclass(frozen=True)
class Inputs:
    """What a command line means at one moment."""

    spec: RunSpec
    # A digest of each part, by the part's name; see `facts`.
    parts: Mapping[str, str]

    @cached_property
    def _common(self) -> str:
        return digest_of(
            {k: v for k, v in self.parts.items() if k not in _CHOICE and not k.startswith(_OF_ONE)}
        )

    @cached_property
    def _of_cell(self) -> Mapping[str, str]:
        parts = self.parts
        return {
            cell.id: digest_of(
                [
                    self._common,
                    parts.get(f"cell.{cell.id}", ""),
                    parts.get(f"series.{cell.variant.name}", ""),
                    parts.get(f"source.{cell.kernel}", ""),
                ]
            )
            for cell in self.spec.cells
        }

    def of(self, pair: Pair) -> str:
        """Return a digest of all that the verdict of a case in a cell depends on; '' if it is not planned."""
        cell, case = pair
        mine, script = self._of_cell.get(cell, ""), self.parts.get(f"case.{case}", "")
        return f"{mine[:24]}{script[:24]}" if mine and script else ""

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every cell with every case."""
        return tuple((cell.id, case.id) for cell in self.spec.cells for case in self.spec.cases)


def facts(spec: RunSpec, sources: Mapping[str, str]) -> Mapping[str, str]:
    """Return a digest of each part of what a run reads.

    ``sources`` identifies those trees that may change, by the name of the kernel. Of the matrix only that
    counts here which is in no cell. Raise OSError for a file that cannot be read.
    """
    found = dict(question.facts(spec))
    for name in _LISTS:
        if not getattr(spec, name):
            # That there is none yet concerns no control: an own module's first edit makes the first series.
            found.pop(name, None)
    if spec.own:
        found["own"] = digest_of([found["own"], source.content(spec.own.spec)])
    rest = replace(spec.matrix, common=(), axes={}, flavours={})
    found["matrix"] = digest_of(question.plain(rest))
    return {**found, **{f"source.{name}": identity for name, identity in sources.items()}}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the parts that differ."""
    names = dict.fromkeys((*after, *before))
    return tuple(name for name in names if before.get(name) != after.get(name))


def in_words(parts: Iterable[str]) -> str:
    """Return what changed, for a line of the screen: ``series index-nouuid, case remount``."""
    found: list[str] = []
    for part in parts:
        kind, _, name = part.partition(".")
        if kind in ("series", "case") and name:
            found.append(f"{kind} {name}")
        elif part not in _CHOICE:
            found.append(_WORDS.get(kind, kind))
    return ", ".join(dict.fromkeys(found))
