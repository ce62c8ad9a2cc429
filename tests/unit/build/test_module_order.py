"""Which modules a module needs, and the order in which they are loaded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kmodpipe.build import module_order
from kmodpipe.build.module_order import Known
from kmodpipe.util.errors import InfraError, KernelFailure

RECORD = """\
drivers/block/zram/zram.ko zsmalloc,lzo-rle,
drivers/md/dm-bufio.ko dm-mod,
drivers/md/dm-mod.ko ,
lib/lzo/lzo-rle.ko ,
mm/zsmalloc.ko ,
"""


def built(folder: Path, name: str, **info: str) -> Path:
    """An object file with this information, as a module has it."""
    fields = b"".join(f"{key}={value}".encode() + b"\0" for key, value in info.items())
    data, path = folder / f"{name}.info", folder / f"{name}.ko"
    data.write_bytes(fields)
    section = f".modinfo={data}"
    subprocess.run(["gcc", "-c", "-x", "c", "/dev/null", "-o", path], check=True)
    subprocess.run(["objcopy", "--add-section", section, path], check=True)
    return path


def names(order: tuple[Path, ...]) -> list[str]:
    return [path.stem for path in order]


def test_a_base_tells_what_its_modules_need() -> None:
    known = module_order.parse(RECORD)
    assert known["zram"] == Known("drivers/block/zram/zram.ko", ("zsmalloc", "lzo_rle"))
    assert known["dm_bufio"].needs == ("dm_mod",) and known["zsmalloc"].needs == ()


@pytest.mark.parametrize(
    "line",
    ["clean ", "../x.ko ,", "/etc/x.ko ,", "a/../b.ko ,", "a.ko", "a b.ko ,", "$(shell x).ko ,", "a.ko x;y"],
)
def test_a_record_that_is_not_ours_names_no_target(line: str) -> None:
    assert module_order.parse(f"{line}\nfs/a.ko ,\n") == {"a": Known("fs/a.ko", ())}


def test_modules_of_other_folders_come_behind_those_that_need_them() -> None:
    known = module_order.parse(f"{RECORD}fs/top.ko zram,top,nosuch,\n")
    found = module_order.with_needed(("fs/top.ko", "fs/new.ko"), known)
    assert found == (
        "fs/top.ko", "fs/new.ko", "drivers/block/zram/zram.ko", "mm/zsmalloc.ko", "lib/lzo/lzo-rle.ko",
    )  # fmt: skip


def test_each_is_loaded_after_what_it_needs(tmp_path: Path) -> None:
    made = [
        built(tmp_path, "cuse", depends="fuse", license="GPL"),
        built(tmp_path, "dm-bufio", depends="dm-mod"),
        built(tmp_path, "fuse", depends="", softdep="pre: crc32c zz-first post: cuse"),
        built(tmp_path, "zz-first", depends="nosuch"),
        built(tmp_path, "dm-mod"),
    ]
    order = names(module_order.in_order(made))
    assert sorted(order) == ["cuse", "dm-bufio", "dm-mod", "fuse", "zz-first"]
    assert order.index("zz-first") < order.index("fuse") < order.index("cuse")
    assert order.index("dm-mod") < order.index("dm-bufio")
    assert module_order.in_order(reversed(made)) == module_order.in_order(made)


def test_modules_that_need_each_other_cannot_be_loaded(tmp_path: Path) -> None:
    made = [built(tmp_path, "a", depends="b"), built(tmp_path, "b", depends="a")]
    with pytest.raises(KernelFailure, match=r"need each other: [ab] → [ab] → [ab]"):
        module_order.in_order(made)


def test_what_is_no_module_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.ko"
    path.write_bytes(b"\x7fELF junk")
    with pytest.raises(InfraError, match="not a readable module"):
        module_order.in_order([path])


def test_what_a_change_makes_a_module_need_is_known_from_the_module(tmp_path: Path) -> None:
    known = module_order.parse(RECORD)
    modules = [built(tmp_path, "dm-bufio", depends="dm-mod,zsmalloc,in_vmlinux"), built(tmp_path, "dm-mod")]
    assert module_order.lacking(modules, known) == ("mm/zsmalloc.ko",)
    assert module_order.lacking([*modules, built(tmp_path, "zsmalloc")], known) == ()


def test_a_named_module_is_loaded_with_those_that_it_needs_alone(tmp_path: Path) -> None:
    top = built(tmp_path, "dm-top", depends="dm-mid", softdep="pre: dm-soft")
    mid, low = built(tmp_path, "dm-mid", depends="dm_low"), built(tmp_path, "dm-low")
    soft, other = built(tmp_path, "dm-soft"), built(tmp_path, "dm-zero", depends="dm_top")
    found = module_order.needed_by("dm_top", [top, mid, low, soft, other])
    assert found == {top, mid, low, soft}
    assert module_order.in_order(found)[-1] == top
    assert module_order.needed_by("dm_none", [top]) == frozenset()
