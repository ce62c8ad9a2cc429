"""A signed archive in Ubuntu's form, with a real kernel: that of Debian, packaged as Ubuntu packages its own.

It also has the packages that a builder image is made of, those of the Debian release whose libc and compiler
the kernel's headers need. So nothing of it is a stand-in but the names.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kmodpipe.source import apt, apt_root
from kmodpipe.source.packaged import PackagedKernel
from kmodpipe.util.screen import Mode, Screen

SUITE = "kmodpipetest"
VERSION = "6.1.0-57.58"
# As the Dockerfile of images/external takes them.
_BUILDER = ("apt", "gcc", "libc6-dev", "libelf-dev", "make", "pahole")
_EXTRA = ("drivers", "sound", "net")


@dataclass(frozen=True)
class UbuntuArchive:
    """The archive's folder, which has ``dists`` and ``pool``, and the home of the key that signs it."""

    folder: Path
    gnupg: Path

    @property
    def pool(self) -> Path:
        return self.folder / "pool/main"

    @property
    def keyring(self) -> Path:
        return self.folder.parent / "keys.gpg"

    def sign(self) -> None:
        """Write the lists of the packages, and sign them."""
        release = self.folder / "dists" / SUITE
        lists = release / "main/binary-amd64"
        shutil.rmtree(release, ignore_errors=True)
        lists.mkdir(parents=True)
        text = subprocess.run(
            ["dpkg-scanpackages", "--multiversion", "pool"], cwd=self.folder, check=True, capture_output=True
        ).stdout
        (lists / "Packages").write_bytes(text)
        (lists / "Packages.gz").write_bytes(gzip.compress(text, mtime=0))
        rows = "".join(
            f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} "
            f"{path.relative_to(release)}\n"
            for path in sorted(lists.iterdir())
        )
        (release / "Release").write_text(
            f"Origin: Ubuntu\nLabel: Ubuntu\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: amd64\n"
            f"Components: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{rows}"
        )
        self.gpg("--clearsign", "-o", str(release / "InRelease"), str(release / "Release"))

    def gpg(self, *arguments: str) -> None:
        command = [
            "gpg",
            "--homedir",
            self.gnupg,
            "--batch",
            "--yes",
            "--quiet",
            "--passphrase",
            "",
            *arguments,
        ]
        subprocess.run(command, check=True, capture_output=True)


def make(folder: Path, kernel: PackagedKernel) -> UbuntuArchive:
    """Make the archive below the empty ``folder``."""
    made = UbuntuArchive(folder / "ubuntu", folder / "gnupg")
    made.pool.mkdir(parents=True)
    made.gnupg.mkdir(mode=0o700)
    made.gpg("--quick-gen-key", "toy <toy@localhost.invalid>", "ed25519", "sign", "never")
    made.gpg("--export", "-o", str(made.keyring))
    _package(kernel, folder / "packages", made.pool)
    _mirror(kernel.suite, folder / "apt", made.pool)
    made.sign()
    return made


def _mirror(release: str, work: Path, pool: Path) -> None:
    """Put what a builder image is made of into the pool, from this machine's mirror."""
    own = apt_root.make(work, apt.debian_sources(apt.targets(), release))
    with Screen(Mode.QUIET).step("mirror") as step:
        own.update(step)
        wanted = ["?essential", "?priority(required)", *_BUILDER]
        own.get(["--yes", "--no-install-recommends", "--download-only", "install", *wanted], step)
    for deb in own.archives.glob("*.deb"):
        deb.rename(pool / deb.name)


# -- a kernel in Ubuntu's packages -------------------------------------------------------------------
def _package(kernel: PackagedKernel, work: Path, pool: Path) -> None:
    release, abi = kernel.release, kernel.release.rpartition("-")[0]
    image, modules = work / "image", work / "modules"
    _copy(kernel.vmlinuz, image / f"boot/vmlinuz-{release}")
    _copy(kernel.config, modules / f"boot/config-{release}")
    packed = modules / f"lib/modules/{release}"
    shutil.copytree(kernel.modules, packed, symlinks=True)
    files = sorted(packed.rglob("*.ko"))
    subprocess.run(["zstd", "-q", "-1", "--rm", *files], check=True)
    extra = work / f"modules-extra/lib/modules/{release}/kernel"
    extra.mkdir(parents=True)
    for name in _EXTRA:
        (packed / "kernel" / name).rename(extra / name)
    _headers(kernel.kit, work, release, abi)
    for name, folder, version, depends in (
        (f"linux-image-{release}", image, VERSION, f"kmod, linux-base, linux-modules-{release}"),
        (f"linux-modules-{release}", modules, VERSION, ""),
        (f"linux-modules-extra-{release}", work / "modules-extra", VERSION, f"linux-modules-{release}"),
        (f"linux-headers-{release}", work / "headers", VERSION, f"linux-headers-{abi}, libc6 (>= 2.34)"),
        (f"linux-headers-{abi}", work / "common", VERSION, "coreutils"),
        (
            "linux-image-generic", work / "meta", "6.1.0.57.58",
            f"linux-image-{release}, linux-modules-extra-{release}, linux-firmware, intel-microcode",
        ),
    ):  # fmt: skip
        _deb(folder, pool, {"Package": name, "Version": version, "Depends": depends})


def _headers(kit: Path, work: Path, release: str, abi: str) -> None:
    """Lay Debian's headers out as Ubuntu's: what is common is in one folder, and linked to from the other."""
    own = work / f"headers/usr/src/linux-headers-{release}"
    common = work / f"common/usr/src/linux-headers-{abi}"
    own.parent.mkdir(parents=True)
    common.parent.mkdir(parents=True)
    of_parts = ("common", "kbuild", "scripts", "tools", "Makefile")
    shutil.copytree(
        kit, own, symlinks=True,
        ignore=lambda folder, names: {n for n in names if n in of_parts and folder == str(kit)},
    )  # fmt: skip
    shutil.copytree(
        kit / "common", common, symlinks=True,
        ignore=lambda folder, names: {n for n in names if n in ("scripts", "tools")},
    )  # fmt: skip
    for name in ("scripts", "tools"):
        shutil.copytree(kit / "kbuild" / name, own / name, symlinks=True)
    _link(own, common, f"../linux-headers-{abi}")
    modules = work / f"headers/lib/modules/{release}"
    modules.mkdir(parents=True)
    (modules / "build").symlink_to(f"/usr/src/linux-headers-{release}")


def _link(own: Path, common: Path, to: str) -> None:
    for entry in common.iterdir():
        mine = own / entry.name
        if not mine.exists():
            mine.symlink_to(f"{to}/{entry.name}")
        elif entry.is_dir() and mine.is_dir() and not mine.is_symlink():
            _link(mine, entry, f"../{to}/{entry.name}")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _deb(folder: Path, pool: Path, fields: Mapping[str, str]) -> None:
    (folder / "DEBIAN").mkdir(parents=True, exist_ok=True)
    more = {"Architecture": "amd64", "Maintainer": "toy <toy@localhost.invalid>", "Description": "toy"}
    control = "".join(f"{key}: {value}\n" for key, value in {**fields, **more}.items() if value)
    (folder / "DEBIAN/control").write_text(control)
    # The same packages each time, so that the cache has one kernel of them.
    subprocess.run(
        ["dpkg-deb", "-Zzstd", "-z1", "--root-owner-group", "--build", folder, pool],
        check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1767225600"},
    )  # fmt: skip


# -- on the network ----------------------------------------------------------------------------------
class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(archive: UbuntuArchive) -> Iterator[str]:
    """Serve the archive on this machine, and yield its address."""
    handler = partial(_Handler, directory=str(archive.folder.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/ubuntu"
        finally:
            server.shutdown()
