"""QEMU's command line."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.vm.devices import Device
from kmodpipe.vm.qemu import MachineSpec, qemu_argv


def test_the_command_line_is_bare_and_confined(tmp_path: Path) -> None:
    spec = MachineSpec(tmp_path / "bzImage", tmp_path / "init,rd", "console=ttyS0 panic=-1")
    argv = qemu_argv(spec, channel=tmp_path / "a,b")
    for part in ("-nodefaults", "-no-user-config", "-no-reboot", "-sandbox"):
        assert part in argv
    assert f"file,id=channel,path={tmp_path}/a,,b" in argv
    assert "stdio,id=console,signal=off" in argv
    assert "-device" not in argv and "-net" not in argv
    assert argv[argv.index("-append") + 1] == "console=ttyS0 panic=-1"


def test_the_disk_with_the_tools_comes_behind_all_others() -> None:
    spec = MachineSpec(Path("k"), Path("i"), "", devices=(Device("virtio-blk", 64),), tools=Path("tools.img"))
    found = [part for part in qemu_argv(spec) if part.startswith("virtio-blk-pci")]
    assert [part.partition("serial=")[2] for part in found] == ["disk1", "kmodpipe-tools"]
