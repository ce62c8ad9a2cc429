"""`invoke boot`: one cell's guest with a shell in it, on this terminal."""

from __future__ import annotations

import secrets

from kmodpipe.pipeline.builder import Building, Maker
from kmodpipe.pipeline.cell_run import cmdline
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.util.errors import UserError
from kmodpipe.util.workers import workers
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.initramfs import concatenate, pack_cell
from kmodpipe.vm.qemu import MachineSpec, interactive


def shell(bench: Workspace, folder: RunFolder, accel: Accel) -> int:
    """Build the one cell of the bench and boot it with a shell; returns QEMU's exit status.

    Raises UserError for a cell that is ruled out, and the build's own error for one that does not build.
    """
    maker = Maker(bench, folder)
    building = Building(bench, maker)
    with workers(bench.spec.jobs) as pool:
        rows = building.prepare(pool)
        built = building.cell(*rows[0])
    if built.skip:
        raise UserError(f"{built.id} is ruled out: {built.skip}")
    if built.failure:
        raise built.failure
    assert built.base and built.module
    guest, flavour = building.guest(), built.configured.cell.flavour
    with bench.store.scratch("shell-") as scratch:
        cell_cpio = scratch / "cell.cpio"
        pack_cell(
            cell_cpio,
            nonce=secrets.token_hex(16),
            modules=sorted((built.module.path / "out").glob("*.ko")),
            cases=(),
            lib=bench.spec.project.images / "guest" / "lib.sh",
            env=flavour.env,
            with_shell=True,
        )
        initramfs = concatenate(scratch / "initramfs.cpio", (guest.rootfs, *guest.tools(flavour), cell_cpio))
        bench.screen.say(f"{built.id}: a shell in its guest; exit, or Ctrl-A X, ends it")
        return interactive(
            MachineSpec(
                built.base.path / "out" / "bzImage",
                initramfs,
                cmdline(flavour.cpus),
                flavour.memory_mib,
                flavour.cpus,
                accel,
            )
        )
