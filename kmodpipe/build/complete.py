"""Whether an artifact that another machine or version made has the files that later steps read."""

from __future__ import annotations

import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from kmodpipe.util import document
from kmodpipe.util.errors import InfraError

_TEXT_BYTES = 16 * 1024**2
_ELF = b"\x7fELF"


def require_files(folder: Path, *names: str, empty: bool = False) -> None:
    """Raise InfraError if one of the files is missing, no regular file, or empty (unless allowed)."""
    for name in names:
        try:
            found = (folder / name).lstat()
        except OSError as e:
            raise InfraError(f"it has no {name}") from e
        if not stat.S_ISREG(found.st_mode) or not (found.st_size or empty):
            raise InfraError(f"its {name} is not a file with content")


def require_folders(folder: Path, *names: str) -> None:
    """Raise InfraError if one of the folders is missing, or a link."""
    for name in names:
        if not (folder / name).is_dir() or (folder / name).is_symlink():
            raise InfraError(f"it has no folder {name}")


def require_texts(folder: Path, *names: str) -> None:
    """Raise InfraError if one of the files is missing, or too large to be read as a text."""
    require_files(folder, *names)
    for name in names:
        if (folder / name).stat().st_size > _TEXT_BYTES:
            raise InfraError(f"its {name} is larger than {_TEXT_BYTES >> 20} MiB")


def require_elf_header(folder: Path, name: str) -> None:
    """Raise InfraError if the file is missing, or does not begin as an ELF file does."""
    require_files(folder, name)
    with (folder / name).open("rb") as f:
        if f.read(len(_ELF)) != _ELF:
            raise InfraError(f"its {name} is no ELF file")


def require_configurations(folder: Path, cells: Collection[str]) -> None:
    """Raise InfraError unless each cell has a configuration in ``out``, or a reason why it has none."""
    require_texts(folder, "out/illegal.json")
    try:
        reasons = document.read_json(folder / "out/illegal.json")
    except ValueError as e:
        raise InfraError("its out/illegal.json is not JSON") from e
    if not isinstance(reasons, Mapping) or not all(isinstance(why, str) for why in reasons.values()):
        raise InfraError("its out/illegal.json does not map cells to reasons")
    if strange := reasons.keys() - set(cells):
        raise InfraError(f"its out/illegal.json has a cell that was not asked for: {min(strange)[:80]!r}")
    require_texts(folder, *(f"out/{cell}.config" for cell in cells if cell not in reasons))
