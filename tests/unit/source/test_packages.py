"""Packages for the guest: resolved once, kept, and fetched anew where they are gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe.source import packages
from kmodpipe.source.packages import Package
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Screen
from tests.support import toy_packages
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
