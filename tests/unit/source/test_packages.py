"""Packages for the guest: resolved once, kept, and fetched anew where they are gone."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe.cache.share import PINS, Share
from kmodpipe.cache.store import Store
from kmodpipe.source import packages
from kmodpipe.source.packages import Package
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support import oci, toy_packages
from tests.support.oci import Shelf
from tests.support.toy_packages import Archive


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    made = toy_packages.build(tmp_path / "archive", tmp_path / "programs")
    monkeypatch.setenv("PATH", f"{made.programs}:{os.environ['PATH']}")
    made.add("libtoy1", {"usr/lib/libtoy.so.1": "library"}, "2:1.0")
    made.add("toytool", {"usr/bin/toytool": "program"}, depends=("libtoy1",))
    made.add("toyother", {"usr/bin/toyother": "program"}, depends=("libtoy1",))
    return made


def one(cache: Path, screen: Screen, name: str = "toytool") -> Package:
    (found,) = packages.resolve([name], "bookworm", cache, screen)
    return found


def test_a_package_is_pinned_with_what_it_depends_on(archive: Archive, cache: Path, screen: Screen) -> None:
    found = one(cache, screen)
    assert found.version == "1.0-1" and list(found.pins) == ["libtoy1", "toytool"]
    assert found.pins["libtoy1"].startswith("2:1.0 ") and len(found.pins["libtoy1"].split()[1]) == 64
    files = packages.files(found, cache)
    assert files and [path.name.partition("_")[0] for path in files] == ["libtoy1", "toytool"]
    install = next(call for call in archive.calls if " install " in call)
    assert "--no-install-recommends" in install and "--download-only" in install
    assert not list((cache / "work").glob("apt-*"))


def test_it_is_not_looked_up_again_though_there_is_a_newer_one(
    archive: Archive, cache: Path, screen: Screen
) -> None:
    found, calls = one(cache, screen), len(archive.calls)
    archive.add("toytool", {"usr/bin/toytool": "newer"}, "2.0-1", ("libtoy1",))
    archive.go_offline()
    assert one(cache, screen) == found == packages.recall("toytool", "bookworm", cache)
    assert len(archive.calls) == calls
    assert packages.recall("toytool", "trixie", cache) is None


def test_what_is_gone_or_damaged_is_fetched_anew(archive: Archive, cache: Path, screen: Screen) -> None:
    found = one(cache, screen)
    (cache / "downloads" / found.debs[0].file).write_bytes(b"damaged")
    assert packages.files(found, cache) is None
    archive.go_offline()
    # With what was made of it in the store there is no need.
    assert packages.resolve(["toytool"], "bookworm", cache, screen, have=lambda package: True) == (found,)
    with pytest.raises(InfraError, match="no network"):
        one(cache, screen)
    (archive.folder / "away").rename(archive.folder / "available")
    assert one(cache, screen) == found and packages.files(found, cache)


def test_two_packages_share_one_version_of_a_library(archive: Archive, cache: Path, screen: Screen) -> None:
    old = one(cache, screen)
    archive.add("libtoy1", {"usr/lib/libtoy.so.1": "newer"}, "2:1.1")
    both = packages.resolve(["toytool", "toyother"], "bookworm", cache, screen)
    assert [found.name for found in both] == ["toytool", "toyother"]
    assert both[0].pins["libtoy1"] == both[1].pins["libtoy1"] != old.pins["libtoy1"]


def test_no_network_says_what_to_do(archive: Archive, cache: Path, screen: Screen) -> None:
    archive.go_offline()
    with pytest.raises(InfraError, match="the guest's tools cannot be fetched: E: Failed to fetch") as e:
        one(cache, screen)
    assert (
        "toytool of bookworm from mirror.invalid" in e.value.where and "mirror can be reached" in e.value.hint
    )


def test_a_name_that_is_no_package_has_near_ones(archive: Archive, cache: Path, screen: Screen) -> None:
    with pytest.raises(UserError, match="no Debian package is called 'toytoll'; did you mean toytool") as e:
        packages.resolve(["toytoll"], "bookworm", cache, screen, where=lambda name: f"case.toml:3 ({name})")
    assert e.value.where == "case.toml:3 (toytoll)"


def test_a_machine_that_lacks_apt_or_the_key_ring_says_so(
    archive: Archive, cache: Path, screen: Screen
) -> None:
    with pytest.raises(InfraError, match=r"the key ring /nowhere\.gpg is not there"):
        packages.resolve(["toytool"], "bookworm", cache, screen, keyring=Path("/nowhere.gpg"))


# -- with a share ---------------------------------------------------------------------------------------
@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with oci.serve() as shelf:
        yield shelf


class Machine:
    """A machine with a cache of its own, and the share."""

    def __init__(self, cache: Path, shelf: Shelf, key: bytes = b"") -> None:
        self.cache = cache
        self.shown = io.StringIO()
        self.screen = Screen(Mode.PLAIN, out=self.shown)
        self.share: Share = shelf.share(Store(cache), self.screen, key)

    def get(self, *names: str, renew: bool = False, made: bool = False) -> Package:
        found = packages.resolve(
            names or ("toytool",), "bookworm", self.cache, self.screen,
            have=lambda package: made, share=self.share, renew=renew,
        )  # fmt: skip
        return found[0]


@pytest.fixture
def machines(tmp_path: Path, shelf: Shelf) -> tuple[Machine, Machine]:
    return Machine(tmp_path / "one", shelf), Machine(tmp_path / "two", shelf)


def newer(archive: Archive, *, keep: bool = True) -> None:
    archive.add("libtoy1", {"usr/lib/libtoy.so.1": "newer"}, "2:1.1", keep=keep)


def test_machines_with_one_share_have_the_same_packages(
    archive: Archive, machines: tuple[Machine, Machine]
) -> None:
    first, second = machines
    found = first.get()
    newer(archive)
    assert second.get() == found and packages.files(found, second.cache)
    assert "libtoy1=2:1.0" in next(call for call in reversed(archive.calls) if " install " in call)
    assert second.shown.getvalue().count("warning") == 0
    # Without the share's, they are others.
    assert packages.resolve(["toytool"], "bookworm", second.cache / "other", second.screen) != (found,)


def test_a_machine_for_which_the_tool_is_made_already_asks_no_mirror(
    archive: Archive, machines: tuple[Machine, Machine]
) -> None:
    found, calls = machines[0].get(), len(archive.calls)
    archive.go_offline()
    assert machines[1].get(made=True) == found
    assert len(archive.calls) == calls


def test_renewed_packages_are_everybodys(archive: Archive, machines: tuple[Machine, Machine]) -> None:
    first, second = machines
    old = second.get()
    assert first.get() == old
    newer(archive)
    assert first.get() == second.get() == old
    new = first.get(renew=True)
    assert new != old and new.pins["libtoy1"].startswith("2:1.1 ")
    assert second.get() == new == first.get()


def test_what_is_to_be_renewed_stays_where_no_mirror_answers(
    archive: Archive, machines: tuple[Machine, Machine], shelf: Shelf
) -> None:
    first, second = machines
    old = first.get()
    archive.go_offline()
    stale, pushed = dict(shelf.manifests), len(shelf.blobs)
    assert first.get(renew=True) == old
    assert (shelf.manifests, len(shelf.blobs)) == (stale, pushed)
    assert "the packages of tools stay as they were" in first.shown.getvalue()
    with pytest.raises(InfraError, match="no network"):
        second.get(renew=True)


def test_what_the_mirror_does_not_have_any_more_is_pinned_anew_for_all(
    archive: Archive, machines: tuple[Machine, Machine]
) -> None:
    first, second = machines
    old = first.get()
    newer(archive, keep=False)
    new = second.get()
    assert new != old and "pinned anew" in second.shown.getvalue()
    assert first.get() == new


def test_a_file_with_another_digest_than_the_pin_says_is_not_taken(
    archive: Archive, machines: tuple[Machine, Machine]
) -> None:
    first, second = machines
    old = first.get()
    archive.add("libtoy1", {"usr/lib/libtoy.so.1": "another of this version"}, "2:1.0")
    new = second.get()
    assert new.pins["libtoy1"] != old.pins["libtoy1"] and packages.files(new, second.cache)
    assert "pinned anew" in second.shown.getvalue()


@pytest.mark.parametrize(
    "row",
    [
        {"toytool": f"1.0-1 {'0' * 64} ../../../etc/passwd.deb"},
        {"toytool": f"-o=x {'0' * 64} toytool.deb", "--help": f"1 {'0' * 64} x.deb"},
        {"toytool": "1.0-1"},
        {"libtoy1": f"1.0-1 {'0' * 64} libtoy1.deb"},
        {"toytool": 3},
    ],
)
def test_a_pin_that_is_none_is_not_taken(
    archive: Archive, machines: tuple[Machine, Machine], shelf: Shelf, row: dict[str, object]
) -> None:
    first, second = machines
    found = first.get()
    (tag,) = [tag for tag in shelf.manifests if tag.startswith(f"{PINS}-")]
    first.share.push_document(PINS, tag.partition("-")[2], row)
    assert second.get() == found and first.get() == found


def test_pins_under_another_key_are_neither_taken_nor_written_over(
    archive: Archive, tmp_path: Path, shelf: Shelf
) -> None:
    ours = Machine(tmp_path / "ours", shelf, b"a key of sixteen or more")
    found = ours.get()
    newer(archive)
    stranger = Machine(tmp_path / "other", shelf, b"another key of that length")
    assert stranger.get() != found and "is not sealed" in stranger.shown.getvalue()
    assert Machine(tmp_path / "third", shelf, b"a key of sixteen or more").get() == found
    # Only if that is what is wanted.
    assert stranger.get(renew=True) != found
    last = Machine(tmp_path / "last", shelf, b"a key of sixteen or more")
    assert last.get() != found and "is not sealed" in last.shown.getvalue()


def test_a_registry_that_is_gone_does_not_stop_a_run(archive: Archive, tmp_path: Path) -> None:
    with oci.serve() as gone:
        machine = Machine(tmp_path / "one", gone)
    assert machine.get().version == "1.0-1"
    assert machine.shown.getvalue().count("going on without what it shares") == 1
