"""Builds through a scripted runtime: what each recipe gets, and what it leaves."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from kmodpipe.build.recipes import BaseOrder, ConfigOrder
from kmodpipe.build.runtime import Job
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen
from tests.support import REPO
from tests.support.scripted_build import Scripted, World


def writable(job: Job) -> dict[str, bool]:
    return {f.name: f.writable for f in job.folders}


def test_a_module_is_built_against_a_read_only_kit_and_leaves_its_products_alone(world: World) -> None:
    runtime = Scripted("  CC [M]  fs/a/a.o", products={"a.ko": "elf"})
    world.module(runtime)
    (job,) = runtime.jobs
    assert job.script == "module.sh"
    assert writable(job) == {
        "RECIPE": False, "SRC": False, "KIT": False, "ASK": False, "OBJ": True, "OUT": True,
    }  # fmt: skip
    assert job.env == {
        "JOBS": "3", "TARGETS": "fs/a/a.ko fs/a/b.ko", "FOLDER": "fs/a", "SAME_SOURCE": "no",
    }  # fmt: skip
    assert job.log == world.log
    assert runtime.asked == {"cell.config": "CONFIG_A=y\n"}
    assert (world.folder / "out" / "a.ko").read_text() == "elf"
    assert not (world.folder / "obj").exists()


def test_a_module_that_others_go_on_from_keeps_its_objects(world: World) -> None:
    runtime = Scripted()
    order = world.order(same_source=True, keep_objects=True)
    world.builder(runtime).module(order, world.work())
    assert runtime.jobs[0].env["SAME_SOURCE"] == "yes"
    assert (world.folder / "obj" / "rubbish.o").exists()


def test_all_requests_are_configured_in_one_job(world: World) -> None:
    runtime = Scripted()
    requests = {"base": "CONFIG_A=y\n", "x.INDEX=y": "CONFIG_B=y\n"}
    world.builder(runtime).configure(ConfigOrder(world.src, "tinyconfig", requests), world.work())
    (job,) = runtime.jobs
    assert (job.script, job.env["BASE"]) == ("configure.sh", "tinyconfig")
    assert runtime.asked == {"base.config": "CONFIG_A=y\n", "x.INDEX=y.config": "CONFIG_B=y\n"}
    assert writable(job)["SRC"] is False


def test_the_base_keeps_its_kit_and_counts_its_lines_for_the_next_bar(world: World) -> None:
    output = "  HOSTCC  scripts/kconfig/conf.o\n  CC      init/main.o\nwarning\n  LD      vmlinux\n"
    runtime = Scripted(output)
    screen = Screen(Mode.QUIET, out=io.StringIO())
    with screen.step("base") as step:
        order = BaseOrder(world.src, "CONFIG_A=y\n", tools=world.src, expected_lines=6)
        world.builder(runtime).base(order, world.work(step))
        assert step.text == "LD vmlinux"
        assert step.fraction == 0.5
    assert (world.folder / "lines").read_text() == "3"
    assert (world.folder / "obj" / "rubbish.o").exists()
    assert writable(runtime.jobs[0])["OBJ"] is True
    assert writable(runtime.jobs[0])["TOOLS"] is False


def test_progress_names_the_file_of_a_module_object_too(world: World) -> None:
    with Screen(Mode.QUIET, out=io.StringIO()).step("module") as step:
        runtime = Scripted("  CC [M]  fs/overlayfs/super.o")
        world.builder(runtime).module(world.order(), world.work(step))
        assert step.text == "CC [M] fs/overlayfs/super.o"


def test_a_guest_that_cannot_be_built_is_our_trouble(world: World) -> None:
    with pytest.raises(InfraError) as caught:
        world.builder(Scripted("cp: cannot stat busybox", 1)).guest(world.work())
    assert "cannot stat busybox" in caught.value.detail


@pytest.mark.parametrize(("same_source", "kept"), [("yes", True), ("no", False)])
def test_objects_of_another_source_are_never_gone_on_from(
    tmp_path: Path, same_source: str, kept: bool
) -> None:
    """make trusts times: an object that is newer than a patched file would stay, and half a patch with it."""
    for name in ("src", "kit/fs/a", "ask", "obj", "out", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "kit/fs/a/old.o").write_text("compiled from something")
    (tmp_path / "ask/cell.config").write_text("CONFIG_A=m\n")
    make = tmp_path / "bin/make"
    make.write_text('#!/bin/sh\nmkdir -p "$OBJ/fs/a"\nls "$OBJ/fs/a" > "$OUT/seen"\n: > "$OBJ/fs/a/a.ko"\n')
    make.chmod(0o755)
    recipe = REPO / "images/builder/module.sh"
    folders = {name.upper(): str(tmp_path / name) for name in ("src", "kit", "ask", "obj", "out")}
    subprocess.run(
        ["sh", str(recipe)],
        env={
            "PATH": f"{make.parent}:/usr/bin:/bin",
            "RECIPE": str(recipe.parent),
            "JOBS": "1",
            "TARGETS": "fs/a/a.ko",
            "FOLDER": "fs/a",
            "SAME_SOURCE": same_source,
            **folders,
        },
        check=True,
    )  # fmt: skip
    assert ("old.o" in (tmp_path / "out/seen").read_text()) is kept
