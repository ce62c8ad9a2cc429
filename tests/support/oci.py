"""A registry in this process, for tests, whose content can be changed as its owner could."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kmodpipe.cache.share import Share
from kmodpipe.cache.share.manifest import place
from kmodpipe.cache.share.registry import Registry
from kmodpipe.cache.store import Store
from kmodpipe.util.screen import Screen

Member = tuple[tarfile.TarInfo, bytes]
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass
class Shelf:
    """The registry's content: blobs by digest, manifests by tag."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    where: str = ""

    def share(self, store: Store, screen: Screen, key: bytes = b"") -> Share:
        return Share(Registry(place(self.where)), store, screen, key, pulls=True, pushes=True)

    def members(self, tag: str) -> list[Member]:
        """The members of a tag's layer."""
        document = json.loads(self.manifests[tag])
        with tarfile.open(fileobj=io.BytesIO(self.blobs[document["layers"][0]["digest"]])) as tar:
            return [(m, f.read() if (f := tar.extractfile(m)) else b"") for m in tar if not m.issym()]

    def replace(self, tag: str, layer: bytes, share: Share) -> None:
        """Put another layer under a tag, sealed with the share's key."""
        document = json.loads(self.manifests[tag])
        digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
        self.blobs[digest] = layer
        document["layers"] = [{"digest": digest, "size": len(layer), "mediaType": LAYER}]
        kind, _, key = tag.partition("-")
        image = document["annotations"].get("org.kmodpipe.image-id", "")
        document["annotations"]["org.kmodpipe.seal"] = share._seal(kind, key, digest, image)
        self.manifests[tag] = json.dumps(document).encode()


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, to: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, to, len(data)
    return info, data


def packed(members: list[Member], *, before: Callable[[gzip.GzipFile], None] = lambda f: None) -> bytes:
    """A compressed tar of these members, behind what ``before`` writes."""
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=whole, mode="wb", compresslevel=1) as zipped:
        before(zipped)
        with tarfile.open(fileobj=zipped, mode="w|") as tar:
            for info, data in members:
                tar.addfile(info, io.BytesIO(data))
    return whole.getvalue()


@contextmanager
def serve() -> Iterator[Shelf]:
    shelf = Shelf()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _found(self) -> bytes | None:
            kind, name = self.path.rsplit("/", 2)[-2:]
            return (shelf.manifests if kind == "manifests" else shelf.blobs).get(name)

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            body = self._found()
            self._answer(404 if body is None else 200, body or b"")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            self._answer(202, Location=f"{self.path}1")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if "digest=" in self.path:
                shelf.blobs[self.path.partition("digest=")[2]] = body
            else:
                shelf.manifests[Path(self.path).name] = body
            self._answer(201)

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shelf.where = f"127.0.0.1:{server.server_port}/kmodpipe"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield shelf
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
