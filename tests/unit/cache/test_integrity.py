"""What was changed in a tree that was listed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe.cache import integrity


@pytest.mark.parametrize("folder", [".", "drivers"])
def test_every_half_of_a_tree_is_listed_and_its_changes_are_told(tmp_path: Path, folder: str) -> None:
    made = {
        "drivers/a/Makefile": "a",
        "drivers/b.c": "b",
        "fs/drivers/c.c": "c",
        "-type/d.c": "d",
        "\n.c": "e",
    }
    for name, text in made.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "drivers" / "link").symlink_to("/etc")
    before = integrity.listing(tmp_path)
    rows = before.split(b"\0")[:-1]
    folders = ["drivers/", "drivers/a/", "fs/", "fs/drivers/", "-type/"]
    assert sorted(os.fsdecode(row.split(b"\t")[0]) for row in rows) == sorted(
        [*made, "drivers/link", *folders]
    )
    assert integrity.listed_changes(before, integrity.listing(tmp_path)) == ""
    (tmp_path / folder / "more.c").write_text("f")
    told = integrity.listed_changes(before, integrity.listing(tmp_path))
    assert told == f"{(Path(folder) / 'more.c')} not part of it"
