"""Boot one cell's guest with a shell on this terminal, for `invoke boot`."""

from __future__ import annotations

import math
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from kmodpipe.build import module_order
from kmodpipe.build.configured import Buildable, RuledOut
from kmodpipe.build.elf import module_name
from kmodpipe.build.sharing import Subject
from kmodpipe.judge.cases import Case, CellContext
from kmodpipe.pipeline import host_folder
from kmodpipe.pipeline.builder import BuildFailed, BuiltCell, CellBuilder, GuestParts, Row
from kmodpipe.pipeline.cell_job import cmdline
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.stage_maker import StageMaker
from kmodpipe.pipeline.tools import Handed
from kmodpipe.pipeline.workspace import GivenKernel, Workspace
from kmodpipe.util import process
from kmodpipe.util.errors import UserError
from kmodpipe.util.workers import workers
from kmodpipe.vm import by_hand, devices
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.devices import HostFolder
from kmodpipe.vm.initramfs import FOLDER, BootContents, PlannedCase, concatenate, memory_mib, pack_cell
from kmodpipe.vm.qemu import MachineSpec, interactive


@dataclass(frozen=True)
class ByHand:
    """What a person wants in the guest, beyond the module."""

    # The name of the case to begin with, one of the workspace's; empty for none.
    run: str = ""
    gdb: bool = False
    folder: HostFolder | None = None


def with_cases(chosen: Sequence[Case], declared: Iterable[Case], at_hand: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases of a guest: those that were chosen, and of the others those with no tools but these.

    Fetching what all cases need could take longer than the rest.
    """
    names, have = {case.id for case in chosen}, set(at_hand)
    return (*chosen, *(case for case in declared if case.id not in names and have.issuperset(case.tools)))


def shell(workspace: Workspace, folder: RunFolder, accel: Accel, wanted: ByHand) -> int:
    """Build the only cell of the workspace, and boot it with a shell. Return QEMU's exit status.

    Raises UserError if the cell is ruled out or cannot have what is wanted, and the build's error if it does
    not build.
    """

    def check(rows: Sequence[Row]) -> None:
        for _, one in rows:
            if wanted.folder and isinstance(one, Buildable):
                packaged = isinstance(workspace.kernel_of(one.cell), GivenKernel)
                host_folder.require(one, packaged=packaged)

    builder = CellBuilder(workspace, StageMaker(workspace, folder))
    with workers(workspace.spec.jobs) as pool:
        rows = builder.prepare(pool, check)
        subject, configured = rows[0]
        built = builder.cell(subject, configured)
    match built:
        case BuiltCell():
            guest = builder.guest()
            given = builder.tools(built, guest)
            cell = _Cell(workspace, subject, built, guest, given, folder.cell(built.cell.id))
            return cell.boot(accel, wanted)
        case RuledOut(cell_, reason):
            raise UserError(f"{cell_.id} is ruled out: {reason}")
        case BuildFailed(_, failure):
            raise failure
        case _:
            assert_never(built)


@dataclass(frozen=True)
class _Cell:
    """The cell, built, and what its guest is made of."""

    workspace: Workspace
    subject: Subject
    built: BuiltCell
    guest: GuestParts
    given: Handed
    # For the files of this boot that are kept.
    folder: Path

    def boot(self, accel: Accel, wanted: ByHand) -> int:
        screen = self.workspace.screen
        nonce = secrets.token_hex(16)
        cases = self._cases(wanted.run)
        with self.workspace.store.scratch("shell-") as scratch, ExitStack() as stack:
            modules = self._modules(scratch, wanted.folder)
            self._pack(scratch / "cell.cpio", nonce, modules, cases, wanted.folder)
            machine = self._machine(scratch, accel, wanted)
            screen.say(f"{self.built.cell.id}: a shell in its guest; end it with exit, or Ctrl-A X")
            if wanted.folder:
                screen.say(f"/{FOLDER} there is {wanted.folder.path}")
            if not wanted.gdb:
                return interactive(machine)
            # A socket's path has little room.
            socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kmodpipe-"))) / "gdb"
            commands = self.folder / "gdb.commands"
            files = {module_name(path): path for path in modules}
            debugged = by_hand.Debugged(socket, self._vmlinux(), files, self._sources())
            watch = by_hand.ModuleWatch(scratch / "channel", nonce, debugged, commands)

            def look() -> None:
                if watch.look():
                    screen.print(f"gdb, in another terminal:  gdb -x {process.pasteable([str(commands)])}")

            return interactive(machine, channel=scratch / "channel", gdb=socket, watch=look)

    def _cases(self, first: str) -> list[PlannedCase]:
        """Return the cases that can run in the guest; say which cannot, and why.

        Raise UserError if ``first`` is one of those.
        """
        cell, variant = self.built.cell, self.subject.variant
        kernel = self.workspace.kernel_of(cell).source
        context = CellContext(
            cell.id, variant.name, variant.design, cell.choice, self.built.configured.final,
            cell.flavour.name, variant.partial, self.guest.root(cell.flavour), kernel.kernel_version,
        )  # fmt: skip
        found: list[PlannedCase] = []
        left_out: dict[str, list[str]] = {}
        for index, case in enumerate(self.workspace.spec.cases):
            lacking = ", ".join(case.lacking(context))
            why = case.not_here(context) or (lacking and f"needs {lacking}, which the guest does not have")
            if why and case.id == first:
                raise UserError(f"case {first} cannot run here: {why}", where=cell.id)
            if why:
                left_out.setdefault(why, []).append(case.id)
                continue
            files = {one.name: one.path for one in case.files}
            found.append(
                PlannedCase(index, case.id, case.timeout_s, case.path, case.arguments(context), files)
            )
        for why, names in left_out.items():
            self.workspace.screen.say(f"left out: {', '.join(names)} ({why})")
        return found

    def _modules(self, scratch: Path, folder: HostFolder | None) -> tuple[Path, ...]:
        """Return the modules in the order in which they are loaded, the one under test last."""
        own = module_order.in_order((self.built.module.path / "out").glob("*.ko"))
        kernel = self.workspace.kernel_of(self.built.cell)
        if not (folder and isinstance(kernel, GivenKernel)):
            return own
        work = scratch / "modules"
        work.mkdir()
        first = host_folder.modules(kernel.source.modules, work)
        names = {module_name(path) for path in first}
        return (*first, *(path for path in own if module_name(path) not in names))

    def _pack(
        self,
        target: Path,
        nonce: str,
        modules: Sequence[Path],
        cases: Sequence[PlannedCase],
        folder: HostFolder | None,
    ) -> None:
        flavour = self.built.cell.flavour
        contents = BootContents(
            nonce=nonce,
            lib=self.workspace.spec.project.images / "guest" / "lib.sh",
            modules=modules,
            module_params=module_order.parameters(flavour.parameters, modules),
            cases=cases,
            env={**flavour.env, "KMODPIPE_SLOW": str(math.ceil(flavour.slow))},
            with_disk=self.given.disk is not None,
            folder=folder,
        )
        pack_cell(target, contents)

    def _machine(self, scratch: Path, accel: Accel, wanted: ByHand) -> MachineSpec:
        flavour = self.built.cell.flavour
        archives = (*self.given.archives.values(), scratch / "cell.cpio")
        machine_devices = devices.parse(flavour.devices, flavour.name)
        devices.make_disks(machine_devices, scratch)
        words = by_hand.words(run=wanted.run, gdb=wanted.gdb, folder=wanted.folder is not None)
        return MachineSpec(
            self.built.base.path / "out" / "bzImage",
            concatenate(scratch / "initramfs.cpio", (self.guest.rootfs, *archives)),
            f"{cmdline(flavour.cpus, flavour.cmdline, devices=bool(machine_devices))} {words}",
            memory_mib(flavour.memory_mib, archives, self.given.hint),
            flavour.cpus,
            accel,
            devices=machine_devices,
            tools=self.given.disk,
            disks=scratch,
            folder=wanted.folder,
        )

    def _vmlinux(self) -> Path:
        """Return the file that gdb reads of the kernel. Say so if it has little to say."""
        kernel = self.workspace.kernel_of(self.built.cell)
        if not isinstance(kernel, GivenKernel):
            return self.built.base.path / "out" / "vmlinux"
        if kernel.source.vmlinux:
            return kernel.source.vmlinux
        self.workspace.screen.say(
            f"gdb knows the module's symbols and lines; {kernel.source.name} has none of the kernel's own "
            "without debug = true in its declaration"
        )
        return self.built.base.path / "out" / "vmlinux"

    def _sources(self) -> Path:
        own = self.subject.own
        return own.path / own.folder if own else self.subject.src
