"""From a source tree and a configuration to a kernel base, a module and a guest root file system.

Each method runs one recipe of ``images/`` through a `Runtime`, leaves its products in the folder it was
given and its output in the log it was given; keys, caching and order are the pipeline's business.

    configuration    out/base.config out/<cell>.config                        obj/…host tools
    base             out/bzImage out/vmlinux out/System.map out/base.config   obj/…the kit   lines
    module           out/<name>.ko out/cell.config                            obj/… where kept
    guest            out/…the root file system…
    toolset          out/…programs that a flavour adds to it…
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.build import outputs
from kmodpipe.build.compile_log import CompileWatch
from kmodpipe.build.runtime import EngineWentAway, Folder, Job, Runtime
from kmodpipe.cache.store import remove
from kmodpipe.util import os_errors, paths
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Step

_CONFIGURE_S = 600
_BASE_S = 4 * 3600
_MODULE_S = 1800
_GUEST_S = 600


@dataclass(frozen=True)
class ModuleOrder:
    """What one cell's module is made of. ``kit`` is the base's objects, or those that another cell of the
    same variant and base left; ``same_source``: the module's objects in it come from this very source, so
    that kbuild may go on from them; ``keep_objects`` leaves them for other cells; ``make`` are variables for
    make."""

    name: str
    src: Path
    kit: Path
    config: str
    folder: str
    targets: tuple[str, ...]
    same_source: bool
    keep_objects: bool
    make: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Builder:
    """Runs the recipes below ``images`` in one runtime with ``jobs`` compilers at once."""

    runtime: Runtime
    images: Path
    jobs: int

    @property
    def _recipes(self) -> Folder:
        return Folder("RECIPE", self.images / "builder")

    def configure(
        self,
        src: Path,
        base: str,
        requests: Mapping[str, str],
        folder: Path,
        log: Path,
        step: Step | None,
        tools: Path | None = None,
    ) -> None:
        """Ask the tree what each request becomes: ``folder/out/<name>.config``; ``folder/obj`` keeps the
        tree's host tools, which other jobs on the same sources take as ``tools``.

        Raises KernelFailure where the tree's Kconfig itself does not work.
        """
        self._job(
            "configure", "the configuration", src, folder, log, lambda: CompileWatch(src, folder, step),
            _CONFIGURE_S,
            asks={f"{name}.config": text for name, text in requests.items()},
            reads={"TOOLS": tools},
            env={"BASE": base},
            makes=[f"{name}.config" for name in requests],
        )  # fmt: skip

    def base(
        self,
        src: Path,
        config: str,
        folder: Path,
        log: Path,
        step: Step | None,
        *,
        tools: Path | None = None,
        expected_lines: int | None = None,
        make: Mapping[str, str] | None = None,
    ) -> None:
        """Build vmlinux, its modules and the kit, with variables for ``make``. Raises KernelFailure with the
        compiler's errors."""
        watch = self._job(
            "base", "the kernel base", src, folder, log,
            lambda: CompileWatch(src, folder, step, expected_lines),
            _BASE_S,
            asks={"base.config": config},
            reads={"TOOLS": tools},
            makes=("bzImage", "vmlinux", "System.map", "base.config"),
            env=make,
        )  # fmt: skip
        (folder / "lines").write_text(str(watch.compiled))

    def module(self, order: ModuleOrder, folder: Path, log: Path, step: Step | None) -> None:
        """Build one cell's module against a kit. Raises KernelFailure with the compiler's errors."""
        what = f"the module of {order.name}"
        self._job(
            "module", what, order.src, folder, log, lambda: CompileWatch(order.src, folder, step),
            _MODULE_S,
            asks={"cell.config": order.config},
            reads={"KIT": order.kit},
            env={
                **order.make,
                "TARGETS": " ".join(order.targets),
                "FOLDER": order.folder,
                "SAME_SOURCE": "yes" if order.same_source else "no",
            },
            makes=("cell.config", *(target.rpartition("/")[2] for target in order.targets)),
            keeps_objects=order.keep_objects,
        )  # fmt: skip

    def _job(
        self,
        recipe: str,
        what: str,
        src: Path,
        folder: Path,
        log: Path,
        watching: Callable[[], CompileWatch],
        timeout_s: float,
        *,
        asks: Mapping[str, str],
        reads: Mapping[str, Path | None],
        makes: Collection[str],
        env: Mapping[str, str] | None = None,
        keeps_objects: bool = True,
    ) -> CompileWatch:
        """One recipe of ``images/builder`` in ``folder``, whose ask, obj and out it sees; ``makes`` names
        what it has to leave in out. What it said."""
        ask, obj, out = _folders(folder, "ask", "obj", "out")
        for name, text in asks.items():
            (ask / name).write_text(text, encoding="utf-8")
        job = Job(
            name=what,
            script=f"{recipe}.sh",
            folders=(
                self._recipes,
                Folder("SRC", src),
                Folder("ASK", ask),
                *(Folder(name, path) for name, path in reads.items() if path),
                Folder("OBJ", obj, writable=True),
                Folder("OUT", out, writable=True),
            ),
            log=log,
            timeout_s=timeout_s,
            env={"JOBS": str(self.jobs), **(env or {})},
        )
        watch = watching()
        try:
            ended = self.runtime.run(job, watch.line)
        except EngineWentAway:
            _empty(job)
            watch = watching()
            ended = self.runtime.run(job, watch.line)
        watch.raise_for(ended, what, log)
        outputs.check(out, makes, what, log)
        if keeps_objects:
            outputs.tidy(obj, what, log)
        else:
            paths.remove(obj)
        return watch

    def guest(self, folder: Path, log: Path, step: Step | None) -> None:
        """Build the guest's root file system into ``folder/out``."""
        self._guest_job("recipe.sh", "the guest's root file system", folder, log, step)

    def toolset(self, name: str, rootfs: Path, folder: Path, log: Path, step: Step | None) -> None:
        """Collect into ``folder/out`` the programs called ``name`` (toolset.sh), with what of their libraries
        ``rootfs`` does not have."""
        self._guest_job(
            "toolset.sh", f"the guest's {name} tools", folder, log, step,
            reads=(Folder("ROOTFS", rootfs),),
            env={"TOOLSET": name},
        )  # fmt: skip

    def _guest_job(
        self,
        script: str,
        what: str,
        folder: Path,
        log: Path,
        step: Step | None,
        reads: tuple[Folder, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        (out,) = _folders(folder, "out")
        job = Job(
            name=what,
            script=script,
            folders=(Folder("RECIPE", self.images / "guest"), *reads, Folder("OUT", out, writable=True)),
            log=log,
            timeout_s=_GUEST_S,
            env=env or {},
        )
        lines: Callable[[str], None] | None = step.update if step else None
        try:
            ended = self.runtime.run(job, lines)
        except EngineWentAway:
            _empty(job)
            ended = self.runtime.run(job, lines)
        if ended.status != 0:
            told = (
                "could not be built: the disk is full" if os_errors.is_full(folder) else "could not be built"
            )
            raise InfraError(f"{what} {told}", where=f"log: {log}", detail=ended.tail)


def _folders(folder: Path, *names: str) -> tuple[Path, ...]:
    """Fresh sub-folders."""
    paths = tuple(folder / name for name in names)
    for path in paths:
        path.mkdir()
    return paths


def _empty(job: Job) -> None:
    """Take away what a job wrote that was cut off, so that it can run once more as if for the first time."""
    for folder in job.folders:
        if folder.writable:
            for path in folder.path.iterdir():
                remove(path)
