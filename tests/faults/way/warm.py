"""A scene's cache with what the user's holds for a cell: what takes minutes is built once, and only read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache

from kmodpipe.cache.place import cache_folder
from kmodpipe.util.hardlinks import make_farm
from tests.faults import REPO, Scene


def fill(scene: Scene, cell: tuple[str, ...], *, without: tuple[str, ...] = ()) -> None:
    """Copy to the scene's cache what the cell takes, built in the user's where it is not there yet, but for
    the kinds of artifacts in ``without``. Trees are farms of links, to files that nobody writes to."""
    known, keys = cache_folder(), _keys(cell)
    trees = scene.cache / "trees"
    trees.mkdir()
    shutil.copytree(known / "trees/pins", trees / "pins")
    for manifest in (known / "trees").glob("deb-*.manifest"):
        tree = manifest.with_suffix("")
        make_farm(tree, trees / tree.name)
        shutil.copy2(manifest, trees)
        shutil.copy2(manifest.with_suffix(".json"), trees)
    for artifact in (found for key in keys for found in (known / "store").glob(f"*/{key}*")):
        if artifact.parent.name not in without:
            target = scene.cache / "store" / artifact.parent.name / artifact.name
            shutil.copytree(artifact, target, symlinks=True)
    shutil.copyfile(known / "accel.json", scene.cache / "accel.json")


@cache
def _keys(cell: tuple[str, ...]) -> tuple[str, ...]:
    """How the keys of the cell's artifacts begin, all of which are in the user's cache."""
    with tempfile.TemporaryDirectory() as out:
        for words in (("test", *cell, "--case", "uuid-remount-default"), ("plan", *cell)):
            said = subprocess.run(
                [sys.executable, "-m", "invoke", *words, "--out", out],
                cwd=REPO, env={**os.environ, "COLUMNS": "200"}, check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
    return tuple(re.findall(r"\bcached +([0-9a-f]{12})\b", said))
