"""An artifact as one layer of an OCI image, and back: a tar, compressed, with nothing in it that could reach
out of the folder it is unpacked into.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import time
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted

_LEVEL = 3
_MOST_BYTES = 8 * 1024**3
_MOST_FILES = 200_000


class Unpackable(InfraError):
    """What came is not an artifact."""


class _Hashing:
    """A file that is written to, and hashed on the way."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self.hasher = hashlib.sha256()

    def write(self, data: bytes) -> int:
        if process.stopping():
            raise Interrupted("interrupted while an artifact was packed")
        self.hasher.update(data)
        return self._file.write(data)


def pack(folder: Path, target: Path, without: Collection[str] = ()) -> str:
    """Write ``folder`` as a compressed tar, without the files at its top named in ``without``; returns the
    digest of the tar itself. Times are in it: `unpack` needs their order."""
    with target.open("wb") as f, gzip.GzipFile("", "wb", _LEVEL, f, mtime=0) as zipped:
        tee = _Hashing(zipped)
        with tarfile.open(fileobj=tee, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for path in sorted(folder.rglob("*")):
                name = path.relative_to(folder).as_posix()
                if name not in without:
                    _add(tar, path, name)
    return f"sha256:{tee.hasher.hexdigest()}"


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    info = tar.gettarinfo(path, name)
    if info.islnk():
        # Two names of one file: each with its own content, so that no name depends on another.
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if info.isreg():
        with path.open("rb") as content:
            tar.addfile(info, content)
    elif info.isdir() or info.issym():
        tar.addfile(info)
    else:
        raise InfraError("an artifact holds something else than files, folders and links", where=str(path))


def unpack(source: Path, folder: Path, *, links_below: str) -> None:
    """Fill the empty ``folder``. Symbolic links are made last, so that nothing is written through one, and
    only below ``links_below`` (a folder's name): what this machine itself reads is a file.
    Raises Unpackable."""
    links: list[tuple[str, str]] = []
    times: dict[Path, float] = {}
    total = count = 0
    try:
        with tarfile.open(source, "r|gz") as tar:
            for info in tar:
                name, count = _safe(info.name), count + 1
                total += info.size
                if total > _MOST_BYTES or count > _MOST_FILES:
                    raise Unpackable("an artifact that is larger than any of ours")
                if process.stopping():
                    raise Interrupted("interrupted while an artifact was unpacked")
                path = folder / name
                if info.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                elif info.isreg() and (content := tar.extractfile(info)):
                    _write(content, path, executable=bool(info.mode & stat.S_IXUSR))
                elif info.issym() and name.startswith(f"{links_below}/"):
                    links.append((name, info.linkname))
                    continue
                else:
                    raise Unpackable(f"{name} is no file, no folder and no link that may be here")
                times[path] = info.mtime
        for name, target in links:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, FileExistsError) as e:
        raise Unpackable(f"what came is no artifact: {e}") from e
    _set_times(times)


def _set_times(times: Mapping[Path, float]) -> None:
    """Times of now, in the order of ``times``. kbuild makes again what is older than its source, and this
    machine may well have unpacked the sources after another one built these objects."""
    steps = {mtime: step for step, mtime in enumerate(sorted(set(times.values())))}
    first = time.time_ns() - 1000 * len(steps)
    # Folders after what is in them.
    for path in sorted(times, key=lambda p: len(p.parts), reverse=True):
        moment = first + 1000 * steps[times[path]]
        os.utime(path, ns=(moment, moment))


def _safe(name: str) -> str:
    parts = name.rstrip("/").split("/")
    if not name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise Unpackable(f"a name that leads out of the artifact: {name!r}")
    return "/".join(parts)


def _write(content: IO[bytes], path: Path, *, executable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as f:
        shutil.copyfileobj(content, f, 1024 * 1024)
    # The builder's user is not ours, and reads it; nobody needs more than that.
    path.chmod(0o755 if executable else 0o644)
