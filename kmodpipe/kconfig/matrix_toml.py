"""The format of a matrix file: `matrix.toml`, or the table ``matrix`` of a project's file.

The docstring below a field is its description in docs/reference and in the JSON Schema.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from kmodpipe.kconfig.own_source import OwnSource

MEMORY_MIB = 256
"""A guest's memory if its flavour sets none."""

# The agent reads as many back.
_PARAMETER_BYTES = 2048


def tool_name(name: str) -> str:
    """Return the name of a set of tools or of a Debian package. Raise ValueError for anything else."""
    # As Debian names packages (Policy 5.6.7); it is the name of a file in the guest's artifact as well.
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]{1,99}", name):
        raise ValueError(f"a set of tools or a package is named in small letters, {name!r} is not")
    return name


def _with_parameters(parameters: dict[str, str]) -> dict[str, str]:
    """Return module parameters by module, if they can stand in a guest's plan."""
    for name, text in parameters.items():
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ValueError(f"parameters are for a module by its name, with _ and without .ko: not {name!r}")
        if not re.fullmatch(r"[\x21-\x7e]+( [\x21-\x7e]+)*", text) or len(text) > _PARAMETER_BYTES:
            raise ValueError(f"the parameters of {name} are words such as size=4, with a space between two")
    return parameters


_Parameters = Annotated[dict[str, str], AfterValidator(_with_parameters)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Axis(_Table):
    """A symbol and the values that the cells give it. The table's name, in capitals, is the axis' in
    cells."""

    symbol: str = Field(pattern=r"^\w+$")
    """The Kconfig symbol, with or without `CONFIG_`."""
    values: tuple[str, ...] = ("y", "n")
    """Its values: `y`, `m`, `n`, a number or a word."""

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


class FlavourTable(_Table):
    """Another kernel configuration and guest for the same cells, which `--flavour NAME` adds."""

    summary: str = Field(min_length=3)
    """What it is, in one line."""
    fragments: tuple[str, ...] = ()
    """Fragments that its kernels have beyond those of the matrix; later ones win."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of every case, named in capitals."""
    tools: tuple[str, ...] = ()
    """Programs for its guests: sets of images/guest/toolset.sh, or Debian packages."""
    memory_mib: int = Field(default=MEMORY_MIB, ge=64, le=64 * 1024)
    """Memory of a guest, in MiB."""
    cpus: int = Field(default=1, ge=1, le=64)
    """Processors of a guest."""
    slow: float = Field(default=1.0, ge=1, le=100)
    """Multiplies the guest's deadlines and its cases' time limits."""
    devices: tuple[str, ...] = ()
    """What a guest has beyond a serial console: `virtio-net`, `e1000`, `virtio-rng`, `usb-tablet`, and the
    disks `virtio-blk`, `nvme`, `virtio-scsi`, `usb-storage`, as `nvme=256` with a size in MiB."""
    cmdline: str = ""
    """More of the kernel's command line, behind our own."""
    parameters: _Parameters = Field(default_factory=dict)
    """By module, the parameters that it is loaded with; those of the matrix for other modules hold as
    well."""
    base_make: dict[str, str] = Field(default_factory=dict)
    """Variables for the make of the kernel, not for that of the module under test."""
    coverage: bool = False
    """Count which lines of the module under test each case executes; its kernels need
    `CONFIG_GCOV_KERNEL`."""

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


class MatrixToml(_Table):
    """What all cells have in common, and the axes that make them: a cell for every combination of values."""

    base: str = Field(default="tinyconfig", pattern=r"^\w+config$")
    """The make target of the configuration that the fragments are laid on."""
    module: _Module | None = None
    """The module under test where no series names one: a folder of the tree (`fs/overlayfs`), one module of
    it (`drivers/md/dm-snapshot.ko`), or a table for a module of its own source."""
    kernels: tuple[str, ...] = ()
    """The kernels to test if the command line names none, as `--kernel` takes them."""
    fragments: tuple[str, ...] = ()
    """Kconfig fragments of every cell, beside this file or among those that kmodpipe brings; later ones
    win."""
    parameters: _Parameters = Field(default_factory=dict)
    """By module, the parameters that it is loaded with where no flavour has others."""
    axes: dict[str, Axis] = Field(default_factory=dict)
    """The axes, by name in capitals."""
    flavours: dict[str, FlavourTable] = Field(default_factory=dict)
    """The flavours, by name: small letters, digits and dashes."""
