"""Packages are laid out as the guest's root has its folders, and over what it has already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe.build import guest_tools
from kmodpipe.util.errors import InfraError
from tests.support import toy_packages


@pytest.mark.parametrize(
    ("name", "placed"),
    [
        ("bin/bash", "bin/bash"),
        ("usr/bin/fio", "bin/fio"),
        ("usr/sbin/ip", "sbin/ip"),
        ("usr/lib/x86_64-linux-gnu/libattr.so.1", "lib/x86_64-linux-gnu/libattr.so.1"),
        ("usr/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
        ("usr/libexec/helper", "usr/libexec/helper"),
        ("usr/share/perl/5.36/strict.pm", "usr/share/perl/5.36/strict.pm"),
        ("etc/xattr.conf", "etc/xattr.conf"),
        # A merged root's own links, and what no program reads.
        ("bin", ""),
        ("usr/bin", ""),
        ("usr/share/doc/bash/README", ""),
        ("usr/share/man", ""),
        ("usr/lib/x86_64-linux-gnu/gconv/UTF-7.so", ""),
        ("var/lib/dpkg/status", ""),
        ("usr/include/stdio.h", ""),
        ("kmodpipe/plan", ""),
        ("init", ""),
    ],
)
def test_a_file_has_its_place(name: str, placed: str) -> None:
    assert guest_tools.place(name) == placed


def test_a_link_leads_where_it_led() -> None:
    link = guest_tools.link_target
    assert link("usr/bin/a", "bin/a", "../share/a/a.sh") == "/usr/share/a/a.sh"
    assert link("usr/bin/a", "bin/a", "b") == "b"
    assert link("usr/bin/a", "bin/a", "/etc/alternatives/a") == "/etc/alternatives/a"
    assert link("usr/share/a", "usr/share/a", "../lib/a") == "../lib/a"


def test_a_layer_over_the_guests_root(tmp_path: Path) -> None:
    archive = toy_packages.build(tmp_path / "archive", tmp_path / "programs")
    root, work, out = (tmp_path / name for name in ("root", "work", "out"))
    for folder in ("bin", "sbin", "lib", "etc", "usr"):
        (root / folder).mkdir(parents=True)
    for folder in ("bin", "sbin", "lib"):
        (root / "usr" / folder).symlink_to(f"../{folder}")
    for name, text in {"lib/libsame.so": "same", "lib/libold.so": "old", "etc/conf": "ours"}.items():
        (root / name).write_text(text)
    (root / "bin/busybox").write_text("busybox")
    for applet in ("which", "ls"):
        (root / "bin" / applet).symlink_to("busybox")
    archive.add(
        "libtoy1",
        {
            "usr/lib/libsame.so": "same",
            "usr/lib/libold.so": "new",
            "usr/bin/which": "a dependency's",
            "etc/conf": "theirs",
            "etc/more": "theirs",
            "usr/share/doc/libtoy1/README": "read me",
        },
    )
    archive.add("toytool", {"bin/ls": "the tool's own", "usr/bin/toy": "-> ../share/toy/toy.sh"})
    debs = [next((archive.folder / "available").glob(f"{name}_*")) for name in ("libtoy1", "toytool")]
    work.mkdir()
    out.mkdir()
    guest_tools.lay_out(debs, root, work, out)
    found = {
        path.relative_to(out).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in sorted(out.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
    assert found == {
        "bin/ls": "the tool's own",
        "bin/toy": "/usr/share/toy/toy.sh",
        "etc/more": "theirs",
        "lib/libold.so": "new",
    }
    assert os.access(out / "bin/ls", os.X_OK)
    assert not (out / "usr").exists(), "no folder by the name of one of the guest's links"


def test_a_damaged_package_is_named(tmp_path: Path) -> None:
    toy_packages.build(tmp_path / "archive", tmp_path / "programs")
    deb = tmp_path / "toy_1_all.deb"
    deb.write_bytes(b"!<arch>\nnothing")
    for name in ("root", "work", "out"):
        (tmp_path / name).mkdir()
    with pytest.raises(InfraError, match="dpkg-deb") as e:
        guest_tools.lay_out([deb], tmp_path / "root", tmp_path / "work", tmp_path / "out")
    assert "toy_1_all.deb" in e.value.where and "fetched anew" in e.value.hint
