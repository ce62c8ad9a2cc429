"""Fill the folder of a cell: its configuration, the files that its guests boot, and reproduce scripts.

What several cells boot (kernel, root file system, tools) is copied once to the run's shared folder.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kmodpipe.build import gcov_notes, module_order
from kmodpipe.build.elf import kernel_build_ids, module_name
from kmodpipe.cache.store import made_as
from kmodpipe.pipeline.builder import BuiltCell, GuestParts
from kmodpipe.pipeline.cell_job import GuestFiles
from kmodpipe.pipeline.cell_run import Boot
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.tools import Handed
from kmodpipe.util import os_errors
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import InfraError, KmodpipeError
from kmodpipe.vm import devices, guest_root, reproduce_script
from kmodpipe.vm.qemu import qemu_argv


class GuestCopies:
    """Copies what guests boot from the cache to a run's folder, each file once."""

    def __init__(self, folder: RunFolder, lib: Path) -> None:
        """``lib`` is the run's copy of the cases' shell library."""
        self._folder = folder
        self._shared = folder.shared
        self._lib = lib
        self._lock = threading.Lock()

    def begin(self, guest: GuestParts) -> None:
        """Copy what every guest boots, while the first cells are built. What fails, fails in `of` again."""
        with self._lock, suppress(KmodpipeError):
            self._rootfs(guest)

    def _rootfs(self, guest: GuestParts) -> Path:
        return _copy(guest.rootfs, self._shared / "guest.cpio")

    def of(self, built: BuiltCell, guest: GuestParts, given: Handed) -> GuestFiles:
        """Return the files that a cell's guests boot, after copying those that are not there yet."""
        base, module, flavour = built.base, built.module, built.cell.flavour
        kernel_id, module_ids = kernel_build_ids(base, module)
        modules = module_order.in_order((module.path / "out").glob("*.ko"))
        digests = {module_name(p): made_as(p) for p in modules}
        with self._lock:
            kernel = _copy(base.path / "out" / "bzImage", self._shared / f"bzImage-{base.key[:12]}")
            rootfs = self._rootfs(guest)
            tools = tuple(
                _copy(archive, self._shared / f"tools-{name}.cpio")
                for name, archive in given.archives.items()
            )
            disk = given.disk and _copy(given.disk, self._shared / f"tools-{made_as(given.disk)[:12]}.img")
        return GuestFiles(
            kernel, rootfs, self._lib, modules, kernel_id, module_ids, digests, tools, flavour.env,
            flavour.memory_mib, flavour.cpus, flavour.slow, base.path / "out" / "vmlinux",
            devices.parse(flavour.devices, flavour.name), flavour.cmdline,
            module_order.parameters(flavour.parameters, modules), disk, given.hint, self._notes(built),
        )  # fmt: skip

    def _notes(self, built: BuiltCell) -> Path | None:
        """Copy the compiler's notes about a cell's module to its folder; None if it counts nothing."""
        notes = built.module.path / gcov_notes.NOTES
        if not built.cell.flavour.coverage or not notes.is_dir():
            return None
        return shutil.copytree(notes, self._folder.cell(built.cell.id) / gcov_notes.NOTES)


def _copy(source: Path, target: Path) -> Path:
    """Copy ``source`` to ``target``, unless that exists; return ``target``.

    A copy and not a link: a user who edits results must not change the cache.
    """
    if not target.exists():
        try:
            shutil.copyfile(source, target)
        except OSError as e:
            target.unlink(missing_ok=True)
            raise os_errors.explain(e, (target.parent,)) or os_errors.failed(
                f"could not copy {source.name} to the results", e, str(target)
            ) from e
        if digest_file(target) != made_as(source):
            target.unlink()
            raise InfraError(
                f"{source.name} was changed in the cache after the run had begun",
                where=str(source),
                hint="run the same command again: damaged artifacts are made again",
            )
    return target


def write_reproduce_scripts(
    folder: Path, files: GuestFiles, boots: Iterable[Boot], comment: Mapping[str, str]
) -> None:
    """Write a script for each guest whose files are kept, which boots the guest again."""
    for boot in boots:
        if not boot.kept:
            continue
        machine = replace(
            boot.record.spec,
            kernel=Path("@KERNEL@"),
            initramfs=Path("@INITRAMFS@"),
            cmdline=f"{boot.record.spec.cmdline}@WORDS@",
            tools=Path(reproduce_script.TOOLS_NAME) if files.disk else None,
            disks=None,
        )
        reproduce_script.write(
            folder,
            argv=qemu_argv(machine, channel="@CHANNEL@"),
            kernel=os.path.relpath(files.kernel, folder),
            initramfs_parts=(
                *(os.path.relpath(archive, folder) for archive in (files.rootfs, *files.tools)),
                boot.cell_cpio.name,
            ),
            comment=comment,
            guest=boot.number,
            disks=devices.disks(files.devices),
            tools=os.path.relpath(files.disk, folder) if files.disk else "",
            packed=guest_root.members(boot.cell_cpio),
            vmlinux=str(files.vmlinux or ""),
        )


def artifacts(folder: RunFolder, cell_id: str) -> Mapping[str, str]:
    """Return the files in a cell's folder, and the folders of what its cases printed: name → path relative to
    the run's folder."""
    files = sorted(folder.cell(cell_id).iterdir())
    return {
        path.name: f"{cell_id}/{path.name}"
        for path in files
        if path.is_file() or path.name.startswith("output")
    }
