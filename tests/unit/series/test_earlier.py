"""A patched tree that is made from that of an earlier version of its series."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kmodpipe import series, source
from kmodpipe.cache import integrity, users
from kmodpipe.series import unused
from kmodpipe.source import linked
from kmodpipe.source import tree as trees
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.sample_series import folder_of
from tests.support.trees import commit_all, contents, git, make_tree, write

# What a version does: writes files (None removes one), makes links, gives modes.
VERSIONS: tuple[Mapping[str, str | None], ...] = (
    {"fs/toy/toy.h": "int B;\n"},
    {"fs/toy/toy.h": "int C;\n", "fs/new/deep/er.c": "new\n", "scripts/more.sh": "#!/bin/sh\n"},
    {"fs/toy/super.c": None, "fs/toy/super.c/now/a/folder.c": "x\n"},
    {"fs/toy": None, "fs/toy/toy.h": "all that is left\n"},
    {"fs/toy/toy.h": None, "fs/toy/super.c": None, "fs/toy/link.h": None, "fs": "a file now\n"},
    {"Kconfig": "->Makefile", "fs/toy/link.h": "a file\n"},
    {"scripts/run.sh": "#!/bin/sh\nexit 1\n", "fs/toy/toy.h": "int D;\n"},
)
# As `integrity.listing` has them, without any file.
_FOLDERS = b"fs/\0fs/toy/\0scripts/\0"


class Versions:
    """One series, edited again and again, and the tree that it is applied to."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path, self.cache = tmp_path, tmp_path / "cache"
        self.screen = Screen(Mode.QUIET, out=io.StringIO())
        spec = source.resolve(str(make_tree(tmp_path / "mine")), {})
        self.tree = source.fetch(spec, {}, self.cache, self.screen)

    def patch(self, number: int) -> str:
        work = self.tmp_path / f"work-{number}"
        if work.exists():
            shutil.rmtree(work)
        commit_all(make_tree(work), "base")
        for name, text in VERSIONS[number].items():
            path = work / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if text is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                path.symlink_to(text[2:])
            else:
                path.write_text(text)
        git(work, "add", "-A")
        return git(work, "diff", "--cached", "--no-renames") + "\n"

    def apply(self, number: int, name: str = "fix") -> Path:
        """Apply a version as another command would, which uses nothing that an earlier one did."""
        unused.release()
        root = self.tmp_path / f"patches-{number}"
        write(root / name, {"a.patch": self.patch(number), "series": "a.patch\n", "series.toml": ""})
        with users.using(self.cache, self.screen.say):
            return series.apply(series.load(name, root), self.tree, self.cache, self.screen)

    def patched(self) -> set[str]:
        return {path.name for path in (self.cache / "trees").glob("patched-*") if path.is_dir()}


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path)


def holds(folder: Path) -> dict[str, tuple[str, int, bool]]:
    """What each file holds, with its mode, and whether it has other names; links; folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = (f"-> {path.readlink()}", 0, False)
        elif path.is_dir():
            found[name] = ("folder", 0, False)
        else:
            found[name] = (path.read_text(), path.stat().st_mode, path.stat().st_nlink > 1)
    return found


def alone(tmp_path: Path, number: int) -> dict[str, tuple[str, int, bool]]:
    """What the version's tree holds in a cache that has seen no other."""
    return holds(Versions(tmp_path / f"alone-{number}").apply(number))


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("first", range(len(VERSIONS)))
def test_an_old_version_s_tree_becomes_that_of_the_new_one(
    tmp_path: Path, versions: Versions, first: int, step: int
) -> None:
    last = (first + step) % len(VERSIONS)
    between = [number for number in range(len(VERSIONS)) if number not in (first, last)][:2]
    paths = [versions.apply(number) for number in (first, *between)]
    original = contents(versions.tree.path)
    # While it is open, no other folder gets its inode.
    fd = os.open(paths[0], os.O_RDONLY)
    made = versions.apply(last)
    assert holds(made) == alone(tmp_path, last)
    assert contents(versions.tree.path) == original
    assert made.stat().st_ino == os.fstat(fd).st_ino and not paths[0].exists()
    os.close(fd)
    assert versions.patched() == {made.name, *(path.name for path in paths[1:])}
    listed = trees.manifest_path(made).read_bytes()
    assert sorted(listed.split(b"\0")) == sorted(integrity.listing(made).split(b"\0"))
    # It is recognised as any other, and can be given away in its turn.
    assert linked.holds(made, trees.manifest_path(versions.tree.path))
    assert versions.apply(last) == made


def test_the_two_versions_used_last_stay(versions: Versions) -> None:
    first, second, third = (versions.apply(number) for number in (0, 1, 2))
    assert first.exists() and second.exists()
    assert versions.apply(0) == first
    fourth = versions.apply(3)
    assert versions.patched() == {first.name, third.name, fourth.name}
    assert versions.apply(0) == first and versions.apply(2) == third


def test_another_series_on_the_tree_keeps_its_own(versions: Versions) -> None:
    theirs = [versions.apply(number, "theirs") for number in (0, 1, 2)]
    mine = [versions.apply(number) for number in (3, 4)]
    assert all(path.exists() for path in (*theirs[1:], *mine))
    assert len({*theirs, *mine}) == 5 and theirs[0].exists()


def test_a_tree_that_was_written_to_is_not_taken(tmp_path: Path, versions: Versions) -> None:
    paths = [versions.apply(number) for number in (0, 1, 2)]
    (paths[0] / "fs/toy/stray.c").write_text("not of the original")
    made = versions.apply(6)
    assert paths[0].exists() and holds(made) == alone(tmp_path, 6)


def test_a_changed_file_that_its_record_hides_is_not_patched_again(
    tmp_path: Path, versions: Versions
) -> None:
    paths = [versions.apply(number) for number in (0, 1, 2)]
    manifest = trees.manifest_path(versions.tree.path)
    linked.note(paths[0], linked.Links(manifest), _FOLDERS)
    os.utime(trees.record_path(paths[0]), (1, 1))
    assert linked.content(paths[0], manifest) == (["fs/", "fs/toy/", "scripts/"], [])
    assert holds(versions.apply(6)) == alone(tmp_path, 6)


@pytest.mark.parametrize("name", ["../outside", "fs/../../outside", "/outside"])
def test_a_record_does_not_lead_out_of_the_tree(versions: Versions, name: str) -> None:
    paths = [versions.apply(number) for number in (0, 1, 2)]
    outside = versions.cache / "trees/outside"
    outside.write_text("not ours")
    manifest = trees.manifest_path(versions.tree.path)
    told = f"{outside}" if name.startswith("/") else name
    linked.note(paths[0], linked.Links(manifest, [told]), _FOLDERS)
    os.utime(trees.record_path(paths[0]), (1, 1))
    assert linked.holds(paths[0], manifest)
    versions.apply(6)
    assert outside.read_text() == "not ours" and paths[0].exists()


def test_a_tree_that_this_process_uses_stays(versions: Versions) -> None:
    paths = [versions.apply(number) for number in (0, 1, 2)]
    versions.apply(0)  # releases what was used before, and uses this
    root = folder_of(versions.tmp_path / "more", {"a.patch": versions.patch(6)})
    for path in paths:
        unused.used(path)
    series.apply(series.load("fix", root), versions.tree, versions.cache, versions.screen)
    assert all(path.exists() for path in paths)


def test_a_tree_that_another_command_may_use_stays(versions: Versions) -> None:
    paths = [versions.apply(number) for number in (0, 1, 2)]
    code = (
        "import sys\nfrom pathlib import Path\nfrom kmodpipe.cache import users\n"
        "with users.using(Path(sys.argv[1]), print):\n    print('using', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(versions.cache)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None and other.stdout.readline() == "using\n"
        versions.apply(6)
        assert all(path.exists() for path in paths)
        other.communicate()


def test_a_patch_that_does_not_apply_leaves_no_half_of_a_tree(tmp_path: Path, versions: Versions) -> None:
    paths = [versions.apply(number) for number in (0, 1, 2)]
    text = versions.patch(0).replace("-int a;", "-int z;")
    root = folder_of(tmp_path / "broken", {"a.patch": text})
    with users.using(versions.cache, versions.screen.say), pytest.raises(UserError, match="does not apply"):
        unused.release()
        series.apply(series.load("fix", root), versions.tree, versions.cache, versions.screen)
    assert not list((versions.cache / "work").iterdir())
    assert holds(versions.apply(0)) == alone(tmp_path, 0)
    assert paths[1].exists() and paths[2].exists()
