"""Download a file over http(s) with progress, and resume it after a lost connection.

    <name>.part        what has arrived
    <name>.part.json   the address of the file and its validators (ETag, Last-Modified)

A download is resumed only if the server proves that it continues the same file (status 206, Content-Range,
If-Range: RFC 9110); otherwise it starts again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.util import document, process
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import InfraError, Interrupted, UserError
from kmodpipe.util.files import require_space, write_atomically
from kmodpipe.util.screen import Step

if TYPE_CHECKING:
    import requests

_CONNECT_S = 10.0
_READ_S = 30.0
_TOTAL_S = 2 * 3600.0
# Attempts without any progress in a row, and attempts in all.
_FRUITLESS_TRIES = 4
_TRIES = 100
_CHUNK = 256 * 1024
_MOST_BYTES = 2 * 1024**3
_LOOK_AT_DISK_BYTES = 64 * 1024**2
_CONTENT_RANGE = re.compile(r"^bytes (\d+)-(\d+)/(\d+|\*)$")


class _Broken(Exception):
    """The transfer broke off or has to start again; another attempt may help."""


@dataclass(frozen=True)
class Downloaded:
    """A complete file."""

    path: Path
    sha256: str
    # The server's etag and last-modified for it, as far as it has them.
    validators: Mapping[str, str]


def download(
    url: str,
    target: Path,
    step: Step,
    *,
    sha256: str | None = None,
    fresh_if: Mapping[str, str] | None = None,
    retry_wait_s: float = 0.5,
) -> Downloaded | None:
    """Download ``url`` to ``target``; return None if it has not changed.

    ``fresh_if`` are the validators of the copy in the cache, if any, for the server to compare with. Raise
    UserError if there is no file at the address, InfraError for failures that may be temporary and for a
    wrong ``sha256``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    deadline = time.monotonic() + _TOTAL_S
    fruitless = tries = 0
    while True:
        tries += 1
        before = _size(part)
        try:
            validators = _attempt(url, part, step, fresh_if or {}, deadline)
            break
        except _Broken as e:
            # An attempt that made progress does not count: a bad connection gets there in the end.
            fruitless = 0 if _size(part) > before else fruitless + 1
            if fruitless >= _FRUITLESS_TRIES or tries >= _TRIES or time.monotonic() > deadline:
                hint = "what has arrived is kept: the next run goes on from there"
                raise InfraError(f"the download broke off: {e}", where=url, hint=hint) from e
            step.update(f"connection lost after {_size(part) >> 20} MiB, trying again")
            _wait(retry_wait_s * 2**fruitless, url)
    if validators is None:
        return None
    found = digest_file(part)
    if sha256 is not None and found != sha256:
        _forget(part)
        raise InfraError(
            f"the download has sha256 {found}, expected {sha256}",
            where=url,
            hint="it was removed; if the next download has the same digest, the expected one is wrong",
        )
    part.replace(target)
    _forget(part)
    return Downloaded(target, found, validators)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _forget(part: Path) -> None:
    for path in (part, _notes(part)):
        with suppress(FileNotFoundError):
            path.unlink()


def _wait(seconds: float, url: str) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.stopping():
            raise Interrupted("interrupted while downloading", where=url)
        time.sleep(0.05)


def _notes_of(part: Path, url: str) -> dict[str, str]:
    try:
        notes = document.read_object(_notes(part))
    except (OSError, ValueError):
        return {}
    return notes if notes.get("url") == url else {}


def _attempt(
    url: str, part: Path, step: Step, fresh_if: Mapping[str, str], deadline: float
) -> dict[str, str] | None:
    """Send one request. Return the validators once ``part`` is complete, None for "not modified"."""
    # Not above: it takes a tenth of a command that downloads nothing.
    import requests
    from urllib3.exceptions import HTTPError

    # Without this the server may compress the body, and then ranges are those of the compressed one.
    headers = {"Accept-Encoding": "identity"}
    notes = _notes_of(part, url)
    have = _size(part)
    proof = notes.get("etag") or notes.get("last-modified")
    if have and proof:
        headers |= {"Range": f"bytes={have}-", "If-Range": proof}
    else:
        have = 0
        if fresh_if.get("etag"):
            headers["If-None-Match"] = fresh_if["etag"]
        elif fresh_if.get("last-modified"):
            headers["If-Modified-Since"] = fresh_if["last-modified"]
    try:
        with requests.get(url, headers=headers, stream=True, timeout=(_CONNECT_S, _READ_S)) as response:
            if response.status_code == 304:
                return None
            start = _body_offset(response, part, have, url)
            validators = _validators(response)
            total = _expected_total(response, start)
            if start == 0:
                # Emptied before the notes change: they must not describe another file than the old bytes'.
                part.write_bytes(b"")
            write_atomically(_notes(part), json.dumps({"url": url, **validators}))
            _receive(response, part, start, total, step, deadline, url)
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as e:
        raise UserError(f"the address leads to one that is not http: {e}", where=url) from e
    except (requests.RequestException, HTTPError) as e:
        raise _Broken(str(e)[:300]) from e
    return validators


def _body_offset(response: requests.Response, part: Path, have: int, url: str) -> int:
    """Return the offset in the file at which the body of ``response`` begins."""
    status = response.status_code
    if status == 200:
        return 0
    if status == 206 and have:
        match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        proof = _notes_of(part, url)
        same = all(proof.get(k, v) == v for k, v in _validators(response).items())
        if match and int(match[1]) == have and same:
            return have
        _forget(part)
        raise _Broken("the server continued at another offset, or with another file, than requested")
    if status == 416 and have:
        _forget(part)
        raise _Broken("the server has no such range any more")
    if status in (408, 425, 429) or status >= 500:
        raise _Broken(f"HTTP status {status}")
    raise UserError(f"nothing to download there: HTTP status {status}", where=url, hint="check the address")


def _validators(response: requests.Response) -> dict[str, str]:
    """Return the validators of the response; a weak ETag is no proof that all bytes are the same."""
    found: dict[str, str] = {}
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        found["etag"] = etag
    if response.headers.get("Last-Modified"):
        found["last-modified"] = response.headers["Last-Modified"]
    return found


def _expected_total(response: requests.Response, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _receive(
    response: requests.Response,
    part: Path,
    start: int,
    total: int | None,
    step: Step,
    deadline: float,
    url: str,
) -> None:
    if (total or 0) > _MOST_BYTES:
        raise UserError(f"it has {(total or 0) >> 20} MiB: larger than any kernel source", where=url)
    require_space(part.parent, ((total or 0) - start >> 20) + 64, "the download")
    done = checked = start
    with part.open("r+b" if start else "wb") as out:
        out.seek(start)
        for data in response.raw.stream(_CHUNK, decode_content=False):
            out.write(data)
            done += len(data)
            if done > _MOST_BYTES:
                raise UserError(
                    f"it does not end after {done >> 20} MiB: no kernel source is larger", where=url
                )
            if done - checked > _LOOK_AT_DISK_BYTES:
                checked = done
                require_space(part.parent, 512, "the download")
            step.update(f"{done >> 20} MiB", done=done, total=total)
            if process.stopping():
                raise Interrupted("interrupted while downloading", where=url)
            if time.monotonic() > deadline:
                raise _Broken(f"not complete after {_TOTAL_S:.0f} s")
    if total is not None and done != total:
        raise _Broken(f"the connection ended after {done} of {total} bytes")
