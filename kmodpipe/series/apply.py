"""Apply a series to a copy of a tree made of hard links, patch by patch, with a strict ``git apply``.

    CACHE/trees/patched-<digest>/ and .json   the patched tree; the digest is of tree.identity, series.digest

git replaces the files it changes instead of writing to them, so the original tree does not change.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from kmodpipe.cache import store
from kmodpipe.series import earlier, unused
from kmodpipe.series.model import Patch, Series, git
from kmodpipe.source import Tree, linked
from kmodpipe.source import tree as trees
from kmodpipe.source.kernels import KernelSource
from kmodpipe.source.linked import Links
from kmodpipe.util import os_errors, paths, process, version
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import UserError
from kmodpipe.util.hardlinks import make_farm
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Mode, Screen, Step
from kmodpipe.util.text import count

_STRICT = ("apply", "--whitespace=nowarn")
# Bounds the search for the place of a hunk, which compares each line of a file with each line of the hunk.
_LINES_COMPARED = 40
_FROM_THE_TOP = "make the patch at the top of the tree: names are as in a/fs/overlayfs/super.c"
_HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@.*$")


class DoesNotApply(UserError):
    """A patch of a series does not apply to a tree."""


def mismatch(series: Series, tree: KernelSource) -> str | None:
    """Return a sentence if the series declares other kernel versions than the tree's, else None.

    On the only kernel of a run it is a warning, and whether the patches apply decides.
    """
    if not series.applies_to or version.fits_any(tree.kernel_version, series.applies_to):
        return None
    wanted = ", ".join(series.applies_to)
    return f"series {series.name} is for Linux {wanted}; {tree.name} is {tree.kernel_version}"


def _identity(series: Series, tree: Tree) -> str:
    return f"patched:{digest_of([tree.identity, series.digest])[:24]}"


def applied_path(series: Series, tree: Tree, cache: Path, warn: trees.Warn | None = None) -> Path | None:
    """Return the patched tree if it is in the cache, else None. ``warn`` is called if it is damaged."""
    identity = _identity(series, tree)
    unused.used(trees.slot(cache, identity))
    found = trees.known(cache, identity, warn, links_to=tree.path)
    return found.path if found else None


def apply(series: Series, tree: Tree, cache: Path, screen: Screen | None = None) -> Path:
    """Return the tree with the series applied; make it if it is not in the cache.

    Raise DoesNotApply, naming patch, file and hunk, if a patch does not apply; then nothing is kept.
    """
    identity = _identity(series, tree)
    screen = screen or Screen(Mode.QUIET)
    lock_file = cache / "locks" / f"make-{identity.replace(':', '-')}"
    with lock(lock_file, waiting=screen.say):
        if here := applied_path(series, tree, cache, screen.warn):
            return here
        with screen.step(f"apply {series.name}") as step, store.Store(cache).scratch("farm-") as scratch:
            farm, links, listing = _patched(series, tree, cache, scratch / "tree", step)
            provenance = {"series": series.name, "series-digest": series.digest, "tree": tree.identity}
            what = f"{tree.name} with {series.name}"
            of_kernel = bool(tree.kernel_version)
            made = trees.install(
                cache, farm, identity, provenance,
                what=what, of_kernel=of_kernel, links=links, listing=listing,
            )  # fmt: skip
            unused.used(made.path)
            unused.drop_beside(cache)
            step.finish(count(len(series.patches), "patch", "patches"))
        return made.path


def _patched(
    series: Series, tree: Tree, cache: Path, farm: Path, step: Step
) -> tuple[Path, Links | None, bytes | None]:
    """Make the patched tree in ``farm``; return it, what it is linked to, and its listing if there is one."""
    links = Links(trees.manifest_path(tree.path), series.touched)
    if earlier.take(cache, series.name, tree, farm):
        with suppress(OSError):
            # What the patches change does not count below.
            if earlier.shares(farm, tree.path, series.touched):
                _apply_all(series, tree, farm, step)
                return farm, links, linked.listing(links, farm)
        store.remove(farm)
    step.update("linking the tree")
    all_linked = make_farm(tree.path, farm)
    _apply_all(series, tree, farm, step)
    return farm, links if all_linked else None, None


def _apply_all(series: Series, tree: Tree, farm: Path, step: Step) -> None:
    for number, patch in enumerate(series.patches, 1):
        step.update(patch.name, done=number, total=len(series.patches))
        _apply_one(series, tree, patch, farm)
    _refuse_escaping_links(series, tree.path, farm)


def _apply_one(series: Series, tree: Tree, patch: Patch, farm: Path) -> None:
    new = [name for name in patch.touched if not os.path.lexists(farm / name)]
    # A folder that an earlier patch emptied, or made, has its place as well.
    tops = {path.name for root in (tree.path, farm) for path in root.iterdir()}
    done = git(farm, *_STRICT, f"-p{patch.strip}", "-", stdin=patch.data, check=False)
    if done.returncode < 0:
        raise UserError(
            f"series {series.name}: {patch.name} makes a file larger than any source: "
            f"git {process.describe_status(done.returncode)}",
            where=str(patch.path),
        )
    if done.returncode != 0 and (os_errors.is_full(farm) or os_errors.says_full(done.tail)):
        raise os_errors.full(f"{patch.name} was applied", where=str(farm), detail=done.tail)
    if done.returncode != 0:
        raise _rejected(series, tree, patch, farm, done.tail)
    # A module's own source may have any folder.
    if tree.kernel_version:
        made = [name for name in new if os.path.lexists(farm / name)]
        _refuse_misplaced(series, patch, made, tops, farm)


def _refuse_misplaced(series: Series, patch: Patch, made: list[str], tops: set[str], farm: Path) -> None:
    """Raise UserError for a new file where no kernel tree has one: its patch was made in another folder.

    ``tops`` is what the tree had at its top before.
    """
    if {"Makefile", "Kbuild"} & {*series.touched}:
        # What makes a new folder at the top adds it to the build.
        return
    for name in made:
        top, _, below = name.partition("/")
        if below and top not in tops:
            like = sorted(p.relative_to(farm).as_posix() for p in farm.glob(f"*/{top}") if p.is_dir())
            hint = f"is it meant to be in {' or '.join(like[:3])}?" if like else _FROM_THE_TOP
            what = f"would make the folder {top} at the top of the tree, for {name}"
        elif not below and name.endswith((".c", ".h", ".S")):
            hint, what = _FROM_THE_TOP, f"would make {name} at the top of the tree"
        else:
            continue
        raise UserError(f"series {series.name}: {patch.name} {what}", where=patch.name, hint=hint)


def _refuse_escaping_links(series: Series, tree: Path, farm: Path) -> None:
    if not any((root / name).is_symlink() for root in (tree, farm) for name in series.touched):
        return
    # All links are checked, not only new ones: one of the tree's own may lead out through a new one.
    if found := paths.escaping_link(paths.links_below(farm)):
        raise UserError(
            f"series {series.name} makes a symbolic link out of the tree: {found[0]} to {found[1]!r}",
            where=series.origin,
            hint="a link has to stay in the tree, and must not be part of a loop",
        )


# -- why a patch does not apply ----------------------------------------------------------------------
def _rejected(series: Series, tree: Tree, patch: Patch, farm: Path, output: str) -> DoesNotApply:
    """Return the error for a patch that does not apply. Changes the files in ``farm`` to find the hunks.

    ``output`` is what git printed.
    """
    what = f"series {series.name}: {patch.name} does not apply to {tree.label}"
    hint = mismatch(series, tree) or "rebase the patch on this tree"
    reverse = git(
        farm, *_STRICT, f"-p{patch.strip}", "--reverse", "--check", "-", stdin=patch.data, check=False
    )
    if reverse.returncode == 0:
        where = ", ".join(patch.touched)
        return DoesNotApply(
            f"{what}: its change is already there", where=where, hint="drop it from the series"
        )
    there = [name for name in patch.touched if _is_there(patch, name, farm)]
    rejects = _reject_files(patch, farm)
    if not rejects:
        reasons = [line for line in output.splitlines() if line.startswith("error: ")] or output.splitlines()
        if not reasons:
            return DoesNotApply(what, where=", ".join(patch.touched), hint=hint)
        return DoesNotApply(what, where=patch.touched[0], detail="\n".join(reasons[:6]), hint=hint)
    places: list[str] = []
    detail: list[str] = []
    for name, hunks in rejects:
        already = " (this file's change is already there)" if name in there else ""
        for hunk in hunks[:4]:
            places.append(f"{name}, hunk {hunk[0]}{already}")
            detail += [f"{name}: {line}" for line in _difference(farm / name, hunk)]
    return DoesNotApply(what, where="; ".join(places), detail="\n".join(detail[:12]), hint=hint)


def _is_there(patch: Patch, name: str, farm: Path) -> bool:
    """Whether the patch's change to the file ``name`` is in the tree already."""
    # --include takes a pattern: brackets and stars in a name are escaped.
    pattern = re.sub(r"([\[\]*?\\])", r"\\\1", name)
    argv = (*_STRICT, f"-p{patch.strip}", "--reverse", "--check", f"--include={pattern}", "-")
    return git(farm, *argv, stdin=patch.data, check=False).returncode == 0


def _reject_files(patch: Patch, farm: Path) -> list[tuple[str, list[list[str]]]]:
    """Apply the hunks that do apply, and return the rejected ones of each file, as lists of lines."""
    git(farm, *_STRICT, f"-p{patch.strip}", "--reject", "-", stdin=patch.data, check=False)
    found: list[tuple[str, list[list[str]]]] = []
    for name in patch.touched:
        path = farm / f"{name}.rej"
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        starts = [i for i, line in enumerate(lines) if _HUNK.match(line)]
        ends = [*starts[1:], len(lines)]
        found.append((name, [lines[a:b] for a, b in zip(starts, ends, strict=True)]))
    return found


def _difference(path: Path, hunk: list[str]) -> list[str]:
    """Return the first line of the file that differs from the hunk, at the place most similar to it."""
    expected = [line[1:] for line in hunk[1:] if line[:1] in (" ", "-")][:_LINES_COMPARED]
    try:
        found = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    if not expected or not found or len(found) > 50_000:
        return []
    match = _HUNK.match(hunk[0])
    wanted = int(match[1]) - 1 if match else 0

    def score(start: int) -> tuple[int, int]:
        same = sum(a == b for a, b in zip(expected, found[start : start + len(expected)], strict=False))
        return same, -abs(start - wanted)

    best = max(range(len(found)), key=score)
    if score(best)[0] * 2 < len(expected):
        return ["nothing like the hunk's lines is there"]
    for offset, want in enumerate(expected):
        line = found[best + offset] if best + offset < len(found) else "(end of file)"
        if line != want:
            return [
                f"line {best + offset + 1}: expected {want.strip()!r}",
                f"line {best + offset + 1}: found {line.strip()!r}",
            ]
    return []


__all__ = ["applied_path", "apply", "mismatch"]
