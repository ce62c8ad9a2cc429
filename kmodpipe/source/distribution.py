"""The distributions whose archives have kernels and builder images, and where such an archive is.

An address is declared with a kernel, or it is that of a mirror which this machine's apt is configured for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.source import apt
from kmodpipe.source.apt import Target
from kmodpipe.util.errors import unknown_name


@dataclass(frozen=True)
class Distribution:
    """A distribution of packages that apt verifies."""

    # As its archive's Release files have it for AptSource.
    name: str
    # The file of its keys where its own package installs it, and what that package is called.
    keyring: Path
    keys: str
    # The name that registries have a release's base image under; {} is the release.
    image: str
    # The releases that a builder image can be made for without a declared archive, the oldest first.
    releases: tuple[str, ...]
    # Where suites are that the archive has dropped.
    dropped: str

    @property
    def mirror(self) -> str:
        """The environment variable that names a mirror of its archive."""
        return apt.MIRRORS[self.name]


DEBIAN = Distribution(
    "Debian",
    apt.KEYRING,
    "debian-archive-keyring",
    "debian:{}-slim",
    ("bullseye", "bookworm", "trixie", "sid"),
    "archive.debian.org has what was dropped: with its mirror in apt's sources it is found",
)
UBUNTU = Distribution(
    "Ubuntu",
    Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
    "ubuntu-keyring",
    "ubuntu:{}",
    ("focal", "jammy", "noble", "plucky", "questing", "resolute"),
    'old-releases.ubuntu.com has what was dropped: name it, archive = "http://HOST/ubuntu"',
)
ALL = (DEBIAN, UBUNTU)


def of(release: str) -> Distribution:
    """Return whose release it is. Raise UserError for a name that is no known release."""
    for one in ALL:
        if release in one.releases:
            return one
    known = [name for one in ALL for name in one.releases]
    raise unknown_name("release", release, known, hint="a builder image can be made of these")


@dataclass(frozen=True)
class AptSource:
    """Suites of one release of a distribution, and where their packages come from."""

    distribution: Distribution
    suites: tuple[str, ...]
    # The address of the archive, if it is declared.
    archive: str = ""
    components: tuple[str, ...] = ("main",)
    # The file of keys; None is the distribution's own.
    keyring: Path | None = None

    @property
    def keys(self) -> Path:
        """The file of keys that apt verifies signatures with."""
        return self.keyring or self.distribution.keyring

    @property
    def configured(self) -> tuple[Target, ...]:
        """The package lists of its distribution that an address can be taken from."""
        name = self.distribution.name
        if self.archive:
            return (Target(self.archive.rstrip("/"), self.suites[0], "main", name, name),)
        return apt.targets(name)

    def mirrors(self) -> dict[str, list[str]]:
        """Return the addresses that may serve each suite, the likeliest first; no suite that has none."""
        found = self.configured
        return {suite: uris for suite in self.suites if (uris := mirrors(found, suite, self.distribution))}

    def sources(self, chosen: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        """Return a line of a sources.list for each suite with its address."""
        components = " ".join(self.components)
        return tuple(
            f"deb [arch=amd64 signed-by={self.keys}] {uri} {suite} {components}" for suite, uri in chosen
        )


def mirrors(found: Iterable[Target], suite: str, distribution: Distribution = DEBIAN) -> list[str]:
    """Return addresses that may serve a suite, the likeliest first; apt verifies what they serve."""
    wanted_security = suite.endswith("-security")
    sites: dict[str, int] = {}
    for target in found:
        site = target.site.rstrip("/")
        if target.origin != distribution.name or not site.startswith(("http://", "https://")):
            continue
        if target.origin != "Debian":
            # All pockets are in one archive, though apt may have another address for one of them.
            other = target.release.endswith("-security") != wanted_security
            sites[site] = min(int(other), sites.get(site, 1))
        elif (target.label == "Debian-Security") == wanted_security:
            sites[site] = 0
        elif wanted_security and site.endswith("/debian"):
            # For a machine without a security source: mirrors usually have that archive beside the other.
            sites.setdefault(f"{site}-security", 1)
    return sorted(sites, key=lambda site: sites[site])
