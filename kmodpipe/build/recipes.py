"""Build a kernel base, a module or a guest's root file system by running the recipes of ``images/``.

Each method of `Builder` runs one recipe in a `Runtime`, and leaves the products and the log in its `WorkDir`.
Keys and caching are in `stages`, the order is in ``pipeline``.

    configuration    out/base.config out/<cell>.config                        obj/…host tools
    base             out/bzImage out/vmlinux out/System.map out/base.config   obj/…the kit   lines
                     out/symbols-read out/files-read out/modules               objects/…
    module           out/<name>.ko out/cell.config                            notes/…for gcov
                     objects/… settings/… neutral/… own/…
    guest            out/…the root file system…
    external         out/<name>.ko out/Module.symvers out/warnings.json out/compiler.log
    toolset          out/…programs that a flavour adds to it…
    disk             out/tools.img

The kit is what modules are built against: configuration, generated headers, host tools and exported symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from kmodpipe.build import compile_warnings, external_products, gcov_notes, neutral, outputs, reuse
from kmodpipe.build.compile_log import CompileWatch
from kmodpipe.build.external_log import ExternalWatch
from kmodpipe.build.external_order import ExternalOrder
from kmodpipe.build.guest_disk import Layout
from kmodpipe.build.kbuild import external_flags
from kmodpipe.build.object_records import Said
from kmodpipe.build.reuse import Reused
from kmodpipe.build.runtime import Ended, EngineWentAway, Folder, Job, Runtime, memory_mib
from kmodpipe.cache.store import remove
from kmodpipe.kconfig import parse_config
from kmodpipe.util import os_errors, paths, shipped
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import remove_many
from kmodpipe.util.screen import Step

_Watch = TypeVar("_Watch", bound=CompileWatch)
_CELL_CONFIG, _BASE_CONFIG = "cell.config", "base.config"
_CONFIGURE_S = 600
_BASE_S = 4 * 3600
_MODULE_S = 1800
_EXTERNAL_S = 1800
_GUEST_S = 600
# A base leaves objects of its modules if it has no more than so many: ccache takes time for each.
_MODULES_KEPT = 32
# So many symbols are set in a configuration whose objects need 100 to 300 MiB.
_SMALL = 1500
# Products of a base: the symbols that vmlinux's objects read, and the files that they were compiled from.
SYMBOLS_READ = "symbols-read"
FILES_READ = "files-read"
# The modules of its configuration, a line each: the path, and the names of those that it needs.
MODULES = "modules"


@dataclass(frozen=True)
class WorkDir:
    """Where one build step writes."""

    folder: Path  # empty at the start; the products go below it
    log: Path  # of all output
    step: Step | None = None  # shows the progress


@dataclass(frozen=True)
class ConfigOrder:
    """The configurations to make from one source tree."""

    src: Path
    base: str  # the make target that every configuration starts from: tinyconfig
    requests: Mapping[str, str]  # the text of a fragment by the configuration's name
    tools: Path | None = None  # host tools that an earlier job on the same sources left
    # Whether what the Kconfig files run has the same result for each request, and where the tools are from.
    remembers: bool = False


@dataclass(frozen=True)
class BaseOrder:
    """The kernel base to build."""

    src: Path
    config: str
    make: Mapping[str, str] = field(default_factory=dict)  # variables for make
    tools: Path | None = None  # host tools that an earlier job on the same sources left
    expected_lines: int | None = None  # how many lines the progress bar counts to


@dataclass(frozen=True)
class ModuleOrder:
    """The modules to build for one cell."""

    name: str
    src: Path
    kit: Path  # the object folder of the base
    config: str
    folder: str  # of the module, relative to the tree
    targets: tuple[str, ...]
    make: Mapping[str, str] = field(default_factory=dict)  # variables for make
    coverage: bool = False  # count what is executed, and keep what the compiler notes for that
    reused: Reused | None = None  # what it takes of others, if it is to take and to leave anything
    own_symbols: frozenset[str] = frozenset()  # in which configurations of the source differ: see `neutral`
    remembers: bool = False  # as `ConfigOrder` has it, and the kit
    prepared: bool = False  # whether all that make prepares is in the kit as it would be made for this cell
    source: Mapping[str, str] = field(default_factory=dict)  # the content of each touched file


@dataclass(frozen=True)
class _Recipe:
    """One run of a recipe that compiles."""

    script: str
    what: str  # the product's name in messages
    src: Path | None
    timeout_s: float
    requests: Mapping[str, str]  # texts of the files in the folder ASK
    products: Collection[str]  # files that must be in OUT at the end, and no others
    room: str = "builder"  # the folder of ``images`` that the script is in
    read_only: Mapping[str, Path | None] = field(default_factory=dict)  # further folders
    more: tuple[Folder, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    keep_objects: bool = True  # what is in OBJ at the end
    makes_kit: bool = False  # it leaves a kit to keep, in the place of OBJ
    expected_lines: int | None = None
    in_memory: bool = False  # its objects, as long as there is room for them
    notes_of: str = ""  # the folder of OBJ whose notes for gcov are kept
    leaves: bool = False  # it leaves something for others, in the folder LEFT


@dataclass(frozen=True)
class Builder:
    """Runs the recipes below ``images`` in one runtime with ``jobs`` compilers at once."""

    runtime: Runtime
    images: Path
    jobs: int

    def configure(self, order: ConfigOrder, work: WorkDir) -> None:
        """Make ``out/<name>.config`` for each request, and the tree's host tools in ``obj``.

        Raises KernelFailure if the tree's Kconfig fails.
        """
        # What is remembered has the folders' names in it.
        remembers = order.remembers and self.runtime.same_paths
        recipe = _Recipe(
            "configure.sh", "the configuration", order.src, _CONFIGURE_S,
            requests={f"{name}.config": text for name, text in order.requests.items()},
            products=[f"{name}.config" for name in order.requests],
            read_only={"TOOLS": order.tools},
            env={"BASE": order.base, **({"REMEMBER": "yes"} if remembers else {})},
        )  # fmt: skip
        self._run(recipe, work)

    def base(self, order: BaseOrder, work: WorkDir) -> None:
        """Build vmlinux, its modules and the kit. Raises KernelFailure with the compiler's errors."""
        states = [value for value in parse_config(order.config).values() if value in ("y", "m")]
        leaves = self.runtime.same_paths and states.count("m") <= _MODULES_KEPT
        recipe = _Recipe(
            "base.sh", "the kernel base", order.src, _BASE_S,
            requests={_BASE_CONFIG: order.config},
            products=("bzImage", "vmlinux", "System.map", _BASE_CONFIG, SYMBOLS_READ, FILES_READ, MODULES),
            read_only={"TOOLS": order.tools},
            env={**order.make, **({"KEEP": "yes"} if leaves else {})},
            keep_objects=False,
            makes_kit=True,
            expected_lines=order.expected_lines,
            # To begin again on the disk would take longer than was won.
            in_memory=len(states) <= _SMALL and "CONFIG_DEBUG_INFO=y" not in order.config,
            leaves=leaves,
        )  # fmt: skip
        watch = self._run(recipe, work)
        if leaves:
            _collect(work, _BASE_CONFIG, Reused())
        (work.folder / "lines").write_text(str(watch.compiled))

    def module(self, order: ModuleOrder, work: WorkDir) -> None:
        """Build one cell's module against a kit. Raises KernelFailure with the compiler's errors."""
        reused = order.reused or Reused()
        target = neutral.Target(order.config, order.src, order.source)
        donor = neutral.donor(reused.kindred, target) if reused.kindred else None
        same = None
        # Who is to leave neutral objects has to compile more than its own cell asks for.
        if reused.same and reused.settings and not order.own_symbols:
            same = neutral.same_cell(reused.same, target)
        # After an edit of a header, say, the first of the new state may have more to give.
        if same and (donor is None or same.gives >= donor.gives):
            donor = same
        derived, objects = _folders(work.folder, "derived", "given")
        settings = reused.settings or (donor.derive(derived) if donor else None)
        recipe = _Recipe(
            "module.sh", f"the module of {order.name}", order.src, _MODULE_S,
            requests={
                _CELL_CONFIG: order.config,
                **({"symbols": neutral.symbols_text(order.own_symbols)} if order.own_symbols else {}),
            },
            products=(_CELL_CONFIG, *(target.rpartition("/")[2] for target in order.targets)),
            read_only={
                "KIT": order.kit,
                "OBJECTS": reused.objects,
                "SETTINGS": settings,
                "GIVEN": donor.objects(objects) if donor else None,
            },
            env={
                **order.make,
                **({"KEEP": "yes"} if order.reused else {}),
                **({"REMEMBER": "yes"} if order.remembers and self.runtime.same_paths else {}),
                **({"SAME": "yes"} if donor and donor is same else {}),
                **({"PREPARED": "yes"} if order.prepared and self.runtime.same_paths else {}),
                "TARGETS": " ".join(order.targets),
                "FOLDER": order.folder,
                **(gcov_notes.instrumented(order.folder) if order.coverage else {}),
            },
            keep_objects=False,
            # Most of what a small build took: ext4 is slow to make files where many were just removed.
            in_memory=not order.coverage,
            notes_of=order.folder if order.coverage else "",
            leaves=order.reused is not None,
        )  # fmt: skip
        self._run(recipe, work)
        if recipe.leaves:
            symbols = order.own_symbols & donor.symbols if donor else order.own_symbols
            _collect(work, _CELL_CONFIG, reused, symbols, Said.of(work.log, order.src, order.folder))
        for folder in (derived, objects):
            paths.remove(folder)

    def external(self, order: ExternalOrder, work: WorkDir) -> None:
        """Build a module that lives outside the tree: all its ``.ko``, what it exports, and its warnings.

        Raises KernelFailure if the source has no Makefile or does not build, and InfraError if
        the kit cannot be used here.
        """
        order.check()
        what = f"the module of {order.name}"
        (headers,) = _folders(work.folder, "headers")
        # Not .symvers of any name: a name of a module is not for a file.
        symvers = {f"{number}.symvers": text for number, text in enumerate(order.symvers.values())}
        recipe = _Recipe(
            "external.sh", what, order.src, _EXTERNAL_S,
            requests={
                "arguments": "".join(f"{word}\n" for word in order.make_arguments),
                "environment": "".join(f"{word}\n" for word in order.environment),
                **symvers,
            },
            products=(),
            room="external",
            read_only={"MODULE": order.module, "KIT": order.kit},
            # Many Makefiles look for headers there, by the release that they are given.
            more=(Folder("HEADERS", headers, writable=True, inside="/lib/modules"),),
            env={
                **external_flags(order.config, of_tree=order.src is not None),
                "COMPILER": order.compiler,
                "FOLDER": order.folder,
                **(gcov_notes.INSTRUMENTED if order.coverage else {}),
            },
        )  # fmt: skip
        watch, ended = self._watched(recipe, work, lambda: ExternalWatch(order, work.folder, work.step))
        watch.raise_for(ended, what, work.log)
        out, obj = work.folder / "out", work.folder / "obj"
        made = external_products.collect(obj / "module", out, what, work.log)
        if not made:
            raise watch.nothing_made(what, work.log)
        outputs.check(out, made, what, work.log)
        if order.coverage:
            gcov_notes.collect(obj / "module", "", work.folder / gcov_notes.NOTES, what, work.log)
        compile_warnings.write(out / "warnings.json", compile_warnings.in_order(watch.warnings))
        (out / "compiler.log").write_text(watch.text, encoding="utf-8", errors="backslashreplace")
        paths.remove(obj)
        paths.remove(headers)

    def _run(self, recipe: _Recipe, work: WorkDir) -> CompileWatch:
        """Run one recipe in ``work``, and check what it made. Return what was read from its output."""
        src = recipe.src or work.folder
        watch, ended = self._watched(
            recipe, work, lambda: CompileWatch(src, work.folder, work.step, recipe.expected_lines)
        )
        watch.raise_for(ended, recipe.what, work.log)
        outputs.check(work.folder / "out", recipe.products, recipe.what, work.log)
        if recipe.notes_of:
            obj = work.folder / "obj"
            gcov_notes.collect(obj, recipe.notes_of, work.folder / gcov_notes.NOTES, recipe.what, work.log)
        if recipe.keep_objects or recipe.makes_kit:
            outputs.tidy(work.folder / "obj", recipe.what, work.log)
        if not recipe.keep_objects:
            remove_many(work.folder / _objects(recipe))
        return watch

    def _watched(
        self, recipe: _Recipe, work: WorkDir, new_watch: Callable[[], _Watch]
    ) -> tuple[_Watch, Ended]:
        """Run one recipe in ``work``. Return what was read from its output, and how it ended."""
        ask, obj, out = _folders(work.folder, "ask", _objects(recipe), "out")
        kit = _folders(work.folder, "obj") if recipe.makes_kit else ()
        left = _folders(work.folder, "left") if recipe.leaves else ()
        for name, text in recipe.requests.items():
            (ask / name).write_text(text, encoding="utf-8")
        job = Job(
            name=recipe.what,
            script=recipe.script,
            folders=(
                Folder("RECIPE", shipped.part(self.images, recipe.room)),
                *([Folder("SRC", recipe.src)] if recipe.src else []),
                Folder("ASK", ask),
                *(Folder(name, path) for name, path in recipe.read_only.items() if path),
                *recipe.more,
                *(Folder("LEFT", path, writable=True) for path in left),
                *(Folder("KIT", path, writable=True) for path in kit),
                Folder("OBJ", obj, writable=True, memory_mib=self._memory_mib if recipe.in_memory else 0),
                Folder("OUT", out, writable=True),
            ),
            log=work.log,
            timeout_s=recipe.timeout_s,
            env={"JOBS": str(self.jobs), **recipe.env},
        )
        watch, ended = self._ended(job, new_watch)
        if recipe.in_memory and ended.status != 0 and os_errors.says_full(_text(work.log)):
            _empty(job)
            on_disk = tuple(replace(folder, memory_mib=0) for folder in job.folders)
            return self._ended(replace(job, folders=on_disk), new_watch)
        return watch, ended

    def _ended(self, job: Job, new_watch: Callable[[], _Watch]) -> tuple[_Watch, Ended]:
        """Run a job, once more if the engine was restarted meanwhile."""
        watch = new_watch()
        try:
            return watch, self.runtime.run(job, watch.line)
        except EngineWentAway:
            _empty(job)
            watch = new_watch()
            return watch, self.runtime.run(job, watch.line)

    @property
    def _memory_mib(self) -> int:
        """How much of the machine's memory the objects of one job may take: all jobs together, a quarter."""
        return memory_mib() // (4 * self.jobs)

    def guest(self, work: WorkDir) -> None:
        """Build the guest's root file system into ``out``."""
        self._run_guest("recipe.sh", "the guest's root file system", work)

    def toolset(self, name: str, rootfs: Path, work: WorkDir) -> None:
        """Copy the programs of a toolset into ``out``, with the libraries that ``rootfs`` does not have."""
        self._run_guest(
            "toolset.sh", f"the guest's {name} tools", work,
            read_only=(Folder("ROOTFS", rootfs),),
            env={"TOOLSET": name},
        )  # fmt: skip

    def disk(self, tree: Path, layout: Layout, work: WorkDir) -> None:
        """Make ``out/tools.img``, the file system of ``layout`` with the files of ``tree``."""
        (commands,) = _folders(work.folder, "commands")
        (commands / "commands").write_text(layout.commands, "utf-8", "surrogateescape")
        self._run_guest(
            "disk.sh", "the disk with the guest's tools", work,
            read_only=(Folder("TREE", tree), Folder("COMMANDS", commands)),
            env={"BLOCKS": str(layout.blocks), "INODES": str(layout.inodes)},
        )  # fmt: skip
        paths.remove(commands)

    def _run_guest(
        self,
        script: str,
        what: str,
        work: WorkDir,
        read_only: tuple[Folder, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a recipe of ``images/guest`` in ``work``; InfraError if it fails: the recipe is ours."""
        (out,) = _folders(work.folder, "out")
        job = Job(
            name=what,
            script=script,
            folders=(Folder("RECIPE", self.images / "guest"), *read_only, Folder("OUT", out, writable=True)),
            log=work.log,
            timeout_s=_GUEST_S,
            env=env or {},
        )
        lines: Callable[[str], None] | None = work.step.update if work.step else None
        try:
            ended = self.runtime.run(job, lines)
        except EngineWentAway:
            _empty(job)
            ended = self.runtime.run(job, lines)
        if ended.status != 0:
            where = f"log: {work.log}"
            # What was written last may be gone again, and a program need not say why it cannot write.
            if os_errors.says_full(ended.tail) or os_errors.is_full(work.folder):
                raise os_errors.full(f"{what} was built", where=where, detail=ended.tail)
            raise InfraError(
                f"{what} could not be built (status {ended.status})",
                where=where,
                detail=ended.tail,
                hint="read the log: a recipe below images/guest is edited, or lacks a program: invoke setup",
            )


def _collect(
    work: WorkDir,
    configuration: str,
    reused: Reused,
    symbols: Collection[str] = (),
    said: Said | None = None,
) -> None:
    """Keep what a build left for others; ``configuration`` is the name of its request."""
    left = work.folder / "left"
    reuse.collect(left, work.folder, reused, work.folder / "ask" / configuration)
    neutral.collect(left, work.folder, symbols, said)
    paths.remove(left)


def _objects(recipe: _Recipe) -> str:
    """Return the name of the folder that a recipe has as OBJ."""
    return "objects-made" if recipe.makes_kit else "obj"


def _folders(folder: Path, *names: str) -> tuple[Path, ...]:
    """Create folders below ``folder``, and return their paths."""
    paths = tuple(folder / name for name in names)
    for path in paths:
        path.mkdir()
    return paths


def _text(log: Path) -> str:
    with suppress(OSError):
        return log.read_text("utf-8", "replace")
    return ""


def _empty(job: Job) -> None:
    """Remove what an interrupted job wrote, so that it can run again from the start."""
    for folder in job.folders:
        if folder.writable:
            for path in folder.path.iterdir():
                remove(path)
