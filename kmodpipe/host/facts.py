"""Declare what kmodpipe needs of a machine, and find out what this one has. Changes nothing."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import docker_engine
from kmodpipe.source.apt import KEYRING
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError


@dataclass(frozen=True)
class Need:
    """A program that kmodpipe runs."""

    program: str
    # The package of Debian and Ubuntu that contains it.
    package: str
    purpose: str


ENGINE = Need("dockerd", "docker.io", "Docker Engine, where kernels are built")
# Without it the engine cannot set up its bridge, but on some releases its package only recommends it.
FIREWALL = Need("iptables", "iptables", "the engine's network")
QEMU = Need("qemu-system-x86_64", "qemu-system-x86", "the machine that boots the kernels")
GIT = Need("git", "git", "trees and patches")
XZ = Need("xz", "xz-utils", "kernel tarballs")
ZSTD = Need("zstd", "zstd", "distributions' kernels from 6.12 on")
# No program: a file that Debian has, and Ubuntu only on request.
KEYS = Need("debian-archive-keyring", "debian-archive-keyring", "the signatures of Debian's kernels")
BOOTSTRAP = Need("mmdebstrap", "mmdebstrap", "a base image where no registry answers")
# Without root, mmdebstrap works in a user namespace, which newuidmap sets up.
USER_NAMESPACE = Need("newuidmap", "uidmap", "mmdebstrap without root")
# What only this project's own integration tests need.
TESTS = (
    Need("gcc", "gcc", "programs that attack a guest"),
    Need("mkfs.ext4", "e2fsprogs", "disks that fill up"),
    Need("gpg", "gpg", "a key that signed nothing"),
    Need("gdb", "gdb", "a breakpoint in a module"),
    Need("nginx", "nginx-light", "a receiver with TLS"),
    Need("docker-registry", "docker-registry", "an image registry on loopback"),
    Need("chromium", "chromium", "looking at the HTML report"),
    Need("npm", "npm", "a GitLab runner, an HTML viewer"),
    Need("rsync", "rsync", "a GitLab runner that keeps its jobs apart"),
    Need("busybox", "busybox", "the shell of a small system, for reproduce.sh"),
    Need("zsh", "zsh", "the completion of its command line"),
    Need("fish", "fish", "the completion of its command line"),
)

_PROGRAMS = (
    *(n.program for n in (ENGINE, FIREWALL, QEMU, GIT, XZ, ZSTD, BOOTSTRAP, USER_NAMESPACE, *TESTS)),
    "sudo", "apt-get",
)  # fmt: skip


@dataclass(frozen=True)
class Host:
    """Facts about a machine. `setup.plan` decides by them alone."""

    # ID, ID_LIKE and VERSION_ID of os-release(5).
    distro: str
    like: frozenset[str]
    version: str
    uid: int
    user: str
    # Those of the needed programs that are installed.
    programs: frozenset[str]
    engine: docker_engine.Look
    # The id of the builder image; None if there is none, or no engine answers.
    image: str | None
    in_docker_group: bool
    systemd: bool
    # The age of apt's package lists in seconds; None if there are none.
    lists_age_s: float | None

    @property
    def has_apt(self) -> bool:
        """Whether this is Debian, Ubuntu or a derivative, so that Debian's package names are valid."""
        return bool({"debian", "ubuntu"} & (self.like | {self.distro})) and "apt-get" in self.programs

    def lacks(self, need: Need) -> bool:
        """Whether the program of ``need`` is not installed."""
        return need.program not in self.programs


def gather(images_dir: Path, *, root: Path = Path("/"), names: builder_image.Names | None = None) -> Host:
    """Return the facts about this machine. Takes less than 2 s unless the engine hangs.

    ``root`` is the folder below which os-release and the like are read.
    """
    release = parse_os_release(_read(root / "etc/os-release"))
    path = process.clean_environment()["PATH"]
    seen = docker_engine.look(3)
    return Host(
        distro=release.get("ID", ""),
        like=frozenset(release.get("ID_LIKE", "").split()),
        version=release.get("VERSION_ID", ""),
        uid=os.getuid(),
        user=user_name(),
        programs=frozenset(
            [
                *(p for p in _PROGRAMS if shutil.which(p, path=path)),
                *([KEYS.program] if (root / KEYRING.relative_to("/")).is_file() else []),
            ]
        ),
        engine=seen,
        image=_image(images_dir, names) if seen.state is docker_engine.State.ANSWERS else None,
        in_docker_group=_in_group("docker"),
        systemd=(root / "run/systemd/system").is_dir(),
        lists_age_s=_age_s(root / "var/lib/apt/lists"),
    )


def parse_os_release(text: str) -> Mapping[str, str]:
    """Return the assignments in an os-release(5) file, unquoted."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            try:
                found[name.strip()] = "".join(shlex.split(value))
            except ValueError:
                continue
    return found


def user_name() -> str:
    """Return the user's login name, or the user id if it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _image(images_dir: Path, names: builder_image.Names | None) -> str | None:
    try:
        return builder_image.find(docker_engine.connect(3), images_dir, names=names)
    except InfraError:
        return None


def _in_group(name: str) -> bool:
    """Whether the user is in the group, even if only from the next login on."""
    try:
        group = grp.getgrnam(name)
    except KeyError:
        return False
    return user_name() in group.gr_mem or group.gr_gid in os.getgroups()


def _age_s(lists: Path) -> float | None:
    newest = max((p.stat().st_mtime for p in lists.glob("*_Packages*")), default=None)
    # An update that found nothing new does not change the lists' times, but does change the folder's.
    return None if newest is None else time.time() - max(newest, lists.stat().st_mtime)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
