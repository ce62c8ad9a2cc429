"""Artifacts of other machines that lack what later steps read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.build import complete
from kmodpipe.util.errors import InfraError


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "no out/illegal.json"),
        ({"illegal.json": "[]"}, "does not map"),
        ({"illegal.json": "{"}, "is not JSON"),
        ({"illegal.json": "[" * 100_000}, "is not JSON"),
        ({"illegal.json": '{"a": 1}'}, "does not map"),
        ({"illegal.json": '{"c": "why"}'}, "not asked for"),
        ({"illegal.json": "{}", "a.config": "x"}, "no out/b.config"),
        ({"illegal.json": "{}", "a.config": "", "b.config": "x"}, "a.config is not a file"),
        ({"illegal.json": '{"b": "why"}', "a.config": "x" * (17 << 20)}, "larger than 16 MiB"),
    ],
)
def test_each_cell_has_a_configuration_or_a_reason(tmp_path: Path, content: dict[str, str], why: str) -> None:
    (tmp_path / "out").mkdir()
    for name, text in content.items():
        (tmp_path / "out" / name).write_text(text)
    with pytest.raises(InfraError, match=why):
        complete.require_configurations(tmp_path, ["a", "b"])


def test_a_link_or_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").symlink_to("folder")
    complete.require_files(tmp_path, "file")
    complete.require_folders(tmp_path, "folder")
    for name in ("link", "folder", "nothing"):
        with pytest.raises(InfraError, match=name):
            complete.require_files(tmp_path, name)
    for name in ("other", "file", "nothing"):
        with pytest.raises(InfraError, match=name):
            complete.require_folders(tmp_path, name)


@pytest.mark.parametrize("content", ["", "\x7fEL", "#!/bin/sh\n", "MZ and so on"])
def test_what_does_not_begin_as_elf_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "vmlinux").write_text("\x7fELF and so on")
    complete.require_elf_header(tmp_path, "vmlinux")
    (tmp_path / "vmlinux").write_text(content)
    with pytest.raises(InfraError, match="vmlinux is "):
        complete.require_elf_header(tmp_path, "vmlinux")
