"""Define how a distribution's kernel is declared, and keep such kernels in the cache.

CACHE/kernels/<kind>-<version>-<digest>/            one kernel: see `PackagedKernel`
CACHE/kernels/<kind>-<version>-<digest>.manifest    as a tree's (source/tree.py)
CACHE/kernels/<kind>-<version>-<digest>.json        its record, written last
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from kmodpipe.source import distribution, tree
from kmodpipe.source.distribution import DEBIAN, UBUNTU, AptSource
from kmodpipe.source.packaged import bzimage, kit
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError
from kmodpipe.util.lock import lock

VMLINUZ = "vmlinuz"
CONFIG = "config"
MODULES = "modules"
KIT = "kit"
SYSTEM_MAP = "System.map"
VMLINUX = "vmlinux"
_FILES = ("vmlinuz", "modules", "headers", "config")
# linux-image-6.1.0-57-amd64; linux-image-6.12-amd64 is the newest of its series.
_CONCRETE = re.compile(r"linux-image-(?:unsigned-)?\d+\.\d+\.\d")
_PACKAGE = r"^linux-image-[a-z0-9][a-z0-9.+-]*$"


class PackagedKernelSpec(BaseModel):
    """A distribution's kernel: `debian-kernel` or `ubuntu-kernel`, or all of `vmlinuz`, `modules`, `headers`
    and `config`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )

    name: SkipJsonSchema[str] = ""
    """The table's name; the loader sets it."""
    summary: str = ""
    """What it is, in one line."""

    debian_kernel: str | None = Field(None, pattern=_PACKAGE)
    """A package of Debian's archive: `linux-image-amd64` is the newest of the suites,
    `linux-image-6.1.0-57-amd64` this one. It needs `suites`."""
    ubuntu_kernel: str | None = Field(None, pattern=_PACKAGE)
    """A package of Ubuntu's archive: `linux-image-generic` is the newest of the suites, as are
    `linux-image-generic-hwe-22.04` and `linux-image-aws` of their kind; `linux-image-6.8.0-50-generic` is
    this one. It needs `suites`."""
    archive: str | None = Field(None, pattern=r"^https?://[^\s/]\S*$")
    """The address of the archive, the folder that has `dists/`. Without it, it is a mirror that this
    machine's apt is configured for, or that `KMODPIPE_DEBIAN_MIRROR` or `KMODPIPE_UBUNTU_MIRROR` names."""
    components: tuple[str, ...] = ("main",)
    """The components of the archive that have the packages."""
    version: str | None = Field(None, pattern=r"^[0-9][0-9A-Za-z.+:~-]*$")
    """The package's version, such as `6.1.192-3`."""
    suites: tuple[str, ...] = ()
    """Suites of one release; the newest package of all of them is taken. For a kernel from files: the release
    of Debian or Ubuntu whose compiler and libc its headers need."""
    keyring: Path | None = None
    """The file of keys that apt verifies signatures with, by default the distribution's own in
    `/usr/share/keyrings`."""
    debug: bool = False
    """Fetch vmlinux with debugging information and System.map as well (about 1 GB), of Debian's kernels."""

    vmlinuz: Path | None = None
    """Of a kernel from files: its bzImage."""
    modules: Path | None = None
    """Of a kernel from files: the folder lib/modules/RELEASE."""
    headers: Path | None = None
    """Of a kernel from files: the folder for `make -C`."""
    config: Path | None = None
    """Of a kernel from files: its configuration."""

    @model_validator(mode="after")
    def _one_kind(self) -> PackagedKernelSpec:
        given = [name for name in _FILES if getattr(self, name) is not None]
        kind = "ubuntu-kernel" if self.ubuntu_kernel else "debian-kernel"
        if self.package:
            if self.debian_kernel and self.ubuntu_kernel:
                raise ValueError("debian-kernel does not go with ubuntu-kernel")
            if given:
                raise ValueError(f"{given[0]} does not go with {kind}")
            if not self.suites:
                raise ValueError(f"{kind} needs suites")
            if self.ubuntu_kernel and self.debug:
                raise ValueError("debug goes with debian-kernel only: Ubuntu has it in another archive")
        elif len(given) != len(_FILES):
            lacking = ", ".join(name for name in _FILES if name not in given)
            raise ValueError(
                f"give debian-kernel or ubuntu-kernel, or all of {', '.join(_FILES)} (lacking: {lacking})"
            )
        elif self.version or self.debug:
            raise ValueError(f"{'version' if self.version else 'debug'} goes with a package only")
        releases = sorted({one.partition("-")[0] for one in self.suites})
        if len(releases) > 1:
            raise ValueError(f"suites are of one release, not of {' and '.join(releases)}")
        return self

    @property
    def package(self) -> str:
        """The package of its image; empty for a kernel from files."""
        return self.debian_kernel or self.ubuntu_kernel or ""

    @property
    def apt_source(self) -> AptSource | None:
        """Where its packages come from; None for a kernel from files that names no release.

        Raise UserError for the name of a release that is none, unless a package says whose it is.
        """
        if not self.suites:
            return None
        known = (
            UBUNTU if self.ubuntu_kernel else DEBIAN if self.debian_kernel else distribution.of(self.suite)
        )
        return AptSource(known, self.suites, self.archive or "", self.components, self.keyring)

    @property
    def suite(self) -> str:
        """The release, such as bookworm; empty for a kernel from files that names none."""
        return self.suites[0].partition("-")[0] if self.suites else ""

    @property
    def moves(self) -> bool:
        """Whether it can be another kernel tomorrow."""
        return bool(self.package) and not (self.version or _CONCRETE.match(self.package))

    def describe(self) -> str:
        """Return where it comes from, in a phrase."""
        if self.package:
            pin = self.version or ("(the newest)" if self.moves else "")
            return f"{self.package} {pin}".rstrip() + f" from {', '.join(self.suites)}"
        return str(self.vmlinuz)


@dataclass(frozen=True)
class PackagedKernel:
    """A distribution's kernel in the cache, which is not to be written to."""

    name: str
    # Its folder.
    path: Path
    # deb-kernel:<package>=<version>:<digest> or files-kernel:<release>:<digest>.
    identity: str
    # As ``uname -r`` prints it: 6.1.0-57-amd64.
    release: str
    # Of Linux, for conditions: 6.1.192.
    kernel_version: str
    # The release of a distribution whose libc the kit's programs need; empty if the declaration names none.
    suite: str
    # The compiler that the kernel was built with, and wants for modules: gcc-12.
    compiler: str
    # Where it comes from, for the results: the version and SHA-256 of each package.
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def no_patches(self) -> str:
        """Why a series of patches cannot be applied to it, in a sentence."""
        return f"{self.name} is a distribution's kernel, which takes no patches"

    @property
    def vmlinuz(self) -> Path:
        """The bzImage."""
        return self.path / VMLINUZ

    @property
    def config(self) -> Path:
        """The kernel's configuration."""
        return self.path / CONFIG

    @property
    def modules(self) -> Path:
        """The modules, as below ``/lib/modules/RELEASE``; compressed as they were shipped."""
        return self.path / MODULES

    @property
    def kit(self) -> Path:
        """The folder for ``make -C``; it works wherever it is mounted, if the path has no space or colon."""
        return self.path / KIT

    @property
    def system_map(self) -> Path | None:
        """The addresses of symbols; None without ``debug`` (Debian's image package has only a stub)."""
        return self._optional(SYSTEM_MAP)

    @property
    def vmlinux(self) -> Path | None:
        """The vmlinux with debugging information; None without ``debug``."""
        return self._optional(VMLINUX)

    def _optional(self, name: str) -> Path | None:
        return self.path / name if (self.path / name).is_file() else None

    def named(self, name: str) -> PackagedKernel:
        """Return this kernel as the result of a request for ``name``."""
        return replace(self, name=name, provenance={"requested": name, **self.provenance})


# -- facts in a configuration --------------------------------------------------------------------------
_CC_VERSION = re.compile(r"^CONFIG_(GCC|CLANG)_VERSION=([1-9]\d*)$", re.MULTILINE)


def compiler_of(config: str) -> str:
    """Return the compiler that a configuration was made with, such as ``gcc-12`` or ``clang-16``.

    Kconfig records it since Linux 4.18 (init/Kconfig: CONFIG_GCC_VERSION). Empty if it is not there.
    """
    found = _CC_VERSION.search(config)
    return f"{found[1].lower()}-{int(found[2]) // 10000}" if found else ""


# -- records -------------------------------------------------------------------------------------------
def slot(cache: Path, identity: str) -> Path:
    """Return the folder for a kernel of this identity; it may not exist. Its name is safe for make."""
    rest, _, digest = identity.rpartition(":")
    kind, _, rest = rest.partition(":")
    words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{kind.partition('-')[0]}-{rest.rpartition('=')[2]}")
    return cache / "kernels" / f"{words[:80]}-{digest[:16]}"


def known(cache: Path, identity: str, warn: tree.Warn | None = None) -> PackagedKernel | None:
    """Return the kernel of this identity, without a name yet, or None.

    A damaged one is not returned: ``warn`` is called, and `install` replaces it.
    """
    folder = slot(cache, identity)
    record = tree.whole(folder, warn)
    if record is None or record.get("identity") != identity:
        return None
    try:
        return _made(folder, identity, record["kernel_version"], dict(record["provenance"]))
    except (KeyError, TypeError, ValueError):
        return None


def _made(folder: Path, identity: str, version: str, facts: Mapping[str, str]) -> PackagedKernel:
    return PackagedKernel(
        "", folder, identity, facts["release"], version, facts["suite"], facts["compiler"], facts
    )


def install(
    cache: Path, made: Path, identity: str, version: str, facts: Mapping[str, str], *, what: str
) -> PackagedKernel:
    """Move the kernel in ``made`` (inside the cache) into its slot, and return it.

    ``facts`` are its provenance; ``suite`` is among them. Raise UserError if a part is missing, or is of
    another kernel; ``what`` names the kernel in messages.
    """
    lacking = [name for name in (VMLINUZ, CONFIG) if not (made / name).is_file()]
    lacking += [f"{name}/" for name in (MODULES, KIT) if not (made / name).is_dir()]
    if lacking:
        raise UserError(f"not a whole kernel: it has no {', no '.join(lacking)}", where=what)
    release, of_kit = bzimage.release_of(made / VMLINUZ), kit.release_of(made / KIT)
    if of_kit not in ("", release):
        raise UserError(f"the image is {release}, and the headers are those of {of_kit}", where=what)
    text = (made / CONFIG).read_text("utf-8", "replace")
    facts = {**facts, "release": release, "compiler": compiler_of(text)}
    folder = slot(cache, identity)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock(cache / "locks" / folder.name):
        if here := known(cache, identity):
            return here
        tree.discard(folder)
        made.rename(folder)
        tree.seal(folder, identity, version, facts)
    return _made(folder, identity, version, facts)


def remove_all(cache: Path) -> int:
    """Remove all kernels and their records; return how many. Downloads are kept."""
    folder = cache / "kernels"
    removed = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir():
            with lock(cache / "locks" / path.name):
                tree.discard(path)
            removed += 1
    paths.remove(folder)
    return removed
