"""Share artifacts that are costly to build between machines, through an OCI registry.

    REGISTRY/REPOSITORY:<kind>-<key>    one artifact of the store as an OCI image of one layer
    REGISTRY/REPOSITORY:image-<tag>     the builder image as its engine saves it, with its id
    REGISTRY/REPOSITORY:pins-<key>      what the name of a tool's package was resolved to

A store key is the digest of an artifact's inputs, not of its content, so it does not prove what a registry
holds under it. With a secret that the machines share and the registry does not know (``KMODPIPE_SHARE_KEY``),
each manifest is sealed (HMAC-SHA256 over kind, key and the layer's digest), and an artifact without a valid
seal is not used. Without a secret, the registry and everyone who can write to it are trusted. In both cases
results name each artifact's digest and origin. A registry that fails does not stop a run: that is reported
once, and the artifacts are built.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmodpipe.cache.share import pack
from kmodpipe.cache.share.folder import SCHEME, Folder
from kmodpipe.cache.share.manifest import (
    MANIFEST,
    Blob,
    RegistryError,
    RegistryUnreachable,
    blob_of,
    place,
)
from kmodpipe.cache.store import Artifact, Store
from kmodpipe.util import document
from kmodpipe.util.errors import InfraError, Interrupted, UserError
from kmodpipe.util.files import require_space
from kmodpipe.util.screen import Screen, Step

if TYPE_CHECKING:
    from kmodpipe.cache.share.registry import Registry

KINDS: Mapping[str, str] = {"config": "obj", "base": "obj", "guest": "out", "toolset": "out"}
"""The shared kinds, each with the folder below which symbolic links are allowed.

Modules are not shared: they are what is tested, so each machine compiles its own."""
ORIGIN = ".origin"
"""The file of a pulled artifact that holds its origin, REGISTRY/REPOSITORY@DIGEST."""
IMAGE = "image"
PINS = "pins"

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_NOT_PACKED = frozenset({".files", ".inputs", ".sums", ORIGIN})
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_SEAL = "org.kmodpipe.seal"
_NOTE = "org.kmodpipe."
_DOCUMENT = "document.json"
_DOCUMENT_BYTES = 1 << 20


def open_share(
    where: str, store: Store, screen: Screen, *, isolated: bool = True, read_only: bool | None = None
) -> Share | None:
    """Return the share at ``where``, HOST/REPOSITORY or file:///PATH; None if that is empty or "none".

    ``isolated`` is whether builds run in containers; if they do not, nothing is pulled without a secret.
    Raise UserError for an invalid address, or a secret that cannot be read or is too short.
    """
    if where in ("", "none"):
        return None
    key = _secret()
    if not isolated and not key:
        screen.warn(
            "with --runtime host the programs of a shared base would run here with your rights: nothing is "
            "pulled without a key (KMODPIPE_SHARE_KEY)"
        )
    if read_only is None:
        read_only = os.environ.get("KMODPIPE_SHARE_READONLY", "") not in ("", "0")
    return Share(_client(where), store, screen, key, pulls=isolated or bool(key), pushes=not read_only)


def _client(where: str) -> Registry | Folder:
    if where.startswith(SCHEME):
        return Folder(where)
    # Not above: it imports a client for HTTP, which a command without a registry need not wait for.
    from kmodpipe.cache.share.registry import Registry

    return Registry(place(where))


def _secret() -> bytes:
    """Return the secret of the seals; empty if none is set."""
    text = os.environ.get("KMODPIPE_SHARE_KEY", "")
    file = os.environ.get("KMODPIPE_SHARE_KEY_FILE", "")
    if not text and file:
        try:
            text = Path(file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise UserError("the share's key cannot be read", where=file) from e
    text = text.strip()
    if (text or file) and len(text) < 16:
        raise UserError("the share's key is shorter than 16 characters", hint="openssl rand -hex 32")
    return text.encode()


class Share:
    """A shared repository, during one command. Failures of the registry are warnings, unless noted."""

    def __init__(
        self,
        registry: Registry | Folder,
        store: Store,
        screen: Screen,
        key: bytes,
        *,
        pulls: bool,
        pushes: bool,
    ) -> None:
        self._registry = registry
        self._store = store
        self._screen = screen
        self._key = key
        self._pulls = pulls
        self._pushes = pushes
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """The share's address, HOST/REPOSITORY."""
        return str(self._registry.place)

    # -- artifacts of the store ------------------------------------------------------------------
    def pull(
        self,
        kind: str,
        key: str,
        folder: Path,
        step: Step | None = None,
        check: Callable[[Path], None] = lambda folder: None,
    ) -> str:
        """Fill the empty ``folder`` with the shared artifact, and return its origin.

        Return '' and leave the folder empty if there is none, it cannot be pulled, or ``check`` raises
        InfraError because it is not complete.
        """
        if kind not in KINDS or not self._pulls:
            return ""
        try:
            found = self._lookup(kind, key)
            if found is None:
                return ""
            origin, layer, _ = found
            if step:
                step.update(f"pulling {layer.size // 1024**2 + 1} MiB from {self.place}")
            with self._store.scratch("pull-") as scratch:
                self._fetch(layer, scratch / "layer", kind)
                pack.unpack(scratch / "layer", folder, links_below=KINDS[kind], without=_NOT_PACKED)
            check(folder)
            (folder / ORIGIN).write_text(origin)
        except Interrupted:
            raise
        except (InfraError, OSError) as e:
            _empty(folder)
            self._give_up(f"{kind} {key[:12]} was not pulled", e, reading=True)
            return ""
        return origin

    def push(self, artifact: Artifact, label: str) -> None:
        """Upload an artifact, unless the registry has it."""
        if artifact.kind not in KINDS or not self._pushes:
            return
        try:
            if self._has(artifact.kind, artifact.key):
                return
            with self._screen.step(f"share {artifact.kind} {label}"), self._store.scratch("push-") as scratch:
                digest = pack.pack(artifact.path, scratch / "layer", _NOT_PACKED)
                self._publish(artifact.kind, artifact.key, scratch / "layer", digest, {"label": label})
        except Interrupted:
            raise
        except (InfraError, OSError) as e:
            self._give_up(f"{artifact.kind} {label} was not shared", e, reading=False)

    # -- documents -------------------------------------------------------------------------------
    def pull_document(self, kind: str, key: str) -> Mapping[str, Any] | None:
        """Return the shared document under a key, empty if there is none; None if it cannot be pulled."""
        if not self._pulls:
            return None
        try:
            found = self._lookup(kind, key)
            if found is None:
                return {}
            _, layer, _ = found
            if layer.size > _DOCUMENT_BYTES:
                raise RegistryError(f"it has {layer.size} bytes, {_DOCUMENT_BYTES} at most")
            with self._store.scratch("pull-") as scratch:
                self._fetch(layer, scratch / "layer", kind)
                (scratch / "out").mkdir()
                pack.unpack(scratch / "layer", scratch / "out", links_below="none")
                return document.read_object(scratch / "out" / _DOCUMENT)
        except Interrupted:
            raise
        except (InfraError, OSError, ValueError) as e:
            self._give_up(f"{kind} {key[:12]} was not pulled", e, reading=True)
            return None

    def push_document(self, kind: str, key: str, content: Mapping[str, Any]) -> None:
        """Upload a document, in place of an earlier one under its key."""
        if not self._pushes:
            return
        try:
            with self._store.scratch("push-") as scratch:
                (scratch / "out").mkdir()
                path = scratch / "out" / _DOCUMENT
                path.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
                digest = pack.pack(scratch / "out", scratch / "layer")
                self._publish(kind, key, scratch / "layer", digest, {})
        except Interrupted:
            raise
        except (InfraError, OSError) as e:
            self._give_up(f"{kind} {key[:12]} was not shared", e, reading=False)

    # -- the builder image -----------------------------------------------------------------------
    def image(self, name: str) -> tuple[str, str, Blob] | None:
        """Return the id, the origin and the layer of the shared builder image ``name``, or None."""
        if not self._pulls:
            return None
        try:
            found = self._lookup(IMAGE, name)
        except RegistryError as e:
            self._give_up("the builder image was not looked up", e, reading=True)
            return None
        if found is None:
            return None
        origin, layer, notes = found
        image_id = notes.get("image-id", "")
        return (image_id, origin, layer) if _IMAGE_ID.fullmatch(image_id) else None

    def pull_image(self, layer: Blob, folder: Path) -> Path:
        """Download a saved builder image into ``folder``, and return its file. Raise InfraError."""
        self._fetch(layer, folder / "layer", IMAGE)
        (folder / "image").mkdir()
        pack.unpack(folder / "layer", folder / "image", links_below="none")
        return folder / "image" / "image.tar"

    def push_image(self, name: str, image_id: str, folder: Path) -> None:
        """Upload the builder image that was saved as ``folder/image.tar``. Raise InfraError."""
        with self._store.scratch("push-") as scratch:
            digest = pack.pack(folder, scratch / "layer")
            self._publish(IMAGE, name, scratch / "layer", digest, {"image-id": image_id})

    def has_image(self, name: str) -> bool:
        """Whether the registry has the builder image ``name`` with a valid seal."""
        return self._has(IMAGE, name)

    @property
    def pushes(self) -> bool:
        """Whether this machine uploads artifacts."""
        return self._pushes

    @property
    def pushes_image(self) -> bool:
        """Whether this machine uploads its builder image: not if all are known to have it."""
        return self._pushes and os.environ.get("KMODPIPE_SHARE_IMAGE", "") != "0"

    def give_up(self, what: str, error: Exception, *, reading: bool) -> None:
        """Warn that the registry failed; ``reading`` is whether that was during a download."""
        self._give_up(what, error, reading=reading)

    def _has(self, kind: str, key: str) -> bool:
        """Whether the registry has the artifact with a valid seal; one without is overwritten by `push`."""
        if not self._key:
            return self._registry.has(_tag(kind, key))
        try:
            return self._lookup(kind, key) is not None
        except RegistryUnreachable:
            raise
        except RegistryError:
            return False

    # -- manifests -------------------------------------------------------------------------------
    def _lookup(self, kind: str, key: str) -> tuple[str, Blob, Mapping[str, str]] | None:
        """Return origin, layer and annotations of what is shared under a key; None if there is nothing."""
        answer = self._registry.manifest(_tag(kind, key))
        if answer is None:
            return None
        digest, document = answer
        layers, notes = document.get("layers"), document.get("annotations")
        if not isinstance(layers, list) or len(layers) != 1 or not isinstance(notes, dict):
            raise RegistryError(f"{self.place}:{_tag(kind, key)} was not made by kmodpipe")
        own = {k.removeprefix(_NOTE): v for k, v in notes.items() if isinstance(v, str)}
        layer = blob_of(layers[0])
        if self._key and not hmac.compare_digest(
            own.get("seal", "").encode(),
            self._seal(kind, key, layer.digest, own.get("image-id", "")).encode(),
        ):
            raise RegistryError(
                f"{self.place}:{_tag(kind, key)} is not sealed with this machine's key",
                hint="it was pushed with another KMODPIPE_SHARE_KEY, or without one; it is not used",
            )
        return f"{self.place}@{digest}", layer, own

    def _fetch(self, layer: Blob, target: Path, what: str) -> None:
        require_space(self._store.cache, 4 * layer.size // 1024**2 + 64, f"a shared {what}")
        self._registry.read_blob(layer, target)

    def _publish(self, kind: str, key: str, packed: Path, tar_digest: str, notes: Mapping[str, str]) -> None:
        config = packed.with_name("config")
        config.write_text(json.dumps(_image_config(tar_digest)))
        layer = self._registry.write_blob(packed, _LAYER)
        about = self._registry.write_blob(config, _CONFIG)
        own = {**notes, "kind": kind, "key": key}
        if self._key:
            own["seal"] = self._seal(kind, key, layer.digest, notes.get("image-id", ""))
        self._registry.write_manifest(
            _tag(kind, key),
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": about.plain(),
                "layers": [layer.plain()],
                "annotations": {f"{_NOTE}{name}": value for name, value in own.items()},
            },
        )

    def _seal(self, kind: str, key: str, layer: str, image_id: str) -> str:
        text = json.dumps(["kmodpipe share 1", kind, key, layer, image_id])
        return f"hmac-sha256:{hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()}"

    def _give_up(self, what: str, error: Exception, *, reading: bool) -> None:
        """Warn that the registry failed, and stop what would fail for the same reason.

        After RegistryUnreachable nothing is pulled or pushed any more; after another error while writing
        (not ``reading``) nothing is pushed.
        """
        message = error.what if isinstance(error, InfraError) else f"{type(error).__name__}: {error}"
        hint = f" ({error.hint})" if isinstance(error, InfraError) and error.hint else ""
        with self._lock:
            if isinstance(error, RegistryUnreachable):
                is_first = self._pulls or self._pushes
                self._pulls = self._pushes = False
                if is_first:
                    self._screen.warn(f"{message}: going on without what it shares")
                return
            self._pushes = self._pushes and reading
        self._screen.warn(f"{what}: {message}{hint}; going on without")


def origin(artifact: Artifact) -> str:
    """Return where an artifact was pulled from; '' if it was made here."""
    try:
        return (artifact.path / ORIGIN).read_text().strip()
    except OSError:
        return ""


def _tag(kind: str, key: str) -> str:
    return f"{kind}-{key}"


def _image_config(tar_digest: str) -> dict[str, Any]:
    """Return the config of an OCI image, without which registries refuse a manifest."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [tar_digest]},
    }


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


__all__ = ["IMAGE", "KINDS", "ORIGIN", "PINS", "RegistryError", "Share", "open_share", "origin"]
