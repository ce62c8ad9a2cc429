"""Digests of values, files and trees."""

from __future__ import annotations

import shutil
from pathlib import Path

from kmodpipe.util.digest import digest_of, digest_tree
from tests.support.sample_artifact import fill


def test_a_key_covers_every_input_and_not_their_order() -> None:
    keys = {
        digest_of(value)
        for value in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": None}, {}, {"a": 1, "b": None})
    }
    assert len(keys) == 7
    assert digest_of({"a": 1, "b": (1, 2)}) == digest_of({"b": [1, 2], "a": 1})


def test_a_tree_digest_sees_names_contents_executable_bits_and_links(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    fill(root)
    seen = [digest_tree(root)]
    (root / "sub" / "vmlinux").write_bytes(b"kernem")
    seen.append(digest_tree(root))
    (root / "sub" / "vmlinux").chmod(0o755)
    seen.append(digest_tree(root))
    (root / "sub" / "vmlinux").rename(root / "sub" / "vmlinuz")
    seen.append(digest_tree(root))
    (root / "link").unlink()
    (root / "link").symlink_to("sub/vmlinuz")
    seen.append(digest_tree(root))
    assert len(set(seen)) == 5
    shutil.copytree(root, tmp_path / "elsewhere", symlinks=True)
    assert digest_tree(tmp_path / "elsewhere") == seen[-1]
