"""Read a matrix file (axes, flavours, common fragments) and expand it to cells."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from kmodpipe.kconfig.fragment import SymbolRequest, merge, parse_fragment
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.util import paths, shipped, toml
from kmodpipe.util.cell_id import cell_id
from kmodpipe.util.errors import UserError, unknown_name

CONTROL = "unpatched"
"""The variant without a series, which every series is compared with."""
CONTROL_DESIGN = "none"
"""The control's design: a case's expectation for the unpatched tree is given under this name."""
PLAIN = "plain"
"""The name of the cells without a flavour on the command line."""
ALL = "all"
"""The name of all flavours on the command line, the plain cells included."""

MEMORY_MIB = 256
"""A guest's memory if its flavour sets none."""

_NAME = r"[a-z][a-z0-9-]*"
# A cell's id is a folder name (255 bytes at most), and suffixes are added to it.
_ID_BYTES = 200
_CELLS = 20_000
# The agent reads as many back.
_PARAMETER_BYTES = 2048


def tool_name(name: str) -> str:
    """Return the name of a set of tools or of a Debian package. Raise ValueError for anything else."""
    # As Debian names packages (Policy 5.6.7); it is the name of a file in the guest's artifact as well.
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]{1,99}", name):
        raise ValueError(f"a set of tools or a package is named in small letters, {name!r} is not")
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Axis(_Strict):
    """A symbol and the values that the cells give it."""

    symbol: str = Field(pattern=r"^\w+$")
    values: tuple[str, ...] = ("y", "n")

    @field_validator("symbol")
    @classmethod
    def _bare(cls, symbol: str) -> str:
        return symbol.removeprefix("CONFIG_")

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not values or len(set(values)) != len(values):
            raise ValueError("an axis needs values, each once")
        if bad := [v for v in values if not re.fullmatch(r"[\w.+-]+", v)]:
            # Values are part of cell ids, which are folder names.
            raise ValueError(f"a value is y, m, n, a number or a word, {bad[0]!r} is not")
        return values


def _with_parameters(parameters: dict[str, str]) -> dict[str, str]:
    """Return module parameters by module, if they can stand in a guest's plan."""
    for name, text in parameters.items():
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ValueError(f"parameters are for a module by its name, with _ and without .ko: not {name!r}")
        if not re.fullmatch(r"[\x21-\x7e]+( [\x21-\x7e]+)*", text) or len(text) > _PARAMETER_BYTES:
            raise ValueError(f"the parameters of {name} are words such as size=4, with a space between two")
    return parameters


_Parameters = Annotated[dict[str, str], AfterValidator(_with_parameters)]


class _FlavourTable(_Strict):
    summary: str = Field(min_length=3)
    fragments: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    tools: tuple[str, ...] = ()
    memory_mib: int = Field(default=MEMORY_MIB, ge=64, le=64 * 1024)
    cpus: int = Field(default=1, ge=1, le=64)
    slow: float = Field(default=1.0, ge=1, le=100)
    devices: tuple[str, ...] = ()
    cmdline: str = ""
    parameters: _Parameters = Field(default_factory=dict)
    base_make: dict[str, str] = Field(default_factory=dict)

    @field_validator("env", "base_make")
    @classmethod
    def _passable(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
                raise ValueError(f"a variable is named in capitals, {name!r} is not")
            if not re.fullmatch(r"[^\x00-\x1f\x7f]+", value):
                raise ValueError(f"{name} is empty, or not one line of text")
        return env

    @field_validator("cmdline")
    @classmethod
    def _printable(cls, cmdline: str) -> str:
        if not re.fullmatch(r"[\x20-\x7e]{0,512}", cmdline):
            raise ValueError("a kernel's command line is one line of ASCII, of 512 characters at most")
        if "--" in cmdline.split():
            raise ValueError("-- ends what the kernel reads")
        return cmdline

    @field_validator("tools")
    @classmethod
    def _named(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(tool_name, tools))


_Module = Annotated[
    Annotated[Annotated[str, Field(pattern=r"^\w[\w/.-]*$")], Tag("[folder]")]
    | Annotated[OwnSource, Tag("[table]")],
    Discriminator(lambda given: "[table]" if isinstance(given, dict | OwnSource) else "[folder]"),
]


class _MatrixFile(_Strict):
    base: str = Field(default="tinyconfig", pattern=r"^\w+config$")
    module: _Module | None = None
    kernels: tuple[str, ...] = ()
    fragments: tuple[str, ...] = ()
    parameters: _Parameters = Field(default_factory=dict)
    axes: dict[str, Axis] = Field(default_factory=dict)
    flavours: dict[str, _FlavourTable] = Field(default_factory=dict)


@dataclass(frozen=True)
class Flavour:
    """Another kernel configuration and guest for the same cells."""

    # Empty for the plain cells, which have no flavour.
    name: str = ""
    summary: str = ""
    # Requested for this flavour's kernels, beyond the matrix's common requests.
    requested: tuple[SymbolRequest, ...] = ()
    # Environment variables of every case.
    env: Mapping[str, str] = field(default_factory=dict)
    # Programs for the guest: sets of images/guest/toolset.sh, or Debian packages.
    tools: tuple[str, ...] = ()
    memory_mib: int = MEMORY_MIB
    cpus: int = 1
    # Multiplies the guest's deadlines and its cases' time limits.
    slow: float = 1.0
    # What the guests have beyond a serial console, as `kmodpipe.vm.devices` reads it.
    devices: tuple[str, ...] = ()
    # More of the kernel's command line.
    cmdline: str = ""
    # By module, the parameters that it is loaded with; those of the matrix are among them.
    parameters: Mapping[str, str] = field(default_factory=dict)
    # Variables for the make of the base, not of the module.
    base_make: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name or PLAIN


@dataclass(frozen=True)
class Matrix:
    """A loaded matrix file."""

    # The make target of the base configuration, such as tinyconfig.
    base: str
    # The module under test where no series names one: a folder of the tree, or a source of its own.
    module: str | OwnSource | None
    # Requested for every cell.
    common: tuple[SymbolRequest, ...]
    axes: Mapping[str, Axis]
    # The matrix file.
    path: Path
    flavours: Mapping[str, Flavour] = field(default_factory=dict)
    # The trees to test if the command line names none, as ``--tree`` takes them.
    kernels: tuple[str, ...] = ()
    # By module, the parameters that it is loaded with where no flavour has others.
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
    if paths.exists(path) and not paths.is_file(path):
        raise UserError("the matrix file is not a file", where=str(path))
    spec = _read(path)
    for name in spec.axes:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            raise UserError(f"an axis is named in capitals, {name!r} is not", where=str(path))
    owner: dict[str, str] = {}
    for name, axis in spec.axes.items():
        if (first := owner.setdefault(axis.symbol, name)) != name:
            raise UserError(f"{axis.symbol} is on two axes, {first} and {name}", where=str(path))
    for name in spec.flavours:
        if not re.fullmatch(_NAME, name) or name in (PLAIN, ALL):
            raise UserError(
                f"{name!r} cannot be a flavour's name",
                where=str(path),
                hint=f"small letters, digits and dashes; {PLAIN} and {ALL} are taken",
            )
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
        )
        for name, table in spec.flavours.items()
    }
    common = _fragments(path, spec.fragments)
    return Matrix(
        spec.base, spec.module, common, spec.axes, path, flavours, spec.kernels, spec.parameters
    )  # fmt: skip


def _read(path: Path) -> _MatrixFile:
    """Read the file; of a project's file, its table ``matrix``."""
    table = toml.read(path, "the matrix file")
    for at in (("matrix",), ("tool", "kmodpipe", "matrix")):
        found: object = table
        for name in at:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return toml.validate(_MatrixFile, found, f"[{'.'.join(at)}]", path, at=at)
    return toml.validate(_MatrixFile, table, "the matrix file", path)


def _fragments(matrix: Path, names: Sequence[str]) -> tuple[SymbolRequest, ...]:
    """Read fragments, each from the matrix file's folder or else from the package; later ones override."""
    layers = []
    for name in names:
        # Error messages quote a fragment's lines: a name or link must not make them quote another file's.
        if not paths.is_plain(name) or paths.has_controls(name):
            raise UserError(
                f"not the name of a fragment: {name!r}",
                where=str(matrix),
                hint="fragments are files beside the matrix file, or below its folder",
            )
        if not (matrix.parent / name).resolve().is_relative_to(matrix.parent.resolve()):
            raise UserError(
                f"the fragment {name} is a link out of the matrix file's folder", where=str(matrix)
            )
        if paths.exists(matrix.parent / name) and not paths.is_file(matrix.parent / name):
            raise UserError(f"the fragment {name} is not a file", where=str(matrix))
        path = shipped.or_shipped(matrix.parent / name, shipped.folder("kconfigs") / name)
        try:
            layers.append(parse_fragment(path.read_text("utf-8"), name))
        except FileNotFoundError as e:
            raise UserError(f"the fragment {name} does not exist", where=str(matrix)) from e
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(f"the fragment {name} cannot be read: {e}", where=str(matrix)) from e
    return tuple(merge(layers).values())


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
