"""What a series changes: its hunks, and where their lines are in the end; held against git and difflib."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kmodpipe.series import changes as read
from kmodpipe.series.changes import FileChange
from kmodpipe.series.diff import read_patch
from kmodpipe.series.model import Patch, git
from tests.support import REPO
from tests.support.trees import commit_all, write
from tests.support.trees import git as plain_git


def patch(name: str, text: str | bytes) -> Patch:
    data = text.encode() if isinstance(text, str) else text
    return read_patch(name, Path(name), data, where=name)


def lines(*names: object) -> str:
    return "".join(f"{name}\n" for name in names)


class Work:
    """A repository: each change of its files is a patch, as git makes it."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        write(folder, files)
        commit_all(folder, "base")
        self.patches: list[Patch] = []

    def change(self, files: dict[str, str | None], context: int = 3) -> None:
        for name, text in files.items():
            if text is None:
                (self.folder / name).unlink()
            else:
                write(self.folder, {name: text})
        plain_git(self.folder, "add", "-A")
        text = plain_git(self.folder, "diff", "--cached", "-M", f"-U{context}") + "\n"
        self.patches.append(patch(f"{len(self.patches) + 1:04}.patch", text))
        commit_all(self.folder, "next")

    def changes(self) -> tuple[FileChange, ...]:
        return tuple(one for patch in self.patches for one in read.of_patch(patch))


def test_a_hunk_is_read_with_its_lines(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", {"fs/a.c": lines(*range(1, 31)), "fs/b.c": "x\n"})
    new = [str(i) for i in range(1, 31)]
    new[4:6] = ["five"]
    new[20:20] = ["a", "b"]
    work.change({"fs/a.c": lines(*new), "fs/b.c": "y"})
    one, two, three = [hunk for change in work.changes() for hunk in change.hunks]
    assert (one.path, one.number, one.added, one.delta) == ("fs/a.c", 1, (5,), -1)
    assert (two.path, two.number, two.delta) == ("fs/a.c", 2, 2)
    assert [new[line - 1] for line in two.added] == ["a", "b"]
    assert (three.path, three.number, three.added) == ("fs/b.c", 3, (1,))
    assert three.text.splitlines()[-1].startswith("\\ No newline")
    assert one.text.startswith("@@ -2,8 +2,7 @@")


def test_new_and_removed_files_renames_and_lines_that_look_like_headers(tmp_path: Path) -> None:
    odd = lines("-- a/x", "++ b/x", "@@ -1 +1 @@", "diff --git a/x b/x")
    work = Work(tmp_path / "w", {"fs/old.c": lines(*range(20)), "fs/gone.c": "x\n", "odd": odd})
    work.change({"fs/new.c": lines("n1", "n2"), "fs/gone.c": None, "odd": odd.replace("-", "+")})
    work.change({"fs/old.c": None, "fs/moved.c": lines(*range(5), "in", *range(5, 20))})
    work.change({"fs/new.c": None, "fs/newer.c": lines("n1", "n2")})
    found = {(c.old_path, c.path) for c in work.changes()}
    assert found == {
        ("", "fs/new.c"),
        ("fs/gone.c", ""),
        ("odd", "odd"),
        ("fs/old.c", "fs/moved.c"),
        ("fs/new.c", "fs/newer.c"),
    }
    lines_of = read.changed_lines(work.changes())
    assert lines_of["fs/moved.c"] == {6: ("0002.patch", 1)}
    assert lines_of["fs/newer.c"] == {1: ("0001.patch", 2), 2: ("0001.patch", 2)}
    assert "fs/new.c" not in lines_of and "fs/gone.c" not in lines_of


def test_later_patches_move_replace_and_remove_lines(tmp_path: Path) -> None:
    work = Work(tmp_path / "w", {"a.c": lines(*range(1, 11))})
    work.change({"a.c": lines(1, 2, "one", "two", "three", *range(3, 11))})
    work.change({"a.c": lines("top", 1, 2, "one", "TWO", *range(3, 11))})
    assert read.changed_lines(work.changes()) == {
        "a.c": {1: ("0002.patch", 1), 4: ("0001.patch", 1), 5: ("0002.patch", 1)}
    }
    assert read.final_lines(work.changes()) == {
        ("0001.patch", 1): {3: ("a.c", 4)},
        ("0002.patch", 1): {1: ("a.c", 1), 5: ("a.c", 5)},
    }


@pytest.mark.parametrize("seed", range(12))
def test_at_random_the_own_lines_are_those_that_carry_their_patch(tmp_path: Path, seed: int) -> None:
    """Every line that a patch writes has the patch's number in it, so the text says who wrote it."""
    dice = random.Random(seed)
    text = [f"base {i}" for i in range(40)]
    work = Work(tmp_path / "w", {"a.c": lines(*text)})
    for number in range(1, 6):
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(text) + 1)
            text[at : at + dice.randint(0, 3)] = [
                f"{number} {dice.random()}" for _ in range(dice.randint(0, 3))
            ]
        text.insert(dice.randrange(len(text) + 1), f"{number} at least one")
        work.change({"a.c": lines(*text)}, context=dice.randint(0, 4) if dice.random() < 0.3 else 3)
    wanted = {
        at: f"{int(line.split()[0]):04}.patch"
        for at, line in enumerate(text, 1)
        if not line.startswith("base")
    }
    assert {at: name for at, (name, _) in read.changed_lines(work.changes())["a.c"].items()} == wanted
    final = read.final_lines(work.changes())
    assert sorted(now for of in final.values() for _, now in of.values()) == sorted(wanted)


@pytest.mark.parametrize("seed", range(8))
def test_elsewhere_hunks_are_placed_where_git_places_them(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    # Few different lines, so that a hunk fits in several places.
    text = [dice.choice("abc") for _ in range(60)]
    work = Work(tmp_path / "w", {"a.c": lines(*text)})
    for number in range(1, 4):
        for _ in range(2):
            text.insert(dice.randrange(len(text)), f"new {number}")
        work.change({"a.c": lines(*text)}, context=2)
    base = plain_git(work.folder, "show", "HEAD~3:a.c") + "\n"
    shifted = lines(*[dice.choice("abc") for _ in range(dice.randint(0, 9))]) + base + lines("a", "b")
    other = write(tmp_path / "other", {"a.c": shifted})
    for one in work.patches:
        done = git(other, "apply", "-", stdin=one.data, check=False)
        if done.returncode:
            pytest.skip("git does not apply it there")
    placed, files = read.placed(work.changes(), lambda path: shifted.encode() if path == "a.c" else None)
    assert files["a.c"] == (other / "a.c").read_bytes()
    now = files["a.c"].decode().splitlines()
    assert {now[line - 1][:3] for line in read.changed_lines(placed)["a.c"]} == {"new"}
    assert sum(line.startswith("new") for line in now) == len(read.changed_lines(placed)["a.c"])


@pytest.mark.parametrize("name", sorted(p.name for p in (REPO / "patches").iterdir() if p.is_dir()))
def test_the_shipped_series_are_read_whole(name: str) -> None:
    from kmodpipe import series

    loaded = series.load(name, REPO / "patches")
    found = read.hunks(loaded)
    raw = sum(text.startswith(b"@@ ") for p in loaded.patches for text in p.data.split(b"\n"))
    assert len(found) == raw > 10
    assert {hunk.path for hunk in found} == set(loaded.touched)
    for hunk in found:
        signs = [line[:1] for line in hunk.body]
        assert signs.count("-") + signs.count(" ") == hunk.old_lines
        assert signs.count("+") == len(hunk.added) and signs.count("+") + signs.count(" ") == hunk.new_lines
