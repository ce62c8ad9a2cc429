"""Find in the output of an external module's build why it failed, and its warnings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from kmodpipe.build import compile_warnings, own_makefile
from kmodpipe.build.compile_log import CompileError, CompileWatch
from kmodpipe.build.compile_warnings import CompileWarning
from kmodpipe.build.external_order import ExternalOrder
from kmodpipe.build.runtime import Ended
from kmodpipe.util import paths
from kmodpipe.util.errors import InfraError, KernelFailure
from kmodpipe.util.screen import Step
from kmodpipe.util.text import visible

# Statuses of external.sh.
_NO_COMPILER = 3
_TOOLS_DO_NOT_RUN = 4
_MOST_TEXT = 1 << 20  # characters
_MOST = 20
_UNDEFINED = re.compile(r'^(?:ERROR|WARNING): modpost: "(?P<symbol>[^"]+)" \[(?P<module>[^\]]+)\] undefined!')
_NO_LICENSE = re.compile(r"^(?:ERROR|WARNING): modpost: missing MODULE_LICENSE\(\) in (?P<object>\S+)")
_MODPOST = re.compile(r"^(?:ERROR|FATAL): modpost: (?P<text>.*)")
_MAKEFILE = re.compile(r"^(?P<file>[^\s:]+):(?P<line>\d+): \*\*\* (?P<text>.*?)\.?\s+Stop\.$")
_NO_RULE = re.compile(
    r"^\S*make(?:\[\d+\])?: \*\*\* (?:\[[^\]]*\] )?No rule to make target '(?P<target>[^']+)'"
    r"(?:, needed by '(?P<by>[^']+)')?"
)
_OUTSIDE = re.compile(
    r"^\S.*[\s'‘](?P<path>/[^'’:\s]+)['’]?: Read-only file system$"
    r"|^\S.*\bcannot (?:create|touch|remove|move|open)\b.*"
    r"[\s'‘](?P<denied>/[^'’:\s]+)['’]?: Permission denied$"
)
_NO_FILE = re.compile(r"(\S+): No such file or directory")
_HOST_KERNEL = re.compile(r"/lib/modules/[^/\s]+/(?:build|source)\b.*No such file or directory")


class ExternalWatch(CompileWatch):
    """Reads the output of a module's build line by line, as `CompileWatch`, and collects its warnings."""

    def __init__(self, order: ExternalOrder, folder: Path, step: Step | None) -> None:
        super().__init__(order.module, folder, step)
        self.warnings: dict[CompileWarning, None] = {}
        # The beginning of the output, and how long it is.
        self._lines: list[str] = []
        self._length = 0
        self._order = order
        self._undefined: dict[str, str] = {}
        self._modpost: list[str] = []
        self._unlicensed = self._no_rule = self._by = self._outside = ""
        self._makefile: CompileError | None = None
        self._host_kernel = False
        own = (f"{folder}/obj/module/", "/obj/module/", f"{order.module}/", "/module/")
        kernel = (f"{folder}/obj/kit/", "/obj/kit/", f"{order.kit}/", "/kit/", "/src/")
        # In a container and on this machine.
        self._roots = (*own, *kernel, *([f"{order.src}/"] if order.src else []))

    @property
    def text(self) -> str:
        """The beginning of the output."""
        return "".join(f"{line}\n" for line in self._lines)

    def named(self, file: str) -> str:
        """Return a path relative to the module's source, or the kernel's if it is a file of the kernel."""
        for root in self._roots:
            if file.startswith(root):
                return file.removeprefix(root)
        file = file.removeprefix("./")
        # Since 6.13 kbuild works in the module's folder.
        inside = file if self._order.folder == "." else f"{self._order.folder}/{file}"
        return inside if paths.is_plain(inside) and paths.is_file(self._order.module / inside) else file

    def line(self, line: str) -> None:
        """Take one line of the output."""
        if self._length < _MOST_TEXT:
            self._lines.append(line)
            self._length += len(line) + 1
        if match := _UNDEFINED.match(line):
            self._undefined.setdefault(match["symbol"], self.named(match["module"]))
        elif match := _NO_LICENSE.match(line):
            self._unlicensed = self._unlicensed or self.named(match["object"])
        elif match := _MODPOST.match(line):
            self._modpost += [match["text"]] if len(self._modpost) < _MOST else []
        elif match := _MAKEFILE.match(line):
            found = CompileError(self.named(match["file"]), int(match["line"]), match["text"])
            self._makefile = self._makefile or found
        elif match := _NO_RULE.match(line):
            if not self._no_rule:
                self._no_rule, self._by = self.named(match["target"]), self.named(match["by"] or "")
        elif match := _OUTSIDE.match(line):
            self._outside = self._outside or match["path"] or match["denied"]
        elif len(self.warnings) < compile_warnings.MOST and (
            warning := compile_warnings.parse(line, self.named)
        ):
            self.warnings[warning] = None
        if _HOST_KERNEL.search(line):
            self._host_kernel = True
        super().line(line)

    def raise_for(self, ended: Ended, what: str, log: Path) -> None:
        """Raise the error of a failed build: InfraError for the machine or the kit, else KernelFailure."""
        self._raise_for_kit(ended, what, log)
        self.raise_for_machine(ended, what, log)
        at = f"log: {log}"
        if ended.status != 0 and not self.errors:
            self._raise_for_make(what, at, ended.tail)
        if ended.status == 0 or not self.errors:
            # Whatever the status: older kernels only warn.
            self._raise_for_modpost(what, at)
        try:
            super().raise_for(ended, what, log)
        except KernelFailure as e:
            e.hint = self._hint_of_makefile() or e.hint
            raise

    def _hint_of_makefile(self) -> str:
        """Return the hint for a header that the module's own Makefile makes before it runs kbuild."""
        missing = _NO_FILE.fullmatch(self.errors[0].text) if self.errors else None
        if missing is None or self._order.arguments is not None:
            return ""
        try:
            text = (self._order.module / self._order.folder / "Makefile").read_text(errors="replace")
        except OSError:
            return ""
        words = own_makefile.make_for(text, missing[1])
        return f'its own Makefile makes {missing[1]}: module = {{ …, make = "{words}" }}' if words else ""

    def _raise_for_kit(self, ended: Ended, what: str, log: Path) -> None:
        """Raise InfraError if the recipe ended before it ran make."""
        compiler = self._order.compiler
        image = (
            "build in the image of the kernel's release; one that is older than the kernel is made anew "
            "after `docker image rm`"
        )
        if ended.status == _NO_COMPILER:
            raise InfraError(
                f"{what} cannot be compiled: its kernel asks for {compiler}, which is not there",
                where=f"log: {log}",
                hint=f"{image}; or install {compiler} for --runtime host",
            )
        if ended.status == _TOOLS_DO_NOT_RUN:
            raise InfraError(
                f"{what} cannot be compiled: the host tools of its kernel's headers do not run here",
                where=f"{self._order.kit} (log: {log})",
                detail=ended.tail,
                hint=f"they need another release's libraries: {image}; --runtime host cannot do it",
            )

    def _raise_for_make(self, what: str, at: str, tail: str) -> None:
        """Raise KernelFailure if make itself did not get on."""
        if self._outside:
            raise KernelFailure(
                f"the make of {what} writes outside of its folder: {visible(self._outside)}",
                where=at,
                detail=tail,
                hint="it may write only below the copy of its source: leave out what installs the module, or "
                "changes the kernel's headers",
            )
        if self._host_kernel:
            raise KernelFailure(
                f"the Makefile of {what} looks for this machine's kernel in /lib/modules",
                where=at,
                detail=tail,
                hint='tell it what to build against, by its own variable: make = "KDIR={kit}"',
            )
        if found := self._makefile:
            raise KernelFailure(
                f"the Makefile of {what} fails: {found}",
                where=f"{found.file}:{found.line} ({at})",
                hint="fix the Makefile",
            )
        if self._no_rule and self._by:
            raise KernelFailure(
                f"{what} is made from {self._no_rule}, which is not there (needed by {self._by})",
                where=at,
                hint="add the file to the module's source, or correct its name in the Makefile",
            )
        if self._no_rule:
            raise KernelFailure(
                f"the Makefile of {what} has no target {self._no_rule!r}",
                where=at,
                hint="name one that it has",
            )

    def _raise_for_modpost(self, what: str, at: str) -> None:
        """Raise KernelFailure if the module cannot be loaded for what modpost found."""
        if self._undefined:
            shown = [*self._undefined][:_MOST]
            raise KernelFailure(
                f"{what} uses what this kernel does not export: {', '.join(shown)}",
                where=at,
                detail="\n".join(f"{self._undefined[name]}: {name}" for name in shown),
                hint="use another function on this kernel, or name the module that exports it",
            )
        if self._unlicensed:
            source = self._unlicensed.removesuffix(".o") + ".c"
            raise KernelFailure(
                f"{what} has no license: {self._unlicensed} lacks MODULE_LICENSE()",
                where=f"{source} ({at})" if paths.is_file(self._order.module / source) else at,
                hint='add MODULE_LICENSE("GPL"); without a license a module may not use most of the kernel',
            )
        if self._modpost:
            raise KernelFailure(
                f"{what} does not link: {self._modpost[0]}", where=at, detail="\n".join(self._modpost)
            )

    def nothing_made(self, what: str, log: Path) -> KernelFailure:
        """Return the error for a build that ended well, but made no module."""
        if self._order.arguments is not None:
            line = shlex.join(("make", *self._order.arguments))
            return KernelFailure(
                f"{what}: make made no .ko",
                where=f"log: {log}",
                hint=f"it was run as: {line}; name the target that builds the module, and tell it the kernel "
                "with {kit}",
            )
        return KernelFailure(
            f"{what}: kbuild makes no module of its source",
            where=f"log: {log}",
            hint=self._order.makes_nothing(),
        )
