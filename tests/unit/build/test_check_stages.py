"""What `check` compiles for one state of a source, and what its key covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.build.check_recipes import COMPILED, Checker
from kmodpipe.build.check_stages import CheckStages
from kmodpipe.build.configured import Buildable
from kmodpipe.build.recipes import WorkDir
from kmodpipe.build.sharing import Subject
from kmodpipe.build.stage import Stage
from kmodpipe.cache.store import Artifact
from kmodpipe.kconfig import Cell, Variant
from kmodpipe.source import Tree
from tests.support import REPO
from tests.support.scripted_build import Scripted

ZRAM, ZSMALLOC = "drivers/block/zram/zram.ko", "mm/zsmalloc.ko"


@pytest.fixture
def runtime() -> Scripted:
    return Scripted(products=dict.fromkeys(COMPILED, ""))


def stage(tmp_path: Path, runtime: Scripted, *targets: str) -> Stage:
    for name in ("src", "kit/obj"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    tree = Tree("toy", tmp_path / "src", "dir:toy", "6.12")
    stages = CheckStages(tree, "drivers/block/zram", Checker(runtime, REPO / "images", jobs=1), {})
    variant = Variant("fix", "", {})
    built = Buildable(Cell("fix", variant, {}, {}, {}), "CONFIG_ZRAM=m\n")
    kit = Artifact("check-kit", "key", tmp_path / "kit")
    return stages.compiled(Subject(variant, None, tree.path), built, kit, targets)


def test_modules_of_other_folders_are_built_and_not_under_test(tmp_path: Path, runtime: Scripted) -> None:
    (tmp_path / "work").mkdir()
    one = stage(tmp_path, runtime, ZRAM, ZSMALLOC)
    one.make(WorkDir(tmp_path / "work", tmp_path / "log"))
    (job,) = runtime.jobs
    assert (job.script, job.env["TARGETS"], job.env["NEEDED"]) == ("compile.sh", ZRAM, ZSMALLOC)
    one.check(tmp_path / "work")


def test_what_is_needed_is_in_the_key(tmp_path: Path, runtime: Scripted) -> None:
    alone, both = stage(tmp_path, runtime, ZRAM), stage(tmp_path, runtime, ZRAM, ZSMALLOC)
    assert alone.inputs != both.inputs == stage(tmp_path, runtime, ZRAM, ZSMALLOC).inputs
