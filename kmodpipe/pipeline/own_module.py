"""Find a module's own source: where it stands, what its control is, and what has changed since.

no repository        the folder is the control; there is nothing to compare it with but series
a repository         the control is a commit, by default where HEAD and the default branch part; the
                     change, if there is any, is a series named ``worktree``: what the working tree has
                     on top, with new files that git does not ignore
a series is given    the control is the source as it is, and the series are applied to it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe import series, source
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.series import Series
from kmodpipe.source import user_git
from kmodpipe.source.tree import ModuleSpec
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError, unknown_name

_OF_A_CI = (".github", ".gitlab", ".gitlab-ci.yml", ".gitignore")
# Names of folders that say nothing of what is in them.
_PLAIN_NAMES = ("driver", "drivers", "kernel", "kmod", "linux", "module", "modules", "source", "src")
_DEFAULT_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class ModuleUnderTest:
    """A module of its own source, as one run takes it."""

    # Its name for results: that of its folder.
    name: str
    # Where the control's source comes from.
    spec: ModuleSpec
    # The module's folder below the source's top; empty for the top.
    folder: str
    # What the control is, for people: a ref with its commit, or the folder as it is.
    control: str
    declared: OwnSource


def find(
    declared: OwnSource, home: Path, given: Sequence[Series], *, none: bool, aside: Sequence[Path] = ()
) -> tuple[ModuleUnderTest, tuple[Series, ...]]:
    """Return the module with its control, and the series to test: those ``given``, else the change.

    ``home`` is what a relative source is relative to; with ``none`` there is only the control. A change of
    nothing but files in ``aside``, or of what a CI reads, is none. Raise UserError for a folder that does not
    exist or has no build file, and for a ref that git does not have.
    """
    if "://" in declared.source:
        return _from_url(declared), tuple(given)
    folder = (home / paths.expanded(declared.source)).resolve()
    if not folder.is_dir():
        location, _, ref = declared.source.partition("#")
        hint = ""
        if ref and paths.is_dir(home / paths.expanded(location)):
            hint = f'of a folder here, control = "{ref}" is what its working tree is compared with'
        raise UserError(f"the module's source is no folder: {declared.source}", where=str(folder), hint=hint)
    _require_build_file(folder, declared)
    top = _top(folder)
    if top is None or given or none:
        if declared.control and top is None:
            raise UserError(
                "a control needs git: the module's source is in no repository",
                where=str(folder),
                hint="git init, or leave control out",
            )
        if not (declared.control and top):
            root = top or folder
            name = _name(folder, root)
            made = _under_test(declared, folder, root, ModuleSpec(name=name, path=root), f"{name} as it is")
            return made, tuple(given)
    ref, commit = _control(top, declared.control)
    spec = ModuleSpec(name=_name(folder, top), git=top.as_uri(), commit=commit)
    made = _under_test(declared, folder, top, spec, f"{ref} ({commit[:12]})")
    if given or none:
        return made, tuple(given)
    change = series.of_working_tree(top, commit, ref)
    if change is None or all(_is_aside(top / name, top, aside) for name in change.touched):
        return made, ()
    # Not above: a run of a tree's module needs none of what results are made of before it has some.
    from kmodpipe.results import WORKTREE

    return made, (replace(change, name=WORKTREE, notices=()),)


def _is_aside(path: Path, top: Path, aside: Sequence[Path]) -> bool:
    """Return whether a file of a repository has no part in a module: one of the tests, or of a CI."""
    if path.relative_to(top).parts[0] in _OF_A_CI:
        return True
    return any(path == one or one in path.parents for one in aside)


def _under_test(
    declared: OwnSource, folder: Path, top: Path, spec: ModuleSpec, control: str
) -> ModuleUnderTest:
    below = folder.relative_to(top).as_posix()
    return ModuleUnderTest(_name(folder, top), spec, "" if below == "." else below, control, declared)


def _name(folder: Path, top: Path) -> str:
    """Return the name of a folder at or below ``top``, or the one above it that says what it is."""
    for one in (folder, *folder.parents):
        if one.name.lower() not in _PLAIN_NAMES:
            return one.name
        if one == top:
            break
    return folder.name


def _from_url(declared: OwnSource) -> ModuleUnderTest:
    # As git names a file of a commit; no ref has a colon (git-check-ref-format(1)).
    url, mark, fragment = declared.source.partition("#")
    ref, _, folder = fragment.partition(":")
    folder = folder.strip("/")
    if folder and not paths.is_plain(folder):
        raise UserError(f"not a folder of the repository: {folder!r}", where=declared.source)
    found = source.resolve(f"{url}{mark if ref else ''}{ref}", {})
    if declared.control:
        raise UserError(
            "a module from a URL is its own control: name the ref with #REF, and give --series",
            where=declared.source,
        )
    top = Path(_last_part(url))
    name = _name(top / folder, top)
    spec = ModuleSpec(**{**found.model_dump(), "name": name})
    control = found.commit[:12] if found.commit else found.ref or "HEAD"
    return ModuleUnderTest(name, spec, folder, control, declared)


def at_commit(module: ModuleUnderTest, commit: str) -> ModuleUnderTest:
    """Return a module from a URL as it is at a commit, whatever its branch is by then."""
    spec = module.spec.model_copy(update={"ref": None, "commit": commit})
    below = f":{module.folder}" if module.folder else ""
    declared = module.declared.model_copy(update={"source": f"{spec.git}#{commit}{below}"})
    return replace(module, spec=spec, declared=declared, control=f"{module.control} ({commit[:12]})")


def _last_part(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2].removesuffix(".git") or "module"


def _require_build_file(folder: Path, declared: OwnSource) -> None:
    if any(paths.is_file(folder / name) for name in ("Kbuild", "Makefile")):
        return
    # Few projects have any use for it, and no command that goes well.
    from kmodpipe.pipeline import first_look

    found = [one.folder for one in first_look.look(folder).modules]
    hint = "kbuild reads a Kbuild or Makefile with obj-m += NAME.o"
    if found:
        hint = f'is it in {found[0]}? source = "{declared.source.rstrip("/")}/{found[0]}"'
    raise UserError("the module's source has neither Kbuild nor Makefile", where=str(folder), hint=hint)


def _top(folder: Path) -> Path | None:
    """Return the top of the repository that a folder is in; None if it is in none, or has no commit yet."""
    top = next((one for one in (folder, *folder.parents) if paths.exists(one / ".git")), None)
    return top if top and _commit(top, "HEAD") else None


def _control(top: Path, wanted: str) -> tuple[str, str]:
    """Return the name and the commit of the control: of the ``wanted`` ref, or where HEAD left the default
    branch."""
    if wanted:
        commit = _commit(top, wanted)
        if not commit:
            refs = user_git.run_git(top, "for-each-ref", "--format=%(refname:short)", check=False).text
            hint = "a job of a CI has to fetch it: its clone may be shallow"
            raise unknown_name("control", wanted, refs.split(), where=str(top), hint=hint)
        return wanted, commit
    for branch in _known(top, _DEFAULT_BRANCHES):
        if base := _merge_base(top, branch):
            return branch, base
    return "HEAD", _commit(top, "HEAD")


def _known(top: Path, refs: Sequence[str]) -> list[str]:
    """Return those of these refs that are commits."""
    lines = "".join(f"{ref}^{{commit}}\n" for ref in refs).encode()
    found = user_git.run_git(top, "cat-file", "--batch-check", stdin=lines, check=False).text.splitlines()
    return [ref for ref, line in zip(refs, found, strict=False) if " commit " in line]


def _merge_base(top: Path, branch: str) -> str:
    return user_git.run_git(top, "merge-base", "HEAD", branch, check=False).text.strip()


def _commit(top: Path, ref: str) -> str:
    argv = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return user_git.run_git(top, *argv, check=False).text.strip()
