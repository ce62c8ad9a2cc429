"""Turn what guests are made of into build steps: the root file system, and the archives of tools.

They are the same for every kernel of a run, and chained as the steps of `stages` are.

    guest (one) ─► toolset (a set of tools, or a Debian package) ─► toolset (a disk of large packages)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from kmodpipe.build import guest_disk, guest_tools
from kmodpipe.build.complete import require_files, require_folders
from kmodpipe.build.recipes import Builder, WorkDir
from kmodpipe.build.sharing import content
from kmodpipe.build.stage import Stage
from kmodpipe.cache.store import Artifact, Inputs
from kmodpipe.source import packages
from kmodpipe.source.packages import Package
from kmodpipe.util import paths
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError

# Raise one when the meaning of a key changes, so that no artifact of an earlier version is taken.
_GUEST_VERSION = 1
_PACKAGE_VERSION = 1
_DISK_VERSION = 1
# A row of images/guest/toolset.sh: "    xfs) …".
_SET_OF_TOOLS = re.compile(r"^\s+([a-z][a-z0-9-]*)\) ", re.MULTILINE)
_RELEASE = re.compile(r'^(ID|VERSION_CODENAME)="?([a-z0-9]+)"?$', re.MULTILINE)


class GuestStages:
    """Makes the stages of one run's guests."""

    def __init__(self, builder: Builder, identity: Inputs) -> None:
        """``identity`` is that of the builder's runtime."""
        self._builder = builder
        self._identity = identity
        guest = builder.images / "guest"
        # Cases and their library are packed for each cell: changing one makes no new guest.
        self._recipe = digest_of(
            {
                p.relative_to(guest).as_posix(): content(p)
                for p in sorted(guest.rglob("*"))
                if p.is_file() and p.relative_to(guest).parts[0] not in ("cases", "lib.sh")
            }
        )

    def guest(self) -> Stage:
        """Return the stage of the root file system that every cell boots."""
        inputs: Inputs = {"builder": dict(self._identity), "recipe": [_GUEST_VERSION, self._recipe]}

        def make(work: WorkDir) -> None:
            from kmodpipe.vm.initramfs import pack_rootfs

            self._builder.guest(work)
            pack_rootfs(work.folder / "out", work.folder / "guest.cpio")

        def check(folder: Path) -> None:
            require_files(folder, "guest.cpio")
            require_folders(folder, "out")

        return Stage("guest", "root file system", inputs, make, need_mib=128, check=check)

    def is_toolset(self, name: str) -> bool:
        """Return whether images/guest/toolset.sh has a set of tools of this name."""
        recipe = self._builder.images / "guest" / "toolset.sh"
        return recipe.is_file() and name in _SET_OF_TOOLS.findall(recipe.read_text("utf-8", "replace"))

    def toolset(self, name: str, guest: Artifact) -> Stage:
        """Return the stage of a set of tools: programs that only some guests get.

        It is an archive of its own, because every boot unpacks the whole root file system.
        """

        def collect(work: WorkDir) -> None:
            self._builder.toolset(name, guest.path / "out", work)

        return _archive(name, {"guest": guest.key, "toolset": name}, collect, need_mib=128)

    def package(self, package: Package, guest: Artifact, cache: Path) -> Stage:
        """Return the stage of a Debian package with what it depends on, for the guests that ask for it.

        Like a set of tools it is an archive of its own. Its packages are in ``cache``.
        """
        inputs: Inputs = {
            "guest": guest.key,
            "package": package.name,
            "packages": dict(package.pins),
            "recipe": _PACKAGE_VERSION,
        }

        def collect(work: WorkDir) -> None:
            debs = packages.files(package, cache)
            if debs is None:
                raise InfraError(
                    f"a package for the guest is gone from the cache: {package.name} or one it depends on",
                    where=str(cache / "downloads"),
                    hint="run the same command again: it is fetched anew",
                )
            unpacked, out = work.folder / "unpacked", work.folder / "out"
            unpacked.mkdir()
            out.mkdir()
            guest_tools.lay_out(debs, guest.path / "out", unpacked, out)
            paths.remove(unpacked)

        return _archive(package.name, inputs, collect, need_mib=1024)

    def disk(self, packages: Mapping[str, Artifact], sets: Mapping[str, Artifact], guest: Artifact) -> Stage:
        """Return the stage of a disk with the files of ``packages``, and of the archive of links to them.

        The links are for a guest that has the ``sets`` of tools in its root as well. Both are artifacts of
        `package` and `toolset`, by name.
        """
        inputs: Inputs = {
            "guest": guest.key,
            "packages": [one.key for one in packages.values()],
            "sets": [one.key for one in sets.values()],
            "recipe": _DISK_VERSION,
        }
        size_mib = sum((one.path / "toolset.cpio").stat().st_size for one in packages.values()) >> 20

        def make(work: WorkDir) -> None:
            from kmodpipe.vm import guest_root, initramfs

            tree = work.folder / "tree"
            tree.mkdir()
            guest_disk.merge([one.path / "out" for one in packages.values()], tree)
            self._builder.disk(tree, guest_disk.layout(tree), work)
            have = (guest.path / "guest.cpio", *(one.path / "toolset.cpio" for one in sets.values()))
            with (work.folder / "links.cpio").open("wb") as f:
                initramfs.newc(guest_disk.links(tree, guest_root.read(have).names), f)
            paths.remove(tree)

        def check(folder: Path) -> None:
            require_files(folder, "links.cpio", "out/tools.img")

        label = f"disk-{'-'.join(packages)}"[:100]
        return Stage("toolset", label, inputs, make, need_mib=3 * size_mib + 64, check=check)


def _archive(name: str, inputs: Inputs, collect: Callable[[WorkDir], None], *, need_mib: int) -> Stage:
    """Return the stage of an archive of what ``collect`` leaves in ``out``."""

    def make(work: WorkDir) -> None:
        from kmodpipe.vm.initramfs import pack_folder

        collect(work)
        pack_folder(work.folder / "out", work.folder / "toolset.cpio")

    def check(folder: Path) -> None:
        require_files(folder, "toolset.cpio")

    return Stage("toolset", name, inputs, make, need_mib=need_mib, check=check)


def suite_of(guest: Artifact) -> str:
    """Return the Debian release whose libraries the guest has, such as bookworm: that of its builder.

    Raise InfraError if that is another distribution.
    """
    release = guest.path / "out" / "etc" / "os-release"
    text = release.read_text("utf-8", "replace") if release.is_file() else ""
    found: dict[str, str] = dict(_RELEASE.findall(text))
    if found.get("ID") == "debian" and (suite := found.get("VERSION_CODENAME")):
        return suite
    raise InfraError(
        "packages as tools need a guest that is built on Debian",
        where=str(release),
        hint="build in Docker (--runtime docker); images/guest/recipe.sh keeps etc/os-release",
    )
