"""QEMU's command line."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.vm.devices import Device, HostFolder
from kmodpipe.vm.qemu import MachineSpec, gdb_arguments, qemu_argv


def test_the_command_line_is_bare_and_confined(tmp_path: Path) -> None:
    spec = MachineSpec(tmp_path / "bzImage", tmp_path / "init,rd", "console=ttyS0 panic=-1")
    argv = qemu_argv(spec, channel=tmp_path / "a,b")
    for part in ("-nodefaults", "-no-user-config", "-no-reboot", "-sandbox"):
        assert part in argv
    assert f"file,id=channel,path={tmp_path}/a,,b" in argv
    assert "stdio,id=console,mux=on,signal=off" in argv
    assert "-device" not in argv and "-net" not in argv
    assert argv[argv.index("-append") + 1] == "console=ttyS0 panic=-1"


def test_the_disk_with_the_tools_comes_behind_all_others() -> None:
    spec = MachineSpec(Path("k"), Path("i"), "", devices=(Device("virtio-blk", 64),), tools=Path("tools.img"))
    found = [part for part in qemu_argv(spec) if part.startswith("virtio-blk-pci")]
    assert [part.partition("serial=")[2] for part in found] == ["disk1", "kmodpipe-tools"]


def test_a_folder_of_the_host_is_read_only_unless_it_is_said() -> None:
    spec = MachineSpec(Path("k"), Path("i"), "", folder=HostFolder(Path("/a,b")))
    (backend,) = [part for part in qemu_argv(spec) if part.startswith("local,")]
    assert ",path=/a,,b,security_model=none," in backend and backend.endswith(",readonly=on")
    writable = MachineSpec(Path("k"), Path("i"), "", folder=HostFolder(Path("/a,b"), writable=True))
    assert not any("readonly" in part for part in qemu_argv(writable))


def test_gdb_attaches_by_a_socket_of_a_folder() -> None:
    assert gdb_arguments("/tmp/a,b/gdb") == ["-gdb", "unix:/tmp/a,,b/gdb,server=on,wait=off"]
