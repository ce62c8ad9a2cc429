"""Unpack a kernel's packages, and lay their files out as a `PackagedKernel` has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kmodpipe.source.packaged import kit, record
from kmodpipe.util import paths, process, untar
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.untar import Limits

# Where packages have a kernel's files. Since 7.x Debian has all of them in one folder.
_MODULES = ("lib/modules/{}", "usr/lib/modules/{}")
_PLACES = {
    record.VMLINUZ: ("boot/vmlinuz-{}", "usr/lib/modules/{}/vmlinuz"),
    record.CONFIG: ("boot/config-{}", "usr/lib/modules/{}/config"),
    record.SYSTEM_MAP: ("usr/lib/debug/boot/System.map-{}", "usr/lib/debug/lib/modules/{}/System.map"),
    record.VMLINUX: ("usr/lib/debug/boot/vmlinux-{}", "usr/lib/debug/lib/modules/{}/vmlinux"),
}
_HEADERS = "usr/src/linux-headers-{}"
# All folders of headers; of Ubuntu's other kernels linux-hwe-6.8-headers-6.8.0-50.
_ALL_HEADERS = "usr/src/linux-*headers-*"
_COMMON = "usr/src/linux-headers-*-common"
_KBUILD = "usr/lib/linux-kbuild-*"
# Beside the modules, and not theirs: links to the headers, and what has a place of its own.
_NOT_MODULES = ("build", "source", record.VMLINUZ, record.CONFIG, record.SYSTEM_MAP)
_FOLDERS = re.compile(
    r"(?:usr/)?lib/modules/[^/]+/(?!build$|source$)|usr/src/linux-(?:[^/]+-)?headers-|usr/lib/linux-kbuild-"
)
# Of 7.2, all packages but that with debugging information have 240 MB; that has 7.9 GB, and vmlinux 0.6 GB.
_LIMITS = Limits(members=100_000, total_bytes=4 * 1024**3, largest="any kernel package")
_AGAIN = "remove the file, and run the same command again: it is fetched anew"


def lay_out(
    debs: Sequence[Path], release: str, work: Path, *, on_count: Callable[[str], None] = lambda text: None
) -> Path:
    """Unpack packages below the empty folder ``work``, and return the folder with the kernel's files.

    ``on_count`` is called now and then with what is being done. Raise UserError, which names it, if they lack
    a part, and InfraError for a package that cannot be unpacked.
    """
    roots = []
    for number, deb in enumerate(debs):
        roots.append(work / f"{number}")
        roots[-1].mkdir()
        _unpack(deb, roots[-1], release, on_count)
    made = work / "kernel"
    (made / record.MODULES).mkdir(parents=True)
    for name, places in _PLACES.items():
        if found := next(_found(roots, [place.format(release) for place in places]), None):
            found.rename(made / name)
    for folder in _found(roots, [place.format(release) for place in _MODULES]):
        for entry in folder.iterdir():
            if entry.name not in _NOT_MODULES:
                _move(entry, made / record.MODULES / entry.name)
    parts = [next(_found(roots, [p]), None) for p in (_HEADERS.format(release), _COMMON, _KBUILD)]
    match parts:
        case [Path() as headers, Path() as common, Path() as kbuild]:
            kit.from_debian(headers, common, kbuild, made / record.KIT)
        case [Path() as headers, None, None]:
            rest = [folder for folder in _found(roots, [_ALL_HEADERS]) if folder != headers]
            kit.from_ubuntu(headers, rest, made / record.KIT)
        case _:
            raise UserError(f"the packages hold no headers of {release}", where=debs[0].name)
    return made


def _move(entry: Path, target: Path) -> None:
    """Move a file, or a folder, of which an earlier package may have had another part."""
    if target.is_dir() and entry.is_dir() and not entry.is_symlink():
        for inner in entry.iterdir():
            _move(inner, target / inner.name)
    else:
        entry.rename(target)


def _found(roots: Sequence[Path], places: Sequence[str]) -> Iterator[Path]:
    """Yield what the packages have at one of the places, which may be patterns."""
    for root in roots:
        for place in places:
            yield from (path for path in sorted(root.glob(place)) if not path.is_symlink())


def _unpack(deb: Path, target: Path, release: str, on_count: Callable[[str], None]) -> None:
    """Unpack the files that a kernel needs. Links that lead out of the package are refused."""
    files = {place.format(release) for places in _PLACES.values() for place in places}

    def wanted(name: str) -> bool:
        return name in files or _FOLDERS.match(name) is not None

    child = process.spawn_piped(["dpkg-deb", "--fsys-tarfile", deb])
    try:
        content = untar.extract(
            child.stdout, target, what=deb.name, limits=_LIMITS, wanted=wanted,
            on_count=lambda number: on_count(f"{deb.name.partition('_')[0]}: {number} files"),
        )  # fmt: skip
        if leading := paths.escaping_link(content.links):
            raise untar.Refused(leading[0], f"is a link out of the package, to {leading[1][:200]!r}")
        untar.make_links(target, content.links)
    except (untar.Refused, untar.Damaged) as e:
        raise InfraError(f"the package cannot be unpacked: {e}", where=deb.name, hint=_AGAIN) from e
    finally:
        process.end(child)
