"""Find the programs that guests get beyond their root file system, and decide how they get them.

They are sets of tools, and Debian packages. Both are archives in memory; large packages are on a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build import guest_disk
from kmodpipe.build.guest_stages import GuestStages, suite_of
from kmodpipe.build.stage import Stage
from kmodpipe.cache.share import Share
from kmodpipe.cache.store import Artifact
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.source import packages
from kmodpipe.util import toml
from kmodpipe.util.screen import Screen

if TYPE_CHECKING:
    from kmodpipe.judge.cases import Case


@dataclass(frozen=True)
class Tools:
    """What the guests of a run get."""

    # By the name of the set or the package.
    stages: Mapping[str, Stage]
    # Of the packages, by name.
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Handed:
    """How the guests of a cell get their tools."""

    # Of the initramfs, by a name that differs where the content does within a run.
    archives: Mapping[str, Path]
    # The file system on a disk, and what the links of this name lead to.
    disk: Path | None = None
    # How there could be one, if that would make a difference.
    hint: str = ""


def archive(tool: Artifact) -> Path:
    """Return the archive of a set of tools or a package."""
    return tool.path / "toolset.cpio"


def handed(
    wanted: Mapping[str, Artifact],
    packages: Collection[str],
    kernel: Mapping[str, str],
    make_disk: Callable[[Mapping[str, Artifact], Mapping[str, Artifact]], Artifact | None],
) -> Handed:
    """Return how a guest gets the ``wanted`` tools, of which these are ``packages``.

    ``kernel`` is its kernel's configuration. ``make_disk`` makes the disk of the packages that it is given,
    for a guest that has the sets of tools that it is given as well; without one all is in memory.
    """
    on_disk = {name: tool for name, tool in wanted.items() if name in packages}
    in_memory = {name: archive(tool) for name, tool in wanted.items()}
    size = sum(archive(tool).stat().st_size for tool in on_disk.values())
    if size <= guest_disk.IN_MEMORY_MIB << 20:
        return Handed(in_memory)
    if lacks := guest_disk.lacking(kernel):
        hint = f"with {' and '.join(lacks)} in its kernel ({guest_disk.way_out(lacks)}) they are on a disk"
        return Handed(in_memory, hint=hint)
    sets = {name: tool for name, tool in wanted.items() if name not in packages}
    disk = make_disk(on_disk, sets)
    if disk is None:
        return Handed(in_memory)
    archives = {name: archive(tool) for name, tool in sets.items()}
    archives[f"links-{disk.key[:12]}"] = disk.path / "links.cpio"
    return Handed(archives, disk.path / "out/tools.img")


def names(spec: RunSpec) -> tuple[str, ...]:
    """Return the names of all tools that a guest of the run gets."""
    return tuple(dict.fromkeys(name for flavour in spec.flavours for name in spec.tools(flavour)))


def packages_of(spec: RunSpec, stages: GuestStages) -> tuple[str, ...]:
    """Return the names of those that are Debian packages."""
    return tuple(name for name in names(spec) if not stages.is_toolset(name))


def locate(name: str, stages: GuestStages, guest: Artifact, cache: Path) -> Stage | None:
    """Return the stage of a tool, or None for a package that was never fetched. Does not use the network."""
    if stages.is_toolset(name):
        return stages.toolset(name, guest)
    package = packages.recall(name, suite_of(guest), cache)
    return stages.package(package, guest, cache) if package else None


def find(
    spec: RunSpec,
    stages: GuestStages,
    guest: Artifact,
    cache: Path,
    screen: Screen,
    has: Callable[[Stage], bool],
    share: Share | None,
) -> Tools:
    """Return the stages of all tools of a run; fetch the packages of those that ``has`` is false of.

    With ``--head`` packages are resolved anew. Raise UserError, with file and line, for a name that is
    neither a set nor a package.
    """
    found = {name: stages.toolset(name, guest) for name in names(spec) if stages.is_toolset(name)}
    wanted = packages_of(spec, stages)
    if not wanted:
        return Tools(found, {})

    known = packages.resolve(
        wanted,
        suite_of(guest),
        cache,
        screen,
        have=lambda package: has(stages.package(package, guest, cache)),
        where=_places(spec),
        share=share,
        renew=spec.head,
    )
    found |= {one.name: stages.package(one, guest, cache) for one in known}
    return Tools(found, {one.name: one.version for one in known})


def _places(spec: RunSpec) -> Callable[[str], str]:
    """Return a function that returns where a tool is named: the file, and the line if it is known."""

    def where(name: str) -> str:
        for case in spec.cases:
            if name in case.tools:
                return str(case.path) if name in case.script.tools else _place(case)
        own = next((flavour.name for flavour in spec.flavours if name in flavour.tools), "")
        return toml.place(spec.matrix.path, ("flavours", own, "tools"))

    return where


def _place(case: Case) -> str:
    """Return ``FILE:LINE`` of a case's tools in its case.toml."""
    file = case.path.parent / "case.toml"
    found = toml.read(file, "case.toml").get("case", [])
    number = next((at for at, table in enumerate(found) if table.get("id") == case.id), 0)
    return toml.place(file, ("case", number, "tools"))
