"""Objects of other cells: whose may be taken, and nothing odd is kept. That they are right: test_scratch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.build import shared_objects

# As ccache names a result.
NAME, ANOTHER = "81f7nise6nrjq2fkg5uifdrfpf03t0648", "02vtd1ktc0m5smc8k4tk9fkv2ff2g3c6k"
ODD: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda left: (left / NAME).symlink_to("/etc/passwd"),
    "a hard link": lambda left: ((left / "x").write_text("x"), os.link(left / "x", left / NAME)),
    "a pipe": lambda left: os.mkfifo(left / NAME),
    "a folder": lambda left: (left / NAME).mkdir(),
    "too much": lambda left: ((left / NAME).touch(), os.truncate(left / NAME, 65 << 20)),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_of_what_is_odd_nothing_is_kept(tmp_path: Path, odd: Callable[[Path], object]) -> None:
    left = tmp_path / "obj" / ".objects"
    left.mkdir(parents=True)
    (left / ANOTHER).write_text("fine")
    odd(left)
    shared_objects.collect(tmp_path / "obj", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "obj").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / NAME).write_text("x")
    (tmp_path / "obj" / ".objects").symlink_to("../else")
    shared_objects.collect(tmp_path / "obj", tmp_path / "kept")
    assert not (tmp_path / "kept").exists() and (tmp_path / "else" / NAME).exists()


def test_other_names_are_left_and_modes_are_plain(tmp_path: Path) -> None:
    left = tmp_path / "obj" / ".objects"
    left.mkdir(parents=True)
    (left / "CACHEDIR.TAG").write_text("x")
    (left / NAME).write_text("x")
    (left / NAME).chmod(0o6777)
    shared_objects.collect(tmp_path / "obj", tmp_path / "kept")
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name == NAME and kept.stat().st_mode & 0o7777 == 0o644


def test_a_family_has_everything_in_common_but_the_configuration() -> None:
    inputs = {"base": "b", "source": {"f": "1"}, "configuration": "c", "recipe": [1, "r"]}
    same = shared_objects.family(inputs)
    assert shared_objects.family({**inputs, "configuration": "d"}) == same
    for name, value in (("base", "x"), ("source", {"f": "2"}), ("recipe", [1, "s"]), ("targets", ["t"])):
        assert shared_objects.family({**inputs, name: value}) != same
