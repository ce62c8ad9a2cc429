"""A tree from a tarball."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from kmodpipe import source
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen
from tests.support.trees import contents, get, make_tree, pack


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_tarball_becomes_a_tree_without_its_top_folder(
    tmp_path: Path, cache: Path, screen: Screen, kind: str
) -> None:
    mine = make_tree(tmp_path / "mine")
    tarball = pack(tmp_path / f"linux.{kind}", mine, {"tar": "w"}.get(kind, f"w:{kind[4:]}"))
    sha256 = hashlib.sha256(tarball.read_bytes()).hexdigest()
    tree = get(f"{tarball}#sha256={sha256}", cache, screen)
    assert tree.identity == f"tar:{sha256}" and tree.provenance["sha256"] == sha256
    assert set(contents(tree.path)) == set(contents(mine))
    assert os.access(tree.path / "scripts/run.sh", os.X_OK)
    assert not os.access(tree.path / "Kconfig", os.X_OK)
    assert source.locate(source.resolve(str(tarball), {}), {}, cache) is not None
    with pytest.raises(UserError, match="expected 000"):
        get(f"{tarball}#sha256={'0' * 64}", cache, screen)
