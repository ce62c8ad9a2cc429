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

import functools
import hashlib
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from kmodpipe.build import outputs
from kmodpipe.build.runtime import Ended, EngineWentAway, Folder, Job, Runtime
from kmodpipe.cache.store import remove
from kmodpipe.util import os_errors, paths
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, KernelFailure, UserError
from kmodpipe.util.screen import Step

_CONFIGURE_S = 600
_BASE_S = 4 * 3600
_MODULE_S = 1800
_GUEST_S = 600

_HERE = "-fdebug-prefix-map=$(SRC)/= -fdebug-prefix-map=$(OBJ)=."
"""Line numbers of files relative to the tree, wherever it is: the same objects on every machine. make knows
the folders by these names from the environment, as the recipes do."""
_LINES = "-g -gdwarf-4 -femit-struct-debug-baseonly -fno-var-tracking"
"""What a trace takes to be decoded to lines, as CONFIG_DEBUG_INFO_REDUCED has it; no type of any struct."""

_NO_CODE = (".debug_", ".rela.debug_", ".note.gnu.build-id")
_ERROR = re.compile(r"^(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? (?:fatal )?[Ee]rror: (?P<text>.*)$")
_LINK_ERROR = re.compile(r"^(?:ERROR: modpost: |ld: (?!.*warning: )|.*undefined reference to )")
_KBUILD_LINE = re.compile(r"^  (?P<tool>[A-Z][A-Z0-9_]*(?: \[[A-Z]\])?)\s+(?P<target>\S+)")
# Not the lines of source text that a compiler quotes: those are indented.
_DISK_FULL = re.compile(r"^\S.*\bNo space left on device")
_FULL_MIB = 1024
_FREE_IT = "free some space, or run: invoke clean"
_NO_MEMORY = re.compile(
    r"^\S+: (?:fatal error: Killed signal terminated|out of memory allocating|virtual memory exhausted)",
)
_NO_PROCESS = re.compile(
    r"^\S.*\b(?:v?fork|posix_spawn)\b.*: Resource temporarily unavailable$|^\S+: \d+: Cannot fork$"
)
_PLAIN_OBJECT = re.compile(r"[\w+.-]+(?:/[\w+.-]+)*\.o", re.ASCII)
_MAX_SECTIONS = 1_000_000
# What pyelftools lets through where a file is damaged on purpose.
_DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError, RecursionError)
_OBJECTS = re.compile(r"^obj-\$\(CONFIG_(\w+)\)\s*[:+]?=\s*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class CompileError:
    """One error as the compiler said it; ``file`` relative to the tree."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class _Watch:
    """Reads the output of a build of ``src`` as it comes: progress for the screen, errors for the report."""

    def __init__(self, src: Path, folder: Path, step: Step | None, expected_lines: int | None = None) -> None:
        self.errors: list[CompileError] = []
        self.link_errors: list[str] = []
        self.compiled = 0
        self._ours = self._hint = ""
        self._src = f"{src}/"
        self._folder = folder
        self._step = step
        self._expected = expected_lines

    def line(self, line: str) -> None:
        # The machine's trouble first: a compiler may well report it with a file and a line of the tree.
        if _DISK_FULL.match(line):
            # A build can fill the memory behind /tmp as well, or just say so: what is left on the disk tells.
            if shutil.disk_usage(self._folder).free >> 20 < _FULL_MIB:
                self._ours, self._hint = "the disk filled up", _FREE_IT
        elif _NO_MEMORY.match(line):
            self._blame("a compiler ran out of memory", "give the machine more memory, or use fewer --jobs")
        elif _NO_PROCESS.match(line):
            self._blame("no more processes could be started", "use fewer --jobs; is it the build that forks?")
        elif match := _KBUILD_LINE.match(line):
            self.compiled += 1
            if self._step:
                self._step.update(
                    f"{match['tool']} {match['target']}", done=self.compiled, total=self._expected
                )
        elif match := _ERROR.match(line):
            if len(self.errors) < 20:
                file = match["file"].removeprefix(self._src).removeprefix("/src/")
                file = re.sub(r"^(?:\.\./)*(?:src/)?", "", file)
                self.errors.append(CompileError(file, int(match["line"]), match["text"]))
        elif _LINK_ERROR.match(line) and len(self.link_errors) < 20:
            self.link_errors.append(line.strip())

    def _blame(self, what: str, hint: str) -> None:
        """The machine is at fault, for the first reason that is told."""
        if not self._ours:
            self._ours, self._hint = what, hint

    def raise_for(self, ended: Ended, what: str, log: Path) -> None:
        """Turn a failed build into the error that says whose fault it was."""
        if ended.status != 0 and os_errors.is_full(self._folder):
            # Not every tool says why it could not write.
            self._blame("the disk filled up", _FREE_IT)
        # Whatever the status: a recipe can swallow the death of one compiler, and go on without its object.
        if self._ours:
            raise InfraError(
                f"{self._ours} while {what} was built",
                where=f"log: {log}",
                detail=ended.tail,
                hint=self._hint,
            )
        if ended.status == 0:
            return
        if self.errors:
            first = self.errors[0]
            raise KernelFailure(
                f"{what} does not compile: {first}",
                where=f"{first.file}:{first.line} (log: {log})",
                detail="\n".join(map(str, self.errors)),
                hint="fix the source, or the patch that last touched it",
            )
        if self.link_errors:
            raise KernelFailure(
                f"{what} does not link: {self.link_errors[0]}",
                where=f"log: {log}",
                detail="\n".join(self.link_errors),
            )
        raise KernelFailure(
            f"{what} does not build (status {ended.status})", where=f"log: {log}", detail=ended.tail
        )


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


def make_flags(config: Mapping[str, str]) -> dict[str, str]:
    """Variables for the make of a base and of its modules, beyond what the configuration says.

    A module has its line numbers whatever the base has: it is what is under test, and it takes seconds. The
    base's make gets the same, so that a cell of its source goes on from the objects that it left.

    CFLAGS_MODULE (Documentation/kbuild/kbuild.rst) reaches the objects of modules alone. KCFLAGS would reach
    scripts/mod as well, whose flags then are not the base's, and kbuild makes all host tools again. It counts
    on make's command line only, and so does what MAKEFLAGS says, with its blanks escaped.
    """
    if config.get("DEBUG_INFO") == "y":
        return {"KCFLAGS": _HERE, "KAFLAGS": _HERE}
    lines = f"CFLAGS_MODULE={_LINES} {_HERE}".replace(" ", "\\ ")
    return {"MAKEFLAGS": lines}


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
            "configure", "the configuration", src, folder, log, lambda: _Watch(src, folder, step),
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
            "base", "the kernel base", src, folder, log, lambda: _Watch(src, folder, step, expected_lines),
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
            "module", what, order.src, folder, log, lambda: _Watch(order.src, folder, step),
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
        watching: Callable[[], _Watch],
        timeout_s: float,
        *,
        asks: Mapping[str, str],
        reads: Mapping[str, Path | None],
        makes: Collection[str],
        env: Mapping[str, str] | None = None,
        keeps_objects: bool = True,
    ) -> _Watch:
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


def module_targets(src: Path, folder: str, config: Mapping[str, str]) -> tuple[str, ...]:
    """The modules that the folder's Makefile makes under ``config``, as make targets (``fs/x/x.ko``).

    Raises UserError where there is none: then the module under test is built in, or off.
    """
    makefile = src / folder / "Makefile"
    try:
        text = makefile.read_text("utf-8", "replace").replace("\\\n", " ")
    except OSError as e:
        raise UserError(
            f"the module folder {folder} has no Makefile in this tree", where=str(makefile)
        ) from e
    # A target may hang on several symbols: one that says m makes it a module, one that says y builds it in.
    values: dict[str, set[str]] = {}
    asked: dict[str, str] = {}
    for symbol, objects in _OBJECTS.findall(text):
        for name in objects.split("#")[0].split():
            # Whatever else stands there is make's own language, or leads somewhere else: no target of ours.
            if _PLAIN_OBJECT.fullmatch(name) and paths.is_plain(name):
                asked[symbol] = config.get(symbol, "n")
                values.setdefault(f"{folder}/{name[:-2]}.ko", set()).add(asked[symbol])
    targets = tuple(target for target, found in values.items() if "m" in found and "y" not in found)
    if not targets:
        told = ", ".join(f"{s}={value}" for s, value in asked.items()) or "no obj-$(CONFIG_…)"
        raise UserError(
            f"{folder} makes no module in this configuration ({told})",
            where=str(makefile),
            hint="ask for the module's symbol as =m in a fragment of the matrix",
        )
    return targets


def digest_of_code(path: Path) -> str:
    """What a module does, as a digest: all of its file but line numbers and the build id that covers them.
    Raises InfraError on a file that is not ELF."""
    try:
        with path.open("rb") as f:
            kept = {
                f"{number} {section.name}": hashlib.sha256(section.data()).hexdigest()
                for number, section in enumerate(ELFFile(f).iter_sections())
                if not section.name.startswith(_NO_CODE)
            }
    except (ELFError, OSError) as e:
        raise InfraError(f"not a readable ELF file: {e}", where=str(path)) from e
    return digest_of(kept)


@functools.lru_cache(maxsize=64)
def build_id(path: Path) -> str:
    """The GNU build id (hex) of a vmlinux or a module; the running kernel shows the same bytes under
    /sys/kernel/notes and /sys/module/<name>/notes. Empty where the file has none.

    Remembered by path: artifacts do not change. Raises InfraError on a file that is not ELF.
    """
    try:
        with path.open("rb") as f:
            elf = ELFFile(f)
            if elf.num_sections() > _MAX_SECTIONS:
                raise ELFError(f"{elf.num_sections()} sections")
            for section in elf.iter_sections():
                if isinstance(section, NoteSection):
                    for note in section.iter_notes():
                        if note["n_type"] == "NT_GNU_BUILD_ID":
                            return str(note["n_desc"])
    except (ELFError, OSError, *_DAMAGE) as e:
        raise InfraError(f"not a readable ELF file: {str(e) or type(e).__name__}", where=str(path)) from e
    return ""
