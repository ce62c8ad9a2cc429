"""Modules of their own source, on kernels as Debian ships them: built, loaded, and compared with a git ref.

One kernel is tried by all; the four stock kernels, and one of ours with KASAN: ``pytest -m kernels``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from kmodpipe.cache.place import cache_folder
from kmodpipe.pipeline import config
from kmodpipe.source import kernels
from kmodpipe.source.packaged import PackagedKernel
from kmodpipe.util.screen import Mode, Screen
from tests.integration.conftest import require_machinery
from tests.support import REPO
from tests.support.trees import commit_all, git, write

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(2400)]

KERNELS = ("debian-11", "debian-12", "debian-13", "debian-unstable")
# pde_data() came with Linux 5.17.
NEWER = ("answer);", "pde_data(file_inode(file->file)) ? 0 : answer);")


@dataclass(frozen=True)
class Ran:
    code: int
    text: str
    folder: Path

    @property
    def run(self) -> dict[str, Any]:
        path = self.folder / "out/latest/results.json"
        return dict(json.loads(path.read_text())["run"])

    @property
    def verdicts(self) -> dict[str, str]:
        return {
            cell["cell"]: " ".join(case["verdict"] for case in cell["cases"]) for cell in self.run["cells"]
        }


def kmodpipe(folder: Path, *argv: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "kmodpipe", *argv],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=2300,
        check=False,
    )
    return Ran(done.returncode, done.stdout + done.stderr, folder)


def repository(folder: Path, example: str) -> Path:
    """A repository of its own with an example in it."""
    shutil.copytree(REPO / "examples" / example, folder)
    commit_all(folder, "first")
    return folder


def supported(ran: Ran) -> dict[str, list[str]]:
    """The rows of the table that a run begins its answer with: what each kernel says."""
    table = ran.text.partition("kernel ")[2].partition("\n\n")[0].splitlines()[1:]
    return {words[0]: words[2:5] for line in table if (words := line.split())}


def on(kernels: Sequence[str]) -> list[str]:
    return [word for name in kernels for word in ("--kernel", name)]


@pytest.fixture(autouse=True)
def machinery() -> None:
    require_machinery()


def test_init_makes_a_project_that_passes_on_a_stock_kernel(tmp_path: Path) -> None:
    root = tmp_path / "hello"
    shutil.copytree(REPO / "examples/hello", root, ignore=shutil.ignore_patterns("kmodpipe*"))
    commit_all(root, "first")
    assert kmodpipe(root, "init", "--yes", "--ci", "github").code == 0
    ran = kmodpipe(root, "test", *on(KERNELS[1:2]))
    assert (ran.code, ran.verdicts) == (0, {"unpatched": "pass"}), ran.text
    assert supported(ran) == {"debian-12": ["yes", "yes", "yes"]}, ran.text
    # The results are no part of the module, and nothing else has changed.
    assert git(root, "status", "--porcelain").split() == [
        "??",
        ".github/",
        "??",
        "kmodpipe-cases/",
        "??",
        "kmodpipe.toml",
    ]
    (cell,) = ran.run["cells"]
    assert cell["properties"]["compiler"].startswith("gcc-12")


def test_two_modules_are_loaded_in_the_order_of_what_they_need(tmp_path: Path) -> None:
    ran = kmodpipe(repository(tmp_path / "echo", "echo"), "test", *on(KERNELS[1:2]))
    assert (ran.code, ran.verdicts) == (0, {"unpatched": "pass"}), ran.text


def test_modules_that_replace_the_kernels_may_export_what_those_do(tmp_path: Path) -> None:
    """dm-bufio has a function of this name and another type: compared is the one that is loaded."""
    function = "dm_bufio_get_block_size"
    head = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n'
    core = f"{head}int {function}(int a, int b);\nint {function}(int a, int b) {{ return a + b; }}\n"
    user = f"{head}int {function}(int a, int b);\nstatic int __init begin(void)\n"
    user += f"{{ return {function}(1, -1); }}\nmodule_init(begin);\n"
    root = repository(tmp_path / "echo", "echo")
    write(root, {
        "Kbuild": "obj-m := kp-core.o kp-user.o\n",
        "kp-core.c": f"{core}EXPORT_SYMBOL_GPL({function});\n",
        "kp-user.c": f"{user}static void __exit end(void) {{ }}\nmodule_exit(end);\n",
        "loaded.sh": "#!/bin/sh -e\ntest -d /sys/module/kp_core -a -d /sys/module/kp_user\n",
    })  # fmt: skip
    ran = kmodpipe(root, "test", *on(KERNELS[1:2]), "--series", "none", "--case", "./loaded.sh")
    assert (ran.code, ran.verdicts) == (0, {"unpatched": "pass"}), ran.text


def test_a_module_that_does_not_load_is_told_in_the_kernels_words(tmp_path: Path) -> None:
    root = repository(tmp_path / "echo", "echo")
    write(root, {"Kbuild": "obj-m := kp-echo.o\nccflags-y := -DWITHOUT\nKBUILD_MODPOST_WARN := 1\n"})
    ran = kmodpipe(root, "test", *on(KERNELS[1:2]))
    assert ran.code == 1, ran.text
    assert "kp_mirror" in ran.text


@pytest.mark.kernels
def test_a_change_is_regressed_on_the_kernel_that_it_breaks_and_nowhere_else(tmp_path: Path) -> None:
    root = repository(tmp_path / "hello", "hello")
    git(root, "checkout", "-q", "-b", "topic")
    write(root, {"hello.c": (root / "hello.c").read_text().replace(*NEWER)})
    commit_all(root, "use what newer kernels have")
    ran = kmodpipe(root, "test")
    assert ran.code == 1, ran.text
    assert supported(ran) == {
        name: ["no", "–", "–"] if name == "debian-11" else ["yes", "yes", "yes"] for name in KERNELS
    }
    assert ran.text.count("does not build in 1 of 4 cells") == 1
    badge = kmodpipe(root, "report", "--format", "badge")
    assert "3 of 4 kernels" in badge.text


@pytest.mark.kernels
def test_the_same_module_runs_on_a_kernel_of_ours_that_looks_closer(tmp_path: Path) -> None:
    root = repository(tmp_path / "hello", "hello")
    git(root, "checkout", "-q", "-b", "topic")
    # One byte behind what was allocated, which the stock kernel does not notice.
    beyond = (
        "char *a = kmalloc(8, GFP_KERNEL);\n\n\tif (a)\n\t\ta[answer ? 8 : 9] = 1;\n\tkfree(a);\n\tseq_printf"
    )
    first = "#include <linux/module.h>"
    text = (root / "hello.c").read_text().replace("seq_printf", beyond)
    write(root, {"hello.c": text.replace(first, f"{first}\n#include <linux/slab.h>")})
    stock = kmodpipe(root, "test", *on(["debian-12"]))
    assert stock.code == 0, stock.text
    ours = kmodpipe(root, "test", "--kernel", "debian-6.1", "--flavour", "kasan")
    assert ours.code == 1 and "slab-out-of-bounds in hello_show" in ours.text, ours.text


@pytest.mark.kernels
def test_a_module_of_the_tree_is_tested_as_the_distribution_built_it(tmp_path: Path) -> None:
    matrix = 'base = "tinyconfig"\nmodule = "fs/overlayfs"\nfragments = ["guest.config"]\n'
    script = "#!/bin/sh -e\ngrep -q overlay /proc/filesystems\n"
    write(tmp_path, {"kmodpipe.toml": f"[matrix]\n{matrix}", "mount.sh": script})
    ran = kmodpipe(tmp_path, "test", *on(KERNELS[:2]), "--case", "./mount.sh")
    assert (ran.code, set(ran.verdicts.values())) == (0, {"pass"}), ran.text


# -- what a kernel would refuse, and what one refuses --------------------------------------------------
ENFORCED = """\
cases = "kmodpipe-cases"

[matrix]
module = {{ source = "."{make} }}

[matrix.flavours.enforced]
summary = "a kernel that takes signed modules alone"
cmdline = "module.sig_enforce=1"
"""
OWN_MAKEFILE = "obj-m := hello.o\nall:\n\t{recipe}\n"


def enforced(folder: Path, recipe: str = "") -> Path:
    """The example, for a kernel that takes signed modules alone, with a Makefile of its own."""
    root = repository(folder / "hello", "hello")
    make = ', make = "all KDIR={kit}"' if recipe else ""
    write(root, {"kmodpipe.toml": ENFORCED.format(make=make)})
    if recipe:
        (root / "Kbuild").unlink()
        write(root, {"Makefile": OWN_MAKEFILE.format(recipe=recipe)})
    commit_all(root, "for a kernel that takes signed modules alone")
    return root


def test_a_module_that_is_not_signed_is_refused_before_a_boot_where_signatures_are_wanted(
    tmp_path: Path,
) -> None:
    root = enforced(tmp_path)
    ran = kmodpipe(root, "test", *on(KERNELS[1:2]), "--flavour", "enforced")
    assert ran.code == 1, ran.text
    said = "the kernel would refuse the module hello: it is not signed, and the kernel is booted with"
    assert f"{said} module.sig_enforce=1" in ran.text
    assert not list(root.glob("out/latest/*/console.log")), "it was booted"
    # Without the flavour it is loaded.
    assert kmodpipe(root, "test", *on(KERNELS[1:2])).code == 0


def test_a_module_whose_key_is_not_known_is_refused_in_the_kernels_words(tmp_path: Path) -> None:
    root = enforced(
        tmp_path,
        "$(MAKE) -C $(KDIR) M=$(CURDIR) modules\n"
        "\t$(KDIR)/scripts/sign-file sha256 key.pem cert.pem hello.ko",
    )
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    authority.private_key_pem.write_to_path(str(root / "key.pem"))
    authority.cert_pem.write_to_path(str(root / "cert.pem"))
    commit_all(root, "keys")
    ran = kmodpipe(root, "test", *on(KERNELS[1:2]), "--flavour", "enforced")
    assert ran.code == 1, ran.text
    assert "the kernel refused the module hello: EKEYREJECTED" in ran.text
    assert "Loading of module with unavailable key is rejected" in ran.text


@pytest.mark.kernels
def test_a_module_that_was_built_for_another_kernel_is_refused_before_a_boot(tmp_path: Path) -> None:
    root = enforced(tmp_path, "cp hello.ko_shipped hello.ko")
    older = kernels.resolve("debian-11", config.ready_kernels())
    made = kernels.fetch(older, {}, cache_folder(), Screen(Mode.PLAIN))
    assert isinstance(made, PackagedKernel)
    shutil.copy(next(made.modules.rglob("zram.ko")), root / "hello.ko_shipped")
    commit_all(root, "a module that was built before")
    ran = kmodpipe(root, "test", *on(KERNELS[1:2]))
    assert ran.code == 1, ran.text
    assert "would refuse the module hello: it disagrees about the version of symbol" in ran.text
    assert not list(root.glob("out/latest/*/console.log")), "it was booted"
