"""Flavours of the matrix: which cells they give, and a run with them in the toy world."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kmodpipe import kconfig
from kmodpipe.kconfig import Asked, Matrix, Variant
from kmodpipe.pipeline.run_spec import choose_cells
from kmodpipe.util.errors import UserError
from kmodpipe.vm.limits import TimeScale
from tests.support import toy
from tests.support.toy import World

CONTROL = Variant("unpatched", "none", {})
MATRIX = """\
fragments = ["all.config"]
[axes.INDEX]
symbol = "FS_INDEX"
[flavours.xfs]
summary = "disks with xfs"
fragments = ["xfs.config", "more.config"]
env = { KMODPIPE_FS = "xfs" }
tools = ["xfs"]
[flavours.kasan]
summary = "a kernel with KASAN"
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    (tmp_path / "all.config").write_text("CONFIG_FS=m\n# CONFIG_QUOTA is not set\n")
    (tmp_path / "xfs.config").write_text("CONFIG_XFS_FS=m\nCONFIG_QUOTA=y\n")
    (tmp_path / "more.config").write_text("CONFIG_XFS_FS=y\n")
    (tmp_path / "m.toml").write_text(MATRIX)
    return kconfig.load_matrix(tmp_path / "m.toml")


def chosen(matrix: Matrix, cells: tuple[str, ...] = (), flavours: tuple[str, ...] = ()) -> list[str]:
    return [cell.id for cell in choose_cells(matrix, [CONTROL], flavours, cells)]


def test_a_flavour_asks_for_more_over_what_all_ask_for_and_below_the_axes(matrix: Matrix) -> None:
    plain, *_, flavoured = kconfig.expand(matrix, [CONTROL], kconfig.flavours_of(matrix, ["plain", "xfs"]))
    assert (plain.id, flavoured.id) == ("unpatched.INDEX=y", "unpatched.INDEX=n.xfs")
    assert plain.asked["QUOTA"].value == "n" and "XFS_FS" not in plain.asked
    assert flavoured.asked["QUOTA"] == Asked("QUOTA", "y", "xfs.config:2")
    assert flavoured.asked["XFS_FS"] == Asked("XFS_FS", "y", "more.config:1")
    assert flavoured.asked["FS_INDEX"].value == "n"
    assert {a.symbol for a in flavoured.own} == {"XFS_FS", "QUOTA", "FS_INDEX"}
    assert {a.symbol for a in plain.own} == {"FS_INDEX"}


def test_a_flavour_can_be_larger_and_slower(matrix: Matrix) -> None:
    text = matrix.path.read_text()
    matrix.path.write_text(
        f'{text}memory_mib = 512\nslow = 4\ncpus = 2\nbase_make = {{ KCSAN_SANITIZE = "n" }}\n'
    )
    plain, kasan = kconfig.flavours_of(kconfig.load_matrix(matrix.path), ["plain", "kasan"])
    assert (plain.memory_mib, plain.slow) == (256, 1)
    assert (kasan.memory_mib, kasan.slow) == (512, 4)
    assert TimeScale(kasan.slow).format(10) == "10 s (×4 for the flavour: 40 s)"
    assert (plain.cpus, kasan.cpus) == (1, 2)
    assert (plain.base_make, kasan.base_make) == ({}, {"KCSAN_SANITIZE": "n"})
    # Nothing makes a guest faster than the deadlines are for.
    for wrong in ("slow = 0.5", "memory_mib = 8", "cpus = 0", 'base_make = { "a b" = "n" }'):
        matrix.path.write_text(f"{text}{wrong}\n")
        with pytest.raises(UserError, match="not valid"):
            kconfig.load_matrix(matrix.path)


def test_only_the_flavours_that_are_named_are_run(matrix: Matrix) -> None:
    plain = ["unpatched.INDEX=y", "unpatched.INDEX=n"]
    xfs, kasan = [f"{c}.xfs" for c in plain], [f"{c}.kasan" for c in plain]
    assert chosen(matrix) == plain == chosen(matrix, flavours=("plain",))
    assert chosen(matrix, flavours=("xfs",)) == xfs
    # In the matrix's order, whatever the user's.
    assert chosen(matrix, flavours=("kasan", "plain")) == [*plain, *kasan]
    assert (
        chosen(matrix, flavours=("all",)) == [*plain, *xfs, *kasan] == chosen(matrix, flavours=("all", "xfs"))
    )
    with pytest.raises(UserError, match="unknown flavour 'xsf'; did you mean xfs"):
        chosen(matrix, flavours=("xsf",))


def test_a_cell_of_a_flavour_is_named_by_its_id_alone(matrix: Matrix) -> None:
    assert chosen(matrix, ("unpatched.INDEX=y.xfs",)) == ["unpatched.INDEX=y.xfs"]
    assert chosen(matrix, ("*.xfs",)) == ["unpatched.INDEX=y.xfs", "unpatched.INDEX=n.xfs"]
    # What fits plain cells means those.
    assert chosen(matrix, ("unpatched.*",)) == ["unpatched.INDEX=y", "unpatched.INDEX=n"]
    assert chosen(matrix, ("*INDEX=y*",), ("xfs", "kasan")) == [
        "unpatched.INDEX=y.xfs",
        "unpatched.INDEX=y.kasan",
    ]
    with pytest.raises(UserError, match="unknown cell"):
        chosen(matrix, ("unpatched.INDEX=y",), ("xfs",))


# -- in the toy world -----------------------------------------------------------------------------
FLAVOURS = """\
[flavours.big]
summary = "another file system"
fragments = ["big.config"]
tools = ["big"]
env = { TOY_DISK = "big" }
memory_mib = 300
slow = 1.5
[flavours.gone]
summary = "a file system that this tree does not have"
fragments = ["gone.config"]
"""
CASE = """\
[[case.expect]]
when = { flavour = "big" }
outcome = "ESTALE"
observe = { TOY_DISK = "big" }
reason = "the series does nothing for this file system, and the control knows nothing of it"
[[case.expect]]
"""
BIG = "unpatched.INDEX=y.NOUUID=n.big"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = toy.build(tmp_path_factory.mktemp("flavours"))
    (world.tree / "Kconfig").write_text(toy.KCONFIG + '\nconfig BIG_FS\n\tbool "big"\n')
    kconfigs, case = world.root / "kconfigs", world.root / "images/guest/cases/remount"
    (kconfigs / "matrix.toml").write_text(toy.MATRIX + FLAVOURS)
    (kconfigs / "big.config").write_text("CONFIG_BIG_FS=y\n")
    (kconfigs / "gone.config").write_text("CONFIG_GONE_FS=y\n")
    (world.root / "images/guest/toolset.sh").write_text(
        'mkdir "$OUT/sbin"\necho $TOOLSET > "$OUT/sbin/mkfs"\n'
    )
    (case / "case.toml").write_text(toy.CASE_TOML.replace("[[case.expect]]\n", CASE, 1))
    (case / "run.sh").write_text("#!/bin/sh\n# toy: observe-env TOY_DISK\n# toy: observe-module\n")
    return world


def cells(world: World) -> dict[str, Any]:
    run = json.loads((world.latest / "results.json").read_text())["run"]
    return {cell["cell"]: cell for cell in run["cells"]}


def test_a_flavour_has_its_own_base_guest_and_control(world: World) -> None:
    ran = world.test("--flavour", "plain", "--flavour", "big", "--cell", "*NOUUID=n*")
    assert ran.code == 1, ran.text
    assert world.made().count("bzImage modules") == 2
    found = cells(world)
    assert {c["flavour"] for c in found.values()} == {"", "big"}
    assert found[BIG]["cases"][0]["verdict"] == "pass"
    assert found["toy-fix.INDEX=y.NOUUID=n"]["cases"][0]["verdict"] == "pass"
    # The rule of the flavour comes first, and says what the series does not do.
    patched = found["toy-fix.INDEX=y.NOUUID=n.big"]["cases"][0]
    assert patched["message"].startswith("expected ESTALE, observed mounted")
    assert patched["observations"]["TOY_DISK"] == "big"
    text = (world.latest / "junit.xml").read_text()
    assert text.count('<property name="flavour" value="big" />') == 4
    script = (world.latest / BIG / "reproduce.sh").read_text()
    assert "# flavour: big" in script and "tools-big.cpio" in script
    plain = (world.latest / BIG.removesuffix(".big") / "reproduce.sh").read_text()
    assert "# flavour: plain" in plain and "tools-big.cpio" not in plain
    # Its memory and its time: for the case, and for all that the agent itself sets a limit to.
    assert re.search(r"-m\W+300\b", script) and re.search(r"-m\W+256\b", plain)
    case = re.compile(rb"^case 0 remount (\S+) ", re.M)
    archives = [(world.latest / c / "cell.cpio").read_bytes() for c in (BIG, BIG[:-4])]
    assert [case.findall(archive) for archive in archives] == [[b"7.5"], [b"5"]]
    assert [b"\nslow 1.5\n" in archive for archive in archives] == [True, False]
    assert b"sbin/mkfs" in (world.latest / "shared/tools-big.cpio").read_bytes()


def test_a_flavour_that_the_tree_rules_out_is_skipped_with_the_reason(world: World) -> None:
    ran = world.test("--flavour", "gone", "--flavour", "plain")
    assert ran.code == 0, ran.text
    gone = [c for c in cells(world).values() if c["flavour"] == "gone"]
    assert len(gone) == 8
    assert {(c["state"], c["reason"]) for c in gone} == {("skipped", "the tree has no symbol GONE_FS")}


def test_the_plan_shows_a_flavours_steps(world: World) -> None:
    world.test("--flavour", "big")
    planned = world.invoke("plan", "--runtime", "host", "--flavour", "big")
    assert planned.code == 0, planned.text
    steps = [line.rsplit(" cached", 1)[0].strip() for line in planned.out.splitlines() if " cached" in line]
    assert "guest tools big" in steps and "configure unpatched.big" in steps and f"module {BIG}" in steps
    wrong = world.invoke("test", "--runtime", "host", "--flavour", "bag")
    assert wrong.code == 2 and "did you mean big" in wrong.text
