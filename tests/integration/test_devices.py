"""Guests with devices: a network that lets nothing out, and disks that are new for each case.

The kernel with all their drivers takes minutes to compile: ``pytest -m kernels``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import require_machinery
from tests.integration.test_pipeline import invoke

pytestmark = [
    pytest.mark.integration,
    pytest.mark.thorough,
    pytest.mark.kernels,
    pytest.mark.timeout(2400),
]

CELL = "unpatched.devices"
MATRIX = """\
module = "fs/overlayfs"
fragments = ["guest.config", "storage.config"]

[flavours.devices]
summary = "one of each device"
fragments = ["net.config", "virtio.config", "e1000.config", "nvme.config", "usb.config"]
devices = ["virtio-net", "e1000", "virtio-blk", "nvme=128", "virtio-scsi", "usb-storage=32"]
"""
# USB is found a second after the start.
WAIT = """\
#!/bin/sh -e
. "$KMODPIPE_LIB"
n=0; until [ -b /dev/sdb ] || [ $n -eq 100 ]; do sleep 0.1; n=$((n + 1)); done
disks="vda nvme0n1 sda sdb"
"""
USE = """\
for card in eth0 eth1; do
    [ -e /sys/class/net/$card ]
    ip link set $card up; ip addr add 10.0.2.1$((n = n + 1))/24 dev $card
    ping -c 1 -W 5 -I $card 10.0.2.2; ip addr flush dev $card
done
ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
if ping -c 1 -W 2 192.0.2.1; then exit 1; fi
for disk in $disks; do
    observe $disk $(($(cat /sys/block/$disk/size) / 2048))
    echo "was here" | dd of=/dev/$disk conv=notrunc
done
"""
CLEAN = """\
for disk in $disks; do
    [ "$(dd if=/dev/$disk bs=4096 count=1 | tr -d '\\000' | wc -c)" = 0 ]
done
"""


def test_cards_reach_the_router_alone_and_each_case_has_new_disks(tmp_path: Path) -> None:
    require_machinery()
    (tmp_path / "matrix.toml").write_text(MATRIX)
    scripts = {"use": WAIT + USE, "clean": WAIT + CLEAN}
    argv = []
    for name, text in scripts.items():
        (tmp_path / f"{name}.sh").write_text(text)
        argv += ["--case", str(tmp_path / f"{name}.sh")]
    matrix = ("--matrix", str(tmp_path / "matrix.toml"), "--flavour", "devices", "--series", "none")
    ran = invoke(tmp_path / "out", "test", "--tree", "debian-5.10", *matrix, *argv)
    assert ran.code == 0, ran.text
    use = ran.case(CELL, "use")
    sizes = {name: use["observations"][name] for name in ("vda", "nvme0n1", "sda", "sdb")}
    assert sizes == {"vda": "64", "nvme0n1": "128", "sda": "64", "sdb": "32"}
    # Nothing of the first guest is left for the second.
    assert ran.case(CELL, "clean")["verdict"] == "pass"
    assert ran.case(CELL, "clean")["guest"] == 2
