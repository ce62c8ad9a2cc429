"""What is made for a distribution's kernel: its modules, those that they need, and what it rules out."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from kmodpipe.build.configured import Buildable, RuledOut
from kmodpipe.build.packaged_stages import PackagedStages
from kmodpipe.build.recipes import Builder, WorkDir
from kmodpipe.build.runtime import HostRuntime
from kmodpipe.build.sharing import Subject
from kmodpipe.kconfig import Cell, Flavour, SymbolRequest
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.source.packaged import PackagedKernel
from tests.support import REPO, toy_kernel
from tests.support.toy_kernel import module


@pytest.fixture
def kernel(tmp_path: Path) -> PackagedKernel:
    """A kernel with a module of fs/toy that needs two others, one of which is packed."""
    toy_kernel.write(
        tmp_path / "kernel",
        {
            "config": "CONFIG_TOY=m\n",
            "modules/kernel/fs/toy/toy.ko": module(depends="plain,packed"),
            "modules/kernel/lib/plain.ko": module(depends=""),
            "modules/kernel/lib/packed.ko.xz": lzma.compress(module(depends="")),
            "modules/kernel/lib/other.ko": module(depends=""),
        },
    )
    return PackagedKernel(
        "stock", tmp_path / "kernel", "files:6.1:x", "6.1.0-1", "6.1.55", "bookworm", "gcc-12"
    )


def stages(kernel: PackagedKernel, folder: str) -> PackagedStages:
    return PackagedStages(kernel, folder, Builder(HostRuntime(), REPO / "images", 1), {})


def cell(flavour: Flavour | None = None) -> Cell:
    return Cell("unpatched", CONTROL_VARIANT, {}, {}, {}, flavour or Flavour())


SUBJECT = Subject(CONTROL_VARIANT, None, Path("/nowhere"))


def test_a_module_of_the_tree_comes_with_all_that_it_needs(tmp_path: Path, kernel: PackagedKernel) -> None:
    of = stages(kernel, "fs/toy")
    (found,) = of.configured(SUBJECT, [cell()])
    assert isinstance(found, Buildable) and found.final == {"TOY": "m"}
    work = WorkDir(tmp_path / "work", tmp_path / "log")
    work.folder.mkdir()
    of.module_of(SUBJECT, found).make(work)
    assert sorted(p.name for p in (work.folder / "out").iterdir()) == ["packed.ko", "plain.ko", "toy.ko"]
    # What the distribution has is copied, and stays.
    assert (kernel.modules / "kernel/lib/plain.ko").is_file()


def test_a_folder_without_a_module_is_skipped_with_the_reason(kernel: PackagedKernel) -> None:
    (found,) = stages(kernel, "fs/none").configured(SUBJECT, [cell()])
    assert isinstance(found, RuledOut) and found.reason == "stock has no module in fs/none"


def test_a_flavour_that_asks_for_a_symbol_is_skipped_with_it(kernel: PackagedKernel) -> None:
    kasan = Flavour("kasan", requested=(SymbolRequest("KASAN", "y", "kasan.config:1"),))
    (found,) = stages(kernel, "fs/toy").configured(SUBJECT, [cell(kasan)])
    assert isinstance(found, RuledOut) and "KASAN=y" in found.reason
    (plain,) = stages(kernel, "fs/toy").configured(SUBJECT, [cell(Flavour("disk", devices=("nvme",)))])
    assert isinstance(plain, Buildable)
