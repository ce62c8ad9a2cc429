"""A guest's devices: what may be asked for, and what QEMU is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.util.errors import UserError
from kmodpipe.vm import devices
from kmodpipe.vm.devices import Device


def test_names_and_sizes_are_read() -> None:
    found = devices.parse(["virtio-net", "nvme=256", "virtio-blk"], "m.toml:3")
    assert found == (Device("virtio-net"), Device("nvme", 256), Device("virtio-blk", devices.DISK_MIB))
    assert devices.disks(found) == {"disk-1.img": 256, "disk-2.img": devices.DISK_MIB}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("virtio-nett", "did you mean virtio-net"),
        ("vfio-pci,host=00:1f.2", "unknown device"),
        ("virtio-blk,file=/etc/shadow", "unknown device"),
        ("nvme=", "no size of a disk in MiB: ''"),
        ("nvme=0", "no size"),
        ("nvme=1e3", "no size"),
        ("nvme=999999", "no size"),
        ("nvme=6٤", "no size"),
        ("e1000=64", "e1000 has no size"),
        ("", "unknown device ''"),
    ],
)
def test_what_is_not_on_the_list_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        devices.parse([text], "kconfigs/matrix.toml:9")
    assert caught.value.where == "kconfigs/matrix.toml:9"


def test_there_is_a_limit() -> None:
    with pytest.raises(UserError, match="16 devices at most"):
        devices.parse(["nvme"] * 17, "")


def test_all_cards_are_on_one_network_that_lets_nothing_out() -> None:
    argv = devices.arguments(devices.parse(["e1000", "virtio-net"], ""), None)
    assert "user,id=router,restrict=on" in argv
    assert [a for a in argv if a.startswith("hubport")] == [
        "hubport,id=port0,hubid=0,netdev=router", "hubport,id=port1,hubid=0", "hubport,id=port2,hubid=0",
    ]  # fmt: skip
    cards = [a for a in argv if "mac=" in a]
    assert cards[0].startswith("e1000,netdev=port1,") and cards[1].startswith("virtio-net-pci,netdev=port2,")
    assert len({card.rpartition("mac=")[2] for card in cards}) == 2


def test_a_disk_is_a_file_of_the_run_whatever_its_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "a,b=c"
    folder.mkdir()
    found = devices.parse(["usb-storage=1", "virtio-scsi=2", "usb-tablet"], "")
    devices.make_disks(found, folder)
    assert {p.name: p.stat().st_size >> 20 for p in folder.iterdir()} == {"disk-1.img": 1, "disk-2.img": 2}
    argv = devices.arguments(found, folder)
    assert argv.count("qemu-xhci,id=usb0") == 1
    assert f"driver=file,filename={tmp_path}/a,,b=c/disk-1.img,node-name=disk1" in argv
    # Without a folder the names are those in QEMU's own, as reproduce.sh has it.
    assert "driver=file,filename=disk-2.img,node-name=disk2" in devices.arguments(found, None)


def test_the_disk_with_the_tools_can_only_be_read() -> None:
    assert devices.tools_arguments(Path("/a,b/tools.img")) == [
        "-blockdev", "driver=file,filename=/a,,b/tools.img,node-name=tools,read-only=on",
        "-device", "virtio-blk-pci,drive=tools,serial=kmodpipe-tools",
    ]  # fmt: skip
    assert len(devices.TOOLS_SERIAL) <= 20, "virtio has room for so many"


def test_a_guest_without_devices_is_as_it_was() -> None:
    assert devices.arguments((), None) == []
