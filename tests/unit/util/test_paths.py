"""Names and folders of somebody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe.util import paths


@pytest.mark.parametrize(
    "links",
    [
        {"a": "b"},
        {"a/b": "../c/d"},
        {"a/up": "..", "b": "a/up/x"},
        {"a": "missing", "b": "a/missing"},
        {"a/b/c": "../../Makefile"},
        {"a": "b", "b": "c", "c": "d"},
    ],
)
def test_links_that_stay(links: dict[str, str]) -> None:
    assert paths.escaping_link(links) is None


@pytest.mark.parametrize(
    ("links", "bad"),
    [
        ({"a": "../x"}, "a"),
        ({"a/b": "../../x"}, "a/b"),
        ({"a": "/etc/passwd"}, "a"),
        # By its words alone each stays inside.
        ({"a/b/up": "../..", "out": "a/b/up/../x"}, "out"),
        ({"dot": ".", "out": "dot/../x"}, "out"),
        ({"a": "b", "b": "a"}, "a"),
        ({"a": "a/x"}, "a"),
        ({f"l{n:02}": f"l{n + 1:02}/l{n + 1:02}" for n in range(50)}, "l00"),
    ],
)
def test_links_that_lead_out_or_nowhere(links: dict[str, str], bad: str) -> None:
    found = paths.escaping_link(links)
    assert found and found[0] == bad


def test_what_the_words_say_is_what_the_kernel_does(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tmp_path / "x").write_text("outside")
    (tree / "a/b/up").symlink_to("../..")
    (tree / "out").symlink_to("a/b/up/../x")
    assert (tree / "out").read_text() == "outside"
    assert paths.escaping_link(paths.links_below(tree)) == ("out", "a/b/up/../x")


@pytest.mark.parametrize(
    "name", ["", "a//b", "../a", "a/..", "/a", ".git/x", "a/.GIT", "a\0b", "x" * 256, "."]
)
def test_names_that_are_not_plain(name: str) -> None:
    assert not paths.is_plain(name)
    assert paths.is_plain("a/.github/..b/c d")


def test_names_that_no_file_can_have_are_no_files() -> None:
    for name in ("x" * 5000, "a\0b", "a/" * 3000):
        assert not paths.is_file(Path(name))
        assert not paths.is_dir(Path(name))
        assert not paths.exists(Path(name))


def test_folders_deeper_than_any_path_and_closed_ones_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (tmp_path / "kept").write_text("x")
    (top / "link").symlink_to(tmp_path / "kept")
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", 0o700, dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.mkdir("closed", 0o000, dir_fd=here)
    os.close(here)
    paths.remove(top)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept"]
