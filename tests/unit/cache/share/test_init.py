"""The share of a cache through a registry."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kmodpipe.cache.share import open_share
from kmodpipe.cache.store import Artifact, Store
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support import oci


def test_a_key_that_could_be_guessed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODPIPE_SHARE_KEY", "short")
    with pytest.raises(UserError, match="16 characters"):
        open_share("localhost:5000/x", Store(tmp_path), Screen(Mode.QUIET))
    assert open_share("none", Store(tmp_path), Screen(Mode.QUIET)) is None


def artifact(root: Path) -> Artifact:
    (root / "made/out").mkdir(parents=True)
    (root / "made/out/bzImage").write_bytes(b"a kernel" * 99)
    return Artifact("base", "k" * 64, root / "made")


def test_what_its_stage_refuses_is_not_kept_and_that_is_said_once(tmp_path: Path) -> None:
    shown = io.StringIO()
    screen, store = Screen(Mode.PLAIN, out=shown), Store(tmp_path / "cache")
    folder = tmp_path / "pulled"
    folder.mkdir()

    def check(found: Path) -> None:
        if not (found / "out/vmlinux").is_file():
            raise InfraError("it has no out/vmlinux")

    with oci.serve() as shelf:
        share = shelf.share(store, screen)
        share.push(artifact(tmp_path), "toy")
        assert share.pull("base", "k" * 64, folder, check=check) == ""
        assert list(folder.iterdir()) == []
        assert shown.getvalue().count("base kkkkkkkkkkkk was not pulled: it has no out/vmlinux") == 1
        assert share.pull("base", "k" * 64, folder).startswith(f"{shelf.where}@sha256:")
        assert (folder / "out/bzImage").is_file()


def test_a_blob_with_another_digest_is_refused(tmp_path: Path) -> None:
    shown = io.StringIO()
    (tmp_path / "pulled").mkdir()
    with oci.serve() as shelf:
        share = shelf.share(Store(tmp_path / "cache"), Screen(Mode.PLAIN, out=shown))
        share.push(artifact(tmp_path), "toy")
        for digest, blob in shelf.blobs.items():
            shelf.blobs[digest] = blob[:-1] + b"x"
        assert share.pull("base", "k" * 64, tmp_path / "pulled") == ""
    assert "that are not sha256:" in shown.getvalue() and list((tmp_path / "pulled").iterdir()) == []


@pytest.mark.parametrize("noted", ["sha256:../../x", "sha256:", f"sha256:{'a' * 65}", f"sha256:{'A' * 64}"])
def test_an_image_is_noted_by_a_digest(tmp_path: Path, noted: str) -> None:
    with oci.serve() as shelf:
        share = shelf.share(Store(tmp_path / "cache"), Screen(Mode.QUIET))
        (tmp_path / "saved").mkdir()
        (tmp_path / "saved/image.tar").write_bytes(b"x")
        share.push_image("tag", noted, tmp_path / "saved")
        assert share.image("tag") is None
        share.push_image("tag", f"sha256:{'a' * 64}", tmp_path / "saved")
        assert share.image("tag") is not None


def test_a_document_is_read_as_it_was_last_written(tmp_path: Path) -> None:
    shown = io.StringIO()
    with oci.serve() as shelf:
        share = shelf.share(
            Store(tmp_path / "cache"), Screen(Mode.PLAIN, out=shown), b"a key of sixteen or more"
        )
        assert share.pull_document("pins", "0") == {}
        for content in ({"a": "1"}, {"b": "2"}):
            share.push_document("pins", "0", content)
            assert share.pull_document("pins", "0") == content
        assert share.pull_document("pins", "1") == {}
        # Nobody else's, nothing that is no document, and none that is too large.
        other = shelf.share(
            Store(tmp_path / "other"), Screen(Mode.PLAIN, out=shown), b"another key of that length"
        )
        assert other.pull_document("pins", "0") is None
        assert "is not sealed" in shown.getvalue()
        for layer, told in (
            (oci.packed([oci.member("document.json", b"[")]), "pins 0 was not pulled"),
            (oci.packed([oci.member("other.json", b"{}")]), "pins 0 was not pulled"),
            (b"x" * (1 << 20 | 1), "1048576 at most"),
        ):
            shelf.replace("pins-0", layer, share)
            assert share.pull_document("pins", "0") is None
            assert told in shown.getvalue()
            shown.truncate(0)


def test_who_may_not_pull_or_push_does_neither(tmp_path: Path) -> None:
    with oci.serve() as shelf:
        share = shelf.share(Store(tmp_path), Screen(Mode.QUIET))
        share._pushes = False
        share.push_document("pins", "0", {"a": "1"})
        assert not shelf.manifests
        share._pulls = False
        assert share.pull_document("pins", "0") is None
