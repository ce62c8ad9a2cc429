"""Boot one cell's guest with a shell on this terminal, for `invoke boot`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import assert_never

from kmodpipe.build import module_order
from kmodpipe.build.configured import RuledOut
from kmodpipe.pipeline.builder import BuildFailed, BuiltCell, CellBuilder, StageMaker
from kmodpipe.pipeline.cell_run import cmdline
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.tools import Handed
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.util.errors import UserError
from kmodpipe.util.workers import workers
from kmodpipe.vm import devices
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.initramfs import BootContents, concatenate, memory_mib, pack_cell
from kmodpipe.vm.qemu import MachineSpec, interactive


def shell(workspace: Workspace, folder: RunFolder, accel: Accel) -> int:
    """Build the only cell of the workspace, and boot it with a shell. Return QEMU's exit status.

    Raises UserError if the cell is ruled out, and the build's error if it does not build.
    """
    builder = CellBuilder(workspace, StageMaker(workspace, folder))
    with workers(workspace.spec.jobs) as pool:
        rows = builder.prepare(pool)
        built = builder.cell(*rows[0])
    match built:
        case BuiltCell():
            guest = builder.guest()
            return _boot(workspace, built, guest.rootfs, builder.tools(built, guest), accel)
        case RuledOut(cell, reason):
            raise UserError(f"{cell.id} is ruled out: {reason}")
        case BuildFailed(_, failure):
            raise failure
        case _:
            assert_never(built)


def _boot(workspace: Workspace, built: BuiltCell, rootfs: Path, given: Handed, accel: Accel) -> int:
    flavour = built.cell.flavour
    with workspace.store.scratch("shell-") as scratch:
        cell_cpio = scratch / "cell.cpio"
        modules = module_order.in_order((built.module.path / "out").glob("*.ko"))
        contents = BootContents(
            nonce=secrets.token_hex(16),
            lib=workspace.spec.project.images / "guest" / "lib.sh",
            modules=modules,
            module_params=module_order.parameters(flavour.parameters, modules),
            env=flavour.env,
            with_disk=given.disk is not None,
            with_shell=True,
        )
        pack_cell(cell_cpio, contents)
        archives = tuple(given.archives.values())
        initramfs = concatenate(scratch / "initramfs.cpio", (rootfs, *archives, cell_cpio))
        machine_devices = devices.parse(flavour.devices, flavour.name)
        devices.make_disks(machine_devices, scratch)
        workspace.screen.say(f"{built.cell.id}: a shell in its guest; end it with exit, or Ctrl-A X")
        return interactive(
            MachineSpec(
                built.base.path / "out" / "bzImage",
                initramfs,
                cmdline(flavour.cpus, flavour.cmdline),
                memory_mib(flavour.memory_mib, archives, given.hint),
                flavour.cpus,
                accel,
                devices=machine_devices,
                tools=given.disk,
                disks=scratch,
            )
        )
