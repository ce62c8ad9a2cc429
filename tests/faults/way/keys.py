"""Cells that could be given another cell's vmlinux or module: in every row two products must differ."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.faults import Ended, Outcome, Scene
from tests.faults.way import fault
from tests.faults.way.judging import problems
from tests.faults.way.toys import Toys, toys
from tests.support.trees import write

FIXED, CONTROL = "toy-fix.INDEX={}.NOUUID=n", "unpatched.INDEX={}.NOUUID=n"
HEADER = "Documentation/kp.h"
INCLUDES = {"init/main.c": f'#include "../{HEADER}"\n'}


def patch(play: Toys, name: str, old: str, new: str) -> None:
    """Change the only line of a file by the series, or make a file of one line."""
    path = play.world.root / "patches/toy-fix/0001-toy-mount.patch"
    if old:
        diff = f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-{old}\n+{new}\n"
    else:
        diff = f"new file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{new}\n"
    path.write_text(f"{path.read_text()}diff --git a/{name} b/{name}\n{diff}")


def edit(play: Toys, old: str, new: str) -> None:
    """Edit the series as its author does."""
    path = play.world.root / "patches/toy-fix/0001-toy-mount.patch"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def kernels(play: Toys) -> Mapping[str, str]:
    """The build id of the vmlinux that each cell of the last run booted."""
    found = json.loads((play.scene.latest / "results.json").read_text())
    return {
        one["cell"]: str(one.get("properties", {}).get("kernel.build-id", ""))
        for one in found["run"]["cells"]
    }


def different(play: Toys, got: Ended, one: str, other: str) -> Outcome:
    """The two cells booted kernels of their own."""
    found, ids = problems(got, 0), kernels(play)
    found += [f"{one} and {other} booted the same vmlinux"] if ids[one] == ids[other] else []
    made = len({*ids.values()} - {""})
    return Outcome(got.sentence(), got.code, f"{made} kernels for {len(ids)} cells", tuple(found))


@fault("vmlinux-reads-axis", "a series has vmlinux read the module's symbol that is an axis")
def vmlinux_reads_axis(scene: Scene) -> Outcome:
    play = toys(scene)
    patch(play, "init/main.c", "int main;", "int main = CONFIG_TOY_FS_INDEX;")
    return different(play, play.invoke("test"), FIXED.format("y"), FIXED.format("n"))


@fault("vmlinux-reads-hidden", "vmlinux reads the axis in a header where no search looks; fixdep saw it")
def vmlinux_reads_hidden(scene: Scene) -> Outcome:
    play = toys(scene)
    write(play.world.tree, {**INCLUDES, HEADER: "int a = CONFIG_TOY_FS_INDEX;\n"})
    return different(play, play.invoke("test"), CONTROL.format("y"), CONTROL.format("n"))


@fault("vmlinux-includes-docs", "a series changes a header in Documentation/ that vmlinux includes")
def vmlinux_includes_documentation(scene: Scene) -> Outcome:
    play = toys(scene)
    write(play.world.tree, {**INCLUDES, HEADER: "int one;\n"})
    patch(play, HEADER, "int one;", "int two;")
    return different(play, play.invoke("test"), FIXED.format("y"), CONTROL.format("y"))


@fault("module-includes-docs", "the second of two series that differ in a header in Documentation/")
def module_includes_documentation(scene: Scene) -> Outcome:
    play = toys(scene)
    write(play.world.tree, {"Documentation/index.rst": ""})
    patch(play, HEADER, "", "outcome: mounted")
    edit(play, "+outcome: mounted\n index", f'+#include "../../{HEADER}"\n index')
    words = ("test", "--cell", FIXED.format("y"))
    found = problems(play.invoke(*words), 0)
    edit(play, "+outcome: mounted", "+outcome: EINVAL")
    got = play.invoke(*words)
    found += problems(got, 1, "observed EINVAL")
    return Outcome(got.sentence(), got.code, "the second series' own module was tested", tuple(found))


@fault(
    "generated-header", "a header that the module's Makefile generates without FORCE, from the configuration"
)
def generated_header(scene: Scene) -> Outcome:
    play = toys(scene)
    edit(play, "+outcome: mounted\n index", '+#include "gen.h"\n index')
    rule = (
        'if [ ! -e "$OBJ/fs/toy/gen.h" ]; then mkdir -p "$OBJ/fs/toy"; '
        'if grep -q "^CONFIG_TOY_FS_INDEX=y" "$OBJ/.config"; then echo "outcome: mounted"; '
        'else echo "outcome: EINVAL"; fi > "$OBJ/fs/toy/gen.h"; fi'
    )
    play.meanwhile("make", "*toy.ko*", rule)
    got = play.invoke("test", "--series", "toy-fix")
    found = problems(got, 1, "observed EINVAL")
    cells = json.loads((play.scene.latest / "results.json").read_text())["run"]["cells"]
    seen = {one["cell"]: one["cases"][0]["outcome"] for one in cells}
    wanted = {FIXED.format("y"): "mounted", FIXED.format("n"): "EINVAL"}
    found += [
        f"{cell}: {seen[cell]}, not {outcome}" for cell, outcome in wanted.items() if seen[cell] != outcome
    ]
    return Outcome(got.sentence(), got.code, "each cell generated its own", tuple(found))
