"""A tree that goes from one cache to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import source
from kmodpipe.cache import integrity
from kmodpipe.source import kept
from kmodpipe.source.tree import ModuleSpec, Tree
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import commit_all, git, write


@pytest.fixture
def module(tmp_path: Path) -> Path:
    root = tmp_path / "module"
    write(
        root,
        {"Kbuild": "obj-m := own.o\n", "own.c": "int x;\n", ".hidden": "1\n", "sub/gen.sh": "#!/bin/sh\n"},
    )
    (root / "sub/gen.sh").chmod(0o755)
    (root / "own.h").symlink_to("sub/own.h")
    # What a build leaves, by its name; a repository may have one that was not built.
    write(root, {"blob.o": "binary"})
    return root


def fetched(spec: ModuleSpec, cache: Path) -> Tree:
    return source.fetch(spec, {}, cache, Screen(Mode.QUIET))


def sent(found: Tree, folder: Path, cache: Path) -> Tree:
    (folder / "scratch").mkdir(parents=True)
    assert kept.pack_tree(found, folder / "trees", "1", folder / "scratch") > 0
    kept.unpack_trees(folder / "trees", cache)
    there = source.locate(ModuleSpec(name="own", kept=found.identity), {}, cache)
    assert there
    return there


@pytest.mark.parametrize("kind", ["folder", "repository"])
def test_it_holds_the_same_under_the_same_identity(kind: str, module: Path, tmp_path: Path) -> None:
    spec = ModuleSpec(name="module", path=module)
    if kind == "repository":
        git(module, "init", "-q", "-b", "main")
        git(module, "add", "-f", ".")
        commit_all(module, "first")
        spec = ModuleSpec(name="module", git=module.as_uri(), commit=git(module, "rev-parse", "HEAD"))
    found = fetched(spec, tmp_path / "here")
    there = sent(found, tmp_path / "sent", tmp_path / "there")
    assert (there.identity, there.provenance["source"]) == (found.identity, found.provenance["source"])
    assert contents(there.path) == contents(found.path) and (there.path / "own.h").is_symlink()
    assert (there.path / "blob.o").exists() is (kind == "repository")
    assert fetched(ModuleSpec(name="own", kept=found.identity), tmp_path / "there").path == there.path
    assert integrity.listing(there.path)


def contents(root: Path) -> dict[str, tuple[bool, str, bytes]]:
    return {
        path.relative_to(root).as_posix(): (
            bool(path.lstat().st_mode & 0o100) and not path.is_symlink(),
            str(path.readlink()) if path.is_symlink() else "",
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in root.rglob("*")
        if path.name != ".git" and (path.is_symlink() or not path.is_dir())
    }


def test_it_is_put_there_once(module: Path, tmp_path: Path) -> None:
    found = fetched(ModuleSpec(name="module", path=module), tmp_path / "here")
    there = sent(found, tmp_path / "sent", tmp_path / "there")
    before = (there.path / "own.c").stat().st_ino
    kept.unpack_trees(tmp_path / "sent/trees", tmp_path / "there")
    assert (there.path / "own.c").stat().st_ino == before
    # One that was damaged since is put there again.
    (there.path / "own.c").write_text("int y;\n")
    kept.unpack_trees(tmp_path / "sent/trees", tmp_path / "there")
    assert (there.path / "own.c").read_text() == "int x;\n"


def test_one_that_is_not_here_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="module own is not here"):
        source.fetch(ModuleSpec(name="own", kept="dir:0"), {}, tmp_path, Screen(Mode.QUIET))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"identity": "dir:1", "provenance": []}'])
def test_a_record_that_is_none_is_the_senders_fault(content: str, tmp_path: Path) -> None:
    write(tmp_path, {"trees/1.json": content})
    with pytest.raises(InfraError, match="cannot be read"):
        kept.unpack_trees(tmp_path / "trees", tmp_path / "cache")
    kept.unpack_trees(tmp_path / "nothing", tmp_path / "cache")


def test_a_damaged_one_leaves_nothing(module: Path, tmp_path: Path) -> None:
    found = fetched(ModuleSpec(name="module", path=module), tmp_path / "here")
    (tmp_path / "scratch").mkdir()
    kept.pack_tree(found, tmp_path / "trees", "1", tmp_path / "scratch")
    tar = tmp_path / "trees/1.tar"
    tar.write_bytes(tar.read_bytes()[:-30])
    with pytest.raises(InfraError):
        kept.unpack_trees(tmp_path / "trees", tmp_path / "there")
    assert source.locate(ModuleSpec(name="own", kept=found.identity), {}, tmp_path / "there") is None
