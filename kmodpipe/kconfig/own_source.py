"""Declare a module that is no part of a kernel tree: ``module = { source = "." }`` of a matrix file."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_WORD = re.compile(r"[\x21-\x7e]+")


def _names(needs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of modules as the kernel has them. Raise ValueError for what is none."""
    if bad := [name for name in needs if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]:
        raise ValueError(f"a module is named without .ko and without a folder, {bad[0]!r} is not")
    return tuple(name.replace("-", "_") for name in needs)


def _words(make: str) -> str:
    """Return arguments for make. Raise ValueError for what a shell would have to read."""
    if bad := [word for word in make.split(" ") if word and not _WORD.fullmatch(word)]:
        raise ValueError(f"make's arguments are words of ASCII, {bad[0]!r} is not")
    if found := re.search(r"[`;&|<>\"'\\]|\$\(", make):
        raise ValueError(f"make's arguments are given without a shell: {found[0]!r} cannot be used")
    return make


class OwnSource(BaseModel):
    """Where a module's own source is, and what it takes to build and to load it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(min_length=1)
    """The folder with its Kbuild or Makefile, relative to this file; or a git URL with `#REF`, or with
    `#REF:FOLDER` for a folder below its top."""
    control: str = ""
    """The git ref of the control. Without it, where the default branch and HEAD part."""
    make: Annotated[str, AfterValidator(_words)] = ""
    """Arguments for its own Makefile, with `{kit}` for the kernel's build folder. Without them, kbuild's
    `M=`."""
    needs: Annotated[tuple[str, ...], AfterValidator(_names)] = ()
    """Modules of the kernel to load first, beyond those that modinfo(8) names."""


def is_own(module: str) -> bool:
    """Return whether ``--module`` names a source of its own, and no folder of the tree."""
    return module in (".", "..", "~") or module.startswith(("./", "../", "/", "~")) or "://" in module
