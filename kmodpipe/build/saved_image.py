"""Rewrite a saved image so that loading it gives an engine one image, by its digest, and no names.

An engine applies every name in ``repositories``, in any member that it takes for ``manifest.json`` and in the
annotations of ``index.json``. So what is loaded is written here, from files that were checked.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kmodpipe.util import document, untar
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import require_space

_LIMITS = untar.Limits(
    members=10_000, file_bytes=8 * 1024**3, behind_bytes=1024**2, largest="any builder image", simple=True
)
_JSON_BYTES = 4 * 1024**2
_RESERVE_MIB = 256
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_MEDIA_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def without_names(saved: Path, scratch: Path, image_id: str) -> Path:
    """Return a tar in ``scratch`` for ``docker load`` with the image ``image_id`` of ``saved`` only.

    ``saved`` is removed. Raise InfraError if it is no saved image, has names, or is another image.
    """
    folder = scratch / "saved"
    folder.mkdir()
    try:
        with saved.open("rb") as f:
            packed = saved.stat().st_size
            files = set(untar.extract(f, folder, what=saved.name, packed=packed, limits=_LIMITS).files)
        saved.unlink()
        config, layers = _members(folder, files)
        descriptor = _descriptor(folder, files, image_id)
    except (untar.Refused, untar.Damaged) as e:
        raise InfraError(f"the shared builder image is no saved image: {e}") from e
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError) as e:
        raise InfraError(f"the shared builder image is no saved image: {type(e).__name__}: {e}") from e
    blobs = {name for name in files if _BLOB.fullmatch(name)} if descriptor else set()
    if f"sha256:{digest_file(folder / config)}" != image_id and not descriptor:
        raise InfraError(f"the shared builder image is not the one that its note says ({image_id[:19]})")
    manifest = [{"Config": config, "RepoTags": None, "Layers": layers}]
    documents: dict[str, object] = {"manifest.json": manifest}
    if descriptor:
        documents["oci-layout"] = {"imageLayoutVersion": "1.0.0"}
        documents["index.json"] = {"schemaVersion": 2, "manifests": [descriptor]}
    return _written(folder, sorted({config, *layers, *blobs}), documents, scratch / "loadable.tar")


def _members(folder: Path, files: set[str]) -> tuple[str, list[str]]:
    """Return the names of the configuration and the layers of the only image."""
    rows = _json(folder, files, "manifest.json")
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} images")
    if rows[0].get("RepoTags") or "repositories" in files:
        raise InfraError("the shared builder image is refused: it would take names of other images")
    config, layers = rows[0]["Config"], rows[0]["Layers"]
    for name in (config, *layers):
        if name not in files or name in ("manifest.json", "index.json", "oci-layout"):
            raise LookupError(f"no file {str(name)[:80]!r}")
    return str(config), [str(name) for name in layers]


def _descriptor(folder: Path, files: set[str], image_id: str) -> Mapping[str, object] | None:
    """Return the entry of ``index.json`` for the image, without its annotations; None if it has none.

    An engine with containerd's image store uses the digest of that entry as the image's id.
    """
    if "index.json" not in files:
        return None
    rows = _json(folder, files, "index.json")["manifests"]
    for row in rows:
        if any(key.endswith(".name") for key in row.get("annotations") or ()):
            raise InfraError("the shared builder image is refused: it would take names of other images")
    found = next((row for row in rows if row["digest"] == image_id), None)
    if found is None:
        return None
    for name in files:
        blob = _BLOB.fullmatch(name)
        if blob and digest_file(folder / name) != blob[1]:
            raise ValueError(f"{name} has another digest")
    size = (folder / "blobs" / "sha256" / image_id.removeprefix("sha256:")).stat().st_size
    if found["mediaType"] not in _MEDIA_TYPES:
        raise ValueError(f"a manifest of type {str(found['mediaType'])[:80]!r}")
    return {"mediaType": found["mediaType"], "digest": image_id, "size": size}


def _json(folder: Path, files: set[str], name: str) -> Any:
    if name not in files:
        raise LookupError(f"no {name}")
    return document.read_json(folder / name, most=_JSON_BYTES)


def _written(folder: Path, names: list[str], documents: Mapping[str, object], target: Path) -> Path:
    """Write files of ``folder`` and JSON documents as a tar, which has no other members."""
    total = sum((folder / name).stat().st_size for name in names)
    require_space(target.parent, (total >> 20) + _RESERVE_MIB, "loading the builder image")
    with tarfile.open(target, "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = (folder / name).stat().st_size
            with (folder / name).open("rb") as f:
                tar.addfile(info, f)
            (folder / name).unlink()
        for name, content in documents.items():
            raw = json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return target
