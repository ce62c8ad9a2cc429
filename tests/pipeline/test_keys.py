"""What a cell boots and loads is made of its own source and configuration, whatever else is in the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import toy
from tests.support.toy import World
from tests.support.trees import write

FIXED = "toy-fix.INDEX={}.NOUUID=n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def vmlinux(world: World, cell: str) -> str:
    """The kernel that a cell of the last run booted, as its build id."""
    found = json.loads((world.latest / "results.json").read_text())
    return next(
        str(one["properties"]["kernel.build-id"]) for one in found["run"]["cells"] if one["cell"] == cell
    )


def bases(world: World) -> int:
    return world.made().count("bzImage modules")


def patch(world: World, name: str, old: str, new: str) -> None:
    """Add the change of one line of a file, or a new file of one line, to the series."""
    path = world.root / "patches/toy-fix/0001-toy-mount.patch"
    if old:
        diff = f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-{old}\n+{new}\n"
    else:
        diff = f"new file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{new}\n"
    path.write_text(f"{path.read_text()}diff --git a/{name} b/{name}\n{diff}")


def test_a_series_that_makes_vmlinux_read_the_axis_gets_a_base_for_each_value(world: World) -> None:
    patch(world, "init/main.c", "int main;", "int main = CONFIG_TOY_FS_INDEX;")
    ran = world.test()
    assert ran.code == 0, ran.text
    assert bases(world) == 3
    assert vmlinux(world, FIXED.format("y")) != vmlinux(world, FIXED.format("n"))


def test_a_base_that_read_the_axis_in_a_way_that_no_search_finds_is_not_shared(world: World) -> None:
    # Documentation is not searched, but what the compiler read is recorded with the base.
    write(world.tree, {
        "init/main.c": '#include "../Documentation/kp.h"\n',
        "Documentation/kp.h": "int a = CONFIG_TOY_FS_INDEX;\n",
    })  # fmt: skip
    ran = world.test()
    assert ran.code == 0, ran.text
    # The common one, for INDEX=n, and one for each other cell.
    assert bases(world) == 4
    for name in ("toy-fix.INDEX={}.NOUUID=n", "unpatched.INDEX={}.NOUUID=n"):
        assert vmlinux(world, name.format("y")) != vmlinux(world, name.format("n"))
    planned = world.invoke("plan", "--runtime", "host").out
    assert sum(line.startswith("base ") for line in planned.splitlines()) == 4
    made = world.made()
    assert world.test().code == 0
    assert world.made() == made


def test_a_header_in_documentation_that_vmlinux_includes_is_part_of_its_key(world: World) -> None:
    write(world.tree, {
        "init/main.c": '#include "../Documentation/kp.h"\n', "Documentation/kp.h": "int one;\n",
    })  # fmt: skip
    patch(world, "Documentation/kp.h", "int one;", "int two;")
    ran = world.test()
    assert ran.code == 0, ran.text
    assert vmlinux(world, FIXED.format("y")) != vmlinux(world, "unpatched.INDEX=y.NOUUID=n")


@pytest.mark.parametrize("name", ["Documentation/kp.h", "tools/testing/kp.h", "samples/kp.h", "MAINTAINERS"])
def test_a_header_anywhere_that_the_module_includes_is_part_of_its_key(world: World, name: str) -> None:
    write(world.tree, {f"{Path(name).parent}/index": ""})
    patch(world, name, "", "outcome: mounted")
    path = world.root / "patches/toy-fix/0001-toy-mount.patch"
    path.write_text(
        path.read_text().replace("+outcome: mounted\n index", f'+#include "../../{name}"\n index')
    )
    assert world.test("--cell", FIXED.format("y")).code == 0
    path.write_text(path.read_text().replace("+outcome: mounted", "+outcome: EINVAL"))
    ran = world.test("--cell", FIXED.format("y"))
    assert ran.code == 1
    assert "EINVAL" in ran.text


def test_documentation_alone_makes_no_base(world: World) -> None:
    write(world.tree, {"Documentation/index.rst": ""})
    patch(world, "Documentation/toy.rst", "", "TOY_FS_INDEX")
    assert world.test().code == 0
    assert bases(world) == 1
