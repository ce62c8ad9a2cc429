"""A kernel from Debian's archive: fetched once, pinned, and made again of what was kept."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from kmodpipe.source import apt, packaged
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support import toy_kernel, toy_packages
from tests.support.toy_packages import Archive


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    made = toy_packages.build(tmp_path / "archive", tmp_path / "programs")
    monkeypatch.setenv("PATH", f"{made.programs}:{os.environ['PATH']}")
    toy_kernel.add_to(made)
    return made


def spec(package: str = "linux-image-amd64", **more: object) -> PackagedKernelSpec:
    given = {"name": "debian-12", "debian-kernel": package, "suites": ["bookworm"], **more}
    return PackagedKernelSpec.model_validate(given)


def test_a_kernel_is_fetched_once(archive: Archive, cache: Path, screen: Screen) -> None:
    assert packaged.locate(spec(), cache) is None
    made = packaged.fetch(spec(), cache, screen)
    assert (made.name, made.release, made.kernel_version, made.suite, made.compiler) == (
        "debian-12", "6.1.0-57-amd64", "6.1.192", "bookworm", "gcc-12",
    )  # fmt: skip
    assert made.provenance["package linux-kbuild-6.1"].startswith("6.1.192-3 ")
    assert made.provenance["version"] == "6.1.192-3" and made.provenance["requested"] == "debian-12"
    calls = len(archive.calls)
    archive.go_offline()
    assert packaged.fetch(spec(), cache, screen) == made == packaged.locate(spec(), cache)
    assert len(archive.calls) == calls and not list((cache / "work").iterdir())


def test_it_stays_until_a_newer_one_is_wanted(archive: Archive, cache: Path, screen: Screen) -> None:
    made = packaged.fetch(spec(), cache, screen)
    toy_kernel.add_to(archive, "6.1.0-58-amd64", "6.1.200-1")
    assert packaged.fetch(spec(), cache, screen) == made
    newer = packaged.fetch(spec(), cache, screen, head=True)
    assert newer.release == "6.1.0-58-amd64" and newer.path != made.path
    assert packaged.locate(spec(), cache) == newer
    # By its own name the older one is another request, for the same packages but for kbuild's newer one.
    assert packaged.fetch(spec("linux-image-6.1.0-57-amd64"), cache, screen).release == made.release


def test_a_damaged_one_is_made_again_without_the_network(
    archive: Archive, cache: Path, screen: Screen
) -> None:
    made = packaged.fetch(spec(), cache, screen)
    (made.modules / "kernel/fs/toy.ko").write_text("changed")
    archive.go_offline()
    assert packaged.locate(spec(), cache) is None
    again = packaged.fetch(spec(), cache, screen)
    assert again == made and (made.modules / "kernel/fs/toy.ko").read_text() == "toy"


def test_a_lost_package_is_fetched_anew(archive: Archive, cache: Path, screen: Screen) -> None:
    made = packaged.fetch(spec(), cache, screen)
    packaged.remove_all(cache)
    for deb in (cache / "downloads").glob("linux-image-*"):
        deb.write_bytes(b"damaged")
    assert packaged.fetch(spec(), cache, screen) == made


def test_what_the_archive_does_not_have_is_a_wrong_declaration(
    archive: Archive, cache: Path, screen: Screen
) -> None:
    with pytest.raises(UserError, match=r"no linux-image-amd64 6\.1\.90-1 in bookworm"):
        packaged.fetch(spec(version="6.1.90-1"), cache, screen)
    assert not list((cache / "work").iterdir())


def test_a_suite_that_the_archive_has_dropped_is_named(
    archive: Archive, cache: Path, tmp_path: Path, screen: Screen
) -> None:
    fake = archive.programs / "apt-get"
    text = fake.read_text()
    refused = (
        'case "$*" in *" update "*) if grep -q bookworm-gone "$(dirname "$2")/sources.list"; then\n'
        "echo \"E: The repository 'bookworm-gone Release' does not have a Release file.\" >&2\n"
        "exit 100; fi;; esac\n"
    )
    fake.write_text(text.replace("case", refused + "case", 1))
    with pytest.raises(UserError, match=r"has no suite bookworm-gone \(any more\); .* apt has bookworm") as e:
        packaged.fetch(spec(suites=["bookworm-gone"]), cache, screen)
    assert "archive.debian.org" in e.value.hint
    shown = io.StringIO()
    both = spec(suites=["bookworm-gone", "bookworm"])
    assert packaged.fetch(both, cache, Screen(Mode.PLAIN, out=shown)).release == "6.1.0-57-amd64"


def test_no_network_says_what_to_do(archive: Archive, cache: Path, screen: Screen) -> None:
    archive.go_offline()
    with pytest.raises(InfraError, match="the kernel debian-12 cannot be fetched: E: Failed to fetch") as e:
        packaged.fetch(spec(), cache, screen)
    assert "bookworm, at mirror.invalid" in e.value.where and "mirror of the archive" in e.value.hint


def test_a_machine_that_lacks_the_key_ring_or_a_mirror_says_so(
    archive: Archive, cache: Path, screen: Screen
) -> None:
    with pytest.raises(InfraError, match=r"the key ring /nowhere\.gpg is not there"):
        packaged.fetch(spec(keyring="/nowhere.gpg"), cache, screen)
    fake = archive.programs / "apt-get"
    fake.write_text(fake.read_text().replace("http://mirror.invalid", "file:/media"))
    with pytest.raises(InfraError, match="apt sources name no Debian archive for bookworm"):
        packaged.fetch(spec(), cache, screen)
    with pytest.raises(InfraError, match="apt sources name no Ubuntu archive for noble") as e:
        packaged.fetch(ubuntu(archive=None, keyring=str(apt.KEYRING)), cache, screen)
    assert "KMODPIPE_UBUNTU_MIRROR=http://HOST/ubuntu, or archive in" in e.value.hint


def ubuntu(**more: object) -> PackagedKernelSpec:
    given = {
        "name": "ubuntu-24.04", "ubuntu-kernel": "linux-image-generic", "suites": ["noble-updates", "noble"],
        "archive": "http://mirror.invalid/ubuntu", "keyring": str(apt.KEYRING), **more,
    }  # fmt: skip
    return PackagedKernelSpec.model_validate(
        {key: value for key, value in given.items() if key not in more or value}
    )


def test_ubuntus_kernel_comes_from_the_archive_that_is_declared(
    archive: Archive, cache: Path, screen: Screen
) -> None:
    toy_kernel.add_ubuntu_to(archive)
    made = packaged.fetch(ubuntu(), cache, screen)
    assert (made.release, made.kernel_version, made.suite, made.compiler) == (
        toy_kernel.UBUNTU, "6.8.0", "noble", "gcc-13",
    )  # fmt: skip
    assert {name for name in made.provenance if name.startswith("package ")} == {
        f"package linux-{part}-{toy_kernel.UBUNTU}"
        for part in ("image", "headers", "modules", "modules-extra")
    } | {"package linux-headers-6.8.0-50"}
    assert made.provenance["source"] == "ubuntu-kernel"
    assert sorted(path.name for path in made.modules.rglob("*.ko.zst")) == ["more.ko.zst", "toy.ko.zst"]
    archive.go_offline()
    assert packaged.fetch(ubuntu(), cache, screen) == made
    # Another archive is another request.
    assert packaged.locate(ubuntu(archive="http://other.invalid/ubuntu"), cache) is None


def test_ubuntus_key_ring_is_named_where_it_is_missing(archive: Archive, cache: Path, screen: Screen) -> None:
    with pytest.raises(InfraError, match=r"the key ring /nowhere\.gpg is not there") as e:
        packaged.fetch(ubuntu(keyring="/nowhere.gpg"), cache, screen)
    assert "install the package ubuntu-keyring, or name the file" in e.value.hint
