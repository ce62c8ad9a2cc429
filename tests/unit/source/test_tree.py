"""Trees in the cache: whole ones, damaged ones, and those of earlier versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from kmodpipe import source
from kmodpipe.cache import integrity, look_ahead
from kmodpipe.source import TreeSpec
from kmodpipe.source import tree as trees
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen
from tests.support.trees import FILES, contents, get, make_tree, write


def test_the_projects_own_trees_are_valid_and_an_unknown_field_is_not() -> None:
    table = {"git": "https://git.invalid/x", "commit": "1" * 40, "first-parent": True, "stand-in": "other"}
    assert TreeSpec.model_validate(table).first_parent
    for wrong in (
        {**table, "comit": "x"},
        {**table, "tarball": "x.tar"},
        {**table, "commit": "123"},
        {**table, "version": "1"},
        {"summary": "no kind"},
        {"debian-package": "linux-source-5.10"},
    ):
        with pytest.raises(ValidationError):
            TreeSpec.model_validate(wrong)


def test_a_folder_that_is_no_kernel_tree_names_what_is_missing(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/Makefile").write_text("all:\n")
    with pytest.raises(UserError, match="no Kconfig, no scripts/"):
        get(str(tmp_path / "x"), cache, screen)
    write(tmp_path / "x", {"Kconfig": "", "scripts/a": ""})
    with pytest.raises(UserError, match="VERSION, no PATCHLEVEL"):
        get(str(tmp_path / "x"), cache, screen)


def test_half_made_and_damaged_trees_are_not_taken_for_whole(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    mine = make_tree(tmp_path / "mine")
    spec = source.resolve(str(mine), {})
    tree = get(str(mine), cache, screen)
    record = trees.record_path(tree.path)

    record.unlink()
    assert source.locate(spec, {}, cache) is None
    assert get(str(mine), cache, screen).path == tree.path and record.exists()

    # A power cut: a file whose bytes never reached the disk.
    (tree.path / "fs/toy/super.c").write_text("")
    told: list[str] = []
    assert source.locate(spec, {}, cache, warn=told.append) is None
    assert "fs/toy/super.c changed" in told[0] and "made again" in told[0]
    assert (get(str(mine), cache, screen).path / "fs/toy/super.c").read_text() == FILES["fs/toy/super.c"]


def test_what_was_seen_ahead_counts_only_where_the_tree_is_as_it_was(
    tmp_path: Path, cache: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_tree(tmp_path / "mine")
    spec = source.resolve(str(mine), {})
    tree = get(str(mine), cache, screen)
    look_ahead.note(cache, tmp_path, [tree.path])

    # Half of it was there a moment ago: another command made it.
    victim, aside = tree.path / "fs/toy/super.c", tmp_path / "aside"
    victim.rename(aside)
    look_ahead.begin(cache, tmp_path)
    look_ahead._begun[tree.path].thread.join()
    aside.rename(victim)
    assert source.locate(spec, {}, cache) is not None

    look_ahead.begin(cache, tmp_path)
    look_ahead._begun[tree.path].thread.join()
    with monkeypatch.context() as without:
        without.setattr(integrity, "listing", lambda folder: pytest.fail("it was looked at again"))
        assert source.locate(spec, {}, cache) is not None


@pytest.mark.parametrize("damage", ["same size", "deleted", "a link", "more", "mode", "manifest", "cut"])
def test_a_tree_that_was_changed_in_the_cache_is_made_again(
    tmp_path: Path, cache: Path, screen: Screen, damage: str
) -> None:
    mine = make_tree(tmp_path / "mine")
    spec = source.resolve(str(mine), {})
    tree = get(str(mine), cache, screen)
    before = contents(tree.path)
    victim = tree.path / "fs/toy/super.c"
    match damage:
        case "same size":
            victim.write_text(victim.read_text().replace("line 7", "line 8"))
        case "deleted":
            victim.unlink()
        case "a link":
            victim.unlink()
            victim.symlink_to("toy.h")
        case "more":
            (tree.path / "fs/toy/more.c").touch()
        case "mode":
            victim.chmod(0o755)
        case "manifest":
            trees.record_path(tree.path).with_suffix(".manifest").write_bytes(b"nonsense")
        case _:
            shutil.rmtree(tree.path / "fs")
    assert source.locate(spec, {}, cache) is None
    assert contents(get(str(mine), cache, screen).path) == before
    assert source.locate(spec, {}, cache)


def test_a_tree_of_an_earlier_version_was_counted_and_gets_a_manifest(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    mine = make_tree(tmp_path / "mine")
    tree = get(str(mine), cache, screen)
    record, manifest = trees.record_path(tree.path), tree.path.with_name(f"{tree.path.name}.manifest")
    manifest.unlink()
    spec = source.resolve(str(mine), {})
    assert source.locate(spec, {}, cache) is None, "neither counted nor listed"
    files = [p for p in tree.path.rglob("*") if p.is_symlink() or p.is_file()]
    census = [len(files), sum(p.lstat().st_size for p in files)]
    record.write_text(json.dumps({**json.loads(record.read_text()), "census": census}))
    assert source.locate(spec, {}, cache) and manifest.is_file()
    (tree.path / "Kconfig").write_text('mainmenu "xoy"\n')
    assert source.locate(spec, {}, cache) is None
