"""Read what was built: build ids and digests of code of kernels and modules."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from kmodpipe.cache.store import Artifact
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, KernelFailure


def require_elf(built: Path, log: Path) -> None:
    """Raise KernelFailure where what was just built is something else than it is called."""
    try:
        build_id(built)
    except InfraError as e:
        raise KernelFailure(f"{built.name} was built, but is {e.what}", where=f"log: {log}") from e


def kernel_build_ids(base: Artifact, module: Artifact) -> tuple[str, Mapping[str, str]]:
    """The build id of vmlinux and of each module by name: what the guest must report to be believed."""
    modules = {p.stem.replace("-", "_"): build_id(p) for p in sorted((module.path / "out").glob("*.ko"))}
    return build_id(base.path / "out" / "vmlinux"), modules


_NO_CODE = (".debug_", ".rela.debug_", ".note.gnu.build-id")
_MAX_SECTIONS = 1_000_000
# What pyelftools lets through where a file is damaged on purpose.
_DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError, RecursionError)


def digest_of_code(path: Path) -> str:
    """What a module does, as a digest: all of its file but line numbers and the build id that covers them.
    Raises InfraError on a file that is not ELF."""
    try:
        with path.open("rb") as f:
            kept = {
                f"{number} {section.name}": hashlib.sha256(section.data()).hexdigest()
                for number, section in enumerate(ELFFile(f).iter_sections())
                if not section.name.startswith(_NO_CODE)
            }
    except (ELFError, OSError) as e:
        raise InfraError(f"not a readable ELF file: {e}", where=str(path)) from e
    return digest_of(kept)


@functools.lru_cache(maxsize=64)
def build_id(path: Path) -> str:
    """The GNU build id (hex) of a vmlinux or a module; the running kernel shows the same bytes under
    /sys/kernel/notes and /sys/module/<name>/notes. Empty where the file has none.

    Remembered by path: artifacts do not change. Raises InfraError on a file that is not ELF.
    """
    try:
        with path.open("rb") as f:
            elf = ELFFile(f)
            if elf.num_sections() > _MAX_SECTIONS:
                raise ELFError(f"{elf.num_sections()} sections")
            for section in elf.iter_sections():
                if isinstance(section, NoteSection):
                    for note in section.iter_notes():
                        if note["n_type"] == "NT_GNU_BUILD_ID":
                            return str(note["n_desc"])
    except (ELFError, OSError, *_DAMAGE) as e:
        raise InfraError(f"not a readable ELF file: {str(e) or type(e).__name__}", where=str(path)) from e
    return ""
