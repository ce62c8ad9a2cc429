"""Find dead axes: axes of the matrix whose cells have different configurations and the same module.

A symbol that Kconfig defines and no code reads passes every check of a configuration, and all its cells pass,
although they tested the same module. So the built modules are compared. Builds are reproducible (equal paths,
fixed times, no configuration inside a module), so equal modules have equal bytes, except for line numbers,
which are left out.

An axis is dead in a variant if no two cells that differ only in it differ in base or module. An axis that
makes a difference in some cells only is legitimate, and reported as information.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kmodpipe import kconfig
from kmodpipe.build.elf import digest_of_code
from kmodpipe.build.sharing import Subject
from kmodpipe.cache.store import Artifact
from kmodpipe.kconfig import Cell
from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.util.digest import digest_of

if TYPE_CHECKING:
    from kmodpipe.results import DeadAxis

_CLUES = 5


@dataclass(frozen=True)
class Product:
    """A legal cell and what it runs."""

    cell: Cell
    content: str = ""  # digest of base and modules (`content`); empty if the cell was not built


@dataclass(frozen=True)
class Twins:
    """The cells of one variant that differ only in one axis and run the same."""

    axis: str
    symbol: str
    variant: str
    # Sets of cells that run the same.
    cells: tuple[tuple[Cell, ...], ...]
    # No two cells that differ only in the axis run different modules.
    everywhere: bool


def content(base: Artifact, module: Artifact) -> str:
    """Return a digest of what a cell runs.

    It covers the modules' files. Their build ids are not enough: ld leaves relocations and symbol names out
    of them, so modules that call different functions can have the same build id.
    """
    modules = {path.name: digest_of_code(path) for path in (module.path / "out").glob("*.ko")}
    return digest_of([base.key, modules])


def compare(products: Sequence[Product]) -> tuple[Twins, ...]:
    """Compare the cells that differ only in one axis; return one record for each variant and axis."""
    found = []
    for variant in dict.fromkeys(p.cell.variant.name for p in products):
        own = [p for p in products if p.cell.variant.name == variant and p.content]
        for axis in dict.fromkeys(axis for p in own for axis in p.cell.axes):
            if groups := _differing_in(axis, own):
                first = groups[0][0].cell
                found.append(
                    Twins(
                        axis,
                        first.axes[axis].symbol,
                        variant,
                        tuple(cells for group in groups for cells in _with_same_content(axis, group)),
                        everywhere=all(len({p.content for p in group}) == 1 for group in groups),
                    )
                )
    return tuple(found)


def _differing_in(axis: str, products: Sequence[Product]) -> list[list[Product]]:
    """Return the groups of cells that differ only in ``axis``, those with at least two of its values."""
    groups: dict[frozenset[tuple[str, str]], list[Product]] = {}
    for product in products:
        cell = product.cell
        if axis in cell.axes:
            own = cell.axes[axis].symbol
            rest = frozenset((s, entry.value) for s, entry in cell.requested.items() if s != own)
            groups.setdefault(rest, []).append(product)
    return [group for group in groups.values() if len({p.cell.axes[axis].value for p in group}) > 1]


def _with_same_content(axis: str, group: Sequence[Product]) -> list[tuple[Cell, ...]]:
    """Return the sets of cells in a group that run the same with different values of ``axis``."""
    by_content: dict[str, list[Cell]] = {}
    for product in group:
        by_content.setdefault(product.content, []).append(product.cell)
    return [tuple(cells) for cells in by_content.values() if len({c.axes[axis].value for c in cells}) > 1]


def find(
    products: Sequence[Product],
    subjects: Mapping[str, Subject],
    module: str,
    *,
    selected: bool,
    kernel: str = "",
) -> tuple[DeadAxis, ...]:
    """Return the dead axes of a kernel, and those without effect in some cells, each with the reason.

    ``subjects`` has the source of each variant; for a variant without one no reason is given.

    ``selected``: only some cells were run. A cell that was not run or not built may be the one in which the
    axis matters, so an axis is called dead only if no code reads its symbol. ``kernel`` is named in the
    messages where a run has several.
    """
    compared = compare(products)
    alive = {t.axis for t in compared if not t.everywhere and t.variant != CONTROL}
    unsure = {p.cell.variant.name for p in products if selected or not p.content}
    found = []
    for twins in compared:
        if not twins.cells:
            continue
        if not twins.everywhere:
            found.append(_partly(twins, twins.variant))
            continue
        subject = subjects.get(twins.variant)
        readers = kconfig.readers(subject.src, twins.symbol, module) if subject else ()
        if twins.variant in unsure and (subject is None or any(place.code for place in readers)):
            found.append(_partly(twins, f"the cells of {twins.variant} that were built"))
        else:
            # An axis that is dead in the control only, and alive with a series, is not a failure.
            repaired = twins.variant == CONTROL and twins.axis in alive
            found.append(_dead(twins, subject, module, readers, failure=not repaired))
    return tuple(replace(one, message=f"{kernel}: {one.message}") if kernel else one for one in found)


def _partly(twins: Twins, scope: str) -> DeadAxis:
    cells = [cell for group in twins.cells for cell in group]
    where = [
        f"{axis}={value}"
        for axis, value in cells[0].choice.items()
        if axis != twins.axis and all(cell.choice.get(axis) == value for cell in cells)
    ]
    message = (
        f"axis {twins.axis} ({twins.symbol}) makes no difference in {scope}"
        f"{' where ' if where else ''}{', '.join(where)}: {_run_the_same(twins)}"
    )
    return _record(twins, message, (), failure=False)


def _dead(
    twins: Twins, subject: Subject | None, module: str, readers: Sequence[kconfig.Place], *, failure: bool
) -> DeadAxis:
    code = [place for place in readers if place.code]
    if subject is None:
        why = f"no cell that differs in CONFIG_{twins.symbol} runs another module"
    elif code:
        why = f"what reads CONFIG_{twins.symbol} makes no difference"
    elif readers:
        why = f"no code reads CONFIG_{twins.symbol}, Kconfig alone does"
    else:
        why = f"nothing reads CONFIG_{twins.symbol}"
    message = (
        f"axis {twins.axis} ({twins.symbol}) is dead in {twins.variant}: {why}; {_run_the_same(twins)}"
        f"{'' if failure else '; a series of this run brings it to life'}"
    )
    if subject is None:
        return _record(twins, message, (), failure=failure)
    defined = kconfig.index_symbols(subject.src, [twins.symbol]).definitions[twins.symbol]
    clues = [f"{one.file}:{one.line} defines {twins.symbol}" for one in defined]
    clues += [f"{place} reads {twins.symbol}" for place in readers[:_CLUES]]
    clues += _undefined_symbols(twins.symbol, subject, module)
    return _record(twins, message, clues, failure=failure)


def _undefined_symbols(symbol: str, subject: Subject, module: str) -> list[str]:
    """Return a line for each symbol that the code tests and no Kconfig file defines.

    The name that was meant is often among them. The code is the files that the series touches, or without a
    series those of the module.
    """
    files = subject.touched or [
        path.relative_to(subject.src).as_posix() for path in (subject.src / module).rglob("*")
    ]
    clues = []
    for place in kconfig.undefined(subject.src, files, symbol)[:_CLUES]:
        meant = f": was {symbol} meant?" if kconfig.alike(place.symbol, symbol) else ""
        clues.append(f"{place} tests CONFIG_{place.symbol}, which no Kconfig file defines{meant}")
    return clues


def _run_the_same(twins: Twins) -> str:
    first, *more = twins.cells
    others = f" (and {len(more)} more such {'pair' if len(more) == 1 else 'pairs'})" if more else ""
    return f"{' and '.join(cell.id for cell in first)} run the same module{others}"


def _record(twins: Twins, message: str, clues: Sequence[str], *, failure: bool) -> DeadAxis:
    cells = tuple(tuple(cell.id for cell in group) for group in twins.cells)
    # Not above: few builds have one, and the module imports all that results are made of.
    from kmodpipe.results import DeadAxis

    return DeadAxis(twins.axis, twins.symbol, twins.variant, cells, failure, message, tuple(clues))
