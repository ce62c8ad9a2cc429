"""Look for faults in what a series makes of the tree's Kconfig files, before anything is configured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build.sharing import Subject
from kmodpipe.util.errors import KernelFailure

_SHOWN = 12


@dataclass(frozen=True)
class Found:
    """What a series' Kconfig refers to in vain."""

    # The series is at fault, and none of its cells can be trusted to be ruled out for a good reason.
    failure: KernelFailure | None = None
    # What is legal, and worth a warning: a line each.
    notes: tuple[str, ...] = ()


def look(subjects: Iterable[Subject], tree: Path) -> Mapping[str, Found]:
    """Return what is found in each series, by the variant's name; ``tree`` is the pristine tree.

    The first patches of a series may refer to what a later one defines. Raise UserError for Kconfig files
    that cannot be read, as `kconfig.index_symbols` does.
    """
    by_name = {subject.variant.name: subject for subject in subjects}
    return {
        name: _found(name, subject, tree, by_name.get(name.partition("@")[0]))
        for name, subject in by_name.items()
        if subject.series
    }


def _found(name: str, subject: Subject, tree: Path, whole: Subject | None) -> Found:
    more = whole.src if whole and subject.variant.partial else None
    found = kconfig.undefined_references(tree, subject.src, subject.touched, more)
    notes = tuple(f"series {name}: {line}" for line in found.foreign[:_SHOWN])
    if not found.faults:
        return Found(None, notes)
    first, *more_faults = found.faults
    others = f" (and {len(more_faults)} more)" if more_faults else ""
    lines = [*found.faults[:_SHOWN]]
    if len(found.faults) > _SHOWN:
        lines.append(f"… and {len(found.faults) - _SHOWN} more")
    failure = KernelFailure(
        f"series {name}: {first}{others}",
        detail="\n".join(lines) if len(lines) > 1 else "",
        hint="Kconfig takes a symbol that is not defined for n: correct the name, or define it in the series",
    )
    return Found(failure, notes)
