"""Read a series from the user's own git repository, which is not written to.

REPOSITORY#BASE..TOPIC   the commits of a range, oldest first
TREE#REF, TREE           what the working tree of a kernel checkout has on top of REF, or of HEAD
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from kmodpipe.series.containers import is_patch_name
from kmodpipe.series.mail import Item
from kmodpipe.source import user_git
from kmodpipe.source.build_products import is_source
from kmodpipe.util import paths
from kmodpipe.util.child_output import OutputTooLarge
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.files import temporary

_MAX_COMMITS = 1000
# diff-tree and diff-index read no setting of the user's that changes a patch; a prefix is given in case.
_DIFF = ("-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
         "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=none",
         # Of a submodule, what its commits change, and not their names: where its clone has them.
         "--submodule=diff")  # fmt: skip


def is_checkout(folder: Path) -> bool:
    """Return whether a folder is the top of a kernel tree with a git repository."""
    return paths.exists(folder / ".git") and all(paths.is_file(folder / n) for n in ("Makefile", "Kconfig"))


def repository_of(arg: str) -> str:
    """Return the part of ``--series`` that may name a repository."""
    return arg.partition("#")[0]


def read(arg: str) -> tuple[str, list[Item], tuple[str, ...]]:
    """Return a name, the patches and the notices of a range of commits, or of a working tree.

    Raise UserError if the folder is no repository, for a ref that it does not have (with similar ones), and
    for a range that is empty or has merges.
    """
    location, _, wanted = arg.partition("#")
    root = paths.expanded(location).resolve()
    top = user_git.run_git(root, "rev-parse", "--git-dir", check=False)
    if top.returncode != 0:
        raise UserError(
            "neither a folder of patches nor a git repository",
            where=str(root),
            detail=top.tail,
            hint="see docs/series.md",
        )
    if "..." in wanted:
        raise UserError(f"a series is BASE..TOPIC, not {wanted}", where=arg, hint="with two dots")
    if ".." in wanted:
        base, _, topic = wanted.partition("..")
        topic = topic or "HEAD"
        return topic if topic != "HEAD" else root.name, _commits(root, base, topic, arg), ()
    if not is_checkout(root):
        raise UserError("the commits of a series are given as REPOSITORY#BASE..TOPIC", where=arg)
    commit = _commit(root, wanted or "HEAD", arg)
    item = _working_tree(root, commit, wanted or "HEAD", arg)
    if item is None:
        raise UserError(
            f"the working tree has no change against {wanted or 'HEAD'}",
            where=str(root),
            hint="name what it is compared with, --series TREE#v5.10, or commits: --series TREE#v5.10..HEAD",
        )
    return (
        root.name,
        [item],
        (f"the series is what {root.name}'s working tree has on top of {wanted or 'HEAD'} ({commit[:12]})",),
    )


def of_working_tree(root: Path, commit: str, ref: str) -> list[Item]:
    """Return what the working tree of any repository has on top of a commit, named ``ref``; empty if nothing.

    ``root`` is the top of the repository.
    """
    item = _working_tree(root, commit, ref, str(root))
    return [item] if item else []


def _commit(root: Path, ref: str, where: str) -> str:
    if not ref:
        raise UserError("a series from git has a base: REPOSITORY#BASE..TOPIC", where=where)
    found = user_git.run_git(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", check=False
    )
    if found.returncode == 0:
        return found.text.strip()
    listed = user_git.run_git(root, "for-each-ref", "--format=%(refname:short)", check=False).text.split()
    raise unknown_name("branch, tag or commit", ref, listed, where=where)


def _commits(root: Path, base: str, topic: str, where: str) -> list[Item]:
    """Return the commits of a range as patches, oldest first."""
    ends = f"{_commit(root, base, where)}..{_commit(root, topic, where)}"
    argv = ("rev-list", "--reverse", "--topo-order", f"--max-count={_MAX_COMMITS + 1}")
    rows = [line.split() for line in user_git.run_git(root, *argv, "--parents", ends).text.splitlines()]
    if not rows:
        raise UserError(f"{topic} has no commit on top of {base}", where=where)
    if len(rows) > _MAX_COMMITS:
        raise UserError(f"the range has more than {_MAX_COMMITS} commits", where=where)
    if merges := [row[0][:12] for row in rows if len(row) > 2]:
        raise UserError(
            f"the range has a merge, {merges[0]}", where=where, hint="give a range without merges"
        )
    items = []
    for row in rows:
        commit = row[0]
        shown = user_git.run_git(
            root, "show", "-s", "--no-show-signature", "--encoding=UTF-8", "--format=%s%n%an <%ae>%n%b",
            commit,
            whole=True,
        ).stdout.decode("utf-8", "replace")  # fmt: skip
        subject, author, message = (part.strip() for part in (*shown.split("\n", 2), "", "")[:3])
        diff = _diff(
            root, ("diff-tree", "--root", "--no-commit-id", "-r", *_DIFF, commit), f"{where}: {commit[:12]}"
        )
        if not diff.strip():
            raise UserError(f"commit {commit[:12]} changes nothing: {subject!r}", where=where, hint="drop it")
        # A subject may begin with [PATCH 1/3]: the order is that of the commits.
        items.append(
            Item(
                f"{commit[:12]} {subject}",
                root,
                f"{where}: {commit[:12]}",
                _bare(subject),
                diff=diff,
                author=author,
                message=message,
            )
        )
    return items


def _bare(subject: str) -> str:
    return re.sub(r"^(?:\s*\[[^\]]*\])+\s*", "", subject) or "patch"


def _diff(root: Path, argv: tuple[str, ...], where: str, env: dict[str, str] | None = None) -> bytes:
    try:
        return user_git.run_git(root, *argv, env=env, whole=True).stdout
    except OutputTooLarge as e:
        hint = "git status: what is new and no part of the source belongs into .gitignore"
        raise UserError("the change is larger than any patch", where=where, hint=hint) from e


def _working_tree(root: Path, commit: str, ref: str, where: str) -> Item | None:
    """Return the difference of the working tree, with new files that git does not ignore, to a commit.

    None if there is none.
    """
    with temporary("index") as folder:
        # An index and objects of our own, so that the user's stay as they are.
        index = Path(
            user_git.run_git(root, "rev-parse", "--path-format=absolute", "--git-path", "index").text.strip()
        )
        objects = user_git.run_git(
            root, "rev-parse", "--path-format=absolute", "--git-path", "objects"
        ).text.strip()
        if index.is_file():
            shutil.copy(index, folder / "index")
        (folder / "objects").mkdir()
        env = {
            **user_git.without_filters(root),
            "GIT_INDEX_FILE": str(folder / "index"),
            "GIT_OBJECT_DIRECTORY": str(folder / "objects"),
            # In quotes: a path may contain the separator of the list, a colon.
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": '"' + objects.replace("\\", "\\\\").replace('"', '\\"') + '"',
        }
        listed = user_git.run_git(root, "ls-files", "-o", "-z", "--exclude-standard", env=env, whole=True)
        new = [n for n in listed.stdout.split(b"\0") if n and _is_change(root, os.fsdecode(n))]
        user_git.run_git(root, "add", "-u", "--", ".", env=env)
        if new:
            added = b"".join(name + b"\0" for name in new)
            user_git.run_git(root, "update-index", "--add", "-z", "--stdin", env=env, stdin=added)
        diff = _diff(root, ("diff-index", "--cached", *_DIFF, commit), where, env)
    if not diff.strip():
        return None
    return Item("working-tree.diff", root, where, f"the working tree of {root.name} against {ref}", diff=diff)


def _is_change(root: Path, name: str) -> bool:
    """Return whether a new file is part of the change: no repository, formatted patch, product or report."""
    return not (name.endswith("/") or is_patch_name(name.rpartition("/")[2])) and is_source(root, name)
