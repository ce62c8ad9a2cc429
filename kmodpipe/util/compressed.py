"""Decompress one file, whatever it is compressed with, within a bound.

Python 3.11 knows neither Zstandard (3.14 does) nor LZ4: these take the programs ``zstd`` and ``lz4``, which
every distribution has and most machines have installed.
"""

from __future__ import annotations

import bz2
import lzma
import shutil
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted

_CHUNK = 1 << 20
_DICTIONARY_BYTES = 1 << 30
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"\x5d\0\0": "lzma",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    # The kernel's: the old format of lz4.
    b"\x02\x21\x4c\x18": "lz4",
}
_PROGRAMS = ("zstd", "lz4")


class Damaged(Exception):
    """The file is not what its first bytes say, cut short, or holds more than it may."""


def format_of(head: bytes) -> str:
    """Return the name of the format that these first bytes of a file tell, empty for none that is known."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def unpack(packed: Path, target: Path, *, most: int) -> None:
    """Write what ``packed`` holds, ``most`` bytes at most, to the new file ``target``.

    What follows the compressed data is not read. Raise Damaged, InfraError if a program for the format is
    missing, and OSError.
    """
    with packed.open("rb") as stream:
        kind = format_of(stream.read(8))
        stream.seek(0)
        if not kind:
            raise Damaged("its format is not known")
        with target.open("xb") as out:
            written = 0
            with closing(_run(kind, packed) if kind in _PROGRAMS else _pieces(kind, stream)) as pieces:
                for data in pieces:
                    written += out.write(data)
                    if written > most:
                        raise Damaged(f"it holds more than {most} bytes")


def _decompressor(kind: str) -> Any:
    match kind:
        case "gzip":
            return _Gzip()
        case "bzip2":
            return bz2.BZ2Decompressor()
        case _:
            own = lzma.FORMAT_XZ if kind == "xz" else lzma.FORMAT_ALONE
            return lzma.LZMADecompressor(own, memlimit=_DICTIONARY_BYTES)


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._own = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._own.eof

    @property
    def needs_input(self) -> bool:
        return not self._own.unconsumed_tail

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._own.decompress(self._own.unconsumed_tail + data, most)


def _pieces(kind: str, stream: IO[bytes]) -> Generator[bytes, None, None]:
    decompressor = _decompressor(kind)
    try:
        while not decompressor.eof:
            data = stream.read(_CHUNK) if decompressor.needs_input else b""
            if decompressor.needs_input and not data:
                raise Damaged("it is cut short")
            yield decompressor.decompress(data, _CHUNK)
    except (lzma.LZMAError, zlib.error, EOFError, ValueError, OSError) as e:
        # bz2 raises an OSError without a number.
        if isinstance(e, OSError) and e.errno:
            raise
        raise Damaged(f"it is damaged: {e}") from e


def _run(program: str, packed: Path) -> Generator[bytes, None, None]:
    if shutil.which(program) is None:
        what = f"{program} is not installed, which {packed.name} takes to be unpacked"
        raise InfraError(what, where=str(packed), hint=f"install it: apt-get install {program}")
    child = process.spawn_piped([program, "-d", "-c", "-q", packed])
    try:
        while data := child.stdout.read(_CHUNK):
            yield data
        said = child.stderr.read(_CHUNK).decode("utf-8", "replace").strip()
        child.wait()
    finally:
        process.end(child)
    if process.stopping():
        raise Interrupted("interrupted while a file was unpacked", where=str(packed))
    if child.returncode:
        raise Damaged(f"it is damaged: {said or process.describe_status(child.returncode)}")
