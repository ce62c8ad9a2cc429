"""A runtime that plays its part, and folders to build in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kmodpipe.build.recipes import Builder, ModuleOrder, WorkDir
from kmodpipe.build.runtime import Ended, Job
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.screen import Step


@dataclass
class Scripted:
    """A runtime that says what it was told to say, and remembers what it was asked."""

    output: str = ""
    status: int = 0
    products: dict[str, str] = field(default_factory=dict)
    # Files in the copy of a module of its own source.
    built: dict[str, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    name: str = "scripted"
    same_paths: bool = True

    def identity(self) -> Mapping[str, str]:
        return {"runtime": self.name}

    def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended:
        self.jobs.append(job)
        paths = {f.name: f.path for f in job.folders}
        assert all(path.is_dir() for path in paths.values())
        if "ASK" in paths:
            self.asked = {p.name: p.read_text() for p in paths["ASK"].iterdir()}
        for name, text in (self.made(job) | self.products).items():
            (paths["OUT"] / name).write_text(text)
        if job.script == "base.sh":
            (paths["KIT"] / "autoconf.h").write_text("x")
        if "OBJ" in paths:
            (paths["OBJ"] / "rubbish.o").write_text("x")
            if job.script == "external.sh":
                (paths["OBJ"] / "module/sub").mkdir(parents=True)
                for name, text in self.built.items():
                    (paths["OBJ"] / "module" / name).write_text(text)
        for line in self.output.splitlines():
            if on_line:
                on_line(line)
        return Ended(self.status, "\n".join(self.output.splitlines()[-40:]), 0.1)

    def made(self, job: Job) -> dict[str, str]:
        """What the recipe would leave, where the test does not say it."""
        match job.script:
            case "base.sh":
                kernel = ("bzImage", "vmlinux", "System.map", "base.config")
                return dict.fromkeys((*kernel, "symbols-read", "files-read", "modules"), "made")
            case "module.sh":
                return dict.fromkeys(("a.ko", "b.ko", "cell.config"), "made")
            case "configure.sh":
                return dict.fromkeys(self.asked, "made")
        return {}

    def sweep(self) -> int:
        return 0


@dataclass(frozen=True)
class World:
    """A tree, images, a folder to build in."""

    src: Path
    images: Path
    folder: Path
    log: Path

    def builder(self, runtime: Scripted) -> Builder:
        return Builder(runtime, self.images, jobs=3)

    def work(self, step: Step | None = None) -> WorkDir:
        return WorkDir(self.folder, self.log, step)

    def order(self) -> ModuleOrder:
        return ModuleOrder("cell", self.src, self.src, "CONFIG_A=y\n", "fs/a", ("fs/a/a.ko", "fs/a/b.ko"))

    def module(self, runtime: Scripted) -> None:
        self.builder(runtime).module(self.order(), self.work())

    def failed(self, output: str, status: int = 2) -> KmodpipeError:
        with pytest.raises(KmodpipeError) as caught:
            self.module(Scripted(output, status))
        return caught.value
