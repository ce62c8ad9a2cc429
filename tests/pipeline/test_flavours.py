"""A run with flavours in the toy world."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import toy
from tests.support.toy import World

FLAVOURS = """\
[flavours.big]
summary = "another file system"
fragments = ["big.config"]
tools = ["big"]
env = { TOY_DISK = "big" }
memory_mib = 300
slow = 1.5
[flavours.gone]
summary = "a file system that this tree has on 32 bits only"
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
OF_THE_FLAVOURS = """
config BIG_FS
\tbool "big"

config GONE_FS
\tbool "gone"
\tdepends on !64BIT
"""
BIG = "unpatched.INDEX=y.NOUUID=n.big"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = toy.build(tmp_path_factory.mktemp("flavours"))
    (world.tree / "Kconfig").write_text(toy.KCONFIG + OF_THE_FLAVOURS)
    kconfigs, case = world.root / "kconfigs", world.root / "images/guest/cases/remount"
    (kconfigs / "matrix.toml").write_text(toy.MATRIX + FLAVOURS)
    (kconfigs / "big.config").write_text("CONFIG_BIG_FS=y\n")
    (kconfigs / "gone.config").write_text("CONFIG_GONE_FS=y\n")
    (world.root / "images/guest/toolset.sh").write_text(
        'mkdir "$OUT/sbin"\ncase $TOOLSET in\n    big) echo $TOOLSET > "$OUT/sbin/mkfs" ;;\nesac\n'
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
    reason = "GONE_FS depends on !64BIT, but 64BIT=y (Kconfig:11)"
    assert {(c["state"], c["reason"]) for c in gone} == {("skipped", reason)}


def test_what_no_flavours_guest_has_is_said_once(world: World) -> None:
    needy = Path(world.script("needy.sh", "exit 0"))
    needy.write_text("#!/bin/sh\n# needs: setfattr\n")
    ran = world.test("--flavour", "plain", "--flavour", "big", "--case", str(needy))
    assert ran.code == 3, ran.text
    assert ran.text.count("no verdict on needy: the guest has no setfattr") == 1
    assert "no verdict: the guest has no setfattr, and no case can do without" in ran.text


def test_the_plan_shows_a_flavours_steps(world: World) -> None:
    world.test("--flavour", "big")
    planned = world.invoke("plan", "--runtime", "host", "--flavour", "big")
    assert planned.code == 0, planned.text
    steps = [line.rsplit(" cached", 1)[0].strip() for line in planned.out.splitlines() if " cached" in line]
    assert "guest tools big" in steps and "configure unpatched.big" in steps and f"module {BIG}" in steps
    wrong = world.invoke("test", "--runtime", "host", "--flavour", "bag")
    assert wrong.code == 2 and "did you mean big" in wrong.text


def test_modules_are_loaded_with_the_parameters_of_matrix_and_flavour(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    (world.tree / "Kconfig").write_text(toy.KCONFIG + OF_THE_FLAVOURS)
    matrix = world.root / "kconfigs/matrix.toml"
    (world.root / "kconfigs/big.config").write_text("CONFIG_BIG_FS=y\n")
    text = toy.MATRIX.replace("[axes", 'parameters = { toy = "index=1 mode=slow" }\n[axes', 1)
    flavour = (
        '[flavours.big]\nsummary = "big"\nfragments = ["big.config"]\nparameters = { toy = "mode=fast" }\n'
    )
    matrix.write_text(text + flavour)
    ran = world.test("--flavour", "all", "--cell", "*patched.INDEX=n.NOUUID=n*")
    assert ran.code == 0, ran.text
    plan = re.compile(rb"^module \S+/toy\.ko (.*)$", re.M)
    found = {
        cell: [m.decode() for m in plan.findall((world.latest / cell / "cell.cpio").read_bytes())]
        for cell in ("unpatched.INDEX=n.NOUUID=n", "unpatched.INDEX=n.NOUUID=n.big")
    }
    assert [*found.values()] == [["index%3D1 mode%3Dslow"], ["mode%3Dfast"]]
    matrix.write_text(text.replace("{ toy =", "{ toi ="))
    wrong = world.test("--cell", "*patched.INDEX=n.NOUUID=n")
    assert wrong.code == 2 and "unknown module 'toi'; did you mean toy?" in wrong.text
