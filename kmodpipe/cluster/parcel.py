"""What a worker hands back of one job: a tar with a note (JSON), and the files of the job's run folder.

Large files that many cells share (kernels, root file systems) stay on the worker under their digest, and are
fetched once. What arrives is unpacked as an untrusted archive: no links, no name that leads out.

    note.json           exit code, the last lines on the screen, who did it, the shared files by digest
    run/results.json    of a job that booted
    run/<cell>/… run/events.jsonl run/shared/<logs>
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kmodpipe.cache.share import pack
from kmodpipe.util import document, os_errors, paths
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.lock import lock

SCHEMA = "kmodpipe-parcel"
SHARE = "share"
"""The folder of a base's parcel with what travels to its cells: a share, as `cache.share.folder` has it."""
# A shared file that is larger stays on the worker.
_KEPT_BYTES = 256 * 1024
_KEPT_DAYS = 7
MOST_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Note:
    """What a worker says about a job."""

    exit_code: int
    # The end of what the job showed.
    tail: str
    worker: str
    host: str
    seconds: float
    # When it began, in seconds since 1970 by the worker's clock; 0 if it did not.
    began: float = 0.0
    # The shared files that stayed on the worker: name to SHA-256.
    shared: Mapping[str, str] = field(default_factory=dict)
    # Of a base: the cells that the tree rules out, and why.
    skips: Mapping[str, str] = field(default_factory=dict)
    # The job did not begin: the worker is at fault.
    trouble: str = ""
    schema: str = SCHEMA


def wrap(note: Note, run: Path | None, scratch: Path, cache: Path) -> bytes:
    """Return the parcel of a job whose run folder is ``run``, None if it made none."""
    top = scratch / "parcel"
    (top / "run").mkdir(parents=True)
    shared: dict[str, str] = {}
    if run is not None:
        for path in sorted(run.iterdir()):
            if path.name == "shared":
                shared = _shared(path, top / "run" / "shared", cache)
            elif path.is_dir():
                shutil.copytree(path, top / "run" / path.name, symlinks=True)
            elif path.name in ("results.json", "events.jsonl"):
                shutil.copyfile(path, top / "run" / path.name)
    if (scratch / SHARE).is_dir():
        (scratch / SHARE).rename(top / SHARE)
    for path in top.rglob("*"):
        if path.is_symlink():
            path.unlink()
    made = Note(**{**asdict(note), "shared": shared})
    (top / "note.json").write_text(json.dumps(asdict(made)))
    pack.pack(top, scratch / "parcel.tar")
    return (scratch / "parcel.tar").read_bytes()


def _shared(source: Path, target: Path, cache: Path) -> dict[str, str]:
    """Copy the small files of a run's shared folder; keep the large ones in the cache, by their digests."""
    kept: dict[str, str] = {}
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size <= _KEPT_BYTES:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / name)
            continue
        digest = digest_file(path)
        blob = _blob(cache, digest)
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not blob.is_file():
            write_atomically(blob, path.read_bytes())
        os.utime(blob)
        kept[name.as_posix()] = digest
    return kept


def _blob(cache: Path, digest: str) -> Path:
    return cache / "cluster" / "files" / digest


def blob(cache: Path, digest: str) -> bytes:
    """Return a shared file by its digest; empty if it is not here."""
    if not digest.isalnum():
        return b""
    try:
        return _blob(cache, digest).read_bytes()
    except OSError:
        return b""


def sweep(cache: Path) -> None:
    """Remove what nobody has used for a week: shared files, and bundles of projects."""
    old = time.time() - _KEPT_DAYS * 86400
    for path in (cache / "cluster").glob("*/*"):
        with suppress(OSError):
            if path.stat().st_mtime < old:
                paths.remove(path)


def without_share(data: bytes, scratch: Path) -> bytes:
    """Return a parcel without its share."""
    unwrap(data, _made(scratch / "whole"))
    paths.remove(scratch / "whole" / SHARE)
    pack.pack(scratch / "whole", scratch / "rest.tar")
    return (scratch / "rest.tar").read_bytes()


def place_share(parcels: Sequence[bytes], cache: Path, scratch: Path) -> Path | None:
    """Unpack the share of a base's parcel, once, and return its folder; None if it has none."""
    for data in parcels:
        digest = hashlib.sha256(data).hexdigest()
        home = cache / "cluster" / "shares" / digest
        with lock(cache / "locks" / f"share-{digest[:16]}"):
            if not home.is_dir():
                unwrap(data, _made(scratch / "base"))
                home.parent.mkdir(parents=True, exist_ok=True)
                if (scratch / "base" / SHARE).is_dir():
                    (scratch / "base" / SHARE).rename(home)
                else:
                    home.mkdir()
                paths.remove(scratch / "base")
        os.utime(home)
        if any(home.iterdir()):
            return home
    return None


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def unwrap(data: object, folder: Path) -> Note:
    """Unpack a parcel into the empty ``folder`` and return its note. Raise InfraError if it is none.

    Raise OSError where this machine's disk is full, or it lacks something else.
    """
    hint = "the worker has another version of kmodpipe, or is none of ours"
    if not isinstance(data, bytes) or len(data) > MOST_BYTES:
        raise InfraError("a worker handed back something else than the files of a job", hint=hint)
    tar = folder.with_name(f"{folder.name}.tar")
    try:
        tar.write_bytes(data)
        pack.unpack(tar, folder, links_below="none")
        found = document.read_object(folder / "note.json")
        if found.get("schema") != SCHEMA:
            raise ValueError("another schema")
        return document.validated(Note, found, "the note of a worker", "note.json")
    except (OSError, ValueError) as e:
        if isinstance(e, OSError) and os_errors.is_shortage(e):
            raise
        raise InfraError(f"what a worker handed back cannot be read: {e}", hint=hint) from e
    finally:
        tar.unlink(missing_ok=True)
