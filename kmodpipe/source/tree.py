"""Define how a tree is declared, and keep trees in the cache.

CACHE/trees/<kind>-<…>/          one unpacked tree
CACHE/trees/<kind>-<…>.manifest  size, mtime, mode and link target of each of its files: see `integrity`
CACHE/trees/<kind>-<…>.linked    what a tree of hard links to another one is recognised by: see `linked`
CACHE/trees/<kind>-<…>.json      its record, written last: a tree without one is incomplete and is made again
CACHE/trees/pins/<digest>.json   the result of a request (a URL and a ref, say), known without the network
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from kmodpipe.cache import integrity, look_ahead
from kmodpipe.cache.store import remove
from kmodpipe.source import linked
from kmodpipe.source.linked import Links
from kmodpipe.source.origin import DebianOrigin, FolderOrigin, GitOrigin, KeptOrigin, Origin, TarballOrigin
from kmodpipe.util import costs, document, paths
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, Interrupted, UserError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.lock import lock

Warn = Callable[[str], None]
"""A function that shows a warning, such as `Screen.warn`."""
Kind = Literal["git", "debian", "tarball", "directory", "kept"]


class Unreachable(InfraError):
    """The server does not answer. Only for this error is a declared stand-in used."""


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class TreeSpec(BaseModel):
    """A kernel that is built. Exactly one of `git`, `debian-package`, `tarball` and `path` is given."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=_kebab, populate_by_name=True)

    name: SkipJsonSchema[str] = ""
    """The table's name; the loader sets it."""
    summary: str = ""
    """What it is, in one line."""
    stand_in: str | None = None
    """The declared tree to use if this one's server cannot be reached."""

    git: str | None = None
    """A repository's URL. Without `commit` and `ref`, its HEAD is taken."""
    commit: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """Of git: the commit, in 40 hex digits."""
    first_parent: bool = False
    """Of git: the first parent of `commit` is wanted, not itself."""
    ref: str | None = None
    """Of git: the branch or tag."""
    head: str | None = None
    """Of git: the branch that `--head` takes."""

    debian_package: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9.+-]+$")
    """A source package of Debian's archive, such as `linux-source-6.1`. It needs `suites` and `keyring`."""
    version: str | None = Field(None, pattern=r"^[0-9A-Za-z.+:~-]+$")
    """Of debian-package: the package's version. Without it, the newest that the first of the suites that
    answers has."""
    suites: tuple[str, ...] = ()
    """Of debian-package: suites of the archive, tried in this order."""
    keyring: Path | None = None
    """Of debian-package: the file of keys that apt verifies signatures with."""

    tarball: str | None = None
    """A path, or an http or https URL."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """Of tarball: its digest, in 64 hex digits."""

    path: Path | None = None
    """A folder of this machine."""

    # Whether it holds a kernel.
    of_kernel: ClassVar[bool] = True
    _kinds: ClassVar[tuple[str, ...]] = ("git", "debian_package", "tarball", "path")

    @model_validator(mode="after")
    def _one_kind(self) -> TreeSpec:
        given = [n for n in self._kinds if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("exactly one of git, debian-package, tarball and path must be given")
        belongs = {
            "git": {"commit", "first_parent", "ref", "head", "stand_in"},
            "debian_package": {"version", "suites", "keyring", "stand_in"},
            "tarball": {"sha256", "stand_in"},
            "path": set(),
            "kept": set(),
        }
        for owner, fields in belongs.items():
            for name in fields - belongs[given[0]]:
                if owner != given[0] and getattr(self, name):
                    raise ValueError(f"{_kebab(name)} does not go with {_kebab(given[0])}")
        _ = self.origin  # raises where it lacks something
        if self.first_parent and not self.commit:
            raise ValueError("first-parent needs commit")
        if self.commit and self.ref:
            raise ValueError("commit and ref exclude each other")
        return self

    @property
    def kind(self) -> Kind:
        if self.git is not None:
            return "git"
        if self.debian_package is not None:
            return "debian"
        return "tarball" if self.tarball is not None else "directory"

    @property
    def moves(self) -> bool:
        """Whether it is a branch or a tag of git, which can be another commit tomorrow."""
        return self.git is not None and self.commit is None

    @property
    def origin(self) -> Origin:
        """Where it comes from, with the fields of that kind."""
        if self.git is not None:
            return GitOrigin(
                self.name, self.git, self.commit, self.first_parent, self.ref, self.head, self.of_kernel
            )
        if self.tarball is not None:
            return TarballOrigin(self.tarball, self.sha256)
        if self.path is not None:
            return FolderOrigin(self.name, self.path, self.of_kernel)
        if self.debian_package and self.suites and self.keyring:
            return DebianOrigin(self.debian_package, self.version or "", self.suites, self.keyring)
        raise ValueError("debian-package needs suites and keyring")

    def describe(self) -> str:
        """Return the address and the pin in a phrase."""
        return self.origin.describe()


class ModuleSpec(TreeSpec):
    """A module's own source: a folder, a repository of git, or one that came with another machine's job."""

    of_kernel: ClassVar[bool] = False
    _kinds: ClassVar[tuple[str, ...]] = (*TreeSpec._kinds, "kept")

    kept: str | None = None
    """The identity of a tree that the cache was given."""

    @property
    def kind(self) -> Kind:
        return "kept" if self.kept is not None else super().kind

    @property
    def origin(self) -> Origin:
        """Where it comes from, with the fields of that kind."""
        return super().origin if self.kept is None else KeptOrigin(self.name, self.kept)


@dataclass(frozen=True)
class Tree:
    """A complete source tree in the cache, which is not to be written to."""

    name: str
    # Its folder. A tree from git has a .git file there, that of the worktree.
    path: Path
    # git:<commit>, deb:<package>=<version>:<sha256>, tar:<sha256> or dir:<digest>.
    identity: str
    # Such as 5.10.223 or 5.9.0-rc5; empty for a module's own source.
    kernel_version: str
    # Where it comes from, for the results.
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name, and which kernel it is."""
        return f"{self.name} ({self.kernel_version})" if self.kernel_version else self.name

    def describe(self) -> str:
        """Return its identity, and which kernel it is."""
        return f"{self.identity}, Linux {self.kernel_version}" if self.kernel_version else self.identity

    def named(self, name: str, **more: str) -> Tree:
        """Return this tree as the result of a request for ``name``, with ``more`` in its provenance."""
        extra = {key.replace("_", "-"): value for key, value in more.items()}
        return replace(self, name=name, provenance={"requested": name, **self.provenance, **extra})


# -- is it a kernel tree? ----------------------------------------------------------------------------
_VERSION_LINE = re.compile(
    r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)[ \t]*$", re.MULTILINE
)


def kernel_version(path: Path, *, what: str) -> str:
    """Return the version in the tree's Makefile, such as ``5.10.223`` or ``5.9.0-rc5``.

    Raise UserError, naming what is missing, if ``path`` is no kernel tree; ``what`` names it in messages.
    """
    missing = [n for n in ("Makefile", "Kconfig") if not paths.is_file(path / n)]
    missing += [f"{n}/" for n in ("scripts",) if not paths.is_dir(path / n)]
    hint = "give the top folder of a Linux source tree"
    if missing:
        raise UserError(f"not a kernel tree: it has no {', no '.join(missing)}", where=what, hint=hint)
    try:
        with (path / "Makefile").open(encoding="utf-8", errors="replace") as f:
            found = dict(_VERSION_LINE.findall(f.read(65536)))
    except OSError as e:
        raise UserError(f"its Makefile cannot be read: {e.strerror}", where=what) from e
    absent = [n for n in ("VERSION", "PATCHLEVEL", "SUBLEVEL") if not found.get(n, "").isdigit()]
    if absent:
        raise UserError(f"its Makefile sets no {', no '.join(absent)}", where=what, hint=hint)
    return f"{found['VERSION']}.{found['PATCHLEVEL']}.{found['SUBLEVEL']}{found.get('EXTRAVERSION', '')}"


def version_of(path: Path, *, what: str, of_kernel: bool) -> str:
    """Return `kernel_version`, or an empty text for a module's own source."""
    return kernel_version(path, what=what) if of_kernel else ""


# -- records -----------------------------------------------------------------------------------------
def slot(cache: Path, identity: str) -> Path:
    """Return the folder for a tree of this identity; it may not exist. Its name is safe in Makefiles."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", identity)
    short = re.sub(r"[0-9a-f]{40,}", lambda m: m.group()[:16], words)
    return cache / "trees" / short[:120]


def record_path(folder: Path) -> Path:
    """Return the path of the record of the tree in ``folder``."""
    return folder.with_name(folder.name + ".json")


def manifest_path(folder: Path) -> Path:
    """Return the path of the manifest of the tree in ``folder``."""
    return folder.with_name(folder.name + ".manifest")


@costs.step(costs.Part.TREE)
def seal(
    folder: Path,
    identity: str,
    version: str,
    provenance: Mapping[str, str],
    links: Links | None = None,
    listing: bytes | None = None,
) -> None:
    """Write the manifest and the record of a finished tree: the last step of making one.

    ``links`` are those of a tree of hard links to another one, ``listing`` is of it, if it was looked at.
    """
    record = {"identity": identity, "kernel_version": version, "provenance": dict(provenance)}
    listing = listing or integrity.listing(folder)
    write_atomically(manifest_path(folder), listing)
    if links:
        linked.note(folder, links, listing)
    write_atomically(record_path(folder), json.dumps(record, indent=1, sort_keys=True))


@costs.step(costs.Part.TREE)
def whole(folder: Path, warn: Warn | None = None, links_to: Path | None = None) -> dict[str, Any] | None:
    """Return the record of the tree in ``folder``, or None if it is missing, incomplete or damaged.

    ``warn`` is called for a damaged one. ``links_to`` is a tree that was found whole, which this one may have
    been made from by hard links.
    """
    try:
        record = document.read_object(record_path(folder))
        if not folder.is_dir() or folder.is_symlink():
            return None
        if links_to and linked.holds(folder, manifest_path(links_to)):
            return record
        damage = _damage(folder, record)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if damage and warn:
        warn(f"the tree {folder.name} was changed in the cache and is made again: {damage}")
    return None if damage else record


def _damage(folder: Path, record: Mapping[str, Any]) -> str:
    """Return a phrase that describes how the tree differs from its manifest; empty if it does not."""
    manifest = manifest_path(folder)
    before = manifest.read_bytes() if manifest.is_file() else None
    if before is not None and look_ahead.seen(folder) == before:
        return ""
    try:
        now = integrity.listing(folder)
    except Interrupted:
        raise
    except InfraError as e:
        return e.what
    if before is not None:
        if before == now:
            return ""
        if changes := integrity.listed_changes(before, now):
            return changes
    # Made by an earlier version, which recorded the number of files and their size.
    elif list(integrity.listed_sizes(now)) != record["census"]:
        return "files are missing, or have another size"
    # The same files in another order: with the new one, the next comparison is fast again.
    with suppress(OSError):
        write_atomically(manifest, now)
    return ""


def known(cache: Path, identity: str, warn: Warn | None = None, links_to: Path | None = None) -> Tree | None:
    """Return the tree of this identity, without a name yet, or None.

    A damaged one is not returned: ``warn`` is called, and `install` replaces it. ``links_to`` is as for
    `whole`.
    """
    folder = slot(cache, identity)
    record = whole(folder, warn, links_to)
    if record is None or record.get("identity") != identity:
        return None
    try:
        version = version_of(folder, what=str(folder), of_kernel=bool(record.get("kernel_version", True)))
    except UserError:
        return None
    return Tree("", folder, identity, version, record["provenance"])


def forget(folder: Path) -> None:
    """Remove all that is known of a tree, its record first: what is in ``folder`` is used no more."""
    record_path(folder).unlink(missing_ok=True)
    linked.path_of(folder).unlink(missing_ok=True)
    manifest_path(folder).unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove a tree."""
    forget(folder)
    remove(folder)


def install(
    cache: Path,
    made: Path,
    identity: str,
    provenance: Mapping[str, str],
    *,
    what: str,
    of_kernel: bool = True,
    links: Links | None = None,
    listing: bytes | None = None,
) -> Tree:
    """Move the tree in ``made`` (inside the cache) into its slot, and return it.

    ``links`` and ``listing`` are as for `seal`. Raise UserError if it is no kernel tree but has to be;
    ``what`` names it in messages.
    """
    version = version_of(made, what=what, of_kernel=of_kernel)
    folder = slot(cache, identity)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two folders, or a tarball and its copy, may hold the same tree.
    with lock(cache / "locks" / folder.name):
        if here := known(cache, identity):
            return here
        discard(folder)
        made.rename(folder)
        seal(folder, identity, version, provenance, links, listing)
    return Tree("", folder, identity, version, dict(provenance))


# -- results of requests -----------------------------------------------------------------------------
def _pin_path(cache: Path, request: Mapping[str, object]) -> Path:
    return cache / "trees" / "pins" / f"{digest_of(request)[:32]}.json"


def remember(cache: Path, request: Mapping[str, object], answer: Mapping[str, str]) -> None:
    """Record the result of a request."""
    path = _pin_path(cache, request)
    write_atomically(path, json.dumps({"request": request, "answer": answer}, indent=1, sort_keys=True))


def recall(cache: Path, request: Mapping[str, object]) -> dict[str, str] | None:
    """Return the recorded result of a request, or None."""
    try:
        answer = document.read_object(_pin_path(cache, request))["answer"]
        return {str(k): str(v) for k, v in answer.items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return None
