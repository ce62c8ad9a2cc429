"""What is to be built of a module that lives outside the tree, and how make is run for it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.build import kbuild
from kmodpipe.kconfig import parse_config
from kmodpipe.util import document, paths
from kmodpipe.util.errors import InfraError, KernelFailure, UserError, unknown_name

# What stands in arguments for a path or a word that only the recipe knows.
PLACEHOLDERS = {
    "kit": "what the module is built against, as KDIR is",
    "obj": "the folder of the module's copy that is built in",
    "release": "the kernel's release, as `uname -r` prints it",
}
_PLACEHOLDER = re.compile(r"(?<!\$)\{(\w+)\}")
_NEEDS_A_SHELL = re.compile(r"[`;|&<>\n]|\$[({]?\w?")
_VARIABLE = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")


@dataclass(frozen=True)
class ExternalOrder:
    """One build of a module that lives outside the tree."""

    name: str  # for messages: the cell
    module: Path  # the module's own source, which is copied
    kit: Path  # headers of a distribution's kernel, or the object folder of a base
    src: Path | None = None  # the kernel tree, if the kit is a base's
    compiler: str = "gcc"  # a program's name: gcc-14
    # Of make in the module's folder, where its own Makefile is used; None: as kbuild documents it, with M=.
    arguments: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()  # of make, NAME=value, with the same placeholders
    variables: Mapping[str, str] = field(default_factory=dict)  # for make
    symvers: Mapping[str, str] = field(default_factory=dict)  # texts of Module.symvers, by the module's name
    folder: str = "."  # where the Kbuild or Makefile is, relative to the source
    coverage: bool = False  # as in `recipes.ModuleOrder`

    @property
    def config(self) -> Mapping[str, str]:
        """The configuration of the kernel. Raise InfraError if the kit has none."""
        path = self.kit / ".config"
        try:
            return parse_config(document.read_text(path))
        except (OSError, ValueError) as e:
            raise InfraError("the kit has no configuration", where=str(path), hint=str(e)) from e

    @property
    def make_arguments(self) -> tuple[str, ...]:
        """All arguments of make in the module's folder, with placeholders."""
        variables = tuple(f"{name}={value}" for name, value in self.variables.items())
        if self.arguments is None:
            return ("-C", "{kit}", "M={obj}", *variables, "modules")
        return (*self.arguments, *variables)

    def check(self) -> None:
        """Raise UserError for a wrong name, KernelFailure for a source that make would find nothing in.

        The second is of that state of the source: another one, before or after a change, may have it.
        """
        if self.folder != "." and not paths.is_plain(self.folder):
            raise UserError(f"the module's folder is not below its source: {self.folder!r}", where=self.name)
        for name, value in self.variables.items():
            if not _VARIABLE.fullmatch(name) or "\n" in value:
                raise UserError(f"make has no variable like {name!r}", where=self.name)
        folder = self.module / self.folder
        if not paths.is_dir(folder):
            raise KernelFailure(f"the module's source has no folder {self.folder!r}", where=str(self.module))
        if self.arguments is None:
            if not any(paths.is_file(folder / name) for name in ("Kbuild", "Makefile")):
                raise KernelFailure(
                    "the module's source has no Kbuild and no Makefile",
                    where=str(folder),
                    hint="write one with obj-m := NAME.o (Documentation/kbuild/modules.rst); if it is in a "
                    "folder below, name that folder, of a URL as #REF:FOLDER",
                )
        elif not self._names_makefile and not any(paths.is_file(folder / name) for name in _MAKEFILES):
            raise KernelFailure(
                "the module's source has no Makefile",
                where=str(folder),
                hint="name the folder that has one, or leave the arguments of make out",
            )

    @property
    def _names_makefile(self) -> bool:
        return any(
            word.startswith(("-C", "-f", "--dir", "--file", "--makefile")) for word in self.arguments or ()
        )

    def makes_nothing(self) -> str:
        """Return a hint why kbuild made no module: the symbols that its Makefile asks for."""
        try:
            asked = kbuild.made_by(self.module, self.folder)
        except UserError:
            asked = {}
        config = self.config
        off = [f"CONFIG_{symbol}={config.get(symbol, 'n')}" for symbol in asked if config.get(symbol) != "m"]
        if off:
            return (
                f"this kernel's configuration has {', '.join(off)}, which its Makefile asks for: set them as "
                'variables of make (CONFIG_X = "m"), or use obj-m'
            )
        return (
            "let its Kbuild or Makefile name one: obj-m := NAME.o; if a condition is in the way, read the log"
        )


def split_arguments(text: str, where: str = "make") -> tuple[str, ...]:
    """Return the words of a `make = "…"` setting, without a leading ``make``.

    Placeholders stay (`PLACEHOLDERS`). Raise UserError for an unknown one, a quote that is not closed, and
    what only a shell could run.
    """
    for match in _PLACEHOLDER.finditer(text):
        if match[1] not in PLACEHOLDERS:
            raise unknown_name("placeholder", match[1], PLACEHOLDERS, where=where)
    if shell := _NEEDS_A_SHELL.search(text):
        raise UserError(
            f"arguments of make are not run by a shell, but have {shell[0]!r}",
            where=where,
            hint="write targets and variables, such as: modules KDIR={kit}; more belongs in the Makefile",
        )
    try:
        words = shlex.split(text)
    except ValueError as e:
        raise UserError(f"the arguments of make cannot be read: {e}", where=where) from None
    return tuple(words[1:] if words[:1] == ["make"] else words)
