"""The matrix: axes, what every cell has in common, and the cells they expand to."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kmodpipe.errors import UserError
from kmodpipe.kconfig.fragment import Asked, merge, parse_fragment

CONTROL = "unpatched"
"""The variant without a series: what every series is compared with."""


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


class _MatrixFile(_Strict):
    base: str = Field(default="tinyconfig", pattern=r"^\w+config$")
    module: str | None = Field(default=None, pattern=r"^\w[\w/.-]*$")
    fragments: tuple[str, ...] = ()
    axes: dict[str, Axis] = Field(default_factory=dict)


@dataclass(frozen=True)
class Matrix:
    """A loaded matrix: the base configuration's make target, the module folder where no series says it,
    the common request, the axes by name."""

    base: str
    module: str | None
    common: tuple[Asked, ...]
    axes: Mapping[str, Axis]
    path: Path


@dataclass(frozen=True)
class Variant:
    """``unpatched`` or a series; ``spelling`` gives this variant's own symbol for an axis."""

    name: str
    design: str
    spelling: Mapping[str, str]

    @property
    def is_control(self) -> bool:
        return self.name == CONTROL


@dataclass(frozen=True)
class Cell:
    """One variant with one choice of every axis. ``axes`` is what the choice asks of Kconfig by axis,
    ``asked`` the whole request by symbol."""

    id: str
    variant: Variant
    choice: Mapping[str, str]
    axes: Mapping[str, Asked]
    asked: Mapping[str, Asked]


def load_matrix(path: Path) -> Matrix:
    """Read a matrix file and the fragments it names. Raises UserError naming file and field."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        spec = _MatrixFile.model_validate(table)
    except FileNotFoundError as e:
        raise UserError("the matrix file does not exist", where=str(path)) from e
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"the matrix file cannot be read: {e}", where=str(path)) from e
    except tomllib.TOMLDecodeError as e:
        raise UserError(f"not TOML: {e}", where=str(path)) from e
    except ValidationError as e:
        raise UserError("the matrix file is not valid", where=str(path), detail=readable(e)) from e
    for name in spec.axes:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            raise UserError(f"an axis is named in capitals, {name!r} is not", where=str(path))
    owner: dict[str, str] = {}
    for name, axis in spec.axes.items():
        if (first := owner.setdefault(axis.symbol, name)) != name:
            raise UserError(f"{axis.symbol} is on two axes, {first} and {name}", where=str(path))
    layers = []
    for name in spec.fragments:
        fragment = path.parent / name
        try:
            layers.append(parse_fragment(fragment.read_text("utf-8"), name))
        except FileNotFoundError as e:
            raise UserError(f"the fragment {name} does not exist", where=str(path)) from e
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(f"the fragment {name} cannot be read: {e}", where=str(path)) from e
    return Matrix(spec.base, spec.module, tuple(merge(layers).values()), spec.axes, path)


def readable(error: ValidationError) -> str:
    """A pydantic error as one line a field."""
    return "\n".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())


def expand(matrix: Matrix, variants: Sequence[Variant]) -> tuple[Cell, ...]:
    """Every variant with every combination of the axes, in a stable order; legality is not judged here."""
    names = list(matrix.axes)
    cells = []
    for variant in variants:
        for values in itertools.product(*(matrix.axes[n].values for n in names)):
            choice = dict(zip(names, values, strict=True))
            axes = {
                name: Asked(
                    variant.spelling.get(name, matrix.axes[name].symbol), value, f"axis {name}={value}"
                )
                for name, value in choice.items()
            }
            asked = merge([matrix.common, axes.values()])
            cell_id = ".".join([variant.name, *(f"{n}={v}" for n, v in choice.items())])
            cells.append(Cell(cell_id, variant, choice, axes, asked))
    return tuple(cells)
