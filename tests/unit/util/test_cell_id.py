"""The names of cells and kernels: folders have them."""

from __future__ import annotations

import pytest

from kmodpipe.util.cell_id import KERNEL_NAME, cell_id, kernel_name


def test_a_cell_names_only_what_it_has() -> None:
    choice = {"INDEX": "y", "NOUUID": "n"}
    assert cell_id("unpatched", choice, "") == "unpatched.INDEX=y.NOUUID=n"
    assert cell_id("fix", choice, "xfs", "debian-6.1") == "fix.debian-6.1.INDEX=y.NOUUID=n.xfs"
    assert cell_id("fix", {}, "") == "fix"


@pytest.mark.parametrize(
    ("tree", "name"),
    [
        ("debian-6.1", "debian-6.1"),
        ("mine=../linux", "mine"),
        ("~/src/linux", "linux"),
        ("/src/linux/", "linux"),
        ("https://git.example.org/pub/linux.git#v6.12", "linux-v6.12"),
        ("https://git.example.org/linux.git#" + "ab" * 20, "linux-abababababab"),
        ("https://example.org/linux-6.12.tar.xz#sha256=" + "0" * 64, "linux-6.12"),
        ("git@host:vfs.git#for next/x", "git-host-vfs-for-next-x"),
        ("..", "tree"),
        ("./…", "tree"),
        ("/" + "x" * 300, "x" * 60),
    ],
)
def test_a_tree_without_a_name_is_called_by_the_end_of_its_address(tree: str, name: str) -> None:
    assert kernel_name(tree) == name
    assert KERNEL_NAME.fullmatch(name)
