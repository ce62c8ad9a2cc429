"""A module of its own source in one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.pipeline import packed_module
from kmodpipe.pipeline.own_module import ModuleUnderTest
from kmodpipe.source.tree import ModuleSpec, Tree
from kmodpipe.util.errors import UserError

DECLARED = OwnSource(source="../src", control="v1", make="modules KDIR={kit}", needs=("crc32c",))


def test_it_is_the_same_again_with_the_source_by_its_identity(tmp_path: Path) -> None:
    here = ModuleSpec(name="own", git="file:///nowhere", commit="a" * 40)
    module = ModuleUnderTest("own", here, "src", "main (aaaa)", DECLARED)
    made = packed_module.of_tree(module, Tree("", tmp_path, "git:" + "a" * 40, ""))
    assert made.spec == ModuleSpec(name="own", kept="git:" + "a" * 40)
    path = tmp_path / f"own{packed_module.SUFFIX}"
    path.write_bytes(packed_module.pack(made))
    assert packed_module.load(path) == made


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", json.dumps({"schema": packed_module.SCHEMA, "version": 1})]
)
def test_what_is_none_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(content)
    with pytest.raises(UserError):
        packed_module.load(path)
