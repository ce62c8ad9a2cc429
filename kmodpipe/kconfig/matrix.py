"""The matrix: axes, flavours, what every cell has in common, and the cells they expand to."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kmodpipe.kconfig.fragment import Asked, merge, parse_fragment
from kmodpipe.util import paths, shipped, toml
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import UserError, unknown_name

CONTROL = "unpatched"
"""The variant without a series: what every series is compared with."""
CONTROL_DESIGN = "none"
"""The design of the control: expectations that name it say what the pristine tree does."""
PLAIN = "plain"
"""What users call the cells without a flavour."""
ALL = "all"
"""What users call every flavour, the plain cells included."""

MEMORY_MIB = 256
"""What a guest has where its flavour does not say."""

_NAME = r"[a-z][a-z0-9-]*"
_ID_BYTES = 200
_CELLS = 20_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Axis(_Strict):
    """One symbol and the values that the matrix gives it."""

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
            # Values stand in cell ids, which are folder names.
            raise ValueError(f"a value is y, m, n, a number or a word, {bad[0]!r} is not")
        return values


class _FlavourTable(_Strict):
    summary: str = Field(min_length=3)
    fragments: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    tools: tuple[str, ...] = ()
    memory_mib: int = Field(default=MEMORY_MIB, ge=64, le=64 * 1024)
    cpus: int = Field(default=1, ge=1, le=64)
    slow: float = Field(default=1.0, ge=1, le=100)
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

    @field_validator("tools")
    @classmethod
    def _named(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [t for t in tools if not re.fullmatch(_NAME, t)]:
            # Tools are files of the guest's artifact, by name.
            raise ValueError(f"a set of tools is named in small letters, {bad[0]!r} is not")
        return tools


class _MatrixFile(_Strict):
    base: str = Field(default="tinyconfig", pattern=r"^\w+config$")
    module: str | None = Field(default=None, pattern=r"^\w[\w/.-]*$")
    fragments: tuple[str, ...] = ()
    axes: dict[str, Axis] = Field(default_factory=dict)
    flavours: dict[str, _FlavourTable] = Field(default_factory=dict)


@dataclass(frozen=True)
class Flavour:
    """Another guest for the same cells: what its kernel is asked for beyond what all are (``asked``), what
    every case finds in its environment, and the sets of tools (images/guest/toolset.sh) that its guest gets.
    ``memory_mib`` is the guest's memory, ``cpus`` its processors, ``slow`` a factor for its deadlines and its
    cases' time limits; ``base_make`` are variables for the base's make, and not for the module's.
    ``name`` is empty for the plain cells, which have no flavour."""

    name: str = ""
    summary: str = ""
    asked: tuple[Asked, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    memory_mib: int = MEMORY_MIB
    cpus: int = 1
    slow: float = 1.0
    base_make: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name or PLAIN


@dataclass(frozen=True)
class Matrix:
    """A loaded matrix: the base configuration's make target, the module folder where no series says it,
    the common request, the axes and the flavours by name."""

    base: str
    module: str | None
    common: tuple[Asked, ...]
    axes: Mapping[str, Axis]
    path: Path
    flavours: Mapping[str, Flavour] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A digest of all that the matrix file and its fragments ask for."""
        symbols = [[a.symbol, a.value] for a in self.common]
        axes = {name: [axis.symbol, *axis.values] for name, axis in self.axes.items()}
        flavours = {
            name: [
                [[a.symbol, a.value] for a in f.asked], dict(f.env), list(f.tools), f.memory_mib, f.slow
            ]
            for name, f in self.flavours.items()
        }  # fmt: skip
        return digest_of([self.base, self.module, symbols, axes, flavours])

    def asked(self, flavour: Flavour) -> dict[str, Asked]:
        """What every cell of a flavour asks for, whatever its choice."""
        return merge([self.common, flavour.asked])


@dataclass(frozen=True)
class Variant:
    """``unpatched`` or a series; ``spelling`` gives this variant's own symbol for an axis;
    ``partial``: it ends before the series' last patch."""

    name: str
    design: str
    spelling: Mapping[str, str]
    partial: bool = False

    @property
    def is_control(self) -> bool:
        return self.name == CONTROL


CONTROL_VARIANT = Variant(CONTROL, CONTROL_DESIGN, {})


@dataclass(frozen=True)
class Cell:
    """One variant with one choice of every axis in one flavour. ``axes`` is what the choice asks of Kconfig
    by axis, ``asked`` the whole request by symbol."""

    id: str
    variant: Variant
    choice: Mapping[str, str]
    axes: Mapping[str, Asked]
    asked: Mapping[str, Asked]
    flavour: Flavour = Flavour()

    @property
    def own(self) -> tuple[Asked, ...]:
        """What this cell asks for and not every cell does: where the tree rules that out, the cell is
        skipped."""
        return (*self.flavour.asked, *self.axes.values())


def load_matrix(path: Path) -> Matrix:
    """Read a matrix file and the fragments it names. Raises UserError naming file and field."""
    if paths.exists(path) and not paths.is_file(path):
        raise UserError("the matrix file is not a file", where=str(path))
    spec = toml.load(path, _MatrixFile, "the matrix file")
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
            table.base_make,
        )
        for name, table in spec.flavours.items()
    }
    return Matrix(spec.base, spec.module, _fragments(path, spec.fragments), spec.axes, path, flavours)


def _fragments(matrix: Path, names: Sequence[str]) -> tuple[Asked, ...]:
    """Read the fragments, beside the matrix file or else the package's; later ones win."""
    layers = []
    for name in names:
        # What is wrong in a fragment is told with its own words: not those of a file that is none.
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
    """The flavours that a user names, the plain one first, in the matrix's order; the plain one alone where
    nothing is named. Raises UserError with the near names."""
    wanted = set(names) or {PLAIN}
    known = {PLAIN: Flavour(), **matrix.flavours}
    for name in sorted(wanted):
        if name not in known and name != ALL:
            raise unknown_name("flavour", name, [*known, ALL], where=str(matrix.path))
    return tuple(f for name, f in known.items() if name in wanted or ALL in wanted)


def expand(
    matrix: Matrix, variants: Sequence[Variant], flavours: Sequence[Flavour] = (Flavour(),)
) -> tuple[Cell, ...]:
    """Every variant in every flavour with every combination of the axes, in a stable order; legality is not
    judged here."""
    axes = math.prod(len(axis.values) for axis in matrix.axes.values())
    if (number := axes * len(variants) * len(flavours)) > _CELLS:
        raise UserError(
            f"the matrix has {number} cells, more than the {_CELLS} that are ever made",
            where=str(matrix.path),
            hint="leave out axes or values",
        )
    choices = [
        dict(zip(matrix.axes, values, strict=True))
        for values in itertools.product(*(axis.values for axis in matrix.axes.values()))
    ]
    return tuple(
        _cell(matrix, variant, choice, flavour)
        for variant, flavour, choice in itertools.product(variants, flavours, choices)
    )


def _cell(matrix: Matrix, variant: Variant, choice: Mapping[str, str], flavour: Flavour) -> Cell:
    axes = {
        name: Asked(variant.spelling.get(name, matrix.axes[name].symbol), value, f"axis {name}={value}")
        for name, value in choice.items()
    }
    parts = [variant.name, *(f"{n}={v}" for n, v in choice.items()), flavour.name]
    asked = merge([matrix.asked(flavour).values(), axes.values()])
    name = ".".join(filter(None, parts))
    if len(os.fsencode(name)) > _ID_BYTES:
        raise UserError(
            f"a cell's name would be longer than {_ID_BYTES} bytes: {name[:80]}…",
            where=str(matrix.path),
            hint="folders have these names: shorten the axes', their values' or the series' name",
        )
    return Cell(name, variant, choice, axes, asked, flavour)
