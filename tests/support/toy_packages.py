"""A Debian archive for tests: real packages, made by dpkg-deb, and programs that play apt.

The archive is a folder: ``available`` has the packages, ``depends`` a line for each name with what it takes,
and ``calls`` what apt was asked for. Without ``available`` there is no network.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmodpipe.source import apt

_APT_GET = """\
#!/bin/sh
archive=@ARCHIVE@
echo "apt-get $*" >> $archive/calls
root=$(sed -n 's/^Dir::State "\\(.*\\)\\/state";$/\\1/p' "$2" 2>/dev/null)
case "$*" in
    *indextargets*) echo "http://mirror.invalid/debian|bookworm|main|Debian|Debian"; exit 0 ;;
esac
if [ ! -d $archive/available ]; then
    echo "E: Failed to fetch http://mirror.invalid/debian/dists/bookworm/InRelease: no network" >&2
    exit 100
fi
case "$*" in
    *" install "*)
        for name; do
            case "$name" in
                [a-z]*=*)
                    version=$(echo "${name#*=}" | sed 's/:/%3a/')
                    if ! cp "$archive/available/${name%%=*}_${version}_all.deb" "$root/cache/archives/"; then
                        echo "E: Version '${name#*=}' for '${name%%=*}' was not found" >&2
                        exit 100
                    fi ;;
            esac
        done
        for one in $(sed -n "s/^$name: //p" $archive/depends); do
            cp $(ls $archive/available/${one}_* | sort -V | tail -n 1) "$root/cache/archives/"
        done ;;
esac
"""
_APT_CACHE = """\
#!/bin/sh
echo "apt-cache $*" >> @ARCHIVE@/calls
sed 's/:.*//' @ARCHIVE@/depends
"""


@dataclass(frozen=True)
class Archive:
    """A folder that plays a Debian mirror, and the folder of the programs that play apt."""

    folder: Path
    programs: Path

    def add(
        self,
        name: str,
        files: Mapping[str, str],
        version: str = "1.0-1",
        depends: tuple[str, ...] = (),
        *,
        keep: bool = False,
    ) -> None:
        """Make a package, over earlier ones of its name or, to ``keep``, beside them.

        Files below bin and sbin are executable.
        """
        available = self.folder / "available"
        for old in () if keep else available.glob(f"{name}_*"):
            old.unlink()
        root = self.folder / "made" / name
        shutil.rmtree(root, ignore_errors=True)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        own = {"DEBIAN/control": f"{control}Maintainer: toy <toy@localhost.invalid>\nDescription: toy\n"}
        for path, text in {**own, **files}.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                target.symlink_to(text.removeprefix("-> "))
            else:
                target.write_text(text)
                target.chmod(0o755 if "bin/" in path else 0o644)
        deb = available / f"{name}_{version.replace(':', '%3a')}_all.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", root, deb], check=True, capture_output=True
        )
        known = self.folder / "depends"
        lines = [line for line in known.read_text().splitlines() if not line.startswith(f"{name}: ")]
        known.write_text("".join(f"{line}\n" for line in (*lines, f"{name}: {' '.join((name, *depends))}")))

    def go_offline(self) -> None:
        """Take the network away."""
        (self.folder / "available").rename(self.folder / "away")

    @property
    def calls(self) -> list[str]:
        """What apt was asked for so far."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


def build(folder: Path, programs: Path) -> Archive:
    """An empty archive in ``folder``; its apt goes to ``programs``, which is to stand first in PATH."""
    if shutil.which("dpkg-deb") is None or not apt.KEYRING.is_file():
        pytest.skip("needs dpkg-deb and Debian's key ring")
    (folder / "available").mkdir(parents=True)
    (folder / "depends").touch()
    programs.mkdir(exist_ok=True)
    for name, text in (("apt-get", _APT_GET), ("apt-cache", _APT_CACHE)):
        (programs / name).write_text(text.replace("@ARCHIVE@", str(folder)))
        (programs / name).chmod(0o755)
    return Archive(folder, programs)
