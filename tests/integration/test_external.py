"""Modules that live outside the tree, compiled in real containers against a kit of ours."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kmodpipe.build import compile_warnings
from kmodpipe.build.external_order import ExternalOrder, split_arguments
from kmodpipe.build.recipes import Builder, WorkDir
from kmodpipe.build.runtime import Runtime
from kmodpipe.cache.place import cache_folder
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import RunOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline import building, runtimes, workspace
from kmodpipe.pipeline.builder import BuiltCell
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import InfraError, KernelFailure, KmodpipeError
from kmodpipe.util.screen import Mode, Screen
from tests.integration.conftest import require_machinery
from tests.support import REPO

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(2400)]

HELLO = """\
#include <linux/module.h>
static int answer = 42;
module_param(answer, int, 0444);
int hello_answer(void);
int hello_answer(void) { return answer; }
EXPORT_SYMBOL_GPL(hello_answer);
static int __init hello_init(void) { WARN_ON(answer == 41); pr_info("hello: %d\\n", answer); return 0; }
static void __exit hello_exit(void) { }
module_init(hello_init);
module_exit(hello_exit);
MODULE_LICENSE("GPL");
"""
MAKEFILE = """\
obj-m := hello.o
KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
all:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
install: all
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install
"""
FILES = {"hello.c": HELLO, "Makefile": MAKEFILE}


@dataclass
class Shop:
    """A kit of the default tree, and folders to build in."""

    kit: Path
    src: Path
    runtime: Runtime
    folder: Path = field(default_factory=Path)
    number: int = 0

    def order(self, files: Mapping[str, str], **more: object) -> ExternalOrder:
        self.number += 1
        source = self.folder / f"source-{self.number}"
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        order = ExternalOrder("hello", source, self.kit, self.src)
        return replace(order, **more)  # type: ignore[arg-type]

    def build(self, files: Mapping[str, str], runtime: Runtime | None = None, **more: object) -> Path:
        """Build a module of these files; return the folder with what it made."""
        order = self.order(files, **more)
        work = self.folder / f"work-{self.number}"
        work.mkdir()
        builder = Builder(runtime or self.runtime, REPO / "images", 2)
        builder.external(order, WorkDir(work, self.folder / f"log-{self.number}"))
        return work / "out"

    def failed(self, files: Mapping[str, str], **more: object) -> KmodpipeError:
        with pytest.raises(KmodpipeError) as caught:
            self.build({**FILES, **files}, **more)
        return caught.value


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    require_machinery()
    call = Invocation(REPO, "", Screen(Mode.PLAIN))
    with call.cache() as cache:
        options = RunOptions(out=str(tmp_path_factory.mktemp("run")), cell=("unpatched.INDEX=y.NOUUID=n",))
        found = workspace.set_up(resolve(options, call), cache, call.screen)
        with RunFolder(found.spec.out) as run_folder:
            (cell,), _ = building.build(found, run_folder)
        assert isinstance(cell, BuiltCell)
        yield Shop(cell.base.path / "obj", found.kernel_of(cell.cell).source.path, found.runtime)


@pytest.fixture
def shop(built: Shop, tmp_path: Path) -> Shop:
    # Users of containers have to be able to read the source.
    tmp_path.chmod(0o755)
    return replace(built, folder=tmp_path)


def test_it_is_built_by_kbuild_and_by_its_own_makefile_with_the_same_bytes(shop: Shop) -> None:
    release = (shop.kit / "include/config/kernel.release").read_text().strip()
    by_kbuild = shop.build(FILES)
    assert {p.name for p in by_kbuild.iterdir()} == {
        "hello.ko", "Module.symvers", "warnings.json", "compiler.log",
    }  # fmt: skip
    assert f"vermagic={release} ".encode() in (by_kbuild / "hello.ko").read_bytes()
    assert "hello_answer" in (by_kbuild / "Module.symvers").read_text()
    for words in ("KDIR={kit}", "all KVER={release}", "-C {kit} M={obj}"):
        own = shop.build(FILES, arguments=split_arguments(words))
        assert digest_file(own / "hello.ko") == digest_file(by_kbuild / "hello.ko"), words
    text = (by_kbuild / "hello.ko").read_bytes()
    assert b"/obj/module" not in text
    # WARN has the file's name.
    assert b"hello.c\0" in text


def test_a_makefile_in_a_folder_below_takes_the_variable_pwd_for_its_own(shop: Shop) -> None:
    makefile = "obj-m := hello.o\nall:\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\n"
    files = {"src/hello.c": HELLO, "src/Makefile": makefile}
    made = shop.build(files, folder="src", arguments=("all",), environment=("KDIR={kit}",))
    assert (made / "hello.ko").is_file()


def test_one_module_needs_another(shop: Shop) -> None:
    user = HELLO.replace("int hello_answer(void) { return answer; }\nEXPORT_SYMBOL_GPL(hello_answer);\n", "")
    files = {
        "src/user.c": user.replace("WARN_ON(answer == 41)", "hello_answer()"),
        "src/Kbuild": "obj-m := user.o\n",
    }
    exported = (shop.build(FILES) / "Module.symvers").read_text()
    made = shop.build(files, folder="src", symvers={"hello": exported})
    assert b"depends=hello\0" in (made / "user.ko").read_bytes()
    with pytest.raises(KernelFailure, match="does not export: hello_answer"):
        shop.build(files, folder="src")


def test_warnings_are_the_same_in_each_build_and_new_ones_are_told(shop: Shop) -> None:
    unused = "static int twice(int x) { return 2 * x; }\n"
    first, again = (
        compile_warnings.read(shop.build({**FILES, "hello.c": f"{space}{HELLO}{unused}"}) / "warnings.json")
        for space in ("", "\n\n")
    )
    assert [str(one) for one in first] == ["hello.c:12: 'twice' defined but not used [-Wunused-function]"]
    assert compile_warnings.new(first, again) == ()
    clean = compile_warnings.read(shop.build(FILES) / "warnings.json")
    assert compile_warnings.new(clean, first) == first


def hello(*changes: tuple[str, str]) -> dict[str, str]:
    """Return the module's source with texts replaced."""
    text = HELLO
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return {"hello.c": text}


UNEXPORTED = (("return 0", "return gone()"), ("int hello_a", "int gone(void);\nint hello_a"))
GPL_ONLY = (
    ('"GPL"', '"Proprietary"'),
    ("return 0", 'return !class_create(THIS_MODULE, "x")'),
    ("module.h>", "module.h>\n#include <linux/device.h>"),
)
X = HELLO.replace("EXPORT_SYMBOL_GPL(hello_answer);", "")
TWICE = {"Kbuild": "obj-m := a/ b/\n"} | {
    f"{folder}/{name}": text
    for folder in "ab"
    for name, text in {"Kbuild": "obj-m := x.o\n", "x.c": X}.items()
}


@pytest.mark.parametrize(
    ("files", "make", "said", "where"),
    [
        ({"hello.c": HELLO + "int x = y;\n"}, None, "does not compile: hello.c:12: ", "hello.c:12 "),
        ({"hello.c": HELLO + "#include <linux/gone.h>\n"}, None, "linux/gone.h: No such file", "hello.c:12 "),
        (hello(("return 0", "return gone()")), None, "implicit declaration", "hello.c:7 "),
        (hello(*UNEXPORTED), None, "uses what this kernel does not export: gone", "log: "),
        (hello(('MODULE_LICENSE("GPL");', "")), None, "has no license: hello.o", "hello.c "),
        (hello(*GPL_ONLY), None, "GPL-only symbol", "log: "),
        ({"Makefile": "obj-m := hello.o gone.o\n"}, None, "is made from gone.o, which is not there", "log: "),
        ({"Makefile": "obj-m := hello.o\n  nonsense here\n"}, None, "the Makefile of", "Makefile:2 "),
        ({"Makefile": "obj-$(CONFIG_GONE) := hello.o\n"}, None, "kbuild makes no module", "log: "),
        (TWICE, None, "two modules of one name", "log: "),
        ({}, "modulez KDIR={kit}", "has no target 'modulez'", "log: "),
        ({}, "all", "looks for this machine's kernel", "log: "),
        ({}, "install KDIR={kit}", "writes outside of its folder: /lib/modules", "log: "),
        ({"Makefile": "all:\n\ttouch $(KDIR)/made\n"}, "KDIR={kit}", "writes outside of its folder", "log: "),
        ({"Makefile": "all:\n\techo > /x\n"}, "KDIR={kit}", "writes outside of its folder: /x", "log: "),
        ({"Makefile": "all:\n\t@echo nothing\n"}, "all", "make made no .ko", "log: "),
    ],
)
def test_each_failure_says_what_is_wrong_and_where(
    shop: Shop, files: Mapping[str, str], make: str | None, said: str, where: str
) -> None:
    error = shop.failed(files, arguments=None if make is None else split_arguments(make))
    assert isinstance(error, KernelFailure)
    assert said in error.what
    assert error.where.startswith(where)


def test_what_was_built_for_another_kernel_is_not_taken(shop: Shop) -> None:
    made = shop.build(
        {**FILES, "hello.ko": "old", "Module.symvers": "old", ".hello.o.cmd": "old", "hello.o": "old"}
    )
    assert (made / "hello.ko").read_bytes().startswith(b"\x7fELF")


@pytest.mark.kernels
def test_another_releases_image_compiles_with_its_own_compiler(shop: Shop, tmp_path: Path) -> None:
    screen = Screen(Mode.PLAIN)
    runtime = runtimes.open_runtime("docker", REPO / "images", cache_folder(), screen, release="trixie")
    assert runtime.identity() != shop.runtime.identity()
    made = shop.build(FILES, runtime, compiler="gcc-14")
    assert re.search(rb"GCC: \(Debian 14\.", (made / "hello.ko").read_bytes())
    with pytest.raises(InfraError, match="asks for gcc-14, which is not there"):
        shop.build(FILES, compiler="gcc-14")


def test_the_host_says_that_it_lacks_the_compiler(shop: Shop) -> None:
    if shutil.which("gcc-99"):
        pytest.skip("this machine has gcc-99")
    runtime = runtimes.open_runtime(
        "host", REPO / "images", cache_folder(), Screen(Mode.PLAIN), compiler="gcc-99"
    )
    with pytest.raises(InfraError, match="headers ask for gcc-99, which is not installed"):
        runtime.identity()
    with pytest.raises(InfraError, match="asks for gcc-99, which is not there"):
        shop.build(FILES, runtime, compiler="gcc-99")
