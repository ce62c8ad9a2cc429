"""A share that is a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.cache.share import open_share
from kmodpipe.cache.share.folder import Folder
from kmodpipe.cache.share.manifest import RegistryError
from kmodpipe.cache.store import Store
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen


def test_an_artifact_goes_there_and_comes_back(tmp_path: Path) -> None:
    where, screen = f"file://{tmp_path}/sh%20are", Screen(Mode.QUIET)
    first, second = Store(tmp_path / "a"), Store(tmp_path / "b")
    made = first.make(
        "base", {"x": 1}, "label", lambda folder: (folder / "vmlinux").write_text("kernel") and None
    )
    share = open_share(where, first, screen)
    assert share is not None
    share.push(made, "label")
    other = open_share(where, second, screen)
    assert other is not None
    (tmp_path / "got").mkdir()
    origin = other.pull("base", made.key, tmp_path / "got")
    assert origin.startswith(f"{where}@sha256:") and (tmp_path / "got/vmlinux").read_text() == "kernel"
    assert (tmp_path / "sh are/manifests").is_dir()


def test_a_blob_that_was_changed_is_not_taken(tmp_path: Path) -> None:
    folder = Folder(f"file://{tmp_path}/share")
    (tmp_path / "x").write_text("content")
    blob = folder.write_blob(tmp_path / "x", "any")
    (path,) = (tmp_path / "share/blobs").iterdir()
    path.write_text("contenT")
    with pytest.raises(RegistryError):
        folder.read_blob(blob, tmp_path / "y")
    path.unlink()
    with pytest.raises(RegistryError, match="lacks"):
        folder.read_blob(blob, tmp_path / "y")
    assert folder.manifest("base-none") is None and not folder.has("base-none")
    with pytest.raises(RegistryError):
        folder.manifest("../x")


@pytest.mark.parametrize("where", ["file://host/share", "file://relative", "file:///a?b=c"])
def test_what_is_no_folder_of_this_machine_is_refused(where: str) -> None:
    with pytest.raises(UserError):
        Folder(where)
