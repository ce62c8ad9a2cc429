"""What travels: a job that is handed the bundle asks the question of the command that made it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from kmodpipe.cli import packing
from kmodpipe.cli.fan_out import pinned
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import RunOptions, Use, command_line
from kmodpipe.cli.resolve import resolve
from kmodpipe.cluster import bundle
from kmodpipe.pipeline import question
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.workspace import fetch_module
from kmodpipe.util.screen import Mode, Screen
from tests.support import toy
from tests.support.toy import World
from tests.support.trees import commit_all, git, write

SCREEN = Screen(Mode.QUIET)
OWN = 'base = "tinyconfig"\nmodule = { source = "SOURCE" }\nfragments = ["guest.config"]\n'


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = toy.build(tmp_path / "client")
    monkeypatch.chdir(world.root)
    return world


def asked(root: Path, options: RunOptions) -> RunSpec:
    return resolve(options, Invocation(root), cases_too=True, skip_illegal=True)


def both(world: World, there: Path, **given: object) -> tuple[RunSpec, RunSpec]:
    """The run as the client hands it over, and as a job on a worker takes it: from the bundle alone.

    They ask the same question.
    """
    options = RunOptions(runtime="host", **given)  # type: ignore[arg-type]
    cache = world.root.parent / "cache"
    options, mine = pinned(options, asked(world.root, options))
    words, mine, packed = packing.pack(options, mine, cache, SCREEN)
    before = question.comparable(mine)
    # Nothing of the client is left but the kernel's tree.
    gone = world.root.parent / "gone"
    gone.mkdir()
    for path in list(world.root.parent.iterdir()):
        if path not in (gone, world.tree):
            path.rename(gone / path.name)
    home = bundle.place(packed.data, packed.digest, there)
    os.chdir(home)
    theirs = asked(home, parsed(command_line(words, Use.JOB)))
    assert question.comparable(theirs) == before
    assert [cell.id for cell in theirs.cells] == [cell.id for cell in mine.cells]
    assert [one.digest for one in theirs.series] == [one.digest for one in mine.series]
    return mine, theirs


def parsed(line: list[str]) -> RunOptions:
    """The options of a job's command line, each with its value."""
    found: dict[str, object] = {}
    kinds = {one.name.replace("_", "-"): one for one in fields(RunOptions)}
    words = iter(line)
    for word in words:
        one = kinds[word.removeprefix("--")]
        if one.default is False:
            found[one.name] = True
        elif isinstance(one.default, tuple):
            found[one.name] = (*found.get(one.name, ()), next(words))  # type: ignore[misc]
        else:
            found[one.name] = next(words)
    return RunOptions(**found)  # type: ignore[arg-type]


# -- series -------------------------------------------------------------------------------------------
def commits(world: World) -> str:
    """A kernel repository with the toy's fix as a commit on a branch."""
    root = world.root.parent / "linux"
    write(root, {"fs/toy/toy.c": toy.TOY_C})
    commit_all(root, "base")
    git(root, "checkout", "-q", "-b", "topic")
    write(root, {"fs/toy/toy.c": toy.TOY_C + "/* \xe9 */\n"})
    commit_all(root, "toy: a remark")
    return "../linux#main..topic"


def working_tree(world: World) -> str:
    root = world.root.parent / "linux"
    write(root, {"Makefile": "x\n", "Kconfig": "\n", "fs/toy/toy.c": toy.TOY_C})
    commit_all(root, "base")
    write(root, {"fs/toy/toy.c": toy.TOY_C + "/* edited */\n"})
    return str(root)


def mailbox(world: World) -> str:
    text = (world.root / "patches/toy-fix/0001-toy-mount.patch").read_text()
    (world.root.parent / "mine.patch").write_text(text)
    return "../mine.patch"


def in_the_project(world: World) -> str:
    return "toy-fix"


@pytest.mark.parametrize("made", [commits, working_tree, mailbox, in_the_project])
def test_a_series_is_what_was_read_here(made: Callable[[World], str], world: World, tmp_path: Path) -> None:
    both(world, tmp_path / "there", series=(made(world),), module="fs/toy")


def test_several_series_and_each_patch_are_as_here(world: World, tmp_path: Path) -> None:
    given = (commits(world), "toy-fix")
    both(world, tmp_path / "there", series=given, each_patch=True, module="fs/toy")


def test_the_control_alone(world: World, tmp_path: Path) -> None:
    both(world, tmp_path / "there", series=("none",), module="fs/toy")


# -- a module of its own source ---------------------------------------------------------------------------
def own(world: World, source: str) -> Path:
    write(world.root, {"kconfigs/matrix.toml": OWN.replace("SOURCE", source)})
    root = world.root.parent / "module"
    write(root, {"src/Kbuild": "obj-m := own.o\n", "src/own.c": "outcome: ESTALE\n", ".hidden": "x\n"})
    (root / "src/link.h").symlink_to("own.c")
    return root


def folder(world: World) -> dict[str, object]:
    own(world, "../../module/src")
    return {}


def repository(world: World) -> dict[str, object]:
    root = own(world, "../../module/src")
    commit_all(root, "first")
    git(root, "checkout", "-q", "-b", "topic")
    write(root, {"src/own.c": "outcome: mounted\n", "src/new.h": "\n"})
    return {}


def nothing_changed(world: World) -> dict[str, object]:
    commit_all(own(world, "../../module/src"), "first")
    return {}


def a_series_of_it(world: World) -> dict[str, object]:
    root = own(world, "../../module/src")
    commit_all(root, "first")
    git(root, "checkout", "-q", "-b", "topic")
    write(root, {"src/own.c": "outcome: mounted\n"})
    commit_all(root, "it mounts")
    git(root, "checkout", "-q", "main")
    return {"series": (f"{root}#main..topic",)}


def by_a_url(world: World) -> dict[str, object]:
    root = own(world, "../../module/src")
    commit_all(root, "first")
    return {"module": f"{root.as_uri()}#main:src"}


def named(world: World) -> dict[str, object]:
    repository(world)
    return {"module": "../module/src"}


def a_submodule(world: World) -> dict[str, object]:
    root = own(world, "../../module/src")
    library = world.root.parent / "library"
    write(library, {"lib.h": "1\n"})
    commit_all(library, "library")
    commit_all(root, "first")
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "src/lib")
    commit_all(root, "with a library")
    return {}


@pytest.mark.parametrize(
    "made", [folder, repository, nothing_changed, a_series_of_it, by_a_url, named, a_submodule]
)
def test_a_module_is_what_it_is_here(
    made: Callable[[World], dict[str, object]], world: World, tmp_path: Path
) -> None:
    mine, theirs = both(world, tmp_path / "there", **made(world))
    assert mine.own == theirs.own
    tree = fetch_module(theirs, tmp_path / "there", SCREEN)
    assert tree
    source = tree.path / theirs.own.folder if theirs.own else tree.path
    assert (source / "own.c").is_file() and (source / "link.h").is_symlink()
    assert (source / "lib/lib.h").exists() is (made is a_submodule)


# -- trees ---------------------------------------------------------------------------------------------
def test_a_tree_of_this_machine_is_named_by_its_place(world: World, tmp_path: Path) -> None:
    place = os.path.relpath(world.tree, world.root)
    _, theirs = both(world, tmp_path / "there", tree=(place,), series=("toy-fix",))
    (tree,) = theirs.trees
    assert getattr(tree, "path", None) == world.tree
