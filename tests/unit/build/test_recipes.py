"""Builds through a scripted runtime: what each recipe gets, and what it leaves."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.build import compile_warnings
from kmodpipe.build.external_order import ExternalOrder
from kmodpipe.build.recipes import BaseOrder, ConfigOrder
from kmodpipe.build.reuse import Reused
from kmodpipe.build.runtime import Ended, Job
from kmodpipe.util.errors import InfraError, KernelFailure
from kmodpipe.util.screen import Mode, Screen
from tests.support import REPO
from tests.support.scripted_build import Scripted, World


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
        "JOBS": "3", "TARGETS": "fs/a/a.ko fs/a/b.ko", "FOLDER": "fs/a",
    }  # fmt: skip
    assert job.log == world.log
    assert runtime.asked == {"cell.config": "CONFIG_A=y\n"}
    assert (world.folder / "out" / "a.ko").read_text() == "elf"
    assert not (world.folder / "obj").exists()


def test_what_is_to_take_and_to_leave_has_a_folder_for_that(world: World) -> None:
    runtime = Scripted()
    order = replace(world.order(), reused=Reused(leads=True), own_symbols=frozenset("BA"))
    world.builder(runtime).module(order, world.work())
    (job,) = runtime.jobs
    assert writable(job)["LEFT"] and job.env["KEEP"] == "yes"
    assert runtime.asked == {"cell.config": "CONFIG_A=y\n", "symbols": "A\nB\n"}
    assert {path.name for path in world.folder.iterdir()} == {"ask", "out"}


def test_a_cell_of_the_same_source_takes_its_neutral_objects_and_settings_of_them(world: World) -> None:
    module = world.folder.parent / "module"
    put(module / "out/cell.config", "# CONFIG_A is not set\n")
    put(module / "settings/include/config/auto.conf", "")
    put(module / "neutral/objects/a.o")
    put(module / "neutral/symbols", "A\n")
    put(module / ".inputs", '{"source": {}}')
    runtime = Scripted()
    order = replace(world.order(), reused=Reused(kindred=module))
    world.builder(runtime).module(order, world.work())
    (job,) = runtime.jobs
    assert {f.name: f.path.name for f in job.folders if f.name in ("GIVEN", "SETTINGS")} == {
        "GIVEN": "objects", "SETTINGS": "derived",
    }  # fmt: skip
    assert set(runtime.asked) == {"cell.config"}
    assert {path.name for path in world.folder.iterdir()} == {"ask", "out"}


@pytest.mark.parametrize(
    ("reused", "symbols", "taken"),
    [
        ({"settings": "settings"}, "", True),
        # Without the settings of the configuration make would take every symbol for changed.
        ({}, "", False),
        # Who is to be the first leaves none that reads a symbol.
        ({"settings": "settings"}, "A", False),
    ],
)
def test_the_same_cell_takes_all_of_its_state_before(
    world: World, reused: dict[str, str], symbols: str, *, taken: bool
) -> None:
    module = world.folder.parent / "module"
    put(module / "out/cell.config", "CONFIG_A=y\n")
    put(module / "settings/include/config/auto.conf", "")
    put(module / "own/objects/a.o")
    put(module / ".inputs", '{"source": {}}')
    takes = Reused(same=module, **{name: module / path for name, path in reused.items()})
    runtime = Scripted()
    order = replace(world.order(), reused=takes, own_symbols=frozenset(symbols))
    world.builder(runtime).module(order, world.work())
    (job,) = runtime.jobs
    given = [str(f.path.relative_to(module)) for f in job.folders if f.name == "GIVEN"]
    assert given == (["own/objects"] if taken else [])
    assert ("SAME" in job.env) is taken


@pytest.mark.parametrize(("own", "neutral", "taken"), [(2, 1, "own"), (1, 1, "own"), (0, 1, "neutral")])
def test_who_has_more_to_give_is_taken_of(world: World, own: int, neutral: int, taken: str) -> None:
    for name, kind, number in (("before", "own", own), ("first", "neutral", neutral)):
        module = world.folder.parent / name
        put(module / "out/cell.config", "CONFIG_A=y\n")
        put(module / "settings/include/config/auto.conf", "")
        put(module / ".inputs", '{"source": {}}')
        put(module / "neutral/symbols", "")
        (module / "own").mkdir()
        for one in range(number):
            put(module / f"{kind}/objects/{one}.o")
    before, first = (world.folder.parent / name for name in ("before", "first"))
    reused = Reused(settings=before / "settings", kindred=first, same=before)
    runtime = Scripted()
    world.builder(runtime).module(replace(world.order(), reused=reused), world.work())
    (job,) = runtime.jobs
    (given,) = (folder.path for folder in job.folders if folder.name == "GIVEN")
    assert given == (before / "own/objects" if taken == "own" else first / "neutral/objects")
    assert ("SAME" in job.env) is (taken == "own")


def test_what_is_left_is_neutral_to_no_more_than_what_was_taken(world: World) -> None:
    class Leaving(Scripted):
        def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended:
            left = next(folder.path for folder in job.folders if folder.name == "LEFT")
            put(left / "neutral/a.o")
            put(job.log)
            for name in ("include/config/auto.conf", "include/generated/autoconf.h"):
                put(left / "settings" / name, "CONFIG_A=y\n")
            return super().run(job, on_line)

    module = world.folder.parent / "module"
    put(module / "out/cell.config", "CONFIG_A=y\n")
    put(module / "settings/include/config/auto.conf", "")
    put(module / "neutral/objects/a.o")
    put(module / "neutral/symbols", "A\nB\n")
    put(module / ".inputs", '{"source": {}}')
    order = replace(
        world.order(), reused=Reused(kindred=module, leads=True), own_symbols=frozenset({"B", "C"})
    )
    world.builder(Leaving()).module(order, world.work())
    assert (world.folder / "neutral/symbols").read_text() == "B\n"


def test_what_does_not_fit_into_memory_is_built_on_the_disk(world: World) -> None:
    class Full(Scripted):
        def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended:
            if not any(folder.memory_mib for folder in job.folders):
                return super().run(job, on_line)
            self.jobs.append(job)
            (world.folder / "out/a.ko").write_text("half of it")
            job.log.write_text("fatal error: error writing to /obj/a.o: No space left on device\n")
            return Ended(2, "make: *** [a] Error 2", 0.1)

    runtime = Full(products={"a.ko": "elf"})
    world.module(runtime)
    assert [sorted(f.name for f in job.folders if f.memory_mib) for job in runtime.jobs] == [["OBJ"], []]
    assert (world.folder / "out/a.ko").read_text() == "elf"


def test_what_does_not_compile_is_not_built_again(world: World) -> None:
    runtime = Scripted("fs/a/a.c:1:1: error: no", 2)
    with pytest.raises(KernelFailure):
        world.module(runtime)
    assert len(runtime.jobs) == 1


@pytest.mark.parametrize(
    ("config", "in_memory", "leaves"),
    [
        ("CONFIG_A=y\nCONFIG_B=m\n", True, True),
        ("CONFIG_A=y\nCONFIG_DEBUG_INFO=y\n", False, True),
        ("".join(f"CONFIG_{n}=y\n" for n in range(2000)), False, True),
        ("".join(f"CONFIG_{n}=m\n" for n in range(40)), True, False),
    ],
)
def test_a_small_base_is_in_memory_and_one_with_few_modules_leaves_their_objects(
    world: World, config: str, *, in_memory: bool, leaves: bool
) -> None:
    runtime = Scripted()
    world.builder(runtime).base(BaseOrder(world.src, config), world.work())
    (job,) = runtime.jobs
    assert [f.name for f in job.folders if f.memory_mib] == (["OBJ"] if in_memory else [])
    assert ("KEEP" in job.env) is ("LEFT" in writable(job)) is leaves


@pytest.mark.parametrize("coverage", [False, True])
def test_objects_are_in_memory_unless_the_notes_beside_them_are_kept(world: World, *, coverage: bool) -> None:
    runtime = Scripted(status=2)
    with pytest.raises(KernelFailure):
        world.builder(runtime).module(replace(world.order(), coverage=coverage), world.work())
    assert any(folder.memory_mib for folder in runtime.jobs[0].folders) is not coverage


@pytest.fixture
def external(world: World) -> ExternalOrder:
    put(world.folder.parent / "module/Kbuild", "obj-m := hello.o\n")
    put(world.folder.parent / "kit/.config", "CONFIG_DEBUG_INFO=y\n")
    (world.images / "external").mkdir()
    return ExternalOrder(
        "cell", world.folder.parent / "module", world.folder.parent / "kit",
        compiler="gcc-14", symvers={"../zlib": "0x1 f zlib EXPORT_SYMBOL\n"},
    )  # fmt: skip


def test_a_module_of_its_own_source_leaves_its_modules_warnings_and_exports(
    world: World, external: ExternalOrder
) -> None:
    warning = "/obj/module/sub/a.c:1:1: warning: odd [-Wodd]"
    runtime = Scripted(warning, built={"a.ko": "a", "sub/b.ko": "b", "Module.symvers": "s", "a.o": ""})
    world.builder(runtime).external(external, world.work())
    (job,) = runtime.jobs
    assert job.script == "external.sh"
    assert {f.name: f.path.name for f in job.folders if f.name in ("RECIPE", "MODULE", "KIT")} == {
        "RECIPE": "external", "MODULE": "module", "KIT": "kit",
    }  # fmt: skip
    assert [name for name, may in writable(job).items() if may] == ["HEADERS", "OBJ", "OUT"]
    assert "SRC" not in writable(job)
    assert (job.env["COMPILER"], job.env["FOLDER"]) == ("gcc-14", ".")
    assert "-femit-struct-debug-baseonly" not in job.env["KCFLAGS"]
    assert runtime.asked == {
        "arguments": "-C\n{kit}\nM={obj}\nmodules\n",
        "environment": "",
        "0.symvers": "0x1 f zlib EXPORT_SYMBOL\n",
    }
    out = world.folder / "out"
    assert {p.name for p in out.iterdir()} == {
        "a.ko", "b.ko", "Module.symvers", "warnings.json", "compiler.log",
    }  # fmt: skip
    assert [one.file for one in compile_warnings.read(out / "warnings.json")] == ["sub/a.c"]
    assert (out / "compiler.log").read_text() == f"{warning}\n"
    assert not (world.folder / "obj").exists()


def test_a_module_of_its_own_source_that_makes_none_has_failed(world: World, external: ExternalOrder) -> None:
    with pytest.raises(KernelFailure, match="kbuild makes no module"):
        world.builder(Scripted()).external(external, world.work())


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
    assert [path.name for path in (world.folder / "obj").iterdir()] == ["autoconf.h"]
    assert {path.name for path in world.folder.iterdir()} == {"ask", "obj", "out", "lines"}
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
    assert "images/guest" in caught.value.hint


@pytest.mark.parametrize("reason", ["No space left on device", "Disk quota exceeded"])
def test_a_disk_that_was_full_is_named_though_it_has_room_again(world: World, reason: str) -> None:
    with pytest.raises(InfraError) as caught:
        world.builder(Scripted(f"mkdir: cannot create directory 'out/bin': {reason}", 2)).guest(world.work())
    assert caught.value.what == "the disk filled up while the guest's root file system was built"
    assert "invoke clean" in caught.value.hint


def recipe(folder: Path, script: str, make: str, **env: str) -> Path:
    """Run a recipe of images/builder in ``folder`` with a program that plays make; return OUT."""
    for name in ("src", "kit", "ask", "obj", "out", "bin"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    program = folder / "bin/make"
    program.write_text(f"#!/bin/sh\n{make}")
    program.chmod(0o755)
    shutil.copy(program, folder / "obj/.cc")
    path = REPO / "images/builder" / script
    folders = {name.upper(): str(folder / name) for name in ("src", "kit", "ask", "obj", "out")}
    given = {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "RECIPE": str(path.parent),
        "JOBS": "1",
        **folders,
        **env,
    }
    subprocess.run(["sh", str(path)], env=given, check=True)
    return folder / "out"


def put(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_module_is_compiled_from_an_empty_folder(tmp_path: Path) -> None:
    """make trusts times, and kbuild keeps a generated file whose rule has no FORCE."""
    put(tmp_path / "kit/fs/a/old.o", "compiled from something")
    put(tmp_path / "kit/fs/a/gen.h", "generated for another configuration")
    put(tmp_path / "kit/include/generated/autoconf.h")
    put(tmp_path / "ask/cell.config", "CONFIG_A=m\n")
    make = 'mkdir -p "$OBJ/fs/a"\nfind "$OBJ" -type f > "$OUT/seen"\n: > "$OBJ/fs/a/a.ko"\n'
    out = recipe(tmp_path, "module.sh", make, TARGETS="fs/a/a.ko", FOLDER="fs/a")
    seen = {
        Path(line).relative_to(tmp_path / "obj").as_posix() for line in (out / "seen").read_text().split()
    }
    assert seen == {".cc", ".config", "include/generated/autoconf.h"}


@pytest.mark.parametrize(("prepared", "asked"), [("", ""), ("yes", "MAKE=make -o prepare")])
def test_what_is_prepared_is_not_prepared_again(tmp_path: Path, prepared: str, asked: str) -> None:
    put(tmp_path / "ask/cell.config")
    make = 'for word; do case $word in MAKE=*) echo "$word" ;; esac; done > "$OUT/words"\n: > "$OBJ/a.ko"\n'
    out = recipe(tmp_path, "module.sh", make, TARGETS="a.ko", FOLDER="fs/a", PREPARED=prepared)
    assert (out / "words").read_text().strip() == asked


# Plays make of a module: objects with their records, and what may stand beside them.
_MAKE_NEUTRAL = r"""
cd "$OBJ" && mkdir -p fs/a/sub
for name in one two three own "with space" sub/four sub/one; do
    : > "fs/a/$name.o"; : > "fs/a/$(dirname "$name")/.$(basename "$name").o.cmd"
    echo "fs/a/$name.o" >> "$POISON/neutral"
done
: > fs/a/.two.symversions; : > fs/a/three.dwo
: > fs/a/own.mod.c; : > fs/a/.own.mod.o.cmd; : > fs/a/own.ko; : > fs/a/.own.ko.cmd
: > fs/a/read.o; : > fs/a/.read.o.cmd; : > fs/a/sub/one.asn1.c
: > fs/a/a.ko
"""


def test_neutral_objects_are_left_with_their_records_unless_more_is_made_beside_them(tmp_path: Path) -> None:
    put(tmp_path / "ask/cell.config")
    put(tmp_path / "ask/symbols", "A\n")
    put(tmp_path / "kit/include/x")
    left = tmp_path / "left"
    left.mkdir()
    recipe(
        tmp_path, "module.sh", _MAKE_NEUTRAL, TARGETS="fs/a/a.ko", FOLDER="fs/a", KEEP="yes", LEFT=str(left)
    )
    names = {path.relative_to(left / "neutral").as_posix() for path in (left / "neutral").rglob("*.o*")}
    kept = {"one", "own", "with space", "sub/four"}
    assert names == {f"{name}.o" for name in kept} | {
        ".one.o.cmd", ".own.o.cmd", ".with space.o.cmd", "sub/.four.o.cmd",
    }  # fmt: skip

    # The next one is given them; of those that it made anew only what it names is left.
    shutil.move(left, tmp_path / "earlier")
    left.mkdir()
    shutil.rmtree(tmp_path / "obj")
    again = 'cd "$OBJ" && touch -d tomorrow fs/a/one.o && : > fs/a/a.ko\n'
    recipe(
        tmp_path, "module.sh", again, TARGETS="fs/a/a.ko", FOLDER="fs/a", KEEP="yes", LEFT=str(left),
        GIVEN=str(tmp_path / "earlier/neutral"),
    )  # fmt: skip
    names = {path.relative_to(left / "neutral").as_posix() for path in (left / "neutral").rglob("*.o")}
    assert names == {"own.o", "with space.o", "sub/four.o"}


# Plays make of a module with its records: what is compiled has a source, what is linked has none.
_MAKE_OWN = r"""
cd "$OBJ" && mkdir -p fs/a/sub
for name in one sub/two; do
    : > "fs/a/$name.o"
    echo "source_fs/a/$name.o := /src" > "fs/a/$(dirname "$name")/.$(basename "$name").o.cmd"
done
: > fs/a/a.o; : > fs/a/.a.o.cmd; : > fs/a/a.mod.c; : > fs/a/a.mod.o
echo "source_fs/a/a.mod.o := fs/a/a.mod.c" > fs/a/.a.mod.o.cmd
find . -type f > "$OUT/seen"
: > fs/a/a.ko
"""


@pytest.mark.parametrize("prepared", ["", "yes"])
def test_of_a_build_that_only_compiles_all_that_was_compiled_is_left(tmp_path: Path, prepared: str) -> None:
    put(tmp_path / "ask/cell.config")
    left = tmp_path / "left"
    left.mkdir()
    recipe(
        tmp_path, "module.sh", _MAKE_OWN, TARGETS="fs/a/a.ko", FOLDER="fs/a", KEEP="yes", PREPARED=prepared,
        LEFT=str(left),
    )  # fmt: skip
    names = {path.relative_to(left / "own").as_posix() for path in left.rglob("*.o*")}
    assert names == ({"one.o", ".one.o.cmd", "sub/two.o", "sub/.two.o.cmd"} if prepared else set())


@pytest.mark.parametrize("same", ["", "yes"])
def test_for_the_same_configuration_no_symbol_has_changed(tmp_path: Path, same: str) -> None:
    put(tmp_path / "ask/cell.config")
    put(tmp_path / "kit/include/config/kernel.release", "6.1")
    put(tmp_path / "settings/include/config/A")
    put(tmp_path / "settings/include/config/auto.conf", "CONFIG_A=y")
    (tmp_path / "left").mkdir()
    out = recipe(
        tmp_path, "module.sh", _MAKE_OWN, TARGETS="fs/a/a.ko", FOLDER="fs/a", KEEP="yes", SAME=same,
        LEFT=str(tmp_path / "left"), SETTINGS=str(tmp_path / "settings"),
    )  # fmt: skip
    seen = (out / "seen").read_text().split()
    assert ("./include/config/A" in seen) is not bool(same)
    assert {"./include/config/auto.conf", "./include/config/kernel.release"} <= {*seen}


# Plays make of a base: modules_prepare makes a header, the rest objects, and generated files anywhere.
MAKE_BASE = r"""
case " $* " in
*" modules_prepare "*)
    # A file that says when a symbol changed is empty, in a folder for each word of its name or not.
    mkdir -p "$OBJ/include/generated" "$OBJ/include/config/fs/a"
    : > "$OBJ/include/generated/autoconf.h"; : > "$OBJ/include/config/fs/a/b.h"; : > "$OBJ/include/config/NEW"
    echo CONFIG_A=m > "$OBJ/include/config/auto.conf"
    exit ;;
esac
mkdir -p "$OBJ/arch/x86/boot" "$OBJ/init" "$OBJ/fs/a"
: > "$OBJ/arch/x86/boot/bzImage"; : > "$OBJ/vmlinux"; : > "$OBJ/System.map"; : > "$OBJ/vmlinux.symvers"
: > "$OBJ/init/main.o"; : > "$OBJ/fs/a/a.o"; : > "$OBJ/fs/a/gen.h"; : > "$OBJ/fs/made-by-a.h"
# As older kernels name a module there, and as later ones do.
printf 'kernel/fs/b/b-b.ko\nfs/a/a.o\n' > "$OBJ/modules.order"
mkdir -p "$OBJ/fs/b"
printf 'depends=b-b,zlib\0softdep=pre: crc32c nls post: late\0' > "$OBJ/info"
gcc -c -x c /dev/null -o "$OBJ/fs/a/a.ko" && cp "$OBJ/fs/a/a.ko" "$OBJ/fs/b/b-b.ko"
as_info='--set-section-flags .modinfo=alloc,readonly'
objcopy --add-section ".modinfo=$OBJ/info" $as_info "$OBJ/fs/a/a.ko"
printf 'license=GPL\0depends=\0' > "$OBJ/info"
objcopy --add-section ".modinfo=$OBJ/info" $as_info "$OBJ/fs/b/b-b.ko"
cat > "$OBJ/init/.main.o.cmd" <<END
cmd_init/main.o := gcc -DKBUILD -c -o init/main.o $SRC/init/main.c

source_init/main.o := $SRC/init/main.c

deps_init/main.o := \\
    \$(wildcard include/config/old/style.h) \\
  $SRC/init/../Documentation/kp.h \\
    \$(wildcard include/config/NEW_STYLE) \\
  $SRC/init/link.h \\
  include/generated/autoconf.h \\
  /usr/lib/gcc/include/stdarg.h \\

init/main.o: \$(deps_init/main.o)
END
cat > "$OBJ/fs/a/.a.o.cmd" <<END
cmd_fs/a/a.o := gcc -DMODULE -c -o fs/a/a.o $SRC/fs/a/a.c

source_fs/a/a.o := $SRC/fs/a/a.c

deps_fs/a/a.o := \\
    \$(wildcard include/config/A_OPTION) \\
END
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of a base that ``MAKE_BASE`` made."""
    put(tmp_path / "ask/base.config", "CONFIG_A=m\n")
    put(tmp_path / "src/Documentation/kp.h")
    put(tmp_path / "src/fs/a/real.h")
    (tmp_path / "src/init").mkdir()
    (tmp_path / "src/init/link.h").symlink_to("../fs/a/real.h")
    recipe(tmp_path, "base.sh", MAKE_BASE)
    return tmp_path


def test_a_kit_has_nothing_that_a_module_made(base: Path) -> None:
    left = {p.relative_to(base / "kit").as_posix() for p in (base / "kit").rglob("*") if p.is_file()}
    made = {"include/config/auto.conf", "include/generated/autoconf.h"}
    assert left == {".cc", ".config", *made, "vmlinux.symvers", "Module.symvers"}
    assert not (base / "kit/include/config/fs").exists()


def test_a_base_records_what_vmlinux_was_compiled_from_and_no_module(base: Path) -> None:
    out = base / "out"
    assert (out / "symbols-read").read_text().split() == ["NEW_STYLE", "OLD_STYLE"]
    assert (out / "files-read").read_text().split() == [
        "Documentation/kp.h", "fs/a/real.h", "include/generated/autoconf.h", "init/../Documentation/kp.h",
        "init/link.h", "init/main.c",
    ]  # fmt: skip


def test_a_base_records_what_its_modules_need(base: Path) -> None:
    assert (base / "out/modules").read_text() == "fs/a/a.ko b-b,zlib,crc32c,nls,\nfs/b/b-b.ko ,\n"


def test_a_kit_keeps_what_modpost_reads_of_vmlinux(tmp_path: Path) -> None:
    keeps = {}
    for name, modpost in {
        "old": "vmlinux.symvers",
        "new": "vmlinux.o-if-present := $(wildcard vmlinux.o)",
    }.items():
        root = tmp_path / name
        put(root / "ask/base.config", "CONFIG_A=m\n")
        put(root / "src/scripts/Makefile.modpost", modpost)
        recipe(root, "base.sh", f'{MAKE_BASE}gcc -g -c -x c /dev/null -o "$OBJ/vmlinux.o"\n')
        keeps[name] = (root / "kit/vmlinux.o").exists()
    assert keeps == {"old": False, "new": True}


# Plays make, which has the configuration's path among its arguments.
_ONE = "for word; do case $word in KCONFIG_CONFIG=*) config=${word#*=} ;; esac; done\n"
_MADE = 'cp "$KCONFIG_ALLCONFIG" "$config"\n'


def test_a_configuration_that_fails_beside_others_is_made_again_alone(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path / f"ask/{name}.config", f"CONFIG_{name}=y\n")
    once = 'case $config in */b.config) [ -e "$OBJ/met" ] || { : > "$OBJ/met"; exit 2; } ;; esac\n'
    out = recipe(tmp_path, "configure.sh", _ONE + once + _MADE, BASE="tinyconfig")
    assert {p.name: p.read_text() for p in out.iterdir()} == {
        f"{name}.config": f"CONFIG_{name}=y\n" for name in "abc"
    }


# Plays conf: asks a question, as Kconfig's macros do, and writes the answer and its request.
_CONF = r"""
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	char answer[100] = "", line[100];
	FILE *out = fopen(getenv("KCONFIG_CONFIG"), "w"), *ask = fopen(getenv("KCONFIG_ALLCONFIG"), "r"), *pipe;
	for (int n = 0; n < 2; n++) {
		pipe = popen(n ? "echo asked >> $SRC/questions; echo yes" : "exit 3", "r");
		answer[fread(answer, 1, sizeof(answer) - 1, pipe)] = 0;
		fprintf(out, "%s -> %s status %d\n", argv[1], answer, pclose(pipe));
	}
	while (fgets(line, sizeof(line), ask))
		fputs(line, out);
	return argc != 3 || fclose(out) || !getenv("OF_MAKE");
}
"""
_RUNS_CONF = """cd "$OBJ" && export OF_MAKE=1 KCONFIG_CONFIG="$config"
scripts/kconfig/conf --allnoconfig Kconfig || exit
echo made >> "$SRC/makes"
"""


@pytest.mark.parametrize(("remember", "makes", "questions"), [("", 6, 6), ("yes", 1, 1)])
def test_what_kconfig_asks_is_asked_once_where_it_may_be_remembered(
    tmp_path: Path, remember: str, makes: int, questions: int
) -> None:
    put(tmp_path / "conf.c", _CONF)
    conf = tmp_path / "obj/scripts/kconfig/conf"
    conf.parent.mkdir(parents=True)
    subprocess.run(["gcc", "-o", str(conf), str(tmp_path / "conf.c")], check=True)
    for name in "abcdef":
        put(tmp_path / f"ask/{name}.config", f"CONFIG_{name}=y\n")
    made = recipe(tmp_path, "configure.sh", _ONE + _RUNS_CONF, BASE="tinyconfig", REMEMBER=remember)
    answers = "--allnoconfig ->  status 768\n--allnoconfig -> yes\n status 0\n"
    assert {p.name: p.read_text() for p in made.iterdir()} == {
        f"{name}.config": f"{answers}CONFIG_{name}=y\n" for name in "abcdef"
    }
    lines = {name: (tmp_path / "src" / name).read_text().count("\n") for name in ("makes", "questions")}
    assert lines == {"makes": makes, "questions": questions}

    # What was noted is one of the tools: they need neither make nor an answer, where it counts.
    (tmp_path / "obj").rename(tmp_path / "tools")
    (tmp_path / "obj").mkdir()
    shutil.rmtree(made)
    tools = str(tmp_path / "tools")
    made = recipe(
        tmp_path, "configure.sh", _ONE + _RUNS_CONF, BASE="tinyconfig", REMEMBER=remember, TOOLS=tools
    )
    assert (made / "a.config").read_text() == f"{answers}CONFIG_a=y\n"
    again = {name: (tmp_path / "src" / name).read_text().count("\n") for name in ("makes", "questions")}
    assert again == (lines if remember else {"makes": 2 * makes, "questions": 2 * questions})


def test_of_the_marks_of_symbols_none_is_kept_with_the_tools(tmp_path: Path) -> None:
    put(tmp_path / "ask/a.config")
    marks = 'mkdir -p "$OBJ/include/config/a/b" "$OBJ/empty"\n: > "$OBJ/include/config/a/b/c.h"\n'
    lists = 'echo CONFIG_A=y > "$OBJ/include/config/auto.conf"\n: > "$OBJ/empty.h"\n'
    recipe(tmp_path, "configure.sh", _ONE + marks + lists + _MADE, BASE="tinyconfig")
    left = {path.relative_to(tmp_path / "obj").as_posix() for path in (tmp_path / "obj").rglob("*")}
    assert left >= {"include/config/auto.conf", "empty", "empty.h"}
    assert not (tmp_path / "obj/include/config/a").exists()


def test_a_configuration_that_fails_alone_fails(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / f"ask/{name}.config")
    always = _ONE + "case $config in */b.config) exit 2 ;; esac\n" + _MADE
    with pytest.raises(subprocess.CalledProcessError):
        recipe(tmp_path, "configure.sh", always, BASE="tinyconfig")


# Plays make for a module of its own source: notes its arguments and what the copy holds.
_NOTES = """printf '%s\\n' "$@" > "$OBJ/arguments"
find "$OBJ/module" -type f | sed "s,$OBJ/module/,," | LC_ALL=C sort > "$OBJ/seen"
echo "$KBUILD_EXTRA_SYMBOLS" >> "$OBJ/seen"
printf '%s\n' "$PWD" "$KDIR" "$word" "$JOBS" > "$OBJ/variables"
"""


def external_recipe(root: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run external.sh with a program that plays make."""
    put(root / "bin/make", f"#!/bin/sh\n{_NOTES}")
    (root / "bin/make").chmod(0o755)
    names = ("module", "kit", "ask", "headers", "obj", "out")
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "ask/environment").touch()
    path = REPO / "images/external/external.sh"
    folders = {name.upper(): str(root / name) for name in names}
    given = {"PATH": f"{root}/bin:/usr/bin:/bin", "RECIPE": str(path.parent), "JOBS": "2", "COMPILER": "gcc"}
    return subprocess.run(
        ["sh", str(path)], env={**given, "FOLDER": ".", **folders, **env}, text=True, capture_output=True
    )


def test_a_module_of_its_own_source_is_built_in_a_copy_without_what_was_built_before(tmp_path: Path) -> None:
    for name in (
        "Kbuild", "hello.c", "blob.o_shipped", "blob.o", "hello.o", ".hello.o.cmd", "hello.ko", "hello.mod.c",
        "Module.symvers", ".git/config", ".gitignore", "sub/.a.o.cmd", "sub/a.o", ".tmp_versions/x.mod",
    ):  # fmt: skip
        put(tmp_path / "module" / name)
    put(tmp_path / "kit/include/config/kernel.release", "6.1.0-1\n")
    put(tmp_path / "ask/arguments", "-C\n{kit}\nM={obj}\nA={release} {kit}/x\n")
    put(tmp_path / "ask/0.symvers")
    assert external_recipe(tmp_path, FOLDER="sub").returncode == 0
    assert (tmp_path / "headers/6.1.0-1/build").readlink() == tmp_path / "kit"
    assert (tmp_path / "headers").stat().st_mode & 0o222 == 0
    (tmp_path / "headers").chmod(0o755)
    *seen, symvers = (tmp_path / "obj/seen").read_text().splitlines()
    assert seen == [".gitignore", "Kbuild", "blob.o", "blob.o_shipped", "hello.c"]
    assert symvers.strip() == f"{tmp_path}/ask/0.symvers"
    assert (tmp_path / "obj/arguments").read_text().splitlines() == [
        "-j2", "CC=gcc", "-C", f"{tmp_path}/kit", f"M={tmp_path}/obj/module/sub",
        f"A=6.1.0-1 {tmp_path}/kit/x",
    ]  # fmt: skip


def test_make_runs_in_the_modules_folder_with_its_environment(tmp_path: Path) -> None:
    put(tmp_path / "kit/include/config/kernel.release", "6.1.0-1\n")
    put(tmp_path / "module/sub/Kbuild")
    put(tmp_path / "ask/arguments", "all\n")
    put(tmp_path / "ask/environment", "KDIR={kit}\nword=a b\nJOBS=7\n")
    assert external_recipe(tmp_path, FOLDER="sub").returncode == 0
    variables = (tmp_path / "obj/variables").read_text().splitlines()
    # `make -C` would leave PWD as it is. How many jobs there are was decided before.
    assert variables == [f"{tmp_path}/obj/module/sub", f"{tmp_path}/kit", "a b", "7"]
    assert (tmp_path / "obj/arguments").read_text().splitlines() == ["-j2", "CC=gcc", "all"]


def test_a_kit_of_ours_gets_a_makefile_of_where_it_is_now(tmp_path: Path) -> None:
    put(tmp_path / "kit/Makefile", "export KBUILD_OUTPUT = /elsewhere\n")
    put(tmp_path / "kit/.config", "x")
    put(tmp_path / "ask/arguments", "{kit}\n")
    assert external_recipe(tmp_path, SRC="/tree").returncode == 0
    kit = tmp_path / "obj/kit"
    assert (kit / "Makefile").read_text() == f"export KBUILD_OUTPUT = {kit}\ninclude /tree/Makefile\n"
    assert (kit / ".config").read_text() == "x"
    assert kit.stat().st_mode & 0o222 == 0
    kit.chmod(0o755)
    assert (tmp_path / "kit/Makefile").read_text() == "export KBUILD_OUTPUT = /elsewhere\n"


def test_without_pahole_kbuild_finds_no_vmlinux_to_make_btf_from(tmp_path: Path) -> None:
    for name in ("Makefile", "vmlinux", ".kernelvariables", ".config"):
        put(tmp_path / "kit" / name)
    put(tmp_path / "ask/arguments", "{kit}\n")
    # Only what the recipe itself uses, so that the machine's own pahole is not there.
    for tool in ("sh", "gcc", "cat", "chmod", "env", "find", "ln", "mkdir", "rm", "sed", "sort", "tar"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    ran = external_recipe(tmp_path, PATH=f"{tmp_path}/bin")
    assert ran.returncode == 0, ran.stderr
    assert "no pahole" in ran.stdout
    kit = tmp_path / "obj/kit"
    assert {p.name for p in kit.iterdir()} == {"Makefile", ".kernelvariables", ".config"}
    assert (tmp_path / "obj/arguments").read_text().splitlines()[-1] == str(kit)
    kit.chmod(0o755)


@pytest.mark.parametrize(
    ("compiler", "tool", "status"),
    [
        ("gcc-none", "exit 1", 3),
        (
            "gcc",
            "echo 'libc.so.6: version GLIBC_2.38 not found (required by modpost)'; exit 1",
            4,
        ),
        ("gcc", "exit 127", 4),
        ("gcc", "echo usage; exit 1", 0),
    ],
)
def test_a_kit_that_cannot_be_used_is_found_before_make_runs(
    tmp_path: Path, compiler: str, tool: str, status: int
) -> None:
    put(tmp_path / "kit/scripts/mod/modpost", f"#!/bin/sh\n{tool}\n")
    (tmp_path / "kit/scripts/mod/modpost").chmod(0o755)
    put(tmp_path / "ask/arguments")
    assert external_recipe(tmp_path, COMPILER=compiler).returncode == status
    assert (tmp_path / "obj/seen").exists() is (status == 0)
