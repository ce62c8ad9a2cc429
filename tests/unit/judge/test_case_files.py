"""The files that a case brings: found beside its script, or refused before anything runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe.judge import case_files
from kmodpipe.util.errors import UserError


def where() -> str:
    return "case.toml:7"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "case"
    (folder / "data/below").mkdir(parents=True)
    (folder / "data/below/file").write_text("content")
    (folder / "prog").write_text("#!/bin/sh\n")
    (folder / "prog").chmod(0o755)
    return folder


def refused(home: Path, *names: str) -> UserError:
    with pytest.raises(UserError) as e:
        case_files.find(names, home, where)
    return e.value


def test_files_and_folders_are_found_with_what_matters_of_them(home: Path) -> None:
    (home / "data/below/link").symlink_to("file")
    (home / "alias").symlink_to("prog")
    found = case_files.find(["data", "prog", "alias", "data"], home, where)
    assert [(file.name, file.executable) for file in found] == [
        ("data", False),
        ("prog", True),
        ("alias", True),
    ]
    folder, prog, alias = (file.digest for file in found)
    assert folder[1] == "folder" and prog[1] == "x" and prog[2] == alias[2]
    (home / "data/below/file").chmod(0o755)
    assert found[0].digest != folder, "who may run a file in a folder is part of it"


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "", ".", "data/../prog", "a\nb", "data\0"])
def test_a_name_cannot_lead_out_of_the_folder(home: Path, name: str) -> None:
    assert "not the name of a file" in refused(home, name).what


def test_what_is_missing_or_no_file_is_refused_with_its_line(home: Path) -> None:
    error = refused(home, "prog", "out")
    assert error.what == "the case's file out does not exist" and error.where == "case.toml:7"
    os.mkfifo(home / "out")
    assert "out is neither a file nor a folder" in refused(home, "out").what
    assert "data/below is in data, which is brought as a whole" in refused(home, "data", "data/below").what
    os.mkfifo(home / "data/below/fifo")
    assert "data/below/fifo is neither a file nor a folder" in refused(home, "data").what


def test_links_lead_to_what_is_brought(home: Path) -> None:
    (home / "out").symlink_to("/etc/passwd")
    assert "out is a link out of the case's folder" in refused(home, "out").what
    (home / "out").unlink()
    (home / "out").symlink_to("..")
    assert "link out of the case's folder" in refused(home, "out").what
    link = home / "data/below/link"
    for target in ("../../prog", "/etc/passwd", "gone", str(home / "data/below/file"), "link"):
        link.symlink_to(target)
        error = refused(home, "data")
        assert "the link data/below/link leads to nothing in data" in error.what, target
        assert error.where == "case.toml:7"
        link.unlink()


def test_what_is_too_large_for_a_guests_memory_is_refused(home: Path) -> None:
    (home / "data/large").touch()
    os.truncate(home / "data/large", 300 << 20)
    assert "300 MiB, and the limit is 256 MiB" in refused(home, "data").what


def test_a_name_that_is_no_text_is_refused(home: Path) -> None:
    (home / "data" / os.fsdecode(b"\xff")).touch()
    assert "no name in plain UTF-8" in refused(home, "data").what
