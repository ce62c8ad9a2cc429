"""The devices that a guest may have beyond its two serial ports: network cards, disks, USB, from a list.

    virtio-net  e1000                    a network card; all cards of a guest are on one network of its own
    virtio-blk  nvme  virtio-scsi        a disk, empty and new in each guest: nvme=256 has 256 MiB
    usb-storage                          such a disk behind an xHCI controller
    virtio-rng  usb-tablet

A guest that is used by hand can have a folder of the host as well, by 9p.

The network is inside QEMU: its router answers DHCP and ping at 10.0.2.2, and lets nothing out
(``restrict=on``, qemu-options(7)). Disks are files of the run, which go with the guest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util.errors import UserError, unknown_name

DISK_MIB = 64
"""The size of a disk if nothing is said."""
_MOST_MIB = 64 * 1024
_MOST_DEVICES = 16

# QEMU's names for what a device is called here.
_CARDS = {"virtio-net": "virtio-net-pci", "e1000": "e1000"}
_DISKS = {
    "virtio-blk": "virtio-blk-pci",
    "nvme": "nvme",
    "virtio-scsi": "scsi-hd",
    "usb-storage": "usb-storage",
}
_OTHERS = {"virtio-rng": "virtio-rng-pci", "usb-tablet": "usb-tablet"}
# What a device is plugged into; one of each is enough.
_BUSES = {
    "virtio-scsi": "virtio-scsi-pci,id=scsi0",
    "usb-storage": "qemu-xhci,id=usb0",
    "usb-tablet": "qemu-xhci,id=usb0",
}
NAMES = (*_CARDS, *_DISKS, *_OTHERS)
TOOLS_SERIAL = "kmodpipe-tools"
"""By which the agent knows the disk with the tools (20 characters at most), whatever the kernel calls it."""


FOLDER_TAG = "kmodpipe-folder"
"""By which the guest knows the host's folder."""


@dataclass(frozen=True)
class HostFolder:
    """A folder of the host that a guest sees."""

    path: Path
    writable: bool = False


@dataclass(frozen=True)
class Device:
    """One device of a guest."""

    name: str
    # Of a disk; 0 for others.
    size_mib: int = 0


def parse(texts: Sequence[str], where: str) -> tuple[Device, ...]:
    """Return the devices that ``texts`` name: ``virtio-net``, ``nvme=256``.

    Raise UserError for a device that is not allowed, with near names, and for a size that makes no sense.
    """
    if len(texts) > _MOST_DEVICES:
        raise UserError(f"a guest has {_MOST_DEVICES} devices at most, not {len(texts)}", where=where)
    return tuple(_device(text, where) for text in texts)


def _device(text: str, where: str) -> Device:
    name, given, size = text.partition("=")
    if name not in NAMES:
        raise unknown_name("device", name, NAMES, where=where, hint="no other device can be had in a guest")
    if name not in _DISKS:
        if given:
            raise UserError(f"{name} has no size", where=where, hint=f"only disks have: {', '.join(_DISKS)}")
        return Device(name)
    if given and not (re.fullmatch(r"[0-9]{1,6}", size, re.ASCII) and 1 <= int(size) <= _MOST_MIB):
        hint = f"{name}=256 has 256 MiB; the most are {_MOST_MIB}"
        raise UserError(f"no size of a disk in MiB: {size[:40]!r}", where=where, hint=hint)
    return Device(name, int(size) if given else DISK_MIB)


def disks(devices: Iterable[Device]) -> Mapping[str, int]:
    """Return the names of the files that the devices need, each with its size in MiB."""
    sizes = [device.size_mib for device in devices if device.size_mib]
    return {f"disk-{number}.img": size for number, size in enumerate(sizes, 1)}


def make_disks(devices: Iterable[Device], folder: Path) -> None:
    """Make the disks' files in ``folder``: empty, and taking no room before they are written to."""
    for name, size_mib in disks(devices).items():
        with (folder / name).open("wb") as f:
            f.truncate(size_mib << 20)


def arguments(devices: Sequence[Device], folder: Path | None) -> list[str]:
    """Return QEMU's arguments for the devices; their disks are in ``folder``, or in its working directory."""
    argv: list[str] = []
    for bus in dict.fromkeys(_BUSES[device.name] for device in devices if device.name in _BUSES):
        argv += ["-device", bus]
    cards = [device for device in devices if device.name in _CARDS]
    if cards:
        argv += ["-netdev", "user,id=router,restrict=on", "-netdev", "hubport,id=port0,hubid=0,netdev=router"]
    files = iter(disks(devices))
    for number, device in enumerate(devices, 1):
        if device.name in _CARDS:
            # One after the other from QEMU's own range: two cards with one address cannot talk.
            argv += ["-netdev", f"hubport,id=port{number},hubid=0"]
            card = f"{_CARDS[device.name]},netdev=port{number},mac=52:54:00:12:34:{number:02x}"
            argv += ["-device", card]
        elif device.name in _DISKS:
            path = os.fspath(folder / next(files)) if folder else next(files)
            drive = f"driver=file,filename={path.replace(',', ',,')},node-name=disk{number}"
            argv += ["-blockdev", drive, "-device", f"{_DISKS[device.name]},drive=disk{number}"]
            argv[-1] += f",serial=disk{number}" if device.name != "virtio-scsi" else ""
        else:
            argv += ["-device", _OTHERS[device.name]]
    return argv


def tools_arguments(disk: Path) -> list[str]:
    """Return QEMU's arguments for the disk with the tools, which guests can only read, and share.

    To be placed behind all others, so that it takes the last of the names that the kernel gives to disks.
    """
    drive = f"driver=file,filename={os.fspath(disk).replace(',', ',,')},node-name=tools,read-only=on"
    return ["-blockdev", drive, "-device", f"virtio-blk-pci,drive=tools,serial={TOOLS_SERIAL}"]


def folder_arguments(folder: HostFolder) -> list[str]:
    """Return QEMU's arguments for a folder of the host.

    QEMU's user owns what a guest writes there, whoever that is in the guest (``security_model=none``).
    """
    path = os.fspath(folder.path).replace(",", ",,")
    backend = f"local,id=folder,path={path},security_model=none,multidevs=remap"
    backend += "" if folder.writable else ",readonly=on"
    return ["-fsdev", backend, "-device", f"virtio-9p-pci,fsdev=folder,mount_tag={FOLDER_TAG}"]
