"""What is kept between rounds is found by all that it depends on, and by nothing less."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
