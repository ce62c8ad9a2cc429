"""Pack an artifact as one layer of an OCI image (a compressed tar), and unpack one that is not trusted.

Nothing that is unpacked can lead out of its folder.
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

_GZIP_LEVEL = 3
_MOST_BYTES = 8 * 1024**3
_MOST_FILES = 200_000


class UnpackError(InfraError):
    """The layer is not an artifact, or not safe to unpack."""


class _Hashing:
    """A file to write to that hashes the data."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self.hasher = hashlib.sha256()

    def write(self, data: bytes) -> int:
        if process.stopping():
            raise Interrupted("interrupted while an artifact was packed")
        self.hasher.update(data)
        return self._file.write(data)


def pack(folder: Path, target: Path, without: Collection[str] = ()) -> str:
    """Write ``folder`` to ``target`` as a compressed tar, and return the digest of the uncompressed tar.

    Files at its top that are named in ``without`` are left out. Times are kept: `unpack` needs their order.
    """
    with target.open("wb") as f, gzip.GzipFile("", "wb", _GZIP_LEVEL, f, mtime=0) as zipped:
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
        # A hard link is packed as a file of its own, so that no name depends on another.
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if info.isreg():
        with path.open("rb") as content:
            tar.addfile(info, content)
    elif info.isdir() or info.issym():
        tar.addfile(info)
    else:
        raise InfraError("an artifact holds something other than files, folders and links", where=str(path))


def unpack(source: Path, folder: Path, *, links_below: str) -> None:
    """Unpack ``source`` into the empty ``folder``. Raise UnpackError if that is not safe.

    Symbolic links are allowed only below ``links_below`` (a folder's name), because this machine itself reads
    the other files. They are made last, so that nothing is written through one.
    """
    links: list[tuple[str, str]] = []
    times: dict[Path, float] = {}
    total = count = 0
    try:
        with tarfile.open(source, "r|gz") as tar:
            for info in tar:
                name, count = _safe(info.name), count + 1
                total += info.size
                if total > _MOST_BYTES or count > _MOST_FILES:
                    raise UnpackError("the artifact is larger than any that kmodpipe makes")
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
                    raise UnpackError(f"{name} is not a file, a folder or a link that is allowed there")
                times[path] = info.mtime
        for name, target in links:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, FileExistsError) as e:
        raise UnpackError(f"not an artifact: {e}") from e
    _set_times(times)


def _set_times(times: Mapping[Path, float]) -> None:
    """Give the files the current time, in the order of ``times``.

    kbuild makes a file again if its source is newer, and this machine may have unpacked the sources after the
    objects were built on another one.
    """
    steps = {mtime: step for step, mtime in enumerate(sorted(set(times.values())))}
    first = time.time_ns() - 1000 * len(steps)
    # A folder after the files in it, which change its time.
    for path in sorted(times, key=lambda p: len(p.parts), reverse=True):
        moment = first + 1000 * steps[times[path]]
        os.utime(path, ns=(moment, moment))


def _safe(name: str) -> str:
    parts = name.rstrip("/").split("/")
    if not name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise UnpackError(f"a file name leads out of the artifact: {name!r}")
    return "/".join(parts)


def _write(content: IO[bytes], path: Path, *, executable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as f:
        shutil.copyfileobj(content, f, 1024 * 1024)
    # Readable for all: the builder's user in the container is another one than this process's.
    path.chmod(0o755 if executable else 0o644)
