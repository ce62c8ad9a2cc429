"""A share that is a folder: ``file:///PATH``, with the same manifests and blobs as a registry has.

    PATH/manifests/<tag>     a manifest (JSON)
    PATH/blobs/<sha256>      a blob

What a base's job on a cluster leaves there travels to the workers of its cells. A folder of a network file
system is a share like any other.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kmodpipe.cache.share.manifest import Blob, RegistryError, RegistryUnreachable
from kmodpipe.util import document
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import UserError
from kmodpipe.util.files import write_atomically

SCHEME = "file://"
_TAG = re.compile(r"[a-z0-9][A-Za-z0-9._-]{0,127}")


class Folder:
    """A client for one folder, with the methods of `registry.Registry`."""

    def __init__(self, where: str) -> None:
        """``where`` is ``file:///PATH``. Raise UserError if it is something else."""
        parts = urlsplit(where)
        self._home = Path(unquote(parts.path))
        if parts.netloc or parts.query or not self._home.is_absolute():
            raise UserError(f"not a folder to share through: {where!r}", hint="file:///srv/kmodpipe")
        self.place = where

    def manifest(self, tag: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return the digest and the document of a tag's manifest; None if there is no such tag."""
        path = self._manifest(tag)
        try:
            raw = document.read(path, most=4 * document.MIB)
            found = document.parse(raw)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise self._unreachable(e) from e
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RegistryError(f"{path} is no manifest")
        return f"sha256:{hashlib.sha256(raw).hexdigest()}", found

    def has(self, tag: str) -> bool:
        """Whether the folder has the tag."""
        return self._manifest(tag).is_file()

    def read_blob(self, blob: Blob, target: Path) -> None:
        """Copy a blob to ``target``. Raise RegistryError if it does not match its digest and size."""
        try:
            shutil.copyfile(self._blob(blob.digest), target)
        except OSError as e:
            raise RegistryError(f"{self.place} lacks {blob.digest}: {e.strerror}") from e
        size = target.stat().st_size
        if size != blob.size or f"sha256:{digest_file(target)}" != blob.digest:
            raise RegistryError(f"{self.place} has {size} bytes that are not {blob.digest}")

    def write_blob(self, path: Path, media_type: str) -> Blob:
        """Copy a file into the folder, unless it is there, and return its descriptor."""
        blob = Blob(f"sha256:{digest_file(path)}", path.stat().st_size, media_type)
        there = self._blob(blob.digest)
        try:
            if not there.is_file():
                write_atomically(there, path.read_bytes())
        except OSError as e:
            raise self._unreachable(e) from e
        return blob

    def write_manifest(self, tag: str, manifest: Mapping[str, object]) -> str:
        """Write a manifest under a tag, and return its digest."""
        raw = json.dumps(manifest, sort_keys=True).encode()
        try:
            write_atomically(self._manifest(tag), raw)
        except OSError as e:
            raise self._unreachable(e) from e
        return f"sha256:{hashlib.sha256(raw).hexdigest()}"

    def _manifest(self, tag: str) -> Path:
        if not _TAG.fullmatch(tag):
            raise RegistryError(f"{tag[:80]!r} is no tag")
        return self._home / "manifests" / tag

    def _blob(self, digest: str) -> Path:
        return self._home / "blobs" / digest.removeprefix("sha256:")

    def _unreachable(self, error: OSError) -> RegistryUnreachable:
        reason = (error.strerror or str(error)).lower()
        return RegistryUnreachable(f"{self.place} cannot be used: {reason}", where=str(self._home))
