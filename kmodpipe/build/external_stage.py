"""The stage of a module of its own source: built against a kernel's kit, with what it needs beside it.

What it needs of the kernel's own modules is known once it is built, from modinfo(8): `Kit.needed` adds them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kmodpipe import kconfig
from kmodpipe.build import compile_warnings, dkms, gcov_notes, loadable, module_order
from kmodpipe.build.configured import Buildable
from kmodpipe.build.elf import module_name, require_elf
from kmodpipe.build.external_order import ExternalOrder, split_arguments
from kmodpipe.build.recipes import Builder, ModuleOrder, WorkDir
from kmodpipe.build.sharing import OwnTree
from kmodpipe.build.stage import Stage
from kmodpipe.cache.store import Artifact, Inputs
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.util import document, shipped
from kmodpipe.util.digest import digest_tree
from kmodpipe.util.errors import KernelFailure, UserError

# Raise it when the meaning of a key changes, so that no artifact of an earlier version is taken.
_VERSION = 1


@dataclass(frozen=True)
class Instructions:
    """How a module's own source is built: as it is declared, or else as its dkms.conf says."""

    arguments: tuple[str, ...] | None  # of make, as `ExternalOrder` has them
    folder: str  # where its Kbuild or Makefile is, below the source's top
    modules: tuple[str, ...] = ()  # names of the files that have to be made, without .ko
    environment: tuple[str, ...] = ()  # of make, likewise
    dkms: dkms.Dkms | None = None


def instructions(own: OwnTree, declared: OwnSource) -> Instructions:
    """Return how to build a source.

    Raise UserError for a dkms.conf that cannot be read without a shell; where the arguments of make are
    declared, it is left out.
    """
    arguments = split_arguments(declared.make) if declared.make else None
    path = own.path / own.folder / "dkms.conf"
    if not path.is_file():
        return Instructions(arguments, own.folder or ".")
    text, where = document.read_text(path), f"{own.folder}/dkms.conf".lstrip("/")
    if declared.make:
        try:
            found = dkms.read(text, where, make=False)
        except UserError:
            return Instructions(arguments, own.folder or ".")
        names = tuple(one.name for one in found.modules)
        return Instructions(arguments, own.folder or ".", names, dkms=found)
    found = dkms.read(text, where)
    folder = posixpath.normpath(posixpath.join(own.folder or ".", found.folder))
    names = tuple(one.name for one in found.modules)
    return Instructions(found.arguments, folder, names, found.environment, found)


def excluded(own: OwnTree, declared: OwnSource, configured: Buildable, release: str) -> str:
    """Return why a source is not for a kernel, as its dkms.conf says; empty if it is."""
    found = instructions(own, declared).dkms
    return found.excluded(release, configured.final) if found else ""


class Kit(Protocol):
    """What modules of a kernel are built against."""

    @property
    def identity(self) -> Inputs:
        """What the kit's content depends on."""

    def order(self, name: str, own: OwnTree, how: Instructions) -> ExternalOrder:
        """Return what to build."""

    def add_needed(self, also: Iterable[str], work: WorkDir) -> None:
        """Put what modules in ``out`` need of the kernel beside them; ``also`` names more of its own."""


@dataclass(frozen=True)
class ExternalStages:
    """Makes the stages of a module of its own source."""

    declared: OwnSource
    builder: Builder
    # Of the builder's runtime.
    identity: Inputs

    def module_of(self, own: OwnTree, configured: Buildable, kit: Kit) -> Stage:
        """Return the stage of one cell's module: its own .ko files, and those of the kernel that it needs."""
        name, how = configured.cell.id, instructions(own, self.declared)
        coverage = configured.cell.flavour.coverage
        inputs: Inputs = {
            "kit": dict(kit.identity),
            "source": own.identity,
            "folder": own.folder,
            "make": self.declared.make,
            "needs": list(self.declared.needs),
            "builder": dict(self.identity),
            "recipe": [_VERSION, digest_tree(shipped.part(self.builder.images, "external"))],
            **gcov_notes.key_part(coverage),
        }

        def make(work: WorkDir) -> None:
            order = replace(kit.order(name, own, how), coverage=coverage)
            self.builder.external(order, work)
            made = sorted((work.folder / "out").glob("*.ko"))
            for module in made:
                require_elf(module, work.log)
                loadable.require_of_kernel(module, order.kit, order.config, work.log)
            _require(how.modules, made, work.log)
            kit.add_needed(self.declared.needs, work)

        return Stage("module", name, inputs, make, need_mib=256)


def _require(wanted: Iterable[str], made: Iterable[Path], log: Path) -> None:
    """Raise KernelFailure for a module that dkms.conf names and that was not made."""
    names = {module_name(path) for path in made}
    if missing := [name for name in wanted if module_name(name) not in names]:
        raise KernelFailure(
            f"the build made no {missing[0]}.ko, which dkms.conf names",
            where=f"log: {log}",
            hint=f"it made {', '.join(sorted(names))}",
        )


def order(
    name: str, own: OwnTree, how: Instructions, *, kit: Path, src: Path | None, compiler: str
) -> ExternalOrder:
    """Return the order for a module of its own source."""
    return ExternalOrder(
        name=name,
        module=own.path,
        folder=how.folder,
        kit=kit,
        src=src,
        compiler=compiler or "gcc",
        arguments=how.arguments,
        environment=how.environment,
    )


@dataclass(frozen=True)
class BuiltKit:
    """The kit of a kernel that is built from a tree."""

    base: Artifact
    src: Path
    builder: Builder
    configured: Buildable
    make: Mapping[str, str]

    @property
    def identity(self) -> Inputs:
        return {"base": self.base.key, "configuration": kconfig.digest(self.configured.final)}

    def order(self, name: str, own: OwnTree, how: Instructions) -> ExternalOrder:
        return order(name, own, how, kit=self.base.path / "obj", src=self.src, compiler="")

    def add_needed(self, also: Iterable[str], work: WorkDir) -> None:
        """Build them; one that the configuration does not have as a module may be in vmlinux."""
        known = module_order.of_base(self.base)
        wanted = [known[name].target for name in also if name in known]
        wanted += module_order.lacking((work.folder / "out").glob("*.ko"), known)
        targets = module_order.with_needed(tuple(dict.fromkeys(wanted)), known)
        if not targets:
            return
        folder = work.folder / "needed"
        folder.mkdir()
        # Every folder but the kit's own is made for the cell, as for a module of the tree.
        made = ModuleOrder(
            self.configured.cell.id, self.src, self.base.path / "obj", self.configured.text,
            targets[0].rpartition("/")[0], targets, self.make,
        )  # fmt: skip
        self.builder.module(made, WorkDir(folder, work.log.with_suffix(".needed.log"), work.step))
        for path in (folder / "out").glob("*.ko"):
            path.replace(work.folder / "out" / path.name)


def warnings(module: Artifact) -> tuple[compile_warnings.CompileWarning, ...]:
    """Return the compiler's warnings about a module of its own source."""
    path = module.path / "out" / "warnings.json"
    return compile_warnings.read(path) if path.is_file() else ()
