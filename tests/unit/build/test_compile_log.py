"""What a compiler says, read through a scripted runtime: whose fault a failure is, and its file and line."""

from __future__ import annotations

import shutil

import pytest

from kmodpipe.util.errors import InfraError, KernelFailure
from tests.support.scripted_build import Scripted, World


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


def test_what_make_itself_says_is_told_first(world: World) -> None:
    output = (
        "make: Entering directory '/src'\n"
        "make[2]: *** No rule to make target 'fs/a/a.o', needed by 'b'.  Stop.\n"
        "make[1]: *** [/src/Makefile:1856: fs] Error 2\nmake: *** [Makefile:192: __sub-make] Error 2\n"
    )
    error = world.failed(output)
    assert isinstance(error, KernelFailure)
    said = "No rule to make target 'fs/a/a.o', needed by 'b'.  Stop."
    assert error.what == f"the module of cell does not build: {said}"
    assert error.detail.splitlines()[0] == said and "Error 2" in error.detail


def test_a_failure_without_a_known_line_is_told_with_its_status_and_last_words(world: World) -> None:
    error = world.failed("xz: out of luck\n")
    assert isinstance(error, KernelFailure)
    assert error.what == "the module of cell does not build (status 2)"
    assert "out of luck" in error.detail


def test_a_build_that_ends_well_is_no_failure_whatever_it_said(world: World) -> None:
    world.module(Scripted("/src/a.c:1:1: error: in a test of the compiler\n", 0))


def test_a_flood_of_errors_is_kept_short(world: World) -> None:
    error = world.failed("".join(f"/src/a.c:{n}:1: error: e\n" for n in range(1, 10_000)))
    assert len(error.detail.splitlines()) == 20
