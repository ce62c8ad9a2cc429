"""Run the recipes of ``images/check``: what the mailing lists' bots run.

    prepare      obj/…a kit whose own objects are compiled with W=1
    compile      out/sparse out/symbols out/stack out/headers out/crcs; the compiler's words are in the log
    text         out/checkpatch out/kernel-doc
    cocci        out/coccicheck

A tool that is missing, fails or prints rubbish fails no recipe: what it printed and its status are in its
file, for whoever reads them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.build.recipes import Builder, WorkDir, _Recipe
from kmodpipe.util import shipped
from kmodpipe.util.errors import InfraError, KernelFailure

_PREPARE_S = 900
_COMPILE_S = 1800
_TEXT_S = 900
_COCCI_S = 2 * 3600

SPARSE, SYMBOLS, STACK, HEADERS, CRCS = "sparse", "symbols", "stack", "headers", "crcs"
COMPILED = (SPARSE, SYMBOLS, STACK, HEADERS, CRCS)
"""What `Checker.compile` leaves."""
CHECKPATCH, KERNEL_DOC = "checkpatch", "kernel-doc"
COCCICHECK = "coccicheck"


@dataclass(frozen=True)
class CompileOrder:
    """One state of the source to compile for one cell."""

    name: str
    src: Path
    kit: Path
    config: str
    folder: str  # of the module, relative to the tree
    targets: tuple[str, ...]
    make: Mapping[str, str] = field(default_factory=dict)  # variables for make
    needed: tuple[str, ...] = ()  # modules of other folders, whose symbols these use


@dataclass(frozen=True)
class TextOrder:
    """Patches to look at, and the sources that they touch."""

    name: str
    src: Path
    patches: Mapping[int, bytes]  # mails, by number from 1
    files: Mapping[
        int, Mapping[str, Path]
    ]  # by the number of the patch before, then by their path in the tree


@dataclass(frozen=True)
class Checker(Builder):
    """Runs the checks' recipes."""

    def prepare(self, src: Path, kit: Path, make: Mapping[str, str], work: WorkDir) -> None:
        """Make a kit for `compile` of a base's kit."""
        recipe = _Recipe(
            "prepare.sh", "the kit of the checks", src, _PREPARE_S,
            requests={}, products=(), room="check", read_only=self._more(kit), env=make,
        )  # fmt: skip
        self._ours(recipe, work)

    def compile(self, order: CompileOrder, work: WorkDir) -> None:
        """Compile a module with the compiler's and sparse's warnings. Raise KernelFailure with errors."""
        recipe = _Recipe(
            "compile.sh", f"the module of {order.name}", order.src, _COMPILE_S,
            requests={"cell.config": order.config},
            products=COMPILED,
            room="check",
            read_only=self._more(order.kit),
            env={
                **order.make, "FOLDER": order.folder,
                "TARGETS": " ".join(order.targets), "NEEDED": " ".join(order.needed),
            },
            keep_objects=False,
        )  # fmt: skip
        self._run(recipe, work)

    def text(self, order: TextOrder, work: WorkDir) -> None:
        """Run the tree's checkpatch on patches, and its kernel-doc on the files before and after each."""
        given = work.folder / "given"
        for number, mail in order.patches.items():
            _write(given / "patches" / f"{number}.patch", mail)
        (given / "files").mkdir(parents=True)
        for number, files in order.files.items():
            for name, path in files.items():
                _write(given / "files" / str(number) / name, path.read_bytes())
        recipe = _Recipe(
            "text.sh", f"the text of {order.name}", order.src, _TEXT_S,
            requests={},
            products=(CHECKPATCH, KERNEL_DOC),
            room="check",
            read_only={"PATCHES": given / "patches", "FILES": given / "files"},
            keep_objects=False,
        )  # fmt: skip
        self._ours(recipe, work)
        shutil.rmtree(given)

    def cocci(self, name: str, src: Path, folder: str, work: WorkDir) -> None:
        """Run the tree's semantic patches on the module's folder."""
        recipe = _Recipe(
            "cocci.sh", f"the semantic patches on {name}", src, _COCCI_S,
            requests={}, products=(COCCICHECK,), room="check", env={"FOLDER": folder}, keep_objects=False,
        )  # fmt: skip
        self._ours(recipe, work)

    def _ours(self, recipe: _Recipe, work: WorkDir) -> None:
        """Run a recipe that has no reason to fail: a tool's failure is in what it leaves."""
        try:
            self._run(recipe, work)
        except KernelFailure as e:
            raise InfraError(
                f"{recipe.what} could not be looked at: {e.detail.splitlines()[-1] if e.detail else e.what}",
                where=f"log: {work.log}",
                detail=e.detail,
                hint="read the log: a recipe below images/check is edited, or lacks a program",
            ) from e

    def _more(self, kit: Path) -> Mapping[str, Path | None]:
        return {"KIT": kit, "BUILDER": shipped.part(self.images, "builder")}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
