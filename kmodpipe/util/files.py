"""Write files whole or not at all, name and sweep unfinished ones, and measure folders."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kmodpipe.util import paths, process, process_id
from kmodpipe.util.errors import InfraError

_REMOVE_S = 600.0
IGNORES_ITSELF = "*\n"
"""The .gitignore of a folder that is no part of the repository that it stands in."""


def write_atomically(path: Path, data: str | bytes | Iterable[str], *, durable: bool = True) -> None:
    """Write a file by fsync and rename: a reader sees the old content or the new, never a part.

    Pieces are written as they come, so that a large file need not be in memory. What is not ``durable`` may
    be empty after a power failure: fsync takes longer than all the rest.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pieces = (data,) if isinstance(data, (str, bytes)) else data
    part = part_of(path)
    try:
        with part.open("xb") as f:
            for piece in pieces:
                f.write(piece.encode() if isinstance(piece, str) else piece)
            if durable:
                f.flush()
                os.fsync(f.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def part_of(path: Path) -> Path:
    """Return a new name beside ``path`` for its next content; it names the writer, for `sweep_parts`."""
    owner = process_id.current().replace(" ", "~")
    return path.with_name(f".{path.name[:100]}.{owner}~{secrets.token_hex(4)}.part")


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """Yield a private folder below the system's temporary one, and remove it at the end.

    Folders that killed processes of this user left behind are removed as well.
    """
    place = Path(tempfile.gettempdir())
    for left in place.glob("kmodpipe-*~*"):
        with suppress(OSError):
            owner = left.name.removeprefix("kmodpipe-").rpartition("~")[0]
            if left.lstat().st_uid == os.getuid() and process_id.left_by(owner.replace("~", " "), left):
                paths.remove(left)
    owner = process_id.current().replace(" ", "~")
    with tempfile.TemporaryDirectory(prefix=f"kmodpipe-{owner}~{prefix}", dir=place) as folder:
        yield Path(folder)


def sweep_parts(folder: Path) -> int:
    """Remove unfinished files that dead processes left in ``folder``; return how many."""
    swept = 0
    for part in folder.glob(".*.part"):
        owner = part.name.removesuffix(".part").rpartition("~")[0].rpartition(".")[2]
        with suppress(OSError):
            if process_id.left_by(owner.replace("~", " "), part):
                paths.remove(part)
                swept += 1
    return swept


def remove_many(folder: Path) -> None:
    """Remove a folder of thousands of files, as `paths.remove` does; rm(1) takes a third of its time."""
    with suppress(InfraError):
        process.run(["rm", "-rf", "--", folder], timeout_s=_REMOVE_S, check=False)
    paths.remove(folder)


def size_mib(folder: Path) -> int:
    """Return the disk space allocated below ``folder`` in MiB; 0 if `du` cannot read it."""
    done = process.run(["du", "-sm", folder], timeout_s=120, check=False)
    return int(done.text.split()[0]) if done.text.split() else 0


def require_space(path: Path, need_mib: int, what: str) -> None:
    """Raise InfraError where the file system of ``path`` has less than ``need_mib`` MiB free."""
    path.mkdir(parents=True, exist_ok=True)
    free_mib = shutil.disk_usage(path).free // (1024 * 1024)
    if free_mib < need_mib:
        raise InfraError(
            f"not enough disk for {what}: {free_mib} MiB free, {need_mib} MiB needed",
            where=str(path),
            hint="free some space, or run: invoke clean",
        )
