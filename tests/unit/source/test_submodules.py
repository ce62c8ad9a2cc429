"""A module's repository with submodules: from the clone of one's own, and from nowhere else."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

from kmodpipe import series, source
from kmodpipe.source.tree import ModuleSpec, Tree
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import commit_all, git, write


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A module whose submodule ``lib`` has one itself, ``deep``."""
    deep = write(tmp_path / "deep", {"deep.h": "int deep;\n"})
    commit_all(deep, "deep")
    lib = write(tmp_path / "lib", {"lib.c": "int lib;\n"})
    commit_all(lib, "lib")
    _add(lib, deep, "deep")
    module = write(tmp_path / "module", {"Kbuild": "obj-m := m.o\nm-y := main.o lib/lib.o\n", "main.c": "\n"})
    commit_all(module, "module")
    _add(module, lib, "lib")
    git(module, "-c", "protocol.file.allow=always", "submodule", "-q", "update", "--init", "--recursive")
    return module


def _add(root: Path, other: Path, name: str) -> None:
    git(root, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(other), name)
    commit_all(root, f"with {name}")


def _get(spec: ModuleSpec, cache: Path) -> tuple[Tree, str]:
    said = io.StringIO()
    screen = Screen(Mode.PLAIN, out=said)
    tree = source.locate(spec, {}, cache, warn=screen.warn) or source.fetch(spec, {}, cache, screen)
    return tree, said.getvalue()


def _of_commit(root: Path, ref: str = "HEAD") -> ModuleSpec:
    return ModuleSpec(name="module", git=root.as_uri(), commit=git(root, "rev-parse", ref))


def _files(tree: Tree) -> set[str]:
    return {path.relative_to(tree.path).as_posix() for path in tree.path.rglob("*.[ch]")}


WHOLE = {"main.c", "lib/lib.c", "lib/deep/deep.h"}


def test_a_commit_has_the_files_of_its_submodules_and_of_theirs(clone: Path, cache: Path) -> None:
    tree, said = _get(_of_commit(clone), cache)
    assert _files(tree) == WHOLE and "left out" not in said
    assert [p.relative_to(tree.path).as_posix() for p in tree.path.rglob(".git")] == [".git"]
    assert tree.provenance["submodules"].startswith("lib (")
    assert tree.provenance["commit"] == git(clone, "rev-parse", "HEAD")
    again, _ = _get(_of_commit(clone), cache)
    assert again == tree, "known without a fetch"
    before, _ = _get(_of_commit(clone, "HEAD~1"), cache)
    assert _files(before) == {"main.c"} and "submodules" not in before.provenance


def test_a_folder_as_it_is_has_them_with_what_was_edited(clone: Path, cache: Path) -> None:
    write(clone, {"lib/lib.c": "int edited;\n", "lib/new.c": "int new;\n", "lib/lib.o": "a product\n"})
    tree, _ = _get(ModuleSpec(name="module", path=clone), cache)
    assert _files(tree) == WHOLE | {"lib/new.c"} and not (tree.path / "lib/lib.o").exists()
    assert (tree.path / "lib/lib.c").read_text() == "int edited;\n"


def test_what_the_clone_does_not_have_is_left_out_with_a_warning_until_it_has(
    clone: Path, cache: Path
) -> None:
    git(clone, "submodule", "-q", "deinit", "-f", "lib")
    for _ in range(2):
        tree, said = _get(_of_commit(clone), cache)
        assert _files(tree) == {"main.c"} and "1 submodule of the module's repository left out, lib" in said
        assert tree.provenance["submodules-left-out"] == "lib"
    git(clone, "-c", "protocol.file.allow=always", "submodule", "-q", "update", "--init")
    tree, said = _get(_of_commit(clone), cache)
    assert _files(tree) == WHOLE - {"lib/deep/deep.h"} and "left out, lib/deep:" in said


def test_a_commit_that_the_submodules_clone_lacks_is_told_with_the_way_out(clone: Path, cache: Path) -> None:
    missing = "1" * 40
    git(clone, "update-index", "--cacheinfo", f"160000,{missing},lib")
    git(clone, "commit", "-q", "-m", "a commit of nowhere")
    with pytest.raises(UserError) as caught:
        _get(_of_commit(clone), cache)
    assert "submodule lib" in caught.value.where and "git submodule update" in caught.value.hint


def test_a_link_in_place_of_a_submodule_is_not_followed(clone: Path, cache: Path, tmp_path: Path) -> None:
    shutil.rmtree(clone / "lib")
    (clone / "lib").symlink_to(tmp_path / "lib")
    tree, said = _get(_of_commit(clone), cache)
    assert _files(tree) == {"main.c"} and "left out" in said


def test_of_another_servers_repository_they_are_left_out(clone: Path, cache: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(clone), "served.git")
    spec = ModuleSpec(name="module", git=(tmp_path / "served.git").as_uri(), ref="main")
    tree, said = _get(spec, cache)
    assert _files(tree) == {"main.c"} and "left out, lib" in said


def test_a_newer_commit_of_a_submodule_is_a_change_of_its_files(clone: Path) -> None:
    before = git(clone, "rev-parse", "HEAD")
    write(clone / "lib", {"lib.c": "int newer;\n"})
    commit_all(clone / "lib", "newer")
    change = series.of_working_tree(clone, before, "main")
    assert change is not None and change.touched == ("lib/lib.c",)
