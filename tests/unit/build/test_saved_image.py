"""Saved images that are loaded by their digest, and never with a name."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from kmodpipe.build import saved_image
from kmodpipe.util.errors import InfraError
from tests.support import oci

IMAGE = b'{"rootfs": {}}'
IMAGE_ID = f"sha256:{hashlib.sha256(IMAGE).hexdigest()}"
MANIFEST = b'[{"Config": "c.json", "RepoTags": null, "Layers": ["l/layer.tar", "l/layer.tar"]}]'


def rewritten(tmp_path: Path, more: dict[str, bytes], image_id: str = IMAGE_ID) -> dict[str, bytes]:
    members = {"c.json": IMAGE, "l/layer.tar": b"layer", "manifest.json": MANIFEST, **more}
    saved = tmp_path / "image.tar"
    with tarfile.open(saved, "w") as tar:
        for name, data in members.items():
            tar.addfile(oci.member(name, data)[0], io.BytesIO(data))
        tar.addfile(oci.member("l2/layer.tar", kind=tarfile.SYMTYPE, to="../l/layer.tar")[0])
    with tarfile.open(saved_image.without_names(saved, tmp_path, image_id)) as tar:
        return {m.name: f.read() for m in tar if (f := tar.extractfile(m))}


def test_an_image_is_loaded_with_nothing_but_its_files(tmp_path: Path) -> None:
    found = rewritten(tmp_path, {"l/VERSION": b"1.0", "more": b"x"})
    assert sorted(found) == ["c.json", "l/layer.tar", "manifest.json"]
    assert json.loads(found["manifest.json"])[0]["RepoTags"] is None


def test_an_image_by_the_digest_of_its_manifest_keeps_its_blobs(tmp_path: Path) -> None:
    blob = b'{"schemaVersion": 2}'
    digest = hashlib.sha256(blob).hexdigest()
    kind = "application/vnd.oci.image.manifest.v1+json"
    row = {"digest": f"sha256:{digest}", "mediaType": kind, "annotations": {"more": "x"}}
    index = json.dumps({"manifests": [row]}).encode()
    more = {"index.json": index, f"blobs/sha256/{digest}": blob, "oci-layout": b"{}"}
    found = rewritten(tmp_path, more, f"sha256:{digest}")
    assert found[f"blobs/sha256/{digest}"] == blob
    assert json.loads(found["index.json"])["manifests"] == [
        {"digest": f"sha256:{digest}", "mediaType": kind, "size": len(blob)}
    ]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"c.json": b"{}"}, "not the one that its note says"),
        ({"manifest.json": MANIFEST.replace(b"null", b'["x:1"]')}, "names of other images"),
        ({"./manifest.json": MANIFEST}, "is there twice"),
        ({"repositories": b"{}"}, "names of other images"),
        ({".//repositories": b"{}"}, "names of other images"),
        ({"index.json": b'{"manifests": [{"annotations": {"a.name": "x"}}]}'}, "names of other images"),
        ({"manifest.json": MANIFEST[:-1] + b"," + MANIFEST[1:]}, "2 images"),
        ({"manifest.json": MANIFEST.replace(b"l/layer", b"l2/layer")}, "no file 'l2/layer.tar'"),
        ({"manifest.json": MANIFEST.replace(b"c.json", b"../c.json")}, "no file"),
        ({"manifest.json": b"[1]"}, "no saved image"),
        ({"manifest.json": b"{}"}, "no saved image"),
        ({"manifest.json": b" " * (5 << 20)}, "larger than 4 MiB"),
        ({"index.json": b"[]"}, "no saved image"),
        ({"../x": b"x"}, "out of the archive"),
    ],
)
def test_an_image_that_is_not_plain_is_refused(tmp_path: Path, more: dict[str, bytes], why: str) -> None:
    with pytest.raises(InfraError, match=why):
        rewritten(tmp_path, more)
