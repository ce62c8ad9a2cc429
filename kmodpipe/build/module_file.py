"""Read what a module says of itself, and unpack one that a distribution ships compressed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.build.elf import opened
from kmodpipe.util import compressed, os_errors
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import part_of

# A module's information is some hundred bytes; with a parameter's description each, some thousand.
_INFO_BYTES = 1 << 20
_MODULE_BYTES = 1 << 28
_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


@dataclass(frozen=True)
class ModuleInfo:
    """What is in the section ``.modinfo``; see modinfo(8). Names of modules have _ for -."""

    # Such as ``6.1.0-57-amd64 SMP preempt mod_unload modversions``; the first word is the kernel's release.
    vermagic: str
    # The modules whose symbols it takes.
    depends: tuple[str, ...]
    # The modules, or names that modules have as an alias, which are loaded before it if they are there.
    before: tuple[str, ...]
    aliases: tuple[str, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """All that is loaded before it."""
        return tuple(dict.fromkeys((*self.depends, *self.before)))


def name_of(file: str | Path) -> str:
    """Return the kernel's name for a module's file, compressed or not; empty if it is none."""
    name = Path(file).name
    stem = next((name.removesuffix(one) for one in _SUFFIXES if name.endswith(one)), "")
    return stem.replace("-", "_")


def unpack(file: Path, folder: Path) -> Path:
    """Return a module as a plain ``.ko``: the file itself, or one that is unpacked into ``folder``.

    Raise InfraError if it is damaged, or a program that unpacks it is missing.
    """
    if file.suffix == ".ko":
        return file
    target = folder / file.stem
    part = part_of(target)
    try:
        compressed.unpack(file, part, most=_MODULE_BYTES)
        part.replace(target)
    except compressed.Damaged as e:
        hint = "is the kernel's package or folder whole?"
        raise InfraError(f"a module cannot be unpacked: {e}", where=str(file), hint=hint) from e
    except OSError as e:
        raise os_errors.failed("a module cannot be unpacked", e, str(file)) from e
    finally:
        part.unlink(missing_ok=True)
    return target


def info(module: Path) -> ModuleInfo:
    """Return what a plain module says of itself. Raise InfraError if the file is not ELF."""
    fields = list(_fields(module))
    depends = [name for key, value in fields if key == "depends" for name in value.split(",")]
    before = [
        name
        for key, value in fields
        if key == "softdep" and "pre:" in value
        for name in value.partition("pre:")[2].partition("post:")[0].split()
    ]
    return ModuleInfo(
        next((value for key, value in fields if key == "vermagic"), "").strip(),
        _names(depends),
        _names(before),
        tuple(value for key, value in fields if key == "alias"),
    )


def _names(given: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip().replace("-", "_") for name in given if name.strip()))


def _fields(module: Path) -> Iterator[tuple[str, str]]:
    with opened(module, "module") as elf:
        section = elf.get_section_by_name(".modinfo")
        found = bytes(section.data()[:_INFO_BYTES]).split(b"\0") if section else []
    for field in found:
        key, _, value = field.decode("ascii", "replace").partition("=")
        yield key, value
