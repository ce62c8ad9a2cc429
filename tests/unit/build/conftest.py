"""A tree, images and a folder to build in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scripted_build import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "tree", tmp_path / "images", tmp_path / "work", tmp_path / "build.log")
    for path in (made.src, made.folder, made.images / "builder", made.images / "guest"):
        path.mkdir(parents=True)
    return made
