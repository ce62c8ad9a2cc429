"""Find requested symbols that no variant's Kconfig has: typos, which would rule cells out without a word.

A symbol that a series brings is fine, also for the cells of the control. Symbols are requested by fragments,
by the axes of the matrix, and by the ``axes`` of a series.toml. A conditional request of a fragment is no
typo in a tree that does not know the symbol: it does not hold there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.source import Tree
from kmodpipe.util import toml
from kmodpipe.util.errors import UserError, nearest

_DEFINES = re.compile(rb"^\+[ \t]*(?:menu)?config[ \t]+(\w+)", re.M)
# A larger patch of the project is not read: it is no help for a typo.
_PATCH_BYTES = 4 << 20


def settled(spec: RunSpec, trees: Mapping[str, Tree]) -> Mapping[str, RunSpec]:
    """Return the part of ``spec`` on each kernel, without the conditional requests for symbols that its tree
    does not define.

    ``trees`` are the kernels' trees by name; a kernel that is not among them has no part. Raise UserError
    for other requested symbols that neither a tree nor a series defines, with near ones.
    """
    requested = dict(_requests(spec))
    conditional = {entry.symbol for entry in spec.matrix.conditional}
    undefined = {name: _undefined(tree, {*requested, *conditional}) for name, tree in trees.items()}
    nowhere = frozenset.intersection(*undefined.values()) if undefined else frozenset()
    _require_known(spec, trees.values(), {s: where for s, where in requested.items() if s in nowhere})
    return {name: _without(spec.on(name), conditional & absent) for name, absent in undefined.items()}


def as_settled(spec: RunSpec, before: RunSpec) -> RunSpec:
    """Return ``spec`` settled as another one, ``before``, was on the same tree."""
    left = {entry.symbol for entry in before.matrix.conditional}
    return _without(spec, {entry.symbol for entry in spec.matrix.conditional} - left)


def _undefined(tree: Tree, symbols: Collection[str]) -> frozenset[str]:
    index = kconfig.index_symbols(tree.path, symbols)
    return frozenset(symbol for symbol, definitions in index.definitions.items() if not definitions)


def _without(spec: RunSpec, absent: Collection[str]) -> RunSpec:
    if not absent:
        return spec
    cells = tuple(cell.without(absent) for cell in spec.cells)
    return replace(spec, matrix=spec.matrix.without(absent), cells=cells)


def _require_known(spec: RunSpec, trees: Collection[Tree], requested: Mapping[str, str]) -> None:
    """Raise UserError for the first of the symbols, which no tree defines, that no series brings.

    ``requested`` has the file and line of each.
    """
    brought = _brought(patch.data for one in spec.series for patch in one.every_patch)
    lost = [s for s in requested if s not in brought]
    if not lost:
        return
    # What other series of the project bring is no typo: not every run has all of them. Nor is a symbol that
    # other architectures have: that is the tree's to say.
    brought |= brought_by_project(spec.project.patches)
    defined = {symbol for tree in trees for symbol in kconfig.defined_symbols(tree.path)}
    lost = [s for s in lost if s not in brought | defined and not _respelled(spec, s, brought | defined)]
    if not lost:
        return
    known = defined | brought
    found = [f"{requested[s]}: no Kconfig file defines {s}{_near(s, known)}" for s in lost]
    first = lost[0]
    raise UserError(
        f"the symbol {first} does not exist{_near(first, known)}",
        where=requested[first],
        detail="\n".join(found) if len(found) > 1 else "",
        hint=f"no variant has it: looked in {', '.join(tree.name for tree in trees)} and in every series",
    )


def _near(symbol: str, known: Iterable[str]) -> str:
    near = nearest(symbol, known)
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""


def _requests(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Yield the requested symbols, each with file and line."""
    matrix = spec.matrix
    for axis, one in matrix.axes.items():
        yield one.symbol, toml.place(matrix.path, ("axes", axis, "symbol"))
    for entry in (*matrix.common, *(entry for flavour in spec.flavours for entry in flavour.requested)):
        if not entry.if_known:
            yield entry.symbol, entry.origin
    for series in spec.series:
        for axis, symbol in series.axes.items():
            if axis in matrix.axes:
                yield symbol, toml.place(spec.project.root / series.origin / "series.toml", ("axes", axis))


def brought_by_project(patches: Path) -> set[str]:
    """Return the symbols that series in the project's folder ``patches`` define, also those of no run."""
    return _brought(_patches(patches))


def _brought(patches: Iterable[bytes]) -> set[str]:
    """Return the symbols that patches define in lines that they add."""
    return {name.decode("ascii", "replace") for data in patches for name in _DEFINES.findall(data)}


def _patches(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*/*")):
        with suppress(OSError):
            if path.is_file() and path.stat().st_size <= _PATCH_BYTES:
                yield path.read_bytes()


def _respelled(spec: RunSpec, symbol: str, known: set[str]) -> bool:
    """Return whether an axis has this symbol, and a series another one in its place that exists."""
    spelled: Mapping[str, str] = {a: one.symbol for a, one in spec.matrix.axes.items()}
    axes = [axis for axis, own in spelled.items() if own == symbol]
    return any(series.axes.get(axis, symbol) in known for axis in axes for series in spec.series)
