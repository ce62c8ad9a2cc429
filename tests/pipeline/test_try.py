"""`try`: a module that has no matrix, from its folder to a first verdict, in the toy world."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.cli import commands
from kmodpipe.results import State, Verdict
from tests.support import toy
from tests.support.toy import Ran, World

MANY = 8


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def begin(world: World, folder: str = "fs/toy", **more: object) -> Ran:
    given: dict[str, object] = {"module": folder, "to": str(world.root / "mine"), **more}
    return world.command(commands.try_, **given)


def written(world: World) -> Path:
    """The folder of the files. A toy tree has few of the symbols of the guest's fragment."""
    folder = world.root / "mine"
    folder.mkdir(exist_ok=True)
    (folder / "guest.config").write_text("CONFIG_64BIT=y\n")
    return folder


def test_a_module_that_nobody_prepared_comes_to_a_verdict(world: World) -> None:
    folder = written(world)
    ran = begin(world)
    assert ran.code == 0, ran.text
    matrix = tomllib.loads((folder / "matrix.toml").read_text())
    assert matrix["module"] == "fs/toy" and matrix["fragments"] == ["guest.config", "toy.config"]
    assert matrix["axes"] == {"INDEX": {"symbol": "TOY_FS_INDEX", "values": ["y", "n"]}}
    assert "# the module under test\nCONFIG_TOY_FS=m\n" in (folder / "toy.config").read_text()
    script = folder / "load.sh"
    assert 'modules="toy"' in script.read_text() and script.stat().st_mode & 0o100
    run = results.load(world.latest / "results.json")
    assert [cell.cell for cell in run.cells] == ["unpatched.INDEX=y", "unpatched.INDEX=n"]
    assert {case.verdict for cell in run.cells for case in cell.cases} == {Verdict.PASS}
    assert f"--matrix {folder}/matrix.toml --case {folder}/load.sh" in ran.text.splitlines()[-1]


def test_what_is_printed_at_the_end_runs_it_again(world: World) -> None:
    written(world)
    words = begin(world).text.splitlines()[-1].partition("invoke ")[2].split()
    again = world.invoke(*words)
    assert again.code == 0, again.text


def test_a_series_is_tried_as_well(world: World) -> None:
    written(world)
    ran = begin(world, series=["toy-fix"])
    assert ran.code == 0, ran.text
    run = results.load(world.latest / "results.json")
    assert {cell.variant for cell in run.cells if cell.state is State.RAN} == {"unpatched", "toy-fix"}


def test_write_only_builds_nothing(world: World) -> None:
    ran = begin(world, write_only=True)
    assert ran.code == 0, ran.text
    assert {path.name for path in (world.root / "mine").iterdir()} == {"matrix.toml", "toy.config", "load.sh"}
    assert world.made() == [] and "are run by: invoke test" in ran.text


def test_a_word_without_an_option_is_the_module(world: World) -> None:
    ran = world.invoke("try", "--module", "fs/toy", "--write-only")
    assert ran.code == 0, ran.text
    assert (world.root / "toy/matrix.toml").is_file()


@pytest.mark.parametrize("name", ["matrix.toml", "toy.config", "load.sh"])
def test_what_exists_is_not_overwritten(world: World, name: str) -> None:
    (world.root / "mine").mkdir()
    (world.root / "mine" / name).write_text("mine\n")
    ran = begin(world)
    assert ran.code == 2 and f"{name} would be overwritten" in ran.text and "--to" in ran.text
    assert [path.name for path in (world.root / "mine").iterdir()] == [name]


def test_a_symbol_that_another_kernel_lacks_is_conditional(world: World) -> None:
    other = world.tree.parent / "other"
    shutil.copytree(world.tree, other)
    depending("TOY_DEP")(world)
    with (world.tree / "fs/toy/Kconfig").open("a") as file:
        file.write('\nconfig TOY_DEP\n\tbool "needed"\n')
    ran = begin(world, tree=["toy", f"other={other}"], write_only=True)
    assert ran.code == 0, ran.text
    text = (world.root / "mine/toy.config").read_text()
    assert "\n# if known: CONFIG_TOY_DEP=y\n" in text and "\nCONFIG_TOY_FS=m\n" in text


def test_a_symbol_that_the_kernel_reads_is_no_axis_at_first(world: World) -> None:
    (world.tree / "init/main.c").write_text("#ifdef CONFIG_TOY_FS_INDEX\n#endif\n")
    assert begin(world, write_only=True).code == 0
    text = (world.root / "mine/matrix.toml").read_text()
    assert "axes" not in tomllib.loads(text)
    assert (
        "# init/main.c has its name, so that each value has a base of its own to build:\n# [axes.INDEX]"
        in text
    )


# -- what cannot be tried -----------------------------------------------------------------------------------
def nothing(world: World) -> None:
    pass


def many(world: World) -> None:
    folder = world.tree / "fs/toy"
    names = [f"TOY_{n}" for n in range(MANY)]
    (folder / "Makefile").write_text("".join(f"obj-$(CONFIG_{n}) += {n.lower()}.o\n" for n in names))
    (folder / "Kconfig").write_text("".join(f'config {n}\n\ttristate "toy"\n' for n in names))


def built_in(world: World) -> None:
    (world.tree / "fs/toy/Makefile").write_text("obj-y += toy.o\n")


def only_bool(world: World) -> None:
    (world.tree / "fs/toy/Kconfig").write_text(toy.TOY_KCONFIG.replace("tristate", "bool"))


def folders(world: World) -> None:
    (world.tree / "fs/Makefile").write_text("obj-$(CONFIG_TOY_FS) += toy/\nobj-$(CONFIG_EXT) += ext/\n")


def depending(text: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        path = world.tree / "fs/toy/Kconfig"
        path.write_text(toy.TOY_KCONFIG.replace('system"\n', f'system"\n\tdepends on {text}\n', 1))

    return change


def other_machine(world: World) -> None:
    (world.tree / "arch/sparc").mkdir(parents=True)
    (world.tree / "arch/sparc/Kconfig").write_text('config SPARC_TOY\n\ttristate "toy"\n')
    (world.tree / "fs/toy/Makefile").write_text("obj-$(CONFIG_SPARC_TOY) += toy.o\n")


def cycle(world: World) -> None:
    depending("HEN")(world)
    path = world.tree / "Kconfig"
    hens = 'config HEN\n\tbool "hen"\n\tdepends on EGG\nconfig EGG\n\tbool "egg"\n\tdepends on HEN\n'
    path.write_text(toy.KCONFIG + hens)


@pytest.mark.parametrize(
    ("change", "given", "said"),
    [
        (nothing, {"module": "fs/tay"}, ("unknown module folder 'fs/tay'", "fs/toy")),
        (nothing, {"module": ""}, ("try takes the folder of a module", "--module drivers/block/zram")),
        (nothing, {"module": "../toy"}, ("not a module folder",)),
        (nothing, {"symbol": ["TOY_SF"]}, ("unknown symbol 'TOY_SF'", "TOY_FS", "fs/toy/Makefile of toy")),
        (nothing, {"symbol": ["../x"]}, ("not a module folder: '../x'", "--symbol")),
        (many, {}, ("fs/toy has 8 modules", "TOY_0, TOY_1", "--symbol TOY_0")),
        (built_in, {}, ("fs/toy makes no module: what it has is built into the kernel",)),
        (only_bool, {}, ("fs/toy makes no module: TOY_FS cannot be m",)),
        (only_bool, {"symbol": ["toy_fs"]}, ("TOY_FS cannot be m: it is no tristate", "fs/toy/Kconfig:1")),
        (folders, {"module": "fs"}, ("only folders", "fs/ext, fs/toy", "--module fs/ext")),
        (folders, {"module": "fs", "symbol": ["EXT"]}, ("but the folder fs/ext", "--module fs/ext")),
        (
            depending("SPARC"),
            {},
            (
                "TOY_FS cannot be a module: SPARC is no symbol of x86-64",
                "TOY_FS depends on SPARC (fs/toy/Kconfig:1)",
            ),
        ),
        (cycle, {}, ("a cycle of dependencies", "HEN depends on EGG", "EGG depends on HEN")),
        (other_machine, {}, ("fs/toy makes no module",)),
        (other_machine, {"symbol": ["SPARC_TOY"]}, ("is for another architecture than x86-64",)),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_written(
    world: World, change: Callable[[World], None], given: dict[str, object], said: tuple[str, ...]
) -> None:
    change(world)
    ran = begin(world, **given)
    assert ran.code == 2, ran.text
    assert [text for text in said if text not in ran.text] == [], ran.text
    assert not (world.root / "mine").exists() and world.made() == []


def test_a_symbol_that_the_trees_tools_lose_is_named_before_anything_is_built(world: World) -> None:
    folder = written(world)
    # Toy tools read the first word of a condition.
    depending("TOY_GONE || 64BIT")(world)
    ran = begin(world)
    assert ran.code != 0 and "bzImage" not in world.made()
    assert "TOY_FS: requested m, got n (toy.config:5)" in ran.text
    assert "run it again: invoke test" in ran.text and (folder / "toy.config").is_file()
