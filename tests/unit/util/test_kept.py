"""What is kept between rounds is found by all that it depends on, and by nothing less."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from kmodpipe.util import kept
from kmodpipe.util.workers import Thread


class Counting:
    def __init__(self, root: Path | None = None, names: tuple[str, ...] = ()) -> None:
        self.calls = 0
        self._root, self._names = root, names

    def make(self) -> str:
        self.calls += 1
        return f"made {self.calls}"

    def read(self) -> tuple[str, Mapping[str, str]]:
        assert self._root
        return self.make(), {name: kept.content(self._root / name) for name in self._names}


def test_a_command_that_runs_once_keeps_nothing() -> None:
    one = Counting()
    assert kept.once("k", 1, one.make) != kept.once("k", 1, one.make)
    assert kept.current() is None


def test_the_same_key_is_made_once_in_every_thread_of_the_command() -> None:
    one = Counting()
    with kept.keeping():
        assert kept.once("k", 1, one.make) == kept.once("k", 1, one.make) == "made 1"
        assert kept.once("k", 2, one.make) == "made 2" and kept.once("other", 1, one.make) == "made 3"
        found: list[str] = []
        thread = Thread(lambda: found.append(kept.once("k", 1, one.make)))
        thread.start()
        thread.join()
        assert found == ["made 1"]
        kept.forget("k")
        assert kept.once("k", 1, one.make) == "made 4" and kept.once("other", 1, one.make) == "made 3"
    with kept.keeping():
        assert kept.once("k", 1, one.make) == "made 5"


def test_what_is_made_of_files_is_found_for_files_that_hold_the_same_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("same")
    names = ("a", "not there")
    first, second = (Counting(tmp_path / name, names) for name in ("one", "two"))
    with kept.keeping():
        assert kept.of_files("k", 1, tmp_path / "one", first.read) == "made 1"
        assert kept.of_files("k", 1, tmp_path / "two", second.read) == "made 1" and second.calls == 0
        assert kept.of_files("k", 2, tmp_path / "two", second.read) == "made 1" and second.calls == 1
        # Of the same size, within the same moment.
        (tmp_path / "one/a").write_text("othe")
        assert kept.of_files("k", 1, tmp_path / "one", first.read) == "made 2"
        (tmp_path / "two/not there").write_text("now it is")
        kept.of_files("k", 1, tmp_path / "two", second.read)
        assert second.calls == 2


def test_no_more_is_kept_than_a_bounded_number() -> None:
    one = Counting()
    with kept.keeping():
        for key in range(300):
            kept.once("k", key, one.make)
        kept.once("k", 299, one.make)
        assert one.calls == 300
        kept.once("k", 0, one.make)
        assert one.calls == 301


def written(name: str = "one") -> kept.Written[str]:
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError("no text")
        return value

    return kept.Written(name, lambda value: value, read)


def test_what_is_written_is_found_by_a_later_process_while_the_files_hold_the_same(tmp_path: Path) -> None:
    tree, folder = tmp_path / "tree", tmp_path / "kept"
    tree.mkdir()
    (tree / "a").write_text("same")
    one = Counting(tree, ("a", "not there"))
    with kept.on_disk(folder):
        assert kept.of_files("k", 1, tree, one.read, written()) == "made 1"
    with kept.on_disk(folder):
        assert kept.of_files("k", 1, tree, one.read, written()) == "made 1"
        assert kept.of_files("k", 1, tree, one.read, written("another")) == "made 2"
        (tree / "not there").write_text("now it is")
        assert kept.of_files("k", 1, tree, one.read, written()) == "made 3"
        (tree / "not there").unlink()
        # That of before is still there as well.
        assert kept.of_files("k", 1, tree, one.read, written()) == "made 1"
        (tree / "a").write_text("othe")
        assert kept.of_files("k", 1, tree, one.read, written()) == "made 4"
    assert kept.of_files("k", 1, tree, one.read, written()) == "made 5"


@pytest.mark.parametrize(
    "content",
    ["", "[", "{}", "[1]", '[{"names": 3}]', '[{"names": [], "digest": "x"}]', "[" * 500, "null", "\udcff"],
)
def test_what_cannot_be_read_is_made_again(tmp_path: Path, content: str) -> None:
    one = Counting(tmp_path, ())
    with kept.on_disk(tmp_path / "kept"):
        kept.of_files("k", 1, tmp_path, one.read, written())
        (file,) = (tmp_path / "kept" / "k").iterdir()
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
        assert kept.of_files("k", 1, tmp_path, one.read, written()) == "made 2"
        assert kept.of_files("k", 1, tmp_path, one.read, written()) == "made 2"


def test_a_value_of_another_kind_is_made_again(tmp_path: Path) -> None:
    one = Counting(tmp_path, ())
    with kept.on_disk(tmp_path / "kept"):
        kept.of_files("k", 1, tmp_path, one.read, written())
        (file,) = (tmp_path / "kept" / "k").iterdir()
        file.write_text(file.read_text().replace('"made 1"', "7"))
        assert kept.of_files("k", 1, tmp_path, one.read, written()) == "made 2"


def test_a_folder_that_cannot_be_written_to_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder would be")
    one = Counting(tmp_path, ())
    with kept.on_disk(tmp_path / "kept"):
        assert kept.of_files("k", 1, tmp_path, one.read, written()) == "made 1"


def test_no_more_files_are_written_than_a_bounded_number(tmp_path: Path) -> None:
    one = Counting(tmp_path, ())
    with kept.on_disk(tmp_path / "kept"):
        for number in range(80):
            kept.of_files("k", 1, tmp_path, one.read, written(str(number)))
        assert len(list((tmp_path / "kept" / "k").iterdir())) == 64
        assert kept.of_files("k", 1, tmp_path, one.read, written("79")) == "made 80"


def test_content_is_that_of_files_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert kept.content(tmp_path / "file") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert kept.content(tmp_path / "link") == kept.content(tmp_path / "file")
    assert [kept.content(tmp_path / name) for name in ("pipe", "", "none", "a\0b")] == [""] * 4


def test_a_note_is_its_projects(tmp_path: Path) -> None:
    one, other = Path("/one"), Path("/other")
    assert kept.noted(tmp_path, "kind", one) == {}
    kept.note(tmp_path, "kind", one, {"a": 1})
    assert kept.noted(tmp_path, "kind", one) == {"a": 1}
    assert kept.noted(tmp_path, "kind", other) == kept.noted(tmp_path, "else", one) == {}
