"""Changed since last night? In the toy world: what is run again, what is not, and what it is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.cli import commands
from tests.support import toy
from tests.support.sampled import sampled
from tests.support.toy import Ran, World
from tests.support.trees import commit_all, git, write


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def night(world: World, **asked: object) -> Ran:
    return world.command(commands.ci, if_changed=True, cell=["*.INDEX=y.NOUUID=n"], **asked)


def runs(world: World) -> list[str]:
    return sorted(p.name for p in (world.root / "out").glob("2*"))


def patch(world: World, old: str, new: str) -> None:
    path = world.root / "patches/toy-fix/0001-toy-mount.patch"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_second_night_builds_nothing_and_names_the_first(world: World) -> None:
    first = night(world)
    assert first.code == 0 and "no earlier run" in first.text
    (run,), made = runs(world), world.made()
    second = night(world)
    assert second.code == 0
    assert f"nothing changed since run {run}" in second.text and "2 passed, exit 0" in second.text
    assert (runs(world), world.made()) == ([run], made)
    # Without the question, it runs.
    assert world.command(commands.ci, cell=["*.INDEX=y.NOUUID=n"]).code == 0
    assert len(runs(world)) == 2


def test_a_failure_that_nobody_touched_stays_one(world: World) -> None:
    patch(world, "+outcome: mounted", "+outcome: EINVAL")
    assert night(world).code == 1
    again = night(world)
    assert again.code == 1
    assert "fails still" in again.text
    assert len(runs(world)) == 1


def test_what_changed_is_run_and_named(world: World) -> None:
    night(world)
    patch(world, "+outcome: mounted", "+outcome: mounted ")
    assert "series toy-fix" in night(world).text
    script = world.root / "images/guest/cases/remount/run.sh"
    script.write_text(script.read_text() + "# another\n")
    assert "case remount" in night(world).text
    (world.tree / "init/main.c").write_text("int changed;\n")
    before = world.latest.resolve().name
    told = night(world).text
    assert "the tree (dir:" in told
    assert len(runs(world)) == 4
    notes = results.load(world.latest / "results.json").properties
    assert notes["since.run"] == before and "the tree" in notes["since.changed"]


FLAVOUR = '[flavours.two]\nsummary = "two processors"\ncpus = 2\n[axes.INDEX]'


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    sampled([
        ("patches/toy-fix/series.toml", "module", 'design = "toy"\nmodule', "series toy-fix"),
        ("pyproject.toml", "boot_s = 20", "boot_s = 21", "the project's deadlines"),
        ("kconfigs/matrix.toml", "[axes.INDEX]", FLAVOUR, "the matrix"),
    ]),
)  # fmt: skip
def test_what_no_build_depends_on_is_run_again_as_well(
    world: World, file: str, old: str, new: str, told: str
) -> None:
    night(world)
    path = world.root / file
    path.write_text(path.read_text().replace(old, new, 1))
    shown = night(world).text
    assert told in shown.partition("changed since")[2], shown
    assert len(runs(world)) == 2


def test_an_edit_during_a_night_is_a_change_for_the_next(world: World) -> None:
    case = world.root / "images/guest/cases/remount/case.toml"
    make = world.root / "bin/make"
    head, _, played = make.read_text().partition("\n")
    harm = f"sed -i 's/timeout_s = 5/timeout_s = 7/' {case}"
    make.write_text(f'{head}\ncase "$*" in *.ko*) {harm};; esac\n{played}')
    assert night(world).code == 0
    assert "timeout_s = 7" in case.read_text()
    assert "case remount" in night(world).text
    assert len(runs(world)) == 2
    assert "nothing changed" in night(world).text


def test_another_compiler_and_another_command_line_are_other_questions(world: World) -> None:
    night(world)
    assert "no earlier run" in night(world, attempts=2).text
    gcc = world.root / "bin/gcc"
    gcc.write_text(gcc.read_text().replace("1.0", "2.0"))
    assert "the builder image" in night(world).text
    qemu = world.root / "bin/qemu-system-x86_64"
    newer = '#!/bin/sh\n[ "$1" != --version ] || { echo "QEMU emulator version 99"; exit; }\n'
    qemu.write_text(qemu.read_text().replace("#!/bin/sh\n", newer))
    assert "QEMU" in night(world).text.partition("changed since")[2].partition("\n")[0]


def test_trouble_is_no_answer_and_neither_is_a_damaged_file(world: World) -> None:
    night(world)
    (answer,) = (world.cache / "answers").glob("*.json")
    text = answer.read_text()
    answer.write_text(text.replace('"exit_code": 0', '"exit_code": 3'))
    assert "came to no verdict" in night(world).text
    answer.write_text(text[: len(text) // 2])
    assert "no earlier run" in night(world).text


# -- a module of its own source --------------------------------------------------------------------------
SOURCE = "outcome: mounted\nneeds: toy\n"


def own(world: World, source: str) -> Path:
    """A project whose module is this source, beside the folder ``module`` that holds one."""
    matrix = f'base = "tinyconfig"\nmodule = {{ source = "{source}" }}\nfragments = ["guest.config"]\n'
    write(world.root, {"kconfigs/matrix.toml": matrix})
    write(world.root.parent, {"module/Kbuild": "obj-m := own.o\n", "module/own.c": SOURCE})
    return world.root.parent / "module"


def own_night(world: World, **asked: object) -> Ran:
    return world.command(
        commands.ci, if_changed=True, case=[world.script("mounts.sh", "observe-module")], **asked
    )


def test_a_branch_that_moved_is_another_module(world: World) -> None:
    module = own(world, (world.root.parent / "module").as_uri() + "#main")
    commit_all(module, "first")
    assert own_night(world).code == 0
    first = results.load(world.latest / "results.json").properties
    assert first["module.identity"] == f"git:{git(module, 'rev-parse', 'main')}"
    assert first["module.own"] == f"main ({git(module, 'rev-parse', 'main')[:12]})"
    assert "nothing changed" in own_night(world).text
    write(module, {"own.c": SOURCE + "BROKEN\n"})
    commit_all(module, "does not build")
    again = own_night(world)
    assert again.code == 1 and "the module's own source" in again.text
    assert "fails still" in own_night(world).text


def test_a_folder_is_what_its_files_hold(world: World) -> None:
    module = own(world, "../../module")
    assert own_night(world).code == 0
    # What a run left there is no source of it, and neither is a file that was saved as it is.
    write(module, {"out/.gitignore": "*\n", "out/results.json": "{}", "own.c": SOURCE, "own.o": "made"})
    assert "nothing changed" in own_night(world).text
    write(module, {"own.c": SOURCE + "BROKEN\n"})
    again = own_night(world)
    assert again.code == 1 and "the module's own source" in again.text


def test_a_commit_is_one_wherever_it_is_fetched_from(world: World, tmp_path: Path) -> None:
    module = own(world, "../../module")
    commit_all(module, "first")
    assert own_night(world).code == 0
    git(tmp_path, "clone", "-q", str(module), "elsewhere/module")
    own(world, "../../elsewhere/module")
    assert "nothing changed" in own_night(world).text
