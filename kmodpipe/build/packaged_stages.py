"""The stages of a distribution's own kernel: nothing of it is compiled but a module of its own source.

kernel ─► base (what QEMU boots; vmlinux for its build id)
       ─► module: of its own source, built against the kernel's kit; or, for a folder of the tree, the
          kernel's own, unpacked
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.build import external_stage, module_file, module_folder
from kmodpipe.build.complete import require_files, require_texts
from kmodpipe.build.configured import Buildable, Configured, RuledOut
from kmodpipe.build.elf import build_id, has_pvh_entry
from kmodpipe.build.external_order import ExternalOrder
from kmodpipe.build.external_stage import ExternalStages, Instructions, excluded
from kmodpipe.build.recipes import Builder, WorkDir
from kmodpipe.build.sharing import OwnTree, Subject
from kmodpipe.build.stage import Stage
from kmodpipe.cache.store import Inputs
from kmodpipe.kconfig import Cell
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.source.packaged import PackagedKernel, bzimage
from kmodpipe.util import paths

# Raise one when the meaning of a key changes, so that no artifact of an earlier version is taken.
_BASE_VERSION = 1
_MODULE_VERSION = 1


@dataclass(frozen=True)
class PackagedStages:
    """Makes the stages of one kernel of a run that a distribution built."""

    kernel: PackagedKernel
    # The module's folder in the tree; of one of its own source the name.
    module: str
    builder: Builder
    # Of the builder's runtime, which has the kernel's compiler.
    identity: Inputs
    own: OwnSource | None = None

    def configured(self, subject: Subject, cells: Sequence[Cell]) -> tuple[Configured, ...]:
        """Return the cells that can be had: a configuration that is given cannot be changed."""
        text = self.kernel.config.read_text("utf-8", "replace")
        return tuple(self._configured(subject, cell, text) for cell in cells)

    def _configured(self, subject: Subject, cell: Cell, text: str) -> Configured:
        if cell.flavour.requested:
            first = cell.flavour.requested[0]
            return RuledOut(
                cell,
                f"{self.kernel.name} comes with its configuration: the flavour {cell.flavour} asks for "
                f"{first.symbol}={first.value}",
            )
        if not self.own and not self._of_the_folder():
            return RuledOut(cell, f"{self.kernel.name} has no module in {self.module}")
        found = Buildable(cell, text)
        if subject.own and self.own and (why := excluded(subject.own, self.own, found, self.kernel.release)):
            return RuledOut(cell, why)
        return found

    def _of_the_folder(self) -> tuple[Path, ...]:
        below = self.kernel.modules / "kernel" / self.module
        return tuple(sorted(path for path in below.rglob("*.ko*") if path.is_file()))

    def base(self) -> Stage:
        """Return the stage of what the guests boot.

        QEMU enters a vmlinux with a PVH note directly, which under TCG saves the time that the kernel takes
        to unpack itself: then ``bzImage`` is that file. ``vmlinux`` is the one with debugging information,
        which traces are decoded with, where its package was fetched as well.
        """
        inputs: Inputs = {"kernel": self.kernel.identity, "recipe": _BASE_VERSION}

        def make(work: WorkDir) -> None:
            out = work.folder / "out"
            out.mkdir()
            bzimage.extract(self.kernel.vmlinuz, out / "vmlinux")
            bootable = out / "vmlinux" if has_pvh_entry(out / "vmlinux") else self.kernel.vmlinuz
            shutil.copyfile(bootable, out / "bzImage")
            if self.kernel.vmlinux:
                shutil.copyfile(self.kernel.vmlinux, out / "vmlinux")
            shutil.copyfile(self.kernel.config, out / "base.config")

        def check(folder: Path) -> None:
            require_files(folder, "out/vmlinux", "out/bzImage")
            require_texts(folder, "out/base.config")
            build_id(folder / "out" / "vmlinux")

        return Stage(
            "base",
            self.kernel.release,
            inputs,
            make,
            need_mib=1024 if self.kernel.vmlinux else 256,
            check=check,
        )

    def module_of(self, subject: Subject, configured: Buildable) -> Stage:
        """Return the stage of one cell's modules, with those of the kernel that they need."""
        if subject.own and self.own:
            stages = ExternalStages(self.own, self.builder, self.identity)
            return stages.module_of(subject.own, configured, _PackagedKit(self.kernel))
        inputs: Inputs = {"kernel": self.kernel.identity, "folder": self.module, "recipe": _MODULE_VERSION}

        def make(work: WorkDir) -> None:
            out = work.folder / "out"
            out.mkdir()
            _add(self.kernel, [module_file.unpack(path, out) for path in self._of_the_folder()], work)

        return Stage("module", configured.cell.id, inputs, make)


@dataclass(frozen=True)
class _PackagedKit:
    """The kit of a distribution's kernel."""

    kernel: PackagedKernel

    @property
    def identity(self) -> Inputs:
        return {"kernel": self.kernel.identity}

    def order(self, name: str, own: OwnTree, how: Instructions) -> ExternalOrder:
        return external_stage.order(
            name, own, how, kit=self.kernel.kit, src=None, compiler=self.kernel.compiler
        )

    def add_needed(self, wanted: Iterable[str], work: WorkDir) -> None:
        """Unpack them. Raise UserError or KernelFailure for one that the kernel does not have."""
        _add(self.kernel, (work.folder / "out").glob("*.ko"), work, also=wanted)


def _add(kernel: PackagedKernel, built: Iterable[Path], work: WorkDir, also: Iterable[str] = ()) -> None:
    """Put what built modules need of the kernel's own into ``out``."""
    unpacked, out = work.folder / "unpacked", work.folder / "out"
    unpacked.mkdir()
    for path in module_folder.load_order(built, kernel.modules, unpacked, also=also):
        # One that is not packed is where the kernel has it.
        if path.parent != out:
            shutil.copyfile(path, out / path.name)
    paths.remove(unpacked)
