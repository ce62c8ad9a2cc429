"""Find the packages that make a kernel in an archive: those of its image, and of its headers (pure).

Debian has an image with its modules, headers of the architecture, common ones, and kbuild. Ubuntu has the
image alone, its modules in two packages, and headers with kbuild in two; their versions have no need to be
equal, as the packages' names say which kernel they are of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kmodpipe.source.packaged.record import PackagedKernelSpec
from kmodpipe.util.errors import UserError, nearest
from kmodpipe.util.text import some

_IMAGE = "linux-image-"
_UNSIGNED = "linux-image-unsigned-"
_EXTRA = "linux-modules-extra-"
_HEADERS = "linux-headers-"
PREFIX = "linux-"
"""What the names of all kernel packages begin with."""
_OURS = re.compile(
    r"linux-(?:(?:image|binary|modules|base|headers|kbuild)-\S+|\S+-headers-\d\S*)(?<!-unsigned)"
)
# Without the compiler, and what is needed only to install the image on a machine.
_PART = re.compile(
    r"linux-(?:image(?:-unsigned)?|binary|modules(?:-extra)?|base|(?:\S+-)?headers|kbuild)-\d\S*"
)
_FIELD = re.compile(r"^(Package|Version|Depends): *(.*)$", re.MULTILINE)
_DEPENDENCY = re.compile(r"\s*([^\s:(|]+)(?::any)?\s*(?:\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?")
# linux-image-amd64, linux-image-6.12-amd64, linux-image-generic-hwe-22.04: they depend on the newest kernel
# (of a series).
_META = re.compile(r"linux-image-(?:(\d+\.\d+)-)?([a-z][a-z0-9-]*?)(?:-hwe-\d+\.\d+(?:-edge)?)?")
# What another package's kernels are called: linux-image-virtual takes those without linux-modules-extra.
_FLAVOURS = {"virtual": "generic"}
_KERNELS_LISTED = 8


@dataclass(frozen=True)
class Pins:
    """The packages of one kernel."""

    # The image's, such as linux-image-6.1.0-57-amd64.
    image: str
    # The version of each package, by name.
    packages: Mapping[str, str]


@dataclass(frozen=True)
class Archive:
    """The kernel packages that some suites have."""

    # What each version of a package depends on, by its name; the newest version first.
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def versions(self, name: str) -> list[str]:
        """Return the versions that there are of a package, the newest first."""
        return list(self.packages.get(name, ()))

    def needs(self, name: str, version: str) -> list[tuple[str, str]]:
        """Return those of a package's dependencies that are part of a kernel, with their exact version or ''.

        Of alternatives the first is taken: another one is the image without a signature.
        """
        depends = self.packages.get(name, {}).get(version, "")
        parts = [one for part in depends.split(",") if (one := _DEPENDENCY.match(part))]
        return [(one[1], one[3] if one[2] == "=" else "") for one in parts if _PART.fullmatch(one[1])]

    def kernels(self, given: str) -> list[str]:
        """Return the images, with headers, of the series and flavour of a metapackage or another image."""
        meta = _META.fullmatch(given)
        series = re.escape(meta[1]) if meta and meta[1] else r"\d+\.\d+"
        flavour = re.escape(_FLAVOURS.get(meta[2], meta[2]) if meta else _flavour(release_of(given)))
        pattern = re.compile(rf"linux-image-({series}\.\d[^-]*(?:-\d[^-]*)?-{flavour})")
        return [
            name
            for name, versions in self.packages.items()
            if (found := pattern.fullmatch(name)) and versions.keys() & self.versions(_HEADERS + found[1])
        ]


def release_of(image: str) -> str:
    """Return the kernel's release in the name of its image's package."""
    return image.removeprefix(_UNSIGNED).removeprefix(_IMAGE)


def wanted(names: Iterable[str], *, debug: bool) -> list[str]:
    """Return those of an archive's package names that `parse` needs the descriptions of."""
    return sorted(name for name in names if _OURS.fullmatch(name) and (debug or not name.endswith("-dbg")))


def parse(shown: str) -> Archive:
    """Parse the output of ``apt-cache show`` with all versions of packages."""
    found: dict[str, dict[str, str]] = {}
    for paragraph in shown.split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        if "Package" in fields and "Version" in fields:
            found.setdefault(fields["Package"], {}).setdefault(fields["Version"], fields.get("Depends", ""))
    return Archive(found)


def resolve(spec: PackagedKernelSpec, archive: Archive) -> Pins:
    """Return the packages of a declared kernel.

    Raise UserError, which names what there is, for a package or version that the archive does not have.
    """
    where = f"kernel {spec.name}"
    image, version, also = _image(spec, archive, where)
    release = release_of(image)
    headers = _HEADERS + release
    here = archive.versions(headers)
    of_headers = version if version in here else "".join(here[:1]) if spec.ubuntu_kernel else ""
    if not of_headers:
        raise UserError(
            f"the archive has {image} {version}, but not its headers (any more)",
            where=where,
            hint=f"it has {_listed(archive.kernels(image))}",
        )
    pending = [(image, version), (headers, of_headers), *also]
    if spec.debug:
        pending.append((f"{image}-dbg", version))
    found: dict[str, str] = {}
    while pending:
        name, exact = pending.pop()
        if name in found:
            continue
        here = archive.versions(name)
        # Without a condition, or with one like (>= 6.1.176-1): that of the kernel itself, if there is one.
        best = exact or (version if version in here else "".join(here[:1]))
        if best not in here:
            what = f"the archive has no {name} {exact or version}, which {image} takes (any more)"
            raise UserError(what, where=where, hint="take a newer kernel")
        found[name] = best
        pending += archive.needs(name, best)
    return Pins(image, dict(sorted(found.items())))


def _image(spec: PackagedKernelSpec, archive: Archive, where: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Return the package of the image, its version, and which packages of modules go with it."""
    given = spec.package
    suites = ", ".join(spec.suites)
    versions = archive.versions(given)
    if not versions:
        near = nearest(given, (name for name in archive.packages if name.startswith(_IMAGE)))[:3]
        text = f"; did you mean {' or '.join(near)}?" if near else ""
        what = f"the archive has no package {given} in {suites} (any more){text}"
        raise UserError(what, where=where, hint=f"it has {_listed(archive.kernels(given))}")
    if not spec.version or spec.version in versions:
        version = spec.version or versions[0]
        # A metapackage depends on the image; an image does not depend on one.
        needs = archive.needs(given, version)
        newest = [need for need in needs if need[0].startswith(_IMAGE)]
        if not newest:
            return given, version, _extra(given, archive)
        name, exact = newest[0]
        here = archive.versions(name)
        # Ubuntu's metapackage has a version of its own, and names its image without one.
        best = exact or (version if version in here or not spec.ubuntu_kernel else "".join(here[:1]))
        return name, best, [need for need in needs if need[0].startswith(_EXTRA)]
    known = {v: name for name in archive.kernels(given) for v in archive.versions(name)}
    if spec.version in known and _META.fullmatch(given):
        return known[spec.version], spec.version, _extra(known[spec.version], archive)
    raise UserError(
        f"the archive has no {given} {spec.version} in {suites} (any more)",
        where=where,
        hint=f"it has {_listed({*versions, *known})}",
    )


def _extra(image: str, archive: Archive) -> list[tuple[str, str]]:
    """Return the rest of a kernel's modules, which nothing but Ubuntu's metapackages depends on."""
    name = _EXTRA + release_of(image)
    return [(name, "")] if archive.versions(name) else []


def _flavour(release: str) -> str:
    """Return the end of a release: ``amd64``, ``rt-amd64``."""
    return re.sub(r"^\d[^-]*(?:-\d[^-]*)?-", "", release)


def _listed(names: Iterable[str]) -> str:
    """Return names or versions with numbers in them as a list, the greatest numbers first."""
    found = sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)], reverse=True)
    return some(found, _KERNELS_LISTED) or "no kernel of that kind"
