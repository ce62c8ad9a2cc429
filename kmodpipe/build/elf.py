"""Read build ids and digests of the code from kernels and modules."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.cache.store import Artifact
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, KernelFailure

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile


def module_name(file: str | Path) -> str:
    """Return the name that the kernel has for a module: that of its file, with _ for -."""
    return Path(file).stem.replace("-", "_")


def require_elf(built: Path, log: Path) -> None:
    """Raise KernelFailure if the file ``built`` is not ELF."""
    try:
        build_id(built)
    except InfraError as e:
        raise KernelFailure(f"{built.name} was built, but is {e.what}", where=f"log: {log}") from e


def kernel_build_ids(base: Artifact, module: Artifact) -> tuple[str, Mapping[str, str]]:
    """Return the build ids of vmlinux and of each module by name, which the guest's must equal."""
    modules = {module_name(p): build_id(p) for p in sorted((module.path / "out").glob("*.ko"))}
    return build_id(base.path / "out" / "vmlinux"), modules


_NO_CODE = (".debug_", ".rela.debug_", ".note.gnu.build-id")
_MAX_SECTIONS = 1_000_000
_XEN_PHYS32_ENTRY = 18
# Exceptions that pyelftools raises besides its own for a file that is damaged on purpose.
DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError, RecursionError)


@contextmanager
def opened(path: Path, what: str = "ELF file") -> Iterator[ELFFile]:
    """Yield an ELF file for reading. Raise InfraError, which calls it no ``what``, for a damaged one."""
    # Not above: a command with nothing to build reads no ELF file.
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as f:
            yield ELFFile(f)
    except (ELFError, OSError, *DAMAGE) as e:
        raise InfraError(f"not a readable {what}: {str(e) or type(e).__name__}", where=str(path)) from e


def digest_of_code(path: Path) -> str:
    """Return a digest of a module without its debugging information and its build id, which covers that.

    Two modules with equal digests do the same. Raises InfraError if the file is not ELF.
    """
    with opened(path) as elf:
        kept = {
            f"{number} {section.name}": hashlib.sha256(section.data()).hexdigest()
            for number, section in enumerate(elf.iter_sections())
            if not section.name.startswith(_NO_CODE)
        }
    return digest_of(kept)


@functools.lru_cache(maxsize=64)
def build_id(path: Path) -> str:
    """Return the GNU build id (hex) of a vmlinux or a module, '' if it has none.

    The running kernel has the same bytes in /sys/kernel/notes and /sys/module/<name>/notes. Results are
    cached by path: artifacts do not change. Raises InfraError if the file is not ELF.
    """
    with opened(path) as elf:
        for note in _notes(elf):
            # Xen's notes have a type of the same number.
            if note["n_type"] == "NT_GNU_BUILD_ID" and note["n_name"] == "GNU":
                return str(note["n_desc"])
    return ""


def has_pvh_entry(vmlinux: Path) -> bool:
    """Return whether QEMU's ``-kernel`` can boot a vmlinux: it has a PVH entry point (CONFIG_PVH).

    That is a note of Xen's, XEN_ELFNOTE_PHYS32_ENTRY (Linux' include/xen/interface/elfnote.h). Raises
    InfraError if the file is not ELF.
    """
    with opened(vmlinux) as elf:
        return any(note["n_name"] == "Xen" and note["n_type"] == _XEN_PHYS32_ENTRY for note in _notes(elf))


def _notes(elf: ELFFile) -> Iterator[Mapping[str, object]]:
    from elftools.elf.sections import NoteSection

    if elf.num_sections() > _MAX_SECTIONS:
        raise ValueError(f"{elf.num_sections()} sections")
    for section in elf.iter_sections():
        if isinstance(section, NoteSection):
            yield from section.iter_notes()
