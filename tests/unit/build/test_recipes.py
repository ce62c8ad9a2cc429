"""Builds through a scripted runtime: whose fault a failure is, which targets, which build id."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kmodpipe.build.elf import build_id
from kmodpipe.build.kbuild import module_targets
from kmodpipe.build.recipes import BaseOrder, Builder, ConfigOrder, ModuleOrder, WorkDir
from kmodpipe.build.runtime import Ended, Job
from kmodpipe.util.errors import InfraError, KernelFailure, KmodpipeError, UserError
from kmodpipe.util.screen import Mode, Screen, Step
from tests.support import REPO


@dataclass
class Scripted:
    """A runtime that says what it was told to say, and remembers what it was asked."""

    output: str = ""
    status: int = 0
    products: dict[str, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    name: str = "scripted"

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
        if "OBJ" in paths:
            (paths["OBJ"] / "rubbish.o").write_text("x")
        for line in self.output.splitlines():
            if on_line:
                on_line(line)
        return Ended(self.status, "\n".join(self.output.splitlines()[-40:]), 0.1)

    def made(self, job: Job) -> dict[str, str]:
        """What the recipe would leave, where the test does not say it."""
        match job.script:
            case "base.sh":
                return dict.fromkeys(("bzImage", "vmlinux", "System.map", "base.config"), "made")
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

    def order(self, *, same_source: bool = False, keep_objects: bool = False) -> ModuleOrder:
        targets = ("fs/a/a.ko", "fs/a/b.ko")
        return ModuleOrder(
            "cell", self.src, self.src, "CONFIG_A=y\n", "fs/a", targets, same_source, keep_objects
        )

    def module(self, runtime: Scripted) -> None:
        self.builder(runtime).module(self.order(), self.work())

    def failed(self, output: str, status: int = 2) -> KmodpipeError:
        with pytest.raises(KmodpipeError) as caught:
            self.module(Scripted(output, status))
        return caught.value


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "tree", tmp_path / "images", tmp_path / "work", tmp_path / "build.log")
    for path in (made.src, made.folder, made.images / "builder", made.images / "guest"):
        path.mkdir(parents=True)
    return made


# -- the recipes and what they get ---------------------------------------------------------------


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


# -- whose fault ---------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["/src/", "../../src/", "../", "", "{src}/"])
def test_a_compiler_error_is_the_kernels_with_file_and_line(world: World, root: str) -> None:
    at = root.format(src=world.src)
    error = world.failed(
        "  CC [M]  fs/overlayfs/super.o\n"
        f"{at}fs/overlayfs/super.c: In function 'ovl_parse':\n"
        f"{at}fs/overlayfs/super.c:512:3: warning: unused variable 'x' [-Wunused-variable]\n"
        f"{at}fs/overlayfs/super.c:514:17: error: 'ofs' undeclared (first use in this function)\n"
        "  514 |  ofs->index = 1;\n"
        f"{at}fs/overlayfs/util.c:7:10: fatal error: no.h: No such file or directory\n"
        "make[2]: *** [scripts/Makefile.build:286: fs/overlayfs/super.o] Error 1\n"
    )
    assert isinstance(error, KernelFailure)
    assert error.what == (
        "the module of cell does not compile: "
        "fs/overlayfs/super.c:514: 'ofs' undeclared (first use in this function)"
    )
    assert error.where == f"fs/overlayfs/super.c:514 (log: {world.log})"
    assert error.detail.splitlines()[1:] == ["fs/overlayfs/util.c:7: no.h: No such file or directory"]


def test_an_assembler_error_has_file_and_line_too(world: World) -> None:
    error = world.failed("/src/arch/x86/lib/memcpy_64.S:33: Error: no such instruction: `movv'\n")
    assert error.where.startswith("arch/x86/lib/memcpy_64.S:33 ")


@pytest.mark.parametrize(
    "line",
    [
        'ERROR: modpost: "ovl_gone" [fs/overlayfs/overlay.ko] undefined!',
        "super.c:(.text+0x12): undefined reference to `ovl_gone'",
        "ld: fs/overlayfs/super.o:(.data+0x8): multiple definition of `ovl_gone'",
    ],
)
def test_a_link_error_is_the_kernels(world: World, line: str) -> None:
    error = world.failed(f"ld: warning: vmlinux has a LOAD segment with RWX permissions\n{line}\n")
    assert isinstance(error, KernelFailure)
    assert error.what == f"the module of cell does not link: {line}"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "/src/fs/a.c:9:1: fatal error: error writing to /tmp/cc.s: No space left on device",
            "disk filled up",
        ),
        ("cp: error writing '/out/vmlinux': No space left on device", "disk filled up"),
        ("ld: final link failed: No space left on device", "disk filled up"),
        ("gcc: fatal error: Killed signal terminated program cc1", "ran out of memory"),
        ("cc1: out of memory allocating 65536 bytes after a total of 1 bytes", "ran out of memory"),
        ("make[2]: fork: Resource temporarily unavailable", "no more processes could be started"),
        ("/recipe/module.sh: 12: Cannot fork", "no more processes could be started"),
    ],
)
@pytest.mark.parametrize("status", [0, 2])
def test_a_full_disk_and_no_memory_are_ours_wherever_in_the_output_and_whatever_make_says(
    world: World, line: str, told: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(world.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 << 20))
    error = world.failed(f"{line}\n" + "  CC      other.o\n" * 100, status)
    assert isinstance(error, InfraError)
    assert told in error.what
    assert "the module of cell" in error.what


def test_a_build_that_says_the_disk_is_full_where_it_is_not_has_failed_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(world.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 << 30))
    error = world.failed("head: error writing 'standard output': No space left on device\n")
    assert isinstance(error, KernelFailure)
    assert "No space left on device" in error.detail


def test_source_text_that_talks_about_a_full_disk_fools_nobody(world: World) -> None:
    error = world.failed("/src/fs/a.c:9:1: error: expected ';'\n    9 |  /* write: No space left on device\n")
    assert isinstance(error, KernelFailure)


def test_a_failure_without_a_known_line_is_told_with_its_status_and_last_words(world: World) -> None:
    error = world.failed("make: *** No rule to make target 'fs/a/a.ko'.  Stop.\n")
    assert isinstance(error, KernelFailure)
    assert error.what == "the module of cell does not build (status 2)"
    assert "No rule to make target" in error.detail


def test_a_build_that_ends_well_is_no_failure_whatever_it_said(world: World) -> None:
    world.module(Scripted("/src/a.c:1:1: error: in a test of the compiler\n", 0))


def test_a_flood_of_errors_is_kept_short(world: World) -> None:
    error = world.failed("".join(f"/src/a.c:{n}:1: error: e\n" for n in range(1, 10_000)))
    assert len(error.detail.splitlines()) == 20


# -- the targets ---------------------------------------------------------------------------------

MAKEFILE = """\
# SPDX-License-Identifier: GPL-2.0-only
obj-$(CONFIG_TOY_FS) += toy.o   # the module.o itself
obj-$(CONFIG_TOY_EXTRA) := toy_crypt.o \\
\ttoy_zip.o
obj-$(CONFIG_TOY_FS) += sub/
obj-$(CONFIG_TOY_A) += both.o
obj-$(CONFIG_TOY_B) += both.o

toy-objs := super.o inode.o \\
\tdir.o
toy-$(CONFIG_TOY_XATTR) += xattr.o
ccflags-y += -DX
"""


@pytest.fixture
def makefile(world: World) -> World:
    (world.src / "fs/toy").mkdir(parents=True)
    (world.src / "fs/toy/Makefile").write_text(MAKEFILE)
    return world


@pytest.mark.parametrize(
    ("config", "targets"),
    [
        ({"TOY_FS": "m"}, ("toy",)),
        ({"TOY_FS": "m", "TOY_XATTR": "m"}, ("toy",)),
        ({"TOY_FS": "m", "TOY_EXTRA": "m"}, ("toy", "toy_crypt", "toy_zip")),
        ({"TOY_FS": "y", "TOY_EXTRA": "m"}, ("toy_crypt", "toy_zip")),
        ({"TOY_A": "m", "TOY_B": "n"}, ("both",)),
        ({"TOY_A": "m", "TOY_B": "y", "TOY_FS": "m"}, ("toy",)),
    ],
)
def test_the_modules_of_a_folder_are_those_whose_symbol_is_m(
    makefile: World, config: dict[str, str], targets: tuple[str, ...]
) -> None:
    assert module_targets(makefile.src, "fs/toy", config) == tuple(f"fs/toy/{t}.ko" for t in targets)


def test_a_folder_that_makes_no_module_says_what_its_symbols_are(makefile: World) -> None:
    with pytest.raises(UserError) as caught:
        module_targets(makefile.src, "fs/toy", {"TOY_FS": "y", "TOY_XATTR": "m"})
    assert "fs/toy makes no module" in caught.value.what
    assert "TOY_FS=y, TOY_EXTRA=n" in caught.value.what
    assert caught.value.where == str(makefile.src / "fs/toy/Makefile")
    assert "=m" in caught.value.hint


def test_a_folder_without_a_makefile_is_a_user_error(world: World) -> None:
    with pytest.raises(UserError, match="fs/none has no Makefile"):
        module_targets(world.src, "fs/none", {})


# -- build ids -----------------------------------------------------------------------------------


def elf(*notes: tuple[bytes, int, bytes]) -> bytes:
    """A little-endian ELF64 with nothing but one section of notes (owner, type, bytes)."""
    body = b""
    for owner, kind, data in notes:
        owner += b"\0"
        body += struct.pack("<III", len(owner), len(data), kind)
        body += owner.ljust(-(-len(owner) // 4) * 4, b"\0") + data.ljust(-(-len(data) // 4) * 4, b"\0")
    names = b"\0.notes\0.shstrtab\0"
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 1, 62, 1, 0, 0, 64 + len(body) + len(names), 0, 64, 0, 0, 64, 3, 2,
    )  # fmt: skip

    def section(name: int, kind: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, size, 0, 0, 4, 0)

    sections = bytes(64) + section(1, 7, 64, len(body)) + section(8, 3, 64 + len(body), len(names))
    return header + body + names + sections


ID = bytes(range(20))


def test_the_build_id_is_read_from_among_other_notes(tmp_path: Path) -> None:
    file = tmp_path / "overlay.ko"
    file.write_bytes(elf((b"Linux", 0x100, b"\1\0\0\0"), (b"GNU", 3, ID)))
    assert build_id(file) == ID.hex()


def test_a_file_without_a_build_id_has_an_empty_one(tmp_path: Path) -> None:
    file = tmp_path / "overlay.ko"
    file.write_bytes(elf((b"Linux", 0x100, b"\1\0\0\0")))
    assert build_id(file) == ""


@pytest.mark.parametrize("cut", [0, 3, 16, 63, 64, 90, 130, -1, -64, -150])
def test_a_file_that_is_not_whole_is_our_trouble_and_never_a_traceback(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "overlay.ko"
    file.write_bytes(elf((b"GNU", 3, ID))[:cut])
    with pytest.raises(InfraError, match="ELF") as caught:
        build_id(file)
    assert caught.value.where == str(file)


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"\x7fELF" + b"\xff" * 200, b"\x7fELF" + bytes(200)])
def test_a_file_that_is_no_elf_is_our_trouble(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "overlay.ko"
    file.write_bytes(content)
    with pytest.raises(InfraError, match="ELF"):
        build_id(file)
    with pytest.raises(InfraError, match="ELF"):
        build_id(tmp_path / "gone")


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
