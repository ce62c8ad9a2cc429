"""Which folders are watched, and which files in them count."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kmodpipe.watch import places
from kmodpipe.watch.places import Place, is_temporary
from tests.support import toy
from tests.support.toy import World
from tests.support.watched import spec


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def counts(world: World, path: Path, *files: Path, **options: object) -> bool:
    found = places.of(spec(world, **options), files)
    out = world.root / "out"
    return any(place.counts(path, (out,)) for place in found.places)


def git(root: Path, *argv: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost.invalid")
    subprocess.run(["git", *identity, *argv], cwd=root, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("patches/toy-fix/0001-toy-mount.patch", True),
        ("patches/toy-fix/0002-new.patch", True),
        ("kconfigs/matrix.toml", True),
        ("kconfigs/guest.config", True),
        ("pyproject.toml", True),
        ("images/guest/lib.sh", True),
        ("images/guest/cases/remount/run.sh", True),
        ("images/guest/cases/new/case.toml", True),
        ("patches/other/0001.patch", False),
        ("README.md", False),
        ("out/watch/x/results.json", False),
        ("patches/toy-fix/.0001-toy-mount.patch.swp", False),
    ],
)
def test_what_the_command_line_reads_counts_and_nothing_else(world: World, name: str, expected: bool) -> None:
    assert counts(world, world.root / name) is expected


def test_files_that_the_command_line_names_count(world: World, tmp_path: Path) -> None:
    script = Path(world.script("own.sh", "exit 0"))
    assert counts(world, script, script, case=(str(script),))
    assert not counts(world, script.with_name("other.sh"), script, case=(str(script),))
    # What a link leads to is what is read.
    link = tmp_path / "link.sh"
    link.symlink_to(script)
    assert counts(world, script, link, case=(str(link),))


def test_a_series_by_path_is_watched_where_it_is(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (world.root / "patches/toy-fix").rename(folder)
    assert counts(world, folder / "0001-toy-mount.patch", series=(str(folder),))
    patch = tmp_path / "one.patch"
    patch.write_text(toy.SERIES_PATCH)
    assert counts(world, patch, series=(str(patch),))
    assert not counts(world, tmp_path / "two.patch", series=(str(patch),))


def test_a_folder_is_known_by_the_name_it_was_given(world: World, tmp_path: Path) -> None:
    """A link on the way may lead elsewhere later."""
    series = world.root / "patches/toy-fix"
    series.rename(tmp_path / "v1")
    series.symlink_to(tmp_path / "v1")
    kconfigs = world.root / "kconfigs"
    kconfigs.rename(tmp_path / "shared")
    kconfigs.symlink_to(tmp_path / "shared")
    named = {place.named: place.path for place in places.of(spec(world), ()).places if place.named}
    assert named[series] == tmp_path / "v1" and named[kconfigs] == tmp_path / "shared"
    assert world.root not in named


def test_what_links_among_the_cases_lead_to_counts(world: World, tmp_path: Path) -> None:
    cases, elsewhere = world.root / "images/guest/cases", tmp_path / "elsewhere"
    (cases / "remount").rename(elsewhere)
    (cases / "remount").symlink_to(elsewhere)
    (elsewhere / "run.sh").rename(tmp_path / "script")
    (elsewhere / "run.sh").symlink_to(tmp_path / "script")
    (world.root / "images/guest/lib.sh").rename(tmp_path / "lib.sh")
    (world.root / "images/guest/lib.sh").symlink_to(tmp_path / "lib.sh")
    for name in ("elsewhere/case.toml", "elsewhere/run.sh", "script", "lib.sh"):
        assert counts(world, tmp_path / name), name
    assert not counts(world, tmp_path / "other")
    # One that leads nowhere, or in a circle, is said where it is read.
    (cases / "circle").symlink_to("circle")
    assert counts(world, tmp_path / "script")


def test_a_trees_folder_is_watched_and_its_kernel_named(world: World) -> None:
    found = places.of(spec(world), ()).places
    (tree,) = [place for place in found if place.kernels]
    assert tree.path == world.tree.resolve() and tree.kernels == ("",)
    assert tree.counts(world.tree / "fs/toy/toy.c")
    assert not tree.counts(world.tree / "fs/toy/toy.o")


def test_a_branch_is_watched_by_its_repositorys_refs(world: World, tmp_path: Path) -> None:
    root = tmp_path / "linux"
    world.tree.rename(root)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-qm", "base")
    git(root, "checkout", "-qb", "topic")
    (root / "fs/toy/toy.c").write_text(toy.TOY_C.replace("ESTALE", "mounted"))
    git(root, "commit", "-qam", "toy: mount")
    world.tree.symlink_to(root)
    series = f"{root}#main..topic"
    found = places.of(spec(world, series=(series,)), ())
    own = [place for place in found.places if place.of_git]
    for name in ("refs/heads/topic", "packed-refs", "HEAD"):
        assert any(place.counts(root / ".git" / name) for place in own), name
    for name in ("index", "refs/heads/topic.lock", "objects/ab/cd"):
        assert not any(place.counts(root / ".git" / name) for place in own), name
    assert found.under_way() == ""
    (root / ".git/rebase-merge").mkdir()
    assert found.under_way() == f"a rebase in {root}"


def test_a_modules_own_source_is_watched_with_its_branches(world: World, tmp_path: Path) -> None:
    source = tmp_path / "hello"
    source.mkdir()
    (source / "Kbuild").write_text("obj-m += hello.o\n")
    (source / "hello.c").write_text("int hello;\n")
    plain = places.of(spec(world, module=str(source)), ()).places
    assert any(place.counts(source / "hello.c") for place in plain)
    git(source, "init", "-q", "-b", "main")
    git(source, "add", ".")
    git(source, "commit", "-qm", "first")
    found = places.of(spec(world, module=str(source)), ()).places
    for name in ("hello.c", ".git/refs/heads/main", ".git/HEAD"):
        assert any(place.counts(source / name) for place in found), name
    for name in ("hello.ko", ".git/index", ".git/objects/ab"):
        assert not any(place.counts(source / name) for place in found), name


@pytest.mark.parametrize(
    "name",
    [".run.sh.swp", ".run.sh.swx", "4913", "run.sh~", "#run.sh#", ".#run.sh", ".goutputstream-AB12",
    "run.sh___jb_tmp___",
     ".run.sh.kate-swp", ".~lock.x.odt#", "sedA1b2C3", ".nfs000000000ab"],
)  # fmt: skip
def test_editors_temporary_files_are_none_of_the_inputs(name: str) -> None:
    assert is_temporary(name)


@pytest.mark.parametrize(
    "name",
    ["run.sh", "0001-a~b.patch", "sed.sh", "series", ".gitignore", "x.config", "4913.sh", "sedation"],
)
def test_no_file_of_a_project_is_taken_for_one(name: str) -> None:
    assert not is_temporary(name)


def test_of_a_folder_alone_only_the_named_files_count(tmp_path: Path) -> None:
    place = Place(tmp_path, False, frozenset({"a"}))
    assert place.counts(tmp_path / "a")
    assert not place.counts(tmp_path / "b") and not place.counts(tmp_path / "sub/a")
