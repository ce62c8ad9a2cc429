"""The cases that run are the ones that were there at the start, whatever becomes of the tree meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.cache.store import Store
from kmodpipe.judge import cases
from kmodpipe.pipeline import snapshot
from kmodpipe.util.errors import InfraError, UserError


def test_a_script_that_is_gone_is_a_usage_error(tmp_path: Path) -> None:
    script, lib = tmp_path / "own.sh", tmp_path / "lib.sh"
    script.write_text("#!/bin/sh\n")
    lib.write_text("")
    case = cases.from_script(script)
    script.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        snapshot.take([case], lib, tmp_path / "shared")


def test_what_a_case_brings_is_copied_with_its_links_and_who_may_run_it(tmp_path: Path) -> None:
    home = tmp_path / "cases/a"
    (home / "data/below").mkdir(parents=True)
    (home / "data/below/prog").write_text("program")
    (home / "data/below/prog").chmod(0o500)
    (home / "data/link").symlink_to("below/prog")
    (home / "data/below").chmod(0o500)
    (home / "run.sh").write_text("#!/bin/sh\n")
    (home / "case.toml").write_text(
        '[[case]]\nid = "a"\nsummary = "a case"\nscript = "run.sh"\ngoal = "x"\nfiles = ["data"]\n'
    )
    (tmp_path / "lib.sh").write_text("")
    (case,) = cases.load(tmp_path / "cases")
    taken = snapshot.take([case], tmp_path / "lib.sh", tmp_path / "shared")
    (copied,) = taken.cases
    assert [file.path for file in copied.files] == [tmp_path / "shared/cases/a/data"]
    there = copied.files[0].path
    assert (there / "link").readlink() == Path("below/prog")
    assert (there / "below/prog").stat().st_mode & 0o777 == 0o755
    assert taken.digest(copied) == case.digest()
    (there / "below/more").write_text("a folder of ours can be written to, and removed")
    (home / "data/below").chmod(0o700)


def recipes(folder: Path) -> Path:
    for name in (
        "builder/base.sh",
        "builder/program",
        "guest/recipe.sh",
        "guest/lib.sh",
        "guest/cases/a/run.sh",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o700 if name.endswith("program") else 0o600)
    return folder


def test_recipes_are_those_of_the_moment_in_which_a_run_began(tmp_path: Path) -> None:
    images, store = recipes(tmp_path / "images"), Store(tmp_path / "cache")
    first = snapshot.recipes(images, store)
    (images / "builder/base.sh").write_text("edited")
    second = snapshot.recipes(images, store)
    assert (first / "builder/base.sh").read_text() == "builder/base.sh"
    assert (second / "builder/base.sh").read_text() == "edited"
    # Cases have a copy of their own; the builder's user must be able to read what it runs.
    assert not (first / "guest/cases").exists() and not (first / "guest/lib.sh").exists()
    modes = {p.name: p.stat().st_mode & 0o777 for p in (first / "builder").iterdir()}
    assert modes == {"base.sh": 0o644, "program": 0o755}
    # What only the cases changed is the same recipe.
    (images / "guest/cases/a/run.sh").write_text("edited")
    assert snapshot.recipes(images, store) == second


def test_recipes_that_change_while_they_are_copied_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, store = recipes(tmp_path / "images"), Store(tmp_path / "cache")
    copied = snapshot._copy

    def copy(source: Path, target: Path) -> Path:
        (images / "builder/base.sh").write_text("edited")
        return copied(source, target)

    monkeypatch.setattr(snapshot, "_copy", copy)
    with pytest.raises(InfraError, match="changed while they were read"):
        snapshot.recipes(images, store)
    assert not list((tmp_path / "cache/store/recipes").glob("[0-9a-f]*"))
