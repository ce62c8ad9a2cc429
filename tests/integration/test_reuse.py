"""What the build of a cell takes of other cells is what it would have made itself, to the byte."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.build import module_warnings
from kmodpipe.build.configured import Buildable
from kmodpipe.build.kbuild import make_flags
from kmodpipe.build.recipes import Builder, ConfigOrder, ModuleOrder, WorkDir
from kmodpipe.build.reuse import SETTINGS, Reused
from kmodpipe.cache.place import cache_folder
from kmodpipe.cache.store import Artifact
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import RunOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline import snapshot, workspace
from kmodpipe.pipeline.builder import CellBuilder
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.stage_maker import StageMaker
from kmodpipe.util.digest import digest_file
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.util.workers import workers
from tests.integration.conftest import require_machinery
from tests.support import REPO, caches
from tests.support.edits import Edited

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
# A symbol whose name is in no file, as a macro pastes it together: no search of texts finds its reader.
ADDED = {
    "fs/overlayfs/overlayfs.h": "\n#define OVL_IS_ON(name) IS_ENABLED(CONFIG_OVERLAY_FS_##name)\n",
    "fs/overlayfs/util.c": "\nint ovl_says(void);\nint ovl_says(void) { return OVL_IS_ON(XINO_AUTO); }\n",
}
SYMBOLS = ("REDIRECT_DIR", "XINO_AUTO")
CELLS = [f"pasted.REDIRECT_DIR={one}.XINO_AUTO={two}" for one in "yn" for two in "yn"]


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


class World:
    """A series and a matrix of its own, and a cache that has the user's trees and kernels, but no modules."""

    def __init__(self, top: Path, tree: Sequence[str] = ()) -> None:
        self.top, self.users = top, cache_folder()
        self.words = [word for name in tree for word in ("--tree", name)]
        shutil.copytree(REPO / "kconfigs", top / "kconfigs")
        matrix = top / "kconfigs/matrix.toml"
        head, _, flavours = matrix.read_text().partition("[axes.")
        axes = (f'[axes.{one}]\nsymbol = "OVERLAY_FS_{one}"\nvalues = ["y", "n"]\n' for one in SYMBOLS)
        matrix.write_text(head + "".join(axes) + flavours[flavours.index("[flavours.") :])
        (tree,) = workspace.fetch_kernels(
            resolve(RunOptions(tree=tuple(tree)), Invocation(REPO)), self.users, Screen(Mode.PLAIN)
        ).values()
        self.tree = tree.path
        (top / "pasted").mkdir()
        self.write(ADDED)

    def write(self, added: Mapping[str, str]) -> None:
        """Write the series."""
        text = "".join(_patch(self.tree, *one) for one in added.items())
        (self.top / "pasted/0001-pasted.patch").write_text(text)

    def build(self, name: str, *words: str) -> dict[str, Path]:
        """Build in a cache of this name; return the modules of the series' cells, by the cell's name."""
        cache = self.top / name
        if not cache.exists():
            caches.beside(self.users, cache, "base")
        matrix, out = str(self.top / "kconfigs/matrix.toml"), str(self.top / f"{name}-out")
        done = subprocess.run(
            [sys.executable, "-m", "invoke", "build", "--series", str(self.top / "pasted"), *self.words,
             *words, "--matrix", matrix, "--out", out],
            cwd=REPO, env={**os.environ, "KMODPIPE_CACHE": str(cache)},
            capture_output=True, text=True, timeout=1500, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        latest = cache / "store/module/.latest"
        return {
            cell: latest.parent / (latest / cell).read_text() for cell in CELLS if (latest / cell).exists()
        }


def _patch(tree: Path, name: str, more: str) -> str:
    before = (tree / name).read_text()
    lines = (text.splitlines(keepends=True) for text in (before, before + more))
    return "".join(unified_diff(*lines, f"a/{name}", f"b/{name}"))


TREES = [
    pytest.param((), id="default"),
    *(
        pytest.param((name,), marks=pytest.mark.kernels, id=name)
        for name in ("debian-6.1", "debian-6.12", "debian-sid")
    ),
]


@pytest.mark.parametrize("tree", TREES)
def test_cells_that_share_have_the_modules_that_each_has_alone(tmp_path: Path, tree: tuple[str, ...]) -> None:
    world = World(tmp_path, tree)
    shared = world.build("shared")
    assert list(shared) == CELLS
    compiled = {cell: _compiled(module) for cell, module in shared.items()}
    leader, *more = (cell for cell, objects in compiled.items() if "dir.o" in objects)
    # Since 6.5 each file of overlayfs reads a symbol of its own.
    neutral = "OVERLAY_FS_DEBUG" not in (world.tree / "fs/overlayfs/Kconfig").read_text()
    assert bool(more) is not neutral
    # Each compiles what reads the symbols, be it by a name that a macro pastes together, and nothing else.
    for objects in _others(compiled, leader) if neutral else ():
        assert {"util.o", "overlay.mod.o"} < objects and objects.isdisjoint({"dir.o", "file.o", "inode.o"})
    # Not the same to begin with.
    assert len({digest_file(module / "out/overlay.ko") for module in shared.values()}) == len(CELLS)
    _are_as_alone(world, "first", shared, [cell for cell in CELLS if cell != leader][-1:])

    # After an edit each takes what was not compiled from it of its own state before, symbols or not.
    world.write(
        {**ADDED, "fs/overlayfs/util.c": ADDED["fs/overlayfs/util.c"].replace("return", "return 7 +")}
    )
    edited = world.build("shared")
    assert all(_compiled(module) == {"util.o", "overlay.mod.o"} for module in edited.values())
    _are_as_alone(world, "second", edited, CELLS[:1])
    # Of a header that all read, each is compiled again in one cell.
    world.write({**ADDED, "fs/overlayfs/overlayfs.h": "\n#define OVL_IS_ON(name) 5\n"})
    header = world.build("shared")
    assert sum("dir.o" in _compiled(module) for module in header.values()) == (1 if neutral else len(CELLS))
    _are_as_alone(world, "third", header, CELLS[-1:])


def test_what_the_compiler_complains_of_is_told_of_each_cell_after_each_edit(tmp_path: Path) -> None:
    world = World(tmp_path)
    # Of a file that reads no symbol, and would be taken of the first cell.
    unused = {**ADDED, "fs/overlayfs/dir.c": "\nstatic int ovl_unused(void) { return 1; }\n"}
    for edit in ("return", "return 7 +"):
        util = unused["fs/overlayfs/util.c"].replace("return", edit)
        world.write({**unused, "fs/overlayfs/util.c": util})
        for cell, module in world.build("shared").items():
            said = module_warnings.of(Artifact("module", "", module), Path("/src"))
            assert [(one.file, one.flag) for one in said] == [("fs/overlayfs/dir.c", "-Wunused-function")], (
                cell
            )
            assert "file.o" not in _compiled(module) or edit == "return"


@pytest.mark.parametrize(
    ("tree", "seed", "edits"),
    [
        pytest.param((), 1, 3, marks=pytest.mark.thorough, id="default"),
        pytest.param((), 2, 40, marks=pytest.mark.kernels, id="default, long"),
        pytest.param(("debian-6.12",), 3, 40, marks=pytest.mark.kernels, id="debian-6.12"),
    ],
)
def test_after_any_edit_each_cell_has_what_it_has_alone(
    tmp_path: Path, tree: tuple[str, ...], seed: int, edits: int
) -> None:
    world = World(tmp_path, tree)
    edited, chosen = Edited(world.tree, SYMBOLS, seed), random.Random(seed)
    done: list[str] = []
    for _ in range(edits):
        done.append(edited.edit())
        (world.top / "pasted/0001-pasted.patch").write_text(edited.patch())
        shared = world.build("shared")
        assert list(shared) == CELLS, done
        for cell in chosen.sample(CELLS, 2):
            shutil.rmtree(world.top / "alone/store/module", ignore_errors=True)
            alone = world.build("alone", "--cell", cell)[cell]
            assert _contents(shared[cell] / "out") == _contents(alone / "out"), (cell, done)
            assert _warnings(shared[cell]) == _warnings(alone), (cell, done)


def _warnings(module: Path) -> list[str]:
    return sorted(map(str, module_warnings.of(Artifact("module", "", module), Path("/src"))))


def _are_as_alone(world: World, name: str, shared: Mapping[str, Path], cells: Sequence[str]) -> None:
    for number, cell in enumerate(cells):
        module = world.build(f"{name}-{number}", "--cell", cell)[cell]
        for product in ("overlay.ko", "cell.config"):
            assert digest_file(module / "out" / product) == digest_file(shared[cell] / "out" / product), cell
        assert _inputs(module) == _inputs(shared[cell])


def _compiled(module: Path) -> set[str]:
    lines = (module / "build.log").read_text().splitlines()
    names = {line.split()[-1].rpartition("/")[2] for line in lines if line.startswith("  CC [M]")}
    # Of every module, since 6.13.
    return names - {".module-common.o"}


def _others(compiled: dict[str, set[str]], leader: str) -> list[set[str]]:
    return [objects for cell, objects in compiled.items() if cell != leader]


def _inputs(module: Path) -> object:
    return json.loads((module / ".inputs").read_text())


@pytest.mark.parametrize("tree", TREES)
def test_what_is_remembered_or_prepared_makes_the_same(tmp_path: Path, tree: tuple[str, ...]) -> None:
    call = Invocation(REPO, "", Screen(Mode.PLAIN))
    options = RunOptions(tree=tree, series=("none",), out=str(tmp_path / "out"))
    with call.cache() as cache, workers(2) as pool:
        found = workspace.set_up(resolve(options, call), cache, call.screen)
        with RunFolder(found.spec.out) as run_folder:
            maker = StageMaker(found, run_folder)
            builder = CellBuilder(found, maker)
            rows = [row for row in builder.prepare(pool, boots=False) if isinstance(row[1], Buildable)]
            (subject, cell), *_ = rows
            kernel = found.kernel_of(cell.cell)
            base = builder.base_of(kernel, subject, cell)
            tools = maker.ensure(kernel.stages.common(cell.cell.flavour)).path / "obj"
        assert (base.path / "obj/.noted/answers").stat().st_size > 1000, "nothing was remembered"
        recipes = Builder(found.runtime, snapshot.recipes(found.spec.project.images, found.store), 2)
        made = []
        for remembers in (True, False):
            work = [tmp_path / f"{name}-{remembers}" for name in ("config", "module")]
            for one in work:
                one.mkdir(mode=0o755)
            requests = {one.cell.id: kconfig.render(one.cell.requested) for _, one in rows}
            ask = ConfigOrder(subject.src, found.spec.matrix.base, requests, tools, remembers)
            recipes.configure(ask, WorkDir(work[0], work[0] / "log"))
            order = ModuleOrder(
                cell.cell.id, subject.src, base.path / "obj", cell.text, "fs/overlayfs",
                ("fs/overlayfs/overlay.ko",), make_flags(cell.final), reused=Reused(), remembers=remembers,
                prepared=remembers,
            )  # fmt: skip
            recipes.module(order, WorkDir(work[1], work[1] / "log"))
            # Made by make, unless conf made it before.
            assert ("SYNC" in (work[1] / "log").read_text()) is not remembers
            made.append(
                [_contents(work[0] / "out"), _contents(work[1] / "out"), _contents(work[1] / SETTINGS)]
            )
    (*quick, settings), (*slow, more) = made
    assert quick == slow
    # What make prepares once more is what the kit has.
    assert settings.items() <= more.items()
    assert more.items() - settings.items() <= _contents(base.path / "obj").items()
    assert len(made[0][0]) == len(rows) and "include/generated/autoconf.h" in settings


def _contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): digest_file(p) for p in folder.rglob("*") if p.is_file()}
