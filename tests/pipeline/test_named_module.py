"""One module of a folder that makes several, by its name, in the toy world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.cli import commands
from kmodpipe.results import State
from tests.support import toy
from tests.support.planned_jobs import planned
from tests.support.toy import Ran, World
from tests.support.trees import write

KCONFIG = """
config TOY_SNAP
\ttristate "another module of the folder"

config TOY_HELP
\ttristate "what it needs"

config TOY_LATE
\ttristate "what a series makes it need"

config TOY_OFF
\ttristate "a module that is off"
"""
MAKEFILE = """\
obj-$(CONFIG_TOY_FS) += toy.o
obj-$(CONFIG_TOY_SNAP) += toy-snap.o
obj-$(CONFIG_TOY_HELP) += a-help.o
obj-$(CONFIG_TOY_LATE) += z-late.o
obj-$(CONFIG_TOY_OFF) += toy-off.o
"""
MATRIX = """\
base = "tinyconfig"
module = "fs/toy/toy-snap.ko"
fragments = ["guest.config"]
[axes.INDEX]
symbol = "TOY_FS_INDEX"
"""
SNAP = "/* a toy */\noutcome: snapped\nneeds: a_help\nindex: CONFIG_TOY_FS_INDEX\n"
SERIES = """\
From: toy <toy@localhost.invalid>
Subject: [PATCH] toy: need more

---
diff --git a/fs/toy/toy-snap.c b/fs/toy/toy-snap.c
--- a/fs/toy/toy-snap.c
+++ b/fs/toy/toy-snap.c
@@ -1,4 +1,4 @@
 /* a toy */
 outcome: snapped
-needs: a_help
+needs: a_help,{needs}
 index: CONFIG_TOY_FS_INDEX
"""
NEW = """\
diff --git a/fs/toy/b-new.c b/fs/toy/b-new.c
new file mode 100644
--- /dev/null
+++ b/fs/toy/b-new.c
@@ -0,0 +1 @@
+outcome: none
diff --git a/fs/toy/Makefile b/fs/toy/Makefile
--- a/fs/toy/Makefile
+++ b/fs/toy/Makefile
@@ -1,2 +1,3 @@
 obj-$(CONFIG_TOY_FS) += toy.o
+obj-$(CONFIG_TOY_FS) += b-new.o
 obj-$(CONFIG_TOY_SNAP) += toy-snap.o
"""
HELP = "fs/toy/toy-snap.ko fs/toy/a-help.ko"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = toy.build(tmp_path)
    write(world.tree, {
        "fs/toy/Kconfig": toy.TOY_KCONFIG + KCONFIG,
        "fs/toy/Makefile": MAKEFILE,
        "fs/toy/toy-snap.c": SNAP,
        **{f"fs/toy/{name}.c": "outcome: none\n" for name in ("a-help", "z-late", "toy-off")},
    })  # fmt: skip
    wanted = "".join(f"CONFIG_TOY_{name}=m\n" for name in ("FS", "SNAP", "HELP", "LATE"))
    write(world.root, {
        "kconfigs/matrix.toml": MATRIX,
        "kconfigs/guest.config": f"CONFIG_64BIT=y\n{wanted}",
        "patches/toy-fix/series.toml": 'module = "fs/toy"\n',
    })  # fmt: skip
    return world


def series(world: World, text: str) -> None:
    write(world.root, {"patches/toy-fix/0001-toy-mount.patch": text})


def tried(world: World, **more: object) -> Ran:
    """A run of a script that passes with the module that says ``snapped``."""
    script = world.script("snap.sh", "observe-module")
    return world.command(commands.test, **{"series": ["none"], "case": [script], **more})


def loaded(world: World) -> dict[str, list[str]]:
    """The modules of each cell that ran."""
    run = json.loads((world.latest / "results.json").read_text())["run"]
    return {
        cell["cell"]: sorted(k.split(".")[1] for k in cell["properties"] if k.endswith(".sha256"))
        for cell in run["cells"]
        if cell["state"] == "ran"
    }


def observed(world: World) -> set[str]:
    """What the module under test had to say, in all cells that ran."""
    run = results.load(world.latest / "results.json")
    return {case.outcome for cell in run.cells if cell.state is State.RAN for case in cell.cases}


def modules(world: World) -> list[str]:
    return [line for line in world.made() if line.endswith(".ko")]


def test_the_named_one_and_what_it_needs_are_built_and_loaded_and_it_is_the_last(world: World) -> None:
    ran = tried(world)
    assert ran.code == 0, ran.text
    assert set(modules(world)) == {HELP}
    assert set(map(tuple, loaded(world).values())) == {("a_help", "toy_snap")}
    # A case sees the last of them as the module under test.
    assert observed(world) == {"snapped"}
    assert results.load(world.latest / "results.json").properties["module"] == "fs/toy/toy-snap.ko"


def test_the_kernel_s_way_to_write_it_is_the_same_module(world: World) -> None:
    assert tried(world).code == 0
    made = world.made()
    ran = tried(world, module="fs/toy/toy_snap.ko")
    assert ran.code == 0, ran.text
    assert world.made() == made


def test_the_folder_is_every_module_of_it_as_before(world: World) -> None:
    ran = tried(world, module="fs/toy")
    assert ran.code == 0, ran.text
    assert set(modules(world)) == {"fs/toy/toy.ko fs/toy/toy-snap.ko fs/toy/a-help.ko fs/toy/z-late.ko"}


def test_a_series_makes_it_need_another_module(world: World) -> None:
    series(world, SERIES.format(needs="z_late"))
    ran = tried(world, series=["toy-fix"])
    assert ran.code == 0, ran.text
    assert set(modules(world)) == {HELP, f"{HELP} fs/toy/z-late.ko"}
    assert loaded(world) == {
        **{f"unpatched.INDEX={v}": ["a_help", "toy_snap"] for v in "yn"},
        **{f"toy-fix.INDEX={v}": ["a_help", "toy_snap", "z_late"] for v in "yn"},
    }
    planned_steps = world.command(commands.plan, series=["toy-fix"])
    assert planned_steps.code == 0 and "todo" not in planned_steps.text.replace("boot", ""), (
        planned_steps.text
    )


def test_a_series_brings_the_module_that_it_needs(world: World) -> None:
    series(world, SERIES.format(needs="b_new") + NEW)
    ran = tried(world, series=["toy-fix"])
    assert ran.code == 0, ran.text
    assert loaded(world)["toy-fix.INDEX=y"] == ["a_help", "b_new", "toy_snap"]
    assert loaded(world)["unpatched.INDEX=y"] == ["a_help", "toy_snap"]


def test_a_module_that_the_series_brings_and_it_does_not_need_is_not_loaded(world: World) -> None:
    series(world, SERIES.format(needs="z_late") + NEW)
    ran = tried(world, series=["toy-fix"])
    assert ran.code == 0, ran.text
    assert loaded(world)["toy-fix.INDEX=y"] == ["a_help", "toy_snap", "z_late"]


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("fs/toy/toy-snip.ko", "fs/toy makes no toy-snip.ko; did you mean toy-snap.ko"),
        ("fs/toy/toy-off.ko", "fs/toy makes no toy-off.ko in this configuration: TOY_OFF=n"),
        ("fs/toy/toy-snap", "--module fs/toy/toy-snap.ko"),
        ("toy-snap.ko", "with its folder"),
    ],
)
def test_a_name_that_is_not_made_is_told_before_anything_is_built(
    world: World, module: str, told: str
) -> None:
    for command in (commands.test, commands.plan):
        ran = world.command(command, series=["none"], module=module)
        assert ran.code == 2, ran.text
        assert told in " ".join(ran.text.split())
        assert "bzImage modules" not in world.made()


def test_a_name_counts_in_the_question_and_goes_with_the_jobs(world: World) -> None:
    night = {"series": ["none"], "case": [world.script("snap.sh", "observe-module")], "if_changed": True}
    assert world.command(commands.ci, **night).code == 0
    assert "nothing changed" in world.command(commands.ci, **night).text
    assert "nothing changed" not in world.command(commands.ci, **night, module="fs/toy").text
    made = planned(world, series=["none"], module="fs/toy/toy-snap.ko")
    assert made.properties["module"] == "fs/toy/toy-snap.ko"
    words = made.jobs[0].arguments
    assert words[words.index("--module") + 1] == "fs/toy/toy-snap.ko"


def test_what_runs_a_result_again_names_it(world: World) -> None:
    assert tried(world, module="fs/toy/toy-snap.ko").code == 0
    run = results.load(world.latest / "results.json")
    assert "--module fs/toy/toy-snap.ko" in run.properties["repeat-with"]


def test_try_begins_with_the_module_that_is_named(world: World) -> None:
    folder = world.root / "mine"
    write(folder, {"guest.config": "CONFIG_64BIT=y\n"})
    ran = world.command(commands.try_, module="fs/toy/toy_snap.ko", to=str(folder))
    assert ran.code == 0, ran.text
    assert 'module = "fs/toy/toy_snap.ko"' in (folder / "matrix.toml").read_text()
    assert "CONFIG_TOY_SNAP=m" in (folder / "toy_snap.config").read_text()
    assert 'modules="toy_snap"' in (folder / "load.sh").read_text()
    again = world.command(commands.try_, module="fs/toy/toy_snap.ko", symbol=["TOY_FS"], to=str(folder))
    assert again.code == 2 and "--symbol is for a folder" in again.text
