"""Why a module of its own source did not build, by what make, the compiler and modpost print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.build.external_log import ExternalWatch
from kmodpipe.build.external_order import ExternalOrder
from kmodpipe.build.runtime import Ended
from kmodpipe.util.errors import InfraError, KernelFailure, KmodpipeError

Failed = Callable[..., KmodpipeError]


@pytest.fixture
def order(tmp_path: Path) -> ExternalOrder:
    for name in ("module/hello.c", "module/src/deep.c", "module/Kbuild", "kit/.config"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return ExternalOrder("hello", tmp_path / "module", tmp_path / "kit", compiler="gcc-14")


def watched(order: ExternalOrder, output: str) -> ExternalWatch:
    watch = ExternalWatch(order, order.module.parent, None)
    for line in output.splitlines():
        watch.line(line)
    return watch


@pytest.fixture
def failed(order: ExternalOrder) -> Failed:
    def fail(output: str, status: int = 2) -> KmodpipeError:
        watch = watched(order, output)
        with pytest.raises(KmodpipeError) as caught:
            watch.raise_for(Ended(status, output, 1.0), "the module of hello", Path("/log"))
        return caught.value

    return fail


@pytest.mark.parametrize(
    ("printed", "named"),
    [
        ("/obj/module/hello.c", "hello.c"),
        ("hello.c", "hello.c"),
        ("{work}/obj/module/src/deep.c", "src/deep.c"),
        ("./include/linux/fs.h", "include/linux/fs.h"),
        ("/kit/include/linux/fs.h", "include/linux/fs.h"),
        ("/obj/kit/include/generated/x.h", "include/generated/x.h"),
        ("/src/include/linux/fs.h", "include/linux/fs.h"),
        ("/usr/lib/gcc/x.h", "/usr/lib/gcc/x.h"),
    ],
)
def test_a_compiler_error_has_the_path_in_the_source(
    order: ExternalOrder, failed: Failed, printed: str, named: str
) -> None:
    at = printed.format(work=order.module.parent)
    error = failed(f"{at}:4:2: error: too few arguments\nmake[2]: *** [x:1: hello.o] Error 1\n")
    assert isinstance(error, KernelFailure)
    assert error.where == f"{named}:4 (log: /log)"
    assert "does not compile" in error.what


def test_since_6_13_paths_are_relative_to_the_folder(order: ExternalOrder) -> None:
    below = ExternalOrder(order.name, order.module, order.kit, folder="src")
    watch = watched(below, "deep.c:1:1: warning: odd [-Wodd]\n")
    assert [one.file for one in watch.warnings] == ["src/deep.c"]


@pytest.mark.parametrize("word", ["ERROR", "WARNING"])
@pytest.mark.parametrize("status", [0, 2])
def test_an_undefined_symbol_is_an_error_on_kernels_that_only_warn(
    failed: Failed, word: str, status: int
) -> None:
    line = f'{word}: modpost: "gone" [/obj/module/hello.ko] undefined!\n'
    error = failed(line + line.replace("gone", "too"), status)
    assert error.what == "the module of hello uses what this kernel does not export: gone, too"
    assert error.detail == "hello.ko: gone\nhello.ko: too"


@pytest.mark.parametrize(
    ("line", "said", "where"),
    [
        (
            "WARNING: modpost: missing MODULE_LICENSE() in /obj/module/hello.o",
            "has no license: hello.o lacks MODULE_LICENSE()",
            "hello.c (log: /log)",
        ),
        (
            "FATAL: modpost: GPL-incompatible module hello.ko uses GPL-only symbol 'x'",
            "does not link: GPL-incompatible module hello.ko uses GPL-only symbol 'x'",
            "log: /log",
        ),
        (
            "/obj/module/Makefile:3: *** missing separator.  Stop.",
            "the Makefile of the module of hello fails: Makefile:3: missing separator",
            "Makefile:3 (log: /log)",
        ),
        (
            "make[2]: *** No rule to make target '/obj/module/gone.o', needed by '/obj/module/hello.o'.",
            "is made from gone.o, which is not there (needed by hello.o)",
            "log: /log",
        ),
        ("make: *** No rule to make target 'modulez'.  Stop.", "has no target 'modulez'", "log: /log"),
        (
            "make: *** /lib/modules/5.10.0-1/build: No such file or directory.  Stop.",
            "looks for this machine's kernel",
            "log: /log",
        ),
        (
            "mkdir: cannot create directory '/lib/modules': Read-only file system",
            "writes outside of its folder: /lib/modules",
            "log: /log",
        ),
        (
            "/bin/sh: 1: cannot create /x: Read-only file system",
            "writes outside of its folder: /x",
            "log: /log",
        ),
        (
            "mv: cannot move '/etc/passwd' to '/usr/passwd': Read-only file system",
            "writes outside of its folder: /usr/passwd",
            "log: /log",
        ),
        (
            "/bin/sh: 1: cannot create /kit/x: Permission denied",
            "writes outside of its folder: /kit/x",
            "log: /log",
        ),
    ],
)
def test_each_failure_has_its_message(failed: Failed, line: str, said: str, where: str) -> None:
    error = failed(f"make: Entering directory '/kit'\n{line}\nmake: *** [Makefile:1: all] Error 2\n")
    assert isinstance(error, KernelFailure)
    assert said in error.what
    assert error.where == where


def test_a_script_that_may_not_be_run_is_no_write(failed: Failed) -> None:
    error = failed("/bin/sh: 1: ./configure.sh: Permission denied\n")
    assert error.what == "the module of hello does not build (status 2)"


@pytest.mark.parametrize(("status", "said"), [(3, "asks for gcc-14"), (4, "host tools")])
def test_a_kit_that_does_not_run_here_is_no_fault_of_the_module(
    failed: Failed, status: int, said: str
) -> None:
    error = failed("modpost: version `GLIBC_2.38' not found (required by modpost)\n", status)
    assert isinstance(error, InfraError)
    assert said in error.what
    assert "release" in error.hint


def test_a_build_without_a_module_names_what_ran(order: ExternalOrder) -> None:
    own = ExternalOrder(order.name, order.module, order.kit, arguments=("all",))
    nothing = watched(own, "").nothing_made("x", Path("/log"))
    assert nothing.what == "x: make made no .ko"
    assert "it was run as: make all;" in nothing.hint
    assert "kbuild makes no module" in watched(order, "").nothing_made("x", Path("/log")).what


def test_warnings_are_collected_and_the_output_is_bounded(order: ExternalOrder) -> None:
    watch = watched(order, "hello.c:1:1: warning: odd [-Wodd]\n" * 40_000)
    assert [str(one) for one in watch.warnings] == ["hello.c:1: odd [-Wodd]"]
    many = watched(order, "".join(f"hello.c:{n}:1: warning: odd\n" for n in range(2000)))
    assert len(many.warnings) == 1000
    assert 1 << 20 <= len(watch.text) < (1 << 20) + 100


@pytest.mark.parametrize("arguments", [None, ("-C", "{kit}")])
def test_a_header_that_its_own_makefile_makes_is_told_with_how(
    order: ExternalOrder, arguments: tuple[str, ...] | None
) -> None:
    rules = "KDIR := /lib/modules/x/build\nbuild: version.h\n\t$(MAKE) -C $(KDIR)\nversion.h:\n\ttouch $@\n"
    (order.module / "Makefile").write_text(rules)
    printed = "hello.c:1:2: fatal error: version.h: No such file or directory\n"
    watch = watched(replace(order, arguments=arguments), printed)
    with pytest.raises(KernelFailure) as caught:
        watch.raise_for(Ended(2, "", 1.0), "the module of hello", Path("/log"))
    told = 'its own Makefile makes version.h: module = { …, make = "build KDIR={kit}" }'
    assert (caught.value.hint == told) is (arguments is None)
