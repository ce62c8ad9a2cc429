"""A module of its own source, in the toy world: what it is compared with, and on which kernels it works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.ci import job_plan
from kmodpipe.ci.job_plan import PlannedJob
from kmodpipe.cli import commands
from kmodpipe.results import EffectKind, State, Verdict, effects
from tests.support import toy
from tests.support.toy import Ran, World
from tests.support.trees import commit_all, git, write

MATRIX = """\
base = "tinyconfig"
module = { source = "../../module" }
fragments = ["guest.config"]
[flavours.other]
summary = "another kernel"
fragments = ["other.config"]
"""
# What it needs is a module of the tree, which is off the tree's own configuration otherwise.
SOURCE = "outcome: ESTALE\nneeds: toy\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = toy.build(tmp_path)
    write(world.root.parent, {"module/Kbuild": "obj-m := own.o\n", "module/own.c": SOURCE})
    write(
        world.root,
        {"kconfigs/matrix.toml": MATRIX, "kconfigs/other.config": "CONFIG_TOY_FS=m\nCONFIG_64BIT=y\n"},
    )
    return world


@pytest.fixture
def module(world: World) -> Path:
    """The module's repository, with a change on its branch that makes it mount."""
    root = world.root.parent / "module"
    commit_all(root, "first")
    git(root, "checkout", "-q", "-b", "topic")
    write(root, {"own.c": SOURCE.replace("ESTALE", "mounted")})
    return root


def run(world: World, **more: object) -> Ran:
    script = world.script("mounts.sh", "observe-module")
    return world.command(commands.test, case=[script], **more)


def ran(world: World) -> results.Run:
    return results.load(world.latest / "results.json")


def test_without_a_repository_it_is_its_own_control(world: World) -> None:
    done = run(world)
    (cell,) = ran(world).cells
    assert (cell.cell, cell.state) == ("unpatched", State.RAN), done.text
    # What it needs was built from the tree and loaded before it.
    assert {"own", "toy"} == {
        name.split(".")[1] for name in cell.properties if name.startswith("module.") and "sha256" in name
    }
    assert "nothing is compared" in done.text


def test_a_change_is_compared_with_where_it_began(world: World, module: Path) -> None:
    done = run(world)
    found = ran(world)
    assert [cell.cell for cell in found.cells] == ["unpatched", "worktree"], done.text
    assert found.properties["module.own"].startswith("main (")
    assert {one.kind for one in effects(found)} == {EffectKind.UNCHANGED}
    bases = {cell.properties["base"] for cell in found.cells}
    assert len(bases) == 1


def test_one_base_serves_each_edit(world: World, module: Path) -> None:
    run(world)
    before = world.made().count("bzImage modules")
    write(module, {"own.c": SOURCE + "more\n"})
    run(world)
    assert world.made().count("bzImage modules") == before == 1
    assert run(world).code == 0


def test_a_change_that_does_not_build_is_regressed(world: World, module: Path) -> None:
    write(module, {"own.c": SOURCE + "BROKEN\n"})
    done = run(world)
    (effect,) = effects(ran(world))
    assert (done.code, effect.kind, effect.after) == (1, EffectKind.REGRESSED, "does not build"), done.text
    assert "own.c:3" in done.text


def test_new_warnings_of_the_compiler_are_told(world: World, module: Path) -> None:
    write(module, {"own.c": "WARNED\n" + SOURCE})
    done = run(world)
    assert "1, 1 new" in done.text
    (cell,) = [cell for cell in ran(world).cells if cell.variant == "worktree"]
    assert cell.properties["module.warnings"].startswith("own.c:1: ")


def test_a_series_is_for_the_source_as_it_is(world: World, module: Path) -> None:
    git(module, "checkout", "-q", "--", ".")
    write(
        world.root,
        {
            "fix.patch": "Subject: [PATCH] own: mount\n---\n--- a/own.c\n+++ b/own.c\n@@ -1,2 +1,2 @@\n"
            "-outcome: ESTALE\n+outcome: mounted\n needs: toy\n"
        },
    )
    done = run(world, series=[str(world.root / "fix.patch")])
    assert [cell.variant for cell in ran(world).cells] == ["unpatched", "fix"], done.text
    assert all(cell.state is State.RAN for cell in ran(world).cells)


def test_dkms_conf_says_for_which_kernels_it_is(world: World, module: Path) -> None:
    text = 'PACKAGE_NAME="own"\nPACKAGE_VERSION="1"\nBUILT_MODULE_NAME[0]="own"\n'
    text += 'BUILD_EXCLUSIVE_KERNEL="^6\\."\n'
    write(module, {"dkms.conf": text})
    run(world, allow_empty=True)
    cells = {cell.cell: cell for cell in ran(world).cells}
    assert cells["unpatched"].state is State.RAN
    assert (cells["worktree"].state, cells["worktree"].reason) == (
        State.SKIPPED,
        r"dkms.conf is for kernels like ^6\.",
    )


def test_what_a_dkms_conf_leaves_to_a_shell_can_be_declared(world: World, module: Path) -> None:
    write(module, {"dkms.conf": 'PACKAGE_NAME="own"\nMAKE="make && true"\n'})
    done = run(world, series=["none"])
    assert done.code == 2 and "only a shell can run" in done.text
    table = 'module = { source = "../../module", make = "-C {kit} M={obj} modules" }'
    text = MATRIX.replace('module = { source = "../../module" }', table)
    write(world.root, {"kconfigs/matrix.toml": text})
    done = run(world, series=["none"])
    # The toy's make knows no second -C: it was run, with what is declared.
    (cell,) = ran(world).cells
    assert "build.log" in cell.artifacts and "only a shell" not in done.text


def test_another_flavour_is_another_kernel_for_the_same_module(world: World) -> None:
    done = run(world, flavour=["all"])
    assert [cell.cell for cell in ran(world).cells] == ["unpatched", "unpatched.other"], done.text
    assert all(case.verdict is Verdict.PASS for cell in ran(world).cells for case in cell.cases)


def test_the_plan_names_its_source(world: World, module: Path) -> None:
    before = world.command(commands.plan)
    assert "fetch module" in before.text and "module worktree" in before.text
    run(world)
    after = world.command(commands.plan)
    assert after.code == 0 and "1 to do" in after.text, after.text


def test_what_has_no_module_is_refused_before_anything_is_built(world: World) -> None:
    (world.root.parent / "module/Kbuild").unlink()
    done = run(world)
    assert (done.code, world.made()) == (2, [])
    assert "neither Kbuild nor Makefile" in done.text


# -- over many machines --------------------------------------------------------------------------------
def machine(folder: Path, source: str) -> World:
    """A machine with the project, whose module is ``source``; it has a case of its own."""
    world = toy.build(folder)
    matrix = MATRIX.partition("[flavours")[0].replace("../../module", source)
    write(world.root, {"kconfigs/matrix.toml": matrix})
    world.script("mounts.sh", "observe-module")
    return world


def planned(world: World, plan: Path) -> tuple[PlannedJob, ...]:
    asked = ("--case", "./mounts.sh", "--runtime", "host", "--per-job", "1", "--to", str(plan))
    made = world.invoke("matrix", *asked)
    assert made.code == 0, made.text
    return job_plan.load(plan).jobs


def job(world: World, one: PlannedJob, plan: Path) -> Ran:
    return world.invoke("ci", *one.arguments, "--out", f"{plan.parent}/out/{one.job}")


def collected(world: World, plan: Path) -> Ran:
    argv = ("--plan", str(plan), "--dir", f"{plan.parent}/out/*", "--out", str(plan.parent / "merged"))
    return world.invoke("collect", *argv)


def test_the_jobs_of_a_plan_may_have_their_checkouts_anywhere(
    world: World, module: Path, tmp_path: Path
) -> None:
    commit_all(module, "it mounts")
    worlds = [machine(tmp_path / name, "../../module") for name in ("one", "two")]
    for each in worlds:
        shutil.copytree(module, each.root.parent / "module")
    plan = tmp_path / "plan.json"
    for each, one in zip(worlds, planned(worlds[0], plan), strict=True):
        job(each, one, plan)
    done = collected(worlds[0], plan)
    assert done.code == 0, done.text
    # Another source is none of the same run.
    write(worlds[1].root.parent, {"module/own.c": "outcome: mounted\n"})
    job(worlds[1], job_plan.load(plan).jobs[1], plan)
    done = collected(worlds[0], plan)
    assert done.code == 3 and "series.worktree" in done.text


def test_a_branch_is_pinned_for_all_jobs_of_a_plan(world: World, tmp_path: Path) -> None:
    module = world.root.parent / "module"
    commit_all(module, "first")
    there = machine(tmp_path / "there", f"{module.as_uri()}#main")
    plan = tmp_path / "plan.json"
    (one,) = planned(there, plan)
    first = git(module, "rev-parse", "main")
    write(module, {"own.c": SOURCE + "BROKEN\n"})
    commit_all(module, "does not build")
    done = job(there, one, plan)
    assert results.load(next(plan.parent.glob("out/*/2*/results.json"))).properties["module.identity"] == (
        f"git:{first}"
    ), done.text
    assert collected(there, plan).code == done.code
    # A job that tested another commit is no part of it.
    argv = [word.replace(first, git(module, "rev-parse", "main")) for word in one.arguments]
    there.invoke("ci", *argv, "--out", f"{plan.parent}/out/other")
    done = collected(there, plan)
    assert done.code == 3 and "module.identity" in done.text, done.text


def test_what_our_commands_write_is_no_change_of_the_module(world: World, module: Path) -> None:
    """A plan, JUnit, the report, a picture: in the module's own folder, where its user stands."""
    commit_all(module, "it mounts")
    git(module, "branch", "-f", "main")
    assert "nothing is compared" in run(world, junit=str(module / "junit.xml")).text
    for name, argv in (
        ("plan.json", ("matrix", "--runtime", "host", "--case", "./mounts.sh")),
        ("cells.yml", ("matrix", "--runtime", "host", "--case", "./mounts.sh", "--format", "gitlab")),
        ("badge.svg", ("report", "--format", "badge")),
    ):
        done = world.invoke(*argv, "--to", str(module / name))
        assert done.code == 0, done.text
    assert world.invoke("report", "--html", str(module / "report.html")).code == 0
    shutil.copy(world.latest / "results.json", module)
    assert "nothing is compared" in run(world).text
    # Others of these names are.
    write(module, {"plan.json": '{"registers": "kmodpipe"}'})
    run(world)
    assert [cell.variant for cell in ran(world).cells] == ["unpatched", "worktree"]
