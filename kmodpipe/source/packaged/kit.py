"""Make a kernel's headers a kit: one folder for ``make -C KIT M=…`` that works wherever it is mounted.

Debian has three folders for it, which name each other: the headers of the architecture include
``/usr/src/linux-headers-*-common/Makefile`` (and set KBUILD_OUTPUT since 6.13), and both of these have
links to ``/usr/lib/linux-kbuild-*``. Here the two others are folders of the first, and the links follow.
Nothing else in them has an absolute path (5.10, 6.1, 6.12, 7.2); modpost and objtool are wrappers that find
their programs by their own name.

Ubuntu has two: of the kernel, with the programs of scripts/ and tools/, and of all kernels of its version,
which the links of the first lead to (``Makefile -> ../linux-headers-6.8.0-50/Makefile``).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from kmodpipe.util import paths
from kmodpipe.util.errors import UserError

_COMMON = "common"
_KBUILD = "kbuild"
_LINKED = ("scripts", "tools")
_HERE = "kmodpipe-kit := $(realpath $(dir $(lastword $(MAKEFILE_LIST))))\n"
_INCLUDE = re.compile(r"^include (/\S+)/Makefile$", re.MULTILINE)
_OUTPUT = re.compile(r"^KBUILD_OUTPUT *:?= *\S+$", re.MULTILINE)
_RELEASE = re.compile(r'^#define UTS_RELEASE "([^"]+)"', re.MULTILINE)
# The largest headers (Ubuntu's) have some 30,000.
_MOST_FILES = 200_000


def release_of(kit: Path) -> str:
    """Return the release that a kit builds modules for; empty if it does not say."""
    try:
        text = (kit / "include/generated/utsrelease.h").read_text("ascii", "replace")
    except OSError:
        return ""
    found = _RELEASE.search(text)
    return found[1] if found else ""


def from_debian(headers: Path, common: Path, kbuild: Path, kit: Path) -> None:
    """Move the folders of Debian's three packages to ``kit``. Raise UserError for headers of another form."""
    headers.rename(kit)
    common.rename(kit / _COMMON)
    kbuild.rename(kit / _KBUILD)
    for name in _LINKED:
        for link, target in ((kit / name, _KBUILD), (kit / _COMMON / name, f"../{_KBUILD}")):
            link.unlink(missing_ok=True)
            link.symlink_to(f"{target}/{name}")
    if not _relocate(kit):
        raise UserError("its Makefile includes no other one, as Debian's do", where=headers.name)
    _require_closed(kit, headers.name)


def from_ubuntu(headers: Path, others: Sequence[Path], kit: Path) -> None:
    """Move the folders of Ubuntu's packages to ``kit``, and let the links of the first follow.

    A link into a package that is not among them, such as that of Rust's sources, is left out. Raise UserError
    for headers of another form.
    """
    headers.rename(kit)
    for folder in others:
        folder.rename(kit / folder.name)
    names = {folder.name for folder in others}
    for name, target in paths.links_below(kit).items():
        parts, link = target.split("/"), kit / name
        at = next((number for number, part in enumerate(parts) if part in names), None)
        if at is not None:
            link.unlink()
            link.symlink_to("/".join([".."] * name.count("/") + parts[at:]))
    for name in paths.links_below(kit):
        if not (kit / name).exists():
            (kit / name).unlink()
    if not (kit / "Makefile").is_file():
        raise UserError(
            "its headers have no Makefile, and none of their version's either", where=headers.name
        )
    _require_closed(kit, headers.name)


def from_folder(headers: Path, kit: Path) -> None:
    """Copy a folder for ``make -C`` to ``kit``, with what its links and its Makefile lead to.

    Raise UserError for a folder of which no kit can be made.
    """
    if not paths.is_file(headers / "Makefile"):
        raise UserError("no headers of a kernel: it has no Makefile", where=str(headers))
    _copy(headers, kit)
    if common := _INCLUDE.search(_makefile(kit)):
        if not paths.is_dir(Path(common[1])):
            raise UserError(f"its Makefile includes {common[0]}, which is not there", where=str(headers))
        _copy(Path(common[1]), kit / _COMMON)
        _relocate(kit)
    _require_closed(kit, str(headers))


def _makefile(kit: Path) -> str:
    return (kit / "Makefile").read_text("utf-8", "replace")


def _relocate(kit: Path) -> bool:
    """Let the kit's Makefile find the kit by its own place; return whether it included another Makefile."""
    text, number = _INCLUDE.subn(f"include $(kmodpipe-kit)/{_COMMON}/Makefile", _makefile(kit))
    text = _OUTPUT.sub("KBUILD_OUTPUT := $(kmodpipe-kit)", text)
    if number:
        (kit / "Makefile").write_text(_HERE + text)
    return number > 0


def _require_closed(kit: Path, what: str) -> None:
    if leading := paths.escaping_link(paths.links_below(kit)):
        raise UserError(f"its headers have a link that leads nowhere: {' → '.join(leading)}", where=what)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder. Links in it stay, those that lead out of it are followed."""
    top, copied = source.resolve(), 0
    pending = [(top, target)]
    while pending:
        folder, place = pending.pop()
        place.mkdir()
        for entry in sorted(folder.iterdir()):
            copied += 1
            if copied > _MOST_FILES:
                raise UserError(f"no headers of a kernel: more than {_MOST_FILES} files", where=str(source))
            real = entry.resolve() if entry.is_symlink() else entry
            if entry.is_symlink() and real.exists() and _stays(entry, top):
                (place / entry.name).symlink_to(os.readlink(entry))  # noqa: PTH115
            elif paths.is_dir(real):
                if entry.is_symlink() and entry.absolute().is_relative_to(real):
                    raise UserError("its headers have a link to a folder above it", where=str(entry))
                pending.append((real, place / entry.name))
            elif paths.is_file(real):
                shutil.copy2(real, place / entry.name)


def _stays(link: Path, top: Path) -> bool:
    """Return whether a link leads to the same file of a copy of ``top``."""
    text = os.readlink(link)  # noqa: PTH115
    return not text.startswith("/") and link.resolve().is_relative_to(top)
