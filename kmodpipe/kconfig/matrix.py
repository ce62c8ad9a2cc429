"""Read a matrix file (axes, flavours, common fragments) and expand it to cells."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kmodpipe.kconfig.fragment import SymbolRequest, merge, parse_fragment
from kmodpipe.kconfig.matrix_toml import MEMORY_MIB, Axis, MatrixToml
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.util import paths, shipped, toml
from kmodpipe.util.cell_id import cell_id
from kmodpipe.util.errors import Report, UserError, raised, unknown_name

CONTROL = "unpatched"
"""The variant without a series, which every series is compared with."""
CONTROL_DESIGN = "none"
"""The control's design: a case's expectation for the unpatched tree is given under this name."""
PLAIN = "plain"
"""The name of the cells without a flavour on the command line."""
ALL = "all"
"""The name of all flavours on the command line, the plain cells included."""

_NAME = r"[a-z][a-z0-9-]*"
# A cell's id is a folder name (255 bytes at most), and suffixes are added to it.
_ID_BYTES = 200
_CELLS = 20_000


@dataclass(frozen=True)
class Flavour:
    """Another kernel configuration and guest for the same cells. Most fields are as in `FlavourTable`."""

    # Empty for the plain cells, which have no flavour.
    name: str = ""
    summary: str = ""
    # Requested for this flavour's kernels, beyond the matrix's common requests.
    requested: tuple[SymbolRequest, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    memory_mib: int = MEMORY_MIB
    cpus: int = 1
    slow: float = 1.0
    devices: tuple[str, ...] = ()
    cmdline: str = ""
    # Those of the matrix are among them.
    parameters: Mapping[str, str] = field(default_factory=dict)
    base_make: Mapping[str, str] = field(default_factory=dict)
    coverage: bool = False

    def __str__(self) -> str:
        return self.name or PLAIN


@dataclass(frozen=True)
class Matrix:
    """A loaded matrix file. Some fields are as in `MatrixToml`."""

    base: str
    module: str | OwnSource | None
    # Requested for every cell.
    common: tuple[SymbolRequest, ...]
    axes: Mapping[str, Axis]
    # The matrix file.
    path: Path
    flavours: Mapping[str, Flavour] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    # Kernels, by their names in cells, that come with a configuration: a distribution's own.
    configured: frozenset[str] = frozenset()

    def requested(self, flavour: Flavour) -> dict[str, SymbolRequest]:
        """Return what is requested for every cell of a flavour, by symbol; the axes are left out."""
        return merge([self.common, flavour.requested])

    def asking(self, requests: Iterable[SymbolRequest]) -> Matrix:
        """Return the matrix with these requests for every cell, over those of fragments and flavours.

        Raise UserError for the symbol of an axis.
        """
        layer = merge([requests])
        for name, axis in self.axes.items():
            if entry := layer.get(axis.symbol):
                raise UserError(
                    f"{axis.symbol} is the axis {name} of the matrix",
                    where=entry.origin,
                    hint=f"choose its cells: --cell '*.{name}={entry.value}*'",
                )
        flavours = {
            name: replace(one, requested=tuple(e for e in one.requested if e.symbol not in layer))
            for name, one in self.flavours.items()
        }
        common = tuple(merge([self.common, layer.values()]).values())
        return replace(self, common=common, flavours=flavours)

    @property
    def conditional(self) -> tuple[SymbolRequest, ...]:
        """The requests that hold only in trees which define their symbol."""
        layers = (self.common, *(flavour.requested for flavour in self.flavours.values()))
        return tuple(entry for layer in layers for entry in layer if entry.if_known)

    def without(self, unknown: Collection[str]) -> Matrix:
        """Return the matrix without the conditional requests for symbols that are ``unknown`` to a tree."""
        flavours = {
            name: replace(flavour, requested=_held(flavour.requested, unknown))
            for name, flavour in self.flavours.items()
        }
        return replace(self, common=_held(self.common, unknown), flavours=flavours)


@dataclass(frozen=True)
class Variant:
    """The unpatched tree, or a series."""

    # "unpatched", or the series' name.
    name: str
    design: str
    # By axis, the symbol that this variant uses instead of the axis' own.
    spelling: Mapping[str, str]
    # Whether it ends before the series' last patch.
    partial: bool = False

    @property
    def is_control(self) -> bool:
        return self.name == CONTROL


def _held(requests: Iterable[SymbolRequest], unknown: Collection[str]) -> tuple[SymbolRequest, ...]:
    return tuple(entry for entry in requests if not (entry.if_known and entry.symbol in unknown))


CONTROL_VARIANT = Variant(CONTROL, CONTROL_DESIGN, {})


@dataclass(frozen=True)
class Cell:
    """One variant with one value of every axis, in one flavour."""

    id: str
    variant: Variant
    # The value of each axis.
    choice: Mapping[str, str]
    # What the choice requests, by axis.
    axes: Mapping[str, SymbolRequest]
    # All that is requested for the cell, by symbol.
    requested: Mapping[str, SymbolRequest]
    flavour: Flavour = Flavour()
    # The name of its tree; empty where a run has only one.
    kernel: str = ""

    @property
    def own_requests(self) -> tuple[SymbolRequest, ...]:
        """The requests that not every cell has: if the tree rules one of them out, the cell is skipped."""
        return (*self.flavour.requested, *self.axes.values())

    def without(self, unknown: Collection[str]) -> Cell:
        """Return the cell without the conditional requests for symbols that are ``unknown`` to a tree."""
        requested = {entry.symbol: entry for entry in _held(self.requested.values(), unknown)}
        flavour = replace(self.flavour, requested=_held(self.flavour.requested, unknown))
        return replace(self, requested=requested, flavour=flavour)


def load_matrix(path: Path) -> Matrix:
    """Read a matrix file and the fragments it names. Raise UserError, naming file and field."""
    spec, at = read_file(path)
    for error in misfits(spec, path, at):
        raise error
    flavours = {
        name: Flavour(
            name,
            table.summary,
            _fragments(path, table.fragments),
            table.env,
            table.tools,
            table.memory_mib,
            table.cpus,
            table.slow,
            table.devices,
            table.cmdline,
            {**spec.parameters, **table.parameters},
            table.base_make,
            table.coverage,
        )
        for name, table in spec.flavours.items()
    }
    common = _fragments(path, spec.fragments)
    return Matrix(
        spec.base, spec.module, common, spec.axes, path, flavours, spec.kernels, spec.parameters
    )  # fmt: skip


def read_file(path: Path) -> tuple[MatrixToml, tuple[str, ...]]:
    """Return what a matrix file says, and in which table of it. Raise UserError, naming file and field."""
    table, at = table_of(path)
    return toml.validate(MatrixToml, table, f"[{'.'.join(at)}]" if at else "the matrix file", path, at=at), at


def table_of(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the table that a matrix is, and where it stands: in ``matrix`` of a project's file.

    Raise UserError for a file that cannot be read.
    """
    if paths.exists(path) and not paths.is_file(path):
        raise UserError("the matrix file is not a file", where=str(path))
    table = toml.read(path, "the matrix file")
    for at in (("matrix",), ("tool", "kmodpipe", "matrix")):
        found: object = table
        for name in at:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found, at
    return table, ()


def misfits(spec: MatrixToml, path: Path, at: tuple[str, ...] = ()) -> Iterator[UserError]:
    """Yield what is wrong with a matrix whose fields are all right: the names of axes and flavours."""
    owner: dict[str, str] = {}
    for name, axis in spec.axes.items():
        what = ""
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            what = f"an axis is named in capitals, {name!r} is not"
        elif (first := owner.setdefault(axis.symbol, name)) != name:
            what = f"{axis.symbol} is on two axes, {first} and {name}"
        if what:
            yield UserError(what, where=toml.place(path, (*at, "axes", name)))
    for name in spec.flavours:
        if not re.fullmatch(_NAME, name) or name in (PLAIN, ALL):
            yield UserError(
                f"{name!r} cannot be a flavour's name",
                where=toml.place(path, (*at, "flavours", name)),
                hint=f"small letters, digits and dashes; {PLAIN} and {ALL} are taken",
            )


def _fragments(matrix: Path, names: Sequence[str]) -> tuple[SymbolRequest, ...]:
    """Read fragments; later ones override."""
    return tuple(merge(read_fragment(find_fragment(matrix, name), name) for name in names).values())


def find_fragment(matrix: Path, name: str) -> Path:
    """Return the file of a fragment, in the matrix file's folder or else the package's. Raise UserError."""
    # Error messages quote a fragment's lines: a name or link must not make them quote another file's.
    if not paths.is_plain(name) or paths.has_controls(name):
        raise UserError(
            f"not the name of a fragment: {name!r}",
            where=str(matrix),
            hint="fragments are files beside the matrix file, or below its folder",
        )
    if not (matrix.parent / name).resolve().is_relative_to(matrix.parent.resolve()):
        raise UserError(f"the fragment {name} is a link out of the matrix file's folder", where=str(matrix))
    if paths.exists(matrix.parent / name) and not paths.is_file(matrix.parent / name):
        raise UserError(f"the fragment {name} is not a file", where=str(matrix))
    path = shipped.or_shipped(matrix.parent / name, shipped.folder("kconfigs") / name)
    if not paths.exists(path):
        raise UserError(f"the fragment {name} does not exist", where=str(matrix))
    return path


def read_fragment(path: Path, name: str, report: Report = raised) -> tuple[SymbolRequest, ...]:
    """Return the requests of a fragment. Report each wrong line. Raise UserError if it cannot be read."""
    try:
        return parse_fragment(path.read_text("utf-8"), name, report)
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"the fragment {name} cannot be read: {e}", where=str(path)) from e


def flavours_of(matrix: Matrix, names: Iterable[str]) -> tuple[Flavour, ...]:
    """Return the flavours with these names, the plain one first, in the matrix's order.

    Without a name, return the plain one alone. Raise UserError, with similar names, for an unknown one.
    """
    wanted = set(names) or {PLAIN}
    known = {PLAIN: Flavour(parameters=matrix.parameters), **matrix.flavours}
    for name in sorted(wanted):
        if name not in known and name != ALL:
            raise unknown_name("flavour", name, [*known, ALL], where=str(matrix.path))
    return tuple(f for name, f in known.items() if name in wanted or ALL in wanted)


def expand(
    matrix: Matrix,
    variants: Sequence[Variant],
    flavours: Sequence[Flavour] = (Flavour(),),
    kernels: Sequence[str] = ("",),
) -> tuple[Cell, ...]:
    """Return every variant on every kernel in every flavour with every combination of the axes, in a stable
    order. A kernel that comes with a configuration has no axes.

    ``kernels`` are the names that cells have them by, the empty one for the only kernel of a run. Whether a
    tree allows a cell is decided later (`legality.illegal`).
    """
    axes = math.prod(len(axis.values) for axis in matrix.axes.values())
    choices_of = [1 if kernel in matrix.configured else axes for kernel in kernels]
    if (number := sum(choices_of) * len(variants) * len(flavours)) > _CELLS:
        raise UserError(
            f"the matrix has {number} cells, and the limit is {_CELLS}",
            where=str(matrix.path),
            hint="leave out axes or values",
        )
    choices: list[dict[str, str]] = [
        dict(zip(matrix.axes, values, strict=True))
        for values in itertools.product(*(axis.values for axis in matrix.axes.values()))
    ]
    return tuple(
        _cell(matrix, variant, choice, flavour, kernel)
        for kernel, variant, flavour in itertools.product(kernels, variants, flavours)
        for choice in ([{}] if kernel in matrix.configured else choices)
    )


def _cell(matrix: Matrix, variant: Variant, choice: Mapping[str, str], flavour: Flavour, kernel: str) -> Cell:
    axes = {
        name: SymbolRequest(
            variant.spelling.get(name, matrix.axes[name].symbol), value, f"axis {name}={value}"
        )
        for name, value in choice.items()
    }
    requested = merge([matrix.requested(flavour).values(), axes.values()])
    name = cell_id(variant.name, choice, flavour.name, kernel)
    if len(os.fsencode(name)) > _ID_BYTES:
        raise UserError(
            f"a cell's name would be longer than {_ID_BYTES} bytes: {name[:80]}…",
            where=str(matrix.path),
            hint="folders have these names: shorten those of axes, values, series or kernel",
        )
    return Cell(name, variant, choice, axes, requested, flavour, kernel)
