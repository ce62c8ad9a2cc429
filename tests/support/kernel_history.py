"""A kernel tree as a git repository with a history, made without a work tree of its own.

The same tree and patches give the same hashes, so that what was built of a commit is found again.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_WHO = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "history"), ("EMAIL", "history@localhost.invalid"), ("DATE", "2020-10-01T12:00:00+0000"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class History:
    """A bare repository."""

    path: Path

    def git(self, *args: str, stdin: bytes = b"", **env: str) -> str:
        own = {**os.environ, **_WHO, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **env}
        argv = ["git", f"--git-dir={self.path}", *args]
        done = subprocess.run(argv, env=own, input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout.decode().strip()

    def begin(self, tree: Path, message: str) -> str:
        """Commit all files of a tree; return the hash."""
        self.path.mkdir(parents=True)
        self.git("init", "-q", "--bare", "-b", "main", str(self.path))
        self.git("config", "core.bare", "false")
        self.git(f"--work-tree={tree}", "add", "-A", "-f", ".")
        self.git("config", "core.bare", "true")
        return self._commit(message, ())

    def patch(self, diff: bytes, message: str, on: str = "HEAD") -> str:
        """Commit a patch on top of a commit; return the hash."""
        self.git("read-tree", on)
        self.git("apply", "--cached", "--unidiff-zero", "--whitespace=nowarn", "-", stdin=diff)
        return self._commit(message, (self.git("rev-parse", on),))

    def merge(self, one: str, other: str, message: str) -> str:
        """Merge two commits that touch different files; return the hash."""
        base = self.git("merge-base", one, other)
        self.git("read-tree", one)
        self.git("read-tree", "-i", "-m", "--aggressive", base, one, other)
        return self._commit(message, (one, other))

    def _commit(self, message: str, parents: Iterable[str]) -> str:
        made = self.git(
            "commit-tree", self.git("write-tree"), *(w for p in parents for w in ("-p", p)), "-m", message
        )
        self.git("update-ref", "refs/heads/main", made)
        return made


def one_line(path: str, before: str, after: str) -> bytes:
    """A patch that changes the first line of a file."""
    return (
        f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{before}\n+{after}\n"
    ).encode()


def overlayfs(history: History, tree: Path, patches: Path) -> Mapping[str, str]:
    """Ten commits on a 5.10 tree: the series index-nouuid among others, one of which does not build.

    Return the hash of each, by a name.
    """
    spdx = "// SPDX-License-Identifier: GPL-2.0-only"
    known = {"good": history.begin(tree, "Linux 5.10, as Debian has it")}
    numbers = {n: next(patches.glob(f"{n:04}-*.patch")).read_bytes() for n in range(1, 7)}

    def add(name: str, diff: bytes, on: str = "HEAD") -> str:
        known[name] = history.patch(diff, f"ovl: {name}", on)
        return known[name]

    add("a comment", one_line("fs/overlayfs/util.c", spdx, f"{spdx} "))
    add("decode", numbers[1])
    add("does not build", one_line("fs/overlayfs/namei.c", spdx, "#error not yet"))
    add("builds again", one_line("fs/overlayfs/namei.c", "#error not yet", spdx))
    main = add("setting", numbers[2])
    side = add("on the side", one_line("fs/overlayfs/dir.c", spdx, f"{spdx} "), known["decode"])
    known["merge"] = history.merge(main, side, "Merge branch 'side'")
    add("the option", numbers[3])
    add("parameter", numbers[4])
    add("config", numbers[5])
    add("document", numbers[6])
    return known
