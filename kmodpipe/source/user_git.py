"""Run git in the user's own folder, without writing to it, and summarise the state of its working tree."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from kmodpipe.source.build_products import is_source
from kmodpipe.source.git_command import INCOMPLETE, QUIET_ENV
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, UserError

_GIT_LIMIT_S = 120.0
# In a partial clone git would fetch missing objects, with a program that its configuration names. The first
# variable is for git from 2.44 on.
_OFFLINE = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": ""}


def run_git(
    root: Path,
    *args: str,
    check: bool = True,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    whole: bool = False,
) -> process.Completed:
    """Run git in the user's folder; ``whole`` is as in `process.run`.

    It runs no program that the folder's git configuration names, and fetches no missing objects. Raise
    UserError for a repository that lacks some, InfraError if git fails otherwise and ``check`` is set.
    """
    argv = [
        "git",
        # Overrides core.worktree, which may name another folder.
        f"--work-tree={root}",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "safe.directory=*",
        *args,
    ]
    try:
        return process.run(
            argv,
            timeout_s=_GIT_LIMIT_S,
            cwd=root,
            env={**QUIET_ENV, **_OFFLINE, **(env or {})},
            check=check,
            stdin=stdin,
            whole=whole,
        )
    except InfraError as e:
        said, what, hint = INCOMPLETE
        if re.search(said, e.detail):
            raise UserError(what, where=str(root), detail=e.detail, hint=hint) from e
        raise


def state(root: Path) -> dict[str, str]:
    """Return HEAD and a summary of what differs from it, by commands that do not write the index."""
    head = run_git(root, "rev-parse", "--verify", "--quiet", "HEAD", check=False).text.strip()
    if not head:
        return {"git-head": "none", "git-state": "no commit yet"}
    compared = run_git(root, "diff-index", "--cached", "--raw", "-z", "--no-renames", head, check=False)
    if compared.returncode != 0:
        return {"git-head": head, "git-state": "cannot be told: its repository is not whole"}
    staged = _raw(compared.stdout)
    worktree = _raw(run_git(root, "diff-files", "--raw", "-z", env=without_filters(root)).stdout)
    changed = {name for name, _ in staged} | _really_changed(root, worktree)
    listed = run_git(root, "ls-files", "-o", "-z", "--exclude-standard").stdout.split(b"\0")
    untracked = [n for n in map(os.fsdecode, listed) if n and not n.endswith("/") and is_source(root, n)]
    parts = [f"{len(changed)} changed"] * bool(changed) + [f"{len(untracked)} untracked"] * bool(untracked)
    return {"git-head": head, "git-state": "modified: " + ", ".join(parts) if parts else "clean"}


def without_filters(root: Path) -> dict[str, str]:
    """Return an environment for `run_git` in which no filter of the folder's configuration runs."""
    listed = run_git(root, "config", "-z", "--name-only", "--get-regexp", r"^filter\.", check=False)
    names = sorted({os.fsdecode(n) for n in listed.stdout.split(b"\0") if n})
    env = {"GIT_CONFIG_COUNT": str(len(names))}
    for number, name in enumerate(names):
        env[f"GIT_CONFIG_KEY_{number}"] = name
        env[f"GIT_CONFIG_VALUE_{number}"] = "false" if name.lower().endswith(".required") else ""
    return env


def _raw(output: bytes) -> list[tuple[str, str]]:
    """Parse ``--raw -z`` output without renames: names, each with its old blob, '' if the mode changed."""
    fields = output.split(b"\0")
    rows: list[tuple[str, str]] = []
    for meta, name in zip(fields[0::2], fields[1::2], strict=False):
        old_mode, new_mode, old_blob, *_ = meta.decode().lstrip(":").split()
        rows.append((os.fsdecode(name), old_blob if old_mode == new_mode else ""))
    return rows


def _really_changed(root: Path, rows: list[tuple[str, str]]) -> set[str]:
    """Return the files of ``rows`` whose contents differ from the index, not only their times."""
    doubtful = [(n, blob) for n, blob in rows if blob and "\n" not in n and _is_file(root / n)]
    if not doubtful:
        return {name for name, _ in rows}
    paths = os.fsencode("".join(f"{name}\n" for name, _ in doubtful))
    done = run_git(root, "hash-object", "--no-filters", "--stdin-paths", stdin=paths)
    same = {n for (n, blob), now in zip(doubtful, done.text.split(), strict=True) if blob == now}
    return {name for name, _ in rows} - same


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
