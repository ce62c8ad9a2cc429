"""Read and write manifests (by tag) and blobs (by digest) in an OCI registry over HTTP.

Speaks the OCI distribution API (https://github.com/opencontainers/distribution-spec), so that artifacts can
be exchanged without a container engine. The registry is not trusted: a blob has to match its digest, answers
are bounded in size and time, and credentials are sent to the registry and to the token server that it names
over TLS, but not to a host that it redirects to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests

from kmodpipe.cache.share.manifest import MANIFEST, Blob, Place, RegistryError, RegistryUnreachable
from kmodpipe.util import document, process
from kmodpipe.util.errors import Interrupted

_CONNECT_S = 5.0
_READ_S = 60.0
_WHOLE_S = 1800.0
_MANIFEST_BYTES = 4 * 1024 * 1024
_TOKEN_BYTES = 1024 * 1024
_CHUNK = 1024 * 1024


class _Authorization(requests.auth.AuthBase):
    """Send this header and no other: by default, requests would use a password from ~/.netrc."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value:
            request.headers["Authorization"] = self._value
        return request


class _Upload:
    """A file to upload; reading it raises Interrupted once the process is to stop."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        if process.stopping():
            raise Interrupted("interrupted while an artifact was pushed")
        return self._file.read(_CHUNK if size < 0 else size)


class Registry:
    """A client for one repository. Methods raise RegistryError, and may be called from several threads."""

    def __init__(self, where: Place) -> None:
        self.place = where
        self._base = f"{where.scheme}://{where.host}/v2/{where.repository}/"
        self._authorization = ""

    # -- reading ---------------------------------------------------------------------------------
    def manifest(self, tag: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return the digest and the document of a tag's manifest; None if there is no such tag."""
        with self._request("GET", f"manifests/{tag}", headers={"Accept": MANIFEST}) as answer:
            if answer.status_code == 404:
                return None
            self._expect(answer, 200)
            raw = b"".join(self._pieces(answer, _MANIFEST_BYTES))
        try:
            found = document.parse(raw)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RegistryError(f"{self.place}:{tag} is no manifest")
        return f"sha256:{hashlib.sha256(raw).hexdigest()}", found

    def has(self, tag: str) -> bool:
        """Whether the repository has the tag."""
        with self._request("HEAD", f"manifests/{tag}", headers={"Accept": MANIFEST}) as answer:
            if answer.status_code == 404:
                return False
            self._expect(answer, 200)
            return True

    def read_blob(self, blob: Blob, target: Path) -> None:
        """Download a blob to ``target``. Raise RegistryError if it does not match its digest and size."""
        hasher = hashlib.sha256()
        size = 0
        with self._request("GET", f"blobs/{blob.digest}") as answer, target.open("wb") as f:
            self._expect(answer, 200)
            for piece in self._pieces(answer, blob.size):
                hasher.update(piece)
                size += len(piece)
                f.write(piece)
        if size != blob.size or f"sha256:{hasher.hexdigest()}" != blob.digest:
            raise RegistryError(
                f"{self.place} sent {size} bytes that are not {blob.digest}", where=str(self.place)
            )

    def _pieces(self, answer: requests.Response, limit: int) -> Iterator[bytes]:
        """Yield the body of an answer, at most ``limit`` bytes and within the time limit."""
        deadline, size = time.monotonic() + _WHOLE_S, 0
        try:
            for piece in answer.iter_content(_CHUNK):
                size += len(piece)
                if size > limit:
                    raise RegistryError(f"{self.place} sends more than the {limit} bytes it announced")
                if process.stopping():
                    raise Interrupted("interrupted while an artifact was pulled", where=str(self.place))
                if time.monotonic() > deadline:
                    raise RegistryError(f"{self.place} had not sent all after {_WHOLE_S:g} s")
                yield piece
        except requests.RequestException as e:
            raise self._unreachable(e) from e

    # -- writing ---------------------------------------------------------------------------------
    def write_blob(self, path: Path, media_type: str) -> Blob:
        """Upload a file, unless the registry has it, and return its descriptor."""
        with path.open("rb") as f:
            digest = f"sha256:{hashlib.file_digest(f, 'sha256').hexdigest()}"
        blob = Blob(digest, path.stat().st_size, media_type)
        with self._request("HEAD", f"blobs/{digest}") as answer:
            if answer.status_code == 200:
                return blob
        with self._request("POST", "blobs/uploads/") as answer:
            self._expect(answer, 202)
            location = urljoin(answer.url, answer.headers.get("Location", ""))
        if urlsplit(location).netloc != self.place.host:
            raise RegistryError(f"{self.place} redirects an upload to another host")
        address = f"{location}{'&' if urlsplit(location).query else '?'}digest={digest}"
        with path.open("rb") as f:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
            with self._request("PUT", address, headers=headers, data=_Upload(f, blob.size)) as answer:
                self._expect(answer, 201)
        return blob

    def write_manifest(self, tag: str, manifest: Mapping[str, object]) -> str:
        """Upload a manifest under a tag, and return its digest."""
        raw = json.dumps(manifest, sort_keys=True).encode()
        with self._request("PUT", f"manifests/{tag}", headers={"Content-Type": MANIFEST}, data=raw) as answer:
            self._expect(answer, 201)
        return f"sha256:{hashlib.sha256(raw).hexdigest()}"

    # -- one request -----------------------------------------------------------------------------
    def _request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> requests.Response:
        """Send a request; if the registry answers 401, authenticate and send it again."""
        address = path if path.startswith("http") else self._base + path
        answer = self._send(method, address, headers, data)
        if answer.status_code == 401 and not isinstance(data, _Upload):
            challenge = answer.headers.get("WWW-Authenticate", "")
            answer.close()
            self._authorization = self._authorize(challenge)
            answer = self._send(method, address, headers, data)
        return answer

    def _send(
        self, method: str, address: str, headers: Mapping[str, str] | None, data: Any
    ) -> requests.Response:
        try:
            return requests.request(
                method,
                address,
                headers={"User-Agent": "kmodpipe", "Accept-Encoding": "identity", **(headers or {})},
                data=data,
                auth=_Authorization(self._authorization),
                # Registries often redirect to a storage server; requests sends it no Authorization header.
                allow_redirects=method in ("GET", "HEAD"),
                timeout=(_CONNECT_S, _READ_S),
                stream=True,
            )
        except (requests.RequestException, OSError) as e:
            raise self._unreachable(e) from e

    def _authorize(self, challenge: str) -> str:
        """Return the Authorization header that answers a WWW-Authenticate ``challenge`` (RFC 9110)."""
        scheme, _, rest = challenge.partition(" ")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        user, password = credentials(self.place.host)
        basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        if scheme.lower() == "basic":
            if not basic:
                raise RegistryError(f"{self.place} requires a user and a password", hint=_LOGIN)
            return f"Basic {basic}"
        realm = fields.get("realm", "")
        if scheme.lower() != "bearer" or not realm.startswith(("https://", f"http://{self.place.host}/")):
            raise RegistryError(f"{self.place} wants credentials in a way that is unknown or not safe")
        repository = self.place.repository
        query = {"service": fields.get("service", ""), "scope": f"repository:{repository}:pull,push"}
        try:
            with requests.get(
                realm, params=query, timeout=(_CONNECT_S, _READ_S), allow_redirects=False, stream=True,
                auth=_Authorization(f"Basic {basic}" if basic else ""),
            ) as answer:  # fmt: skip
                raw = b"".join(self._pieces(answer, _TOKEN_BYTES)) if answer.status_code == 200 else b"{}"
            found = document.parse(raw)
        except (requests.RequestException, ValueError) as e:
            raise self._unreachable(e) from e
        token = found.get("token") or found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token.isprintable() or not token.isascii():
            raise RegistryError(f"{self.place} gives no token (status {answer.status_code})", hint=_LOGIN)
        return f"Bearer {token}"

    def _expect(self, answer: requests.Response, status: int) -> None:
        if answer.status_code != status:
            refused = answer.status_code in (401, 403)
            raise RegistryError(
                f"{self.place} answers {answer.status_code} {answer.reason or ''}".rstrip(),
                hint=_LOGIN if refused else "",
            )

    def _unreachable(self, error: Exception) -> RegistryUnreachable:
        # The error's own text is left out: it holds addresses, and those of an upload hold secrets.
        kind = "does not answer in time" if isinstance(error, requests.Timeout) else "cannot be reached"
        return RegistryUnreachable(f"{self.place} {kind} ({type(error).__name__})", where=str(self.place))


_LOGIN = "docker login, or KMODPIPE_SHARE_USER and KMODPIPE_SHARE_PASSWORD"


def credentials(host: str) -> tuple[str, str]:
    """Return user and password for a registry: from the environment, else as saved by ``docker login``.

    Both are empty if there are none.
    """
    user = os.environ.get("KMODPIPE_SHARE_USER", "")
    if user:
        return user, os.environ.get("KMODPIPE_SHARE_PASSWORD", "")
    from docker.auth import load_config
    from docker.errors import DockerException

    try:
        found = load_config().resolve_authconfig(host) or {}
    except (DockerException, OSError, ValueError):
        return "", ""
    return str(found.get("username") or found.get("Username") or ""), str(
        found.get("password") or found.get("Password") or ""
    )
