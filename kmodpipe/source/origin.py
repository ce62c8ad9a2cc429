"""Define where a tree comes from: a git repository, a Debian package, a tarball, a folder, another cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GitOrigin:
    """A git repository, and the commit, branch or tag that is wanted of it."""

    name: str  # the tree's, for messages
    url: str
    commit: str | None = None
    first_parent: bool = False  # the parent of ``commit`` is wanted, not itself
    ref: str | None = None
    head: str | None = None  # the branch that ``--head`` takes
    of_kernel: bool = True  # else it is a module's own source, and no kernel tree is expected

    def describe(self) -> str:
        """Return the address and the pin in a phrase."""
        pin = f"first parent of {self.commit}" if self.first_parent else self.commit or self.ref or "HEAD"
        return f"{self.url} at {pin}"


@dataclass(frozen=True)
class DebianOrigin:
    """A ``linux-source-*`` package of Debian."""

    package: str
    version: str  # empty: the newest that the first of the suites that answers has
    suites: tuple[str, ...]  # of the archive, tried in this order
    keyring: Path  # apt verifies signatures with it

    def describe(self) -> str:
        """Return the package, its version and its suites in a phrase."""
        return f"{self.package} {self.version or '(the newest)'} from {', '.join(self.suites)}"


@dataclass(frozen=True)
class TarballOrigin:
    """A tarball."""

    location: str  # a path or an http(s) URL
    sha256: str | None = None

    def describe(self) -> str:
        """Return the location."""
        return self.location


@dataclass(frozen=True)
class FolderOrigin:
    """A folder of this machine."""

    name: str  # the tree's, for messages
    path: Path
    of_kernel: bool = True  # else it is a module's own source, and no kernel tree is expected

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True)
class KeptOrigin:
    """A tree that the cache was given by another machine."""

    name: str  # the module's, for messages
    identity: str

    def describe(self) -> str:
        """Return the identity."""
        return self.identity


Origin = GitOrigin | DebianOrigin | TarballOrigin | FolderOrigin | KeptOrigin
