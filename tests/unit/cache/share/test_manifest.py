"""Where a registry is, and what its manifests name."""

from __future__ import annotations

import pytest

from kmodpipe.cache.share.manifest import Blob, RegistryError, blob_of, place
from kmodpipe.util.errors import UserError


@pytest.mark.parametrize(
    ("text", "scheme", "shown"),
    [
        ("localhost:5000/kmodpipe", "http", "localhost:5000/kmodpipe"),
        ("127.0.0.1:5000/a/b", "http", "127.0.0.1:5000/a/b"),
        ("registry.example.org/group/project", "https", "registry.example.org/group/project"),
        ("http://registry.lan:5000/x", "http", "registry.lan:5000/x"),
    ],
)
def test_a_place_is_host_and_repository(text: str, scheme: str, shown: str) -> None:
    found = place(text)
    assert (found.scheme, str(found)) == (scheme, shown)


@pytest.mark.parametrize(
    "text", ["kmodpipe", "group/project", "localhost:5000", "ftp://a.b/c", "a.b/UPPER", "a.b/../c"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        place(text)


def test_a_descriptor_is_read_as_it_is_written() -> None:
    blob = Blob(f"sha256:{'0f' * 32}", 12, "application/octet-stream")
    assert blob_of(blob.plain()) == blob


@pytest.mark.parametrize(
    "row",
    [None, "sha256:", {}, {"digest": "sha256:12", "size": 1}, {"digest": f"sha256:{'0f' * 32}", "size": -1},
     {"digest": f"sha256:{'0f' * 32}", "size": "1"}, {"digest": f"sha512:{'0f' * 32}", "size": 1}],
)  # fmt: skip
def test_what_describes_no_blob_is_refused(row: object) -> None:
    with pytest.raises(RegistryError, match="by digest and size"):
        blob_of(row)
