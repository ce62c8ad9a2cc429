"""Run jobs on this machine, without a container."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping

from kmodpipe.build.runtime.job import REPRODUCIBLE, Ended, Job
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, UserError

# Characters in a path that make interprets, or Kbuild refuses.
_MAKE_CANNOT = re.compile(r"[\s:$#'\"`\\;&|<>*?()\[\]{}!^\x00-\x1f\x7f]")

_HOST_HINT = (
    "--runtime host needs the builder's tools on this machine: "
    "gcc make flex bison bc libelf-dev libssl-dev busybox-static e2fsprogs"
)
_TOOLS = ("gcc", "ld", "make", "flex", "bison", "bc")


class HostRuntime:
    """Runs jobs on this machine, with its own compiler and without isolation, which the results record."""

    name = "host"
    isolation = "none"
    same_paths = False

    def __init__(self, compiler: str = "") -> None:
        """``compiler`` (gcc-14) is the only one that is used, for modules; else kernels are built as well."""
        self._compiler = compiler

    def identity(self) -> Mapping[str, str]:
        """Return the versions of the tools that build. Raises InfraError if one is missing."""
        found = {}
        if self._compiler and shutil.which(self._compiler) is None:
            raise InfraError(
                f"the kernel's headers ask for {self._compiler}, which is not installed",
                where="--runtime host",
                hint=f"install {self._compiler}, or build in Docker, in an image of the kernel's release",
            )
        tools = (self._compiler, "ld", "make") if self._compiler else _TOOLS
        for tool in tools:
            version = process.run([tool, "--version"], timeout_s=10, hint=_HOST_HINT).text.splitlines()[0]
            found[tool] = version
        return {"runtime": self.name, **found}

    def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended:
        paths = {f.name: str(f.path) for f in job.folders}
        for path in paths.values():
            if _MAKE_CANNOT.search(path):
                raise UserError(
                    f"make cannot work in a folder of this name: {path!r}",
                    where="--runtime host",
                    hint="use no spaces, colons or other special characters in the checkout's path and in "
                    "KMODPIPE_CACHE, or build in Docker, where they do no harm",
                )
        job.log.parent.mkdir(parents=True, exist_ok=True)
        done = process.run(
            ["sh", f"{paths['RECIPE']}/{job.script}"],
            timeout_s=job.timeout_s,
            env={**REPRODUCIBLE, **job.env, **paths},
            log=job.log,
            on_line=on_line,
            check=False,
        )
        if done.returncode < 0:
            raise InfraError(
                f"{job.name} {process.describe_status(done.returncode)}",
                where=f"log: {job.log}",
                detail=done.tail,
                hint="read the log; with little memory, use fewer --jobs",
            )
        return Ended(done.returncode, done.tail, done.duration_s)

    def sweep(self) -> int:
        return 0
