"""Give a guest a folder of the host, by 9p: what its kernel needs for that, and which modules bring it."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.build import module_folder
from kmodpipe.build.configured import Buildable
from kmodpipe.util import shipped
from kmodpipe.util.errors import UserError

FRAGMENT = "host-folder.config"
"""The fragment of ours that has what a kernel needs."""
_NEEDED = ("PCI", "VIRTIO_PCI", "NET_9P", "NET_9P_VIRTIO", "9P_FS")
_MODULES = ("virtio_pci", "9pnet_virtio", "9p")


def require(configured: Buildable, *, packaged: bool) -> None:
    """Raise UserError for a kernel that cannot mount a folder of the host, with what it lacks.

    A kernel that is ``packaged`` may have it in modules. Of one that is built, only the module under test is.
    """
    enough = ("y", "m") if packaged else ("y",)
    final = configured.final
    lacks = [f"CONFIG_{symbol}" for symbol in _NEEDED if final.get(symbol) not in enough]
    if not lacks:
        return
    way_out = "another kernel, or no --folder"
    if not packaged:
        path = shipped.folder("kconfigs") / FRAGMENT
        way_out = f"--config {path} has them, for a base of its own; or {FRAGMENT} among a matrix's fragments"
    raise UserError(
        f"this kernel cannot mount a folder of the host: it lacks {', '.join(lacks)}",
        where=configured.cell.id,
        hint=way_out,
    )


def modules(folder: Path, work: Path) -> tuple[Path, ...]:
    """Return the modules that mount it, in the order in which they are loaded, unpacked into ``work``.

    ``folder`` has all modules of a packaged kernel; what is built into that needs none.
    """
    there = module_folder.builtin(folder)
    return module_folder.load_order((), folder, work, also=[name for name in _MODULES if name not in there])
