"""Pack an artifact as one layer of an OCI image (a compressed tar), and unpack one that is not trusted.

Nothing that is unpacked can lead out of its folder.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

from kmodpipe.util import process, untar
from kmodpipe.util.errors import InfraError, Interrupted

_GZIP_LEVEL = 3
_LIMITS = untar.Limits(
    members=200_000, file_bytes=8 * 1024**3, behind_bytes=1024**2,
    largest="any artifact that kmodpipe makes", simple=True,
)  # fmt: skip


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
        raise InfraError(
            "an artifact holds something other than files, folders and links",
            where=str(path),
            hint="remove it, or run: invoke clean",
        )


def unpack(source: Path, folder: Path, *, links_below: str, without: Collection[str] = ()) -> None:
    """Unpack ``source`` into the empty ``folder``. Raise UnpackError if that is not safe.

    Symbolic links are allowed only below ``links_below`` (a folder's name), because this machine itself reads
    the other files. They are made last, so that nothing is written through one. The names in ``without`` are
    refused at the top.
    """
    try:
        with source.open("rb") as stream:
            packed = source.stat().st_size
            content = untar.extract(stream, folder, what=source.name, packed=packed, limits=_LIMITS)
        if not content.members:
            raise UnpackError("not an artifact: it is empty")
        for name in (*content.files, *content.folders, *content.links):
            if name.partition("/")[0] in without:
                raise untar.Refused(name, "has a name that is reserved")
            if name in content.links and not name.startswith(f"{links_below}/"):
                raise untar.Refused(name, "is a link, which is not allowed there")
        untar.make_links(folder, content.links)
    except untar.Refused as e:
        raise UnpackError(f"not an artifact that is safe to unpack: {e}") from e
    except untar.Damaged as e:
        raise UnpackError(f"not an artifact: {e}") from e
    for name in content.files:
        # Readable for all: the builder's user in the container is another one than this process's.
        path = folder / name
        path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    times = {**content.files, **content.folders}
    _set_times({folder / name: mtime for name, mtime in times.items() if mtime is not None})


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
