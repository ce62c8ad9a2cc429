"""What a worker hands back."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.cluster import parcel
from kmodpipe.cluster.parcel import Note
from kmodpipe.util.errors import InfraError, KmodpipeError
from tests.support.trees import write

NOTE = Note(0, "all is well", "one", "host", 1.5)


def wrapped(tmp_path: Path, run: Path | None, note: Note = NOTE) -> bytes:
    scratch = tmp_path / f"scratch-{time.monotonic_ns()}"
    scratch.mkdir()
    return parcel.wrap(note, run, scratch, tmp_path / "cache")


def unwrapped(tmp_path: Path, data: object) -> tuple[Note, Path]:
    folder = tmp_path / f"here-{time.monotonic_ns()}"
    folder.mkdir()
    return parcel.unwrap(data, folder), folder


def test_large_shared_files_stay_and_can_be_fetched(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(
        run, {"results.json": "{}", "cell/console.log": "boot", "shared/lib.sh": "x", ".kmodpipe-run": "me"}
    )
    (run / "shared/bzImage-1").write_bytes(os.urandom(300_000))
    (run / "cell/link").symlink_to("/etc/passwd")
    note, folder = unwrapped(tmp_path, wrapped(tmp_path, run))
    (digest,) = note.shared.values()
    assert list(note.shared) == ["bzImage-1"]
    assert parcel.blob(tmp_path / "cache", digest) == (run / "shared/bzImage-1").read_bytes()
    assert parcel.blob(tmp_path / "cache", "../../etc/passwd") == b""
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() or p.is_symlink()}
    assert found == {"note.json", "run/results.json", "run/cell/console.log", "run/shared/lib.sh"}


def test_a_job_without_a_run_hands_back_its_note(tmp_path: Path) -> None:
    asked = replace(NOTE, exit_code=3, trouble="no engine")
    assert unwrapped(tmp_path, wrapped(tmp_path, None, asked))[0] == asked


def hostile(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        note = json.dumps({**NOTE.__dict__, "shared": {}, "skips": {}}).encode()
        info = tarfile.TarInfo("note.json")
        info.size = len(note)
        tar.addfile(info, io.BytesIO(note))
        bad = tarfile.TarInfo(name)
        bad.type, bad.linkname = kind, link
        tar.addfile(bad)
    return made.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        "text", None, b"", b"no tar",
        hostile("../outside"), hostile("/etc/x"), hostile("run/link", tarfile.SYMTYPE, "/etc/passwd"),
        hostile("run/device", tarfile.CHRTYPE),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_parcel_is_refused_and_leaves_nothing_outside(tmp_path: Path, data: object) -> None:
    with pytest.raises(KmodpipeError):
        unwrapped(tmp_path, data)
    assert not (tmp_path / "outside").exists()


def test_another_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="cannot be read"):
        unwrapped(tmp_path, wrapped(tmp_path, None, replace(NOTE, schema="other")))


def test_what_a_base_carries_is_placed_once_and_not_sent_to_the_client(tmp_path: Path) -> None:
    scratch = tmp_path / "base"
    write(scratch, {"share/manifests/base-1": "{}", "share/blobs/ab": "layer"})
    data = parcel.wrap(NOTE, None, scratch, tmp_path / "cache")
    (tmp_path / "n").mkdir()
    note, folder = unwrapped(tmp_path, parcel.without_share(data, tmp_path / "n"))
    assert note == NOTE and not (folder / "share").exists()
    (tmp_path / "c").mkdir()
    home = parcel.place_share([data], tmp_path / "cache", tmp_path / "c")
    assert home is not None and (home / "blobs/ab").read_text() == "layer"
    assert parcel.place_share([data], tmp_path / "cache", tmp_path / "c") == home
    (tmp_path / "d").mkdir()
    assert parcel.place_share([wrapped(tmp_path, None)], tmp_path / "cache", tmp_path / "d") is None


def test_what_nobody_used_for_a_week_is_swept(tmp_path: Path) -> None:
    write(
        tmp_path, {"cluster/files/old": "x", "cluster/files/new": "x", "cluster/projects/old/project/a": "x"}
    )
    for name in ("files/old", "projects/old"):
        os.utime(tmp_path / "cluster" / name, (1, 1))
    parcel.sweep(tmp_path)
    assert {p.name for p in (tmp_path / "cluster").glob("*/*")} == {"new"}
