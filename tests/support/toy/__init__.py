"""A toy world for fast tests: a toy kernel tree, and programs that play make, the compiler and QEMU.

Everything else is real: the commands, the recipes, the store, the verdict channel, the judging. A toy
module is a real ELF file with a real build id; a toy guest speaks the real protocol, and does in each case
what the case's script says in lines that begin with ``# toy:``.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmodpipe.cli import commands
from kmodpipe.cli.exit import guarded
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import COMMANDS, options_of
from kmodpipe.util.screen import Mode, Screen
from tests.support import REPO

BIN = Path(__file__).resolve().parent / "bin"

MAKEFILE = "VERSION = 5\nPATCHLEVEL = 10\nSUBLEVEL = 223\nEXTRAVERSION =\n"
KCONFIG = 'mainmenu "toy"\n\nconfig 64BIT\n\tbool "64-bit"\n\nsource "fs/toy/Kconfig"\n'
TOY_KCONFIG = """\
config TOY_FS
\ttristate "a toy file system"

config TOY_FS_INDEX
\tbool "index by default"
\tdepends on TOY_FS
"""
TOY_C = """\
/* what a toy guest observes with this module */
outcome: ESTALE
index: CONFIG_TOY_FS_INDEX
end
"""
SERIES_PATCH = """\
From: toy <toy@localhost.invalid>
Subject: [PATCH] toy: mount

---
diff --git a/fs/toy/Kconfig b/fs/toy/Kconfig
--- a/fs/toy/Kconfig
+++ b/fs/toy/Kconfig
@@ -4,3 +4,7 @@ config TOY_FS
 config TOY_FS_INDEX
 \tbool "index by default"
 \tdepends on TOY_FS
+
+config TOY_FS_NOUUID
+\tbool "no uuid by default"
+\tdepends on TOY_FS_INDEX
diff --git a/fs/toy/toy.c b/fs/toy/toy.c
--- a/fs/toy/toy.c
+++ b/fs/toy/toy.c
@@ -1,4 +1,5 @@
 /* what a toy guest observes with this module */
-outcome: ESTALE
+outcome: mounted
 index: CONFIG_TOY_FS_INDEX
+nouuid: CONFIG_TOY_FS_NOUUID
 end
"""
MATRIX = """\
base = "tinyconfig"
fragments = ["guest.config"]
[axes.INDEX]
symbol = "TOY_FS_INDEX"
[axes.NOUUID]
symbol = "TOY_FS_NOUUID"
"""
CASE_TOML = """\
[[case]]
id = "remount"
summary = "mounts again after the change"
script = "run.sh"
timeout_s = 5
goal = "mounted"
[[case.expect]]
when = { design = "toy-fix" }
outcome = "mounted"
reason = "the series makes it mount"
[[case.expect]]
outcome = "ESTALE"
reason = "the tree without the series does not mount"
"""
RECIPE = """\
mkdir -p "$OUT/sbin" "$OUT/bin"
echo toy > "$OUT/init"
echo toy > "$OUT/bin/sh"
"""
PYPROJECT = """\
[tool.kmodpipe]
tree = "toy"
series = ["toy-fix"]
matrix = "kconfigs/matrix.toml"
[tool.kmodpipe.trees.toy]
path = "{tree}"
[tool.kmodpipe.deadlines]
boot_s = 20
silence_s = 2
case_grace_s = 1

"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class World:
    """One toy project with its tree and cache; `invoke` runs its commands in a process of their own."""

    root: Path
    tree: Path
    cache: Path
    calls: Path

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.root),
            "KMODPIPE_CACHE": str(self.cache),
            "PYTHONPATH": str(REPO),
            "COLUMNS": "120",
            **(extra or {}),
        }

    def invoke(self, *argv: str, timeout_s: float = 60, **extra: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *argv],
            cwd=self.root,
            env=self.environment(extra),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A command in the background, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *argv],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def test(self, *argv: str) -> Ran:
        """`invoke test --runtime host` in this process: the same command, without a fresh interpreter."""
        names = ("cell", "case", "tree", "series", "flavour", "shuffle", "attempts", "repeat")
        flags: dict[str, list[str]] = {name: [] for name in names}
        for name, value in zip(argv[::2], argv[1::2], strict=True):
            flags[name.removeprefix("--")].append(value)
        return self.command(
            commands.test,
            tree="".join(flags["tree"]),
            series=flags["series"],
            flavour=flags["flavour"],
            cell=flags["cell"],
            # A chosen cell alone: most tests are about what happens in one.
            no_control=any(not pattern.startswith("*") for pattern in flags["cell"]),
            case=flags["case"],
            shuffle="".join(flags["shuffle"]),
            attempts=int("".join(flags["attempts"]) or 1),
            repeat=int("".join(flags["repeat"]) or 1),
        )

    def command(self, body: Callable[[Any, Invocation], int], **asked: Any) -> Ran:
        """A command in this process, with ``--runtime host``: the same code, without a fresh interpreter."""
        before = dict(os.environ)
        shown = io.StringIO()
        os.environ.clear()
        os.environ.update(self.environment())
        try:
            group = COMMANDS[body.__name__.rstrip("_")]
            given = {"out": str(self.root / "out"), **asked}
            if any(one.name == "runtime" for one in options_of(group)):
                given = {"runtime": "host", **given}
            values = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
            call = Invocation(self.root, "invoke …", Screen(Mode.PLAIN, out=shown))
            code = guarded(body, group(**values), call)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Ran(code, shown.getvalue(), "")

    @property
    def latest(self) -> Path:
        """The newest run, also one that was interrupted."""
        runs = [path.parent for path in (self.root / "out").glob("2*/.kmodpipe-run")]
        return max(runs, key=lambda run: run.stat().st_ctime_ns, default=self.root / "out" / "latest")

    def made(self) -> list[str]:
        """The targets that make was asked for so far, in order."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def script(self, name: str, *toys: str) -> str:
        """A case script of the toy world; returns its path."""
        path = self.root / name
        path.write_text("#!/bin/sh\n" + "".join(f"# toy: {line}\n" for line in toys))
        return str(path)


def build(root: Path) -> World:
    """A fresh toy world below ``root``."""
    tree, project, cache = root / "tree", root / "project", root / "cache"
    for name, text in {
        "Makefile": MAKEFILE,
        "Kconfig": KCONFIG,
        "scripts/nothing": "",
        "fs/toy/Kconfig": TOY_KCONFIG,
        "fs/toy/Makefile": "obj-$(CONFIG_TOY_FS) += toy.o\n",
        "fs/toy/toy.c": TOY_C,
        "init/main.c": "int main;\n",
    }.items():
        _write(tree / name, text)
    for name, text in {
        "pyproject.toml": PYPROJECT.format(tree=tree),
        "kconfigs/matrix.toml": MATRIX,
        "kconfigs/guest.config": "CONFIG_64BIT=y\nCONFIG_TOY_FS=m\n",
        "patches/toy-fix/series": "0001-toy-mount.patch\n",
        "patches/toy-fix/0001-toy-mount.patch": SERIES_PATCH,
        "patches/toy-fix/series.toml": 'summary = "makes it mount"\nmodule = "fs/toy"\n',
        "images/guest/recipe.sh": RECIPE,
        "images/guest/lib.sh": "",
        "images/guest/cases/remount/case.toml": CASE_TOML,
        "images/guest/cases/remount/run.sh": "#!/bin/sh\n# toy: observe-module\n",
    }.items():
        _write(project / name, text)
    for recipes in ("builder", "external"):
        shutil.copytree(REPO / "images" / recipes, project / "images" / recipes)
    shutil.copy(REPO / "tasks.py", project / "tasks.py")
    _programs(project / "bin", root / "calls")
    return World(project, tree, cache, root / "calls")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _programs(folder: Path, calls: Path) -> None:
    folder.mkdir()
    for name in ("make", "qemu-system-x86_64"):
        program = folder / name
        played = f'TOY_CALLS={calls} PYTHONPATH={REPO} exec {sys.executable} {BIN / name}.py "$@"'
        program.write_text(f"#!/bin/sh\n{played}\n")
        program.chmod(0o755)
    for name in ("gcc", "ld", "flex", "bison", "bc"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{name} (toy) 1.0'\n")
        program.chmod(0o755)
    assert os.access(folder / "make", os.X_OK)
