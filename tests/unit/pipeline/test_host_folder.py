"""A folder of the host: which kernels can mount it, and with which modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.build.configured import Buildable
from kmodpipe.kconfig.matrix import CONTROL_VARIANT, Cell
from kmodpipe.pipeline import host_folder
from kmodpipe.util import shipped
from kmodpipe.util.errors import UserError
from tests.support import toy_kernel
from tests.support.toy_kernel import module

SYMBOLS = ("PCI", "VIRTIO_PCI", "NET_9P", "NET_9P_VIRTIO", "9P_FS")


def configured(**values: str) -> Buildable:
    have = dict.fromkeys(SYMBOLS, "y") | {f"{name}".removeprefix("_"): one for name, one in values.items()}
    text = "".join(f"CONFIG_{name}={value}\n" for name, value in have.items())
    return Buildable(Cell("unpatched.X=y", CONTROL_VARIANT, {}, {}, {}), text)


def test_a_packaged_kernel_may_have_it_in_modules() -> None:
    host_folder.require(configured(), packaged=False)
    host_folder.require(configured(_9P_FS="m", VIRTIO_PCI="m"), packaged=True)
    with pytest.raises(UserError, match="it lacks CONFIG_9P_FS") as e:
        host_folder.require(configured(_9P_FS="n"), packaged=True)
    assert e.value.where == "unpatched.X=y" and "--config" not in e.value.hint


def test_for_a_kernel_that_is_built_the_fragment_is_named() -> None:
    with pytest.raises(UserError, match="it lacks CONFIG_VIRTIO_PCI, CONFIG_9P_FS") as e:
        host_folder.require(configured(_9P_FS="m", VIRTIO_PCI="n"), packaged=False)
    named = re.search(r"--config (\S+) has them", e.value.hint)
    assert named
    asked = {one.symbol: one.value for one in kconfig.requests_of(named[1])}
    assert {asked[symbol] for symbol in SYMBOLS} == {"y"}
    assert Path(named[1]).parent == shipped.folder("kconfigs")


def test_the_modules_come_with_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    toy_kernel.write(
        tmp_path / "modules",
        {
            "modules.builtin": "kernel/drivers/virtio/virtio_pci.ko\n",
            "kernel/net/9p/9pnet.ko": module(depends=""),
            "kernel/net/9p/9pnet_virtio.ko": module(depends="9pnet"),
            "kernel/fs/9p/9p.ko": module(depends="9pnet,netfs"),
            "kernel/fs/netfs/netfs.ko": module(depends=""),
            "kernel/fs/other.ko": module(depends=""),
        },
    )
    names = [path.name for path in host_folder.modules(tmp_path / "modules", tmp_path / "work")]
    assert set(names) == {"9pnet.ko", "9pnet_virtio.ko", "9p.ko", "netfs.ko"}
    assert names.index("9pnet.ko") < names.index("9pnet_virtio.ko")
