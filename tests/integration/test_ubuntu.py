"""A kernel as Ubuntu packages one, from a signed archive: resolved, verified, built for, booted.

The archive is made here (`tests.support.ubuntu_archive`): its kernel is Debian 12's, in Ubuntu's packages.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe.build.runtime import docker_engine, docker_errors
from kmodpipe.cache.place import cache_folder
from kmodpipe.source import apt, packaged
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen
from tests.integration.conftest import require, require_machinery
from tests.integration.test_own_module import kmodpipe, repository, supported
from tests.support import ubuntu_archive
from tests.support.trees import write
from tests.support.ubuntu_archive import SUITE, UbuntuArchive

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(2400)]

PROJECT = """\
cases = "kmodpipe-cases"

[matrix]
# dummy is in linux-modules-extra.
module = {{ source = ".", needs = ["dummy"] }}

[kernels.ubuntu]
ubuntu-kernel = "linux-image-generic"
suites = ["{suite}"]
archive = "{archive}"
keyring = "{keyring}"
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UbuntuArchive]:
    require_machinery()
    for program in ("gpg", "dpkg-scanpackages", "zstd", "mmdebstrap"):
        require(shutil.which(program) is not None, f"no {program}")
    require(any(one.origin == "Debian" for one in apt.targets()), "this machine's apt has no Debian mirror")
    given = {
        "name": "debian-12",
        "debian-kernel": "linux-image-amd64",
        "suites": ["bookworm-security", "bookworm"],
    }
    spec = PackagedKernelSpec.model_validate(given)
    kernel = packaged.fetch(spec, cache_folder(), Screen(Mode.QUIET, out=io.StringIO()))
    yield ubuntu_archive.make(tmp_path_factory.mktemp("archive"), kernel)
    client = docker_engine.connect()
    for image in client.images.list():
        for tag in image.tags:
            if tag.startswith((f"kmodpipe-builder:{SUITE}-", f"kmodpipe-base:{SUITE}")):
                with docker_errors.ignored():
                    client.images.remove(tag)


def spec_at(address: str, archive: UbuntuArchive) -> PackagedKernelSpec:
    return PackagedKernelSpec.model_validate(
        {
            "name": "ubuntu", "ubuntu-kernel": "linux-image-generic", "suites": [SUITE],
            "archive": address, "keyring": archive.keyring,
        }
    )  # fmt: skip


def test_a_module_is_built_loaded_and_passes_on_ubuntus_kernel(
    archive: UbuntuArchive, tmp_path: Path
) -> None:
    root = repository(tmp_path / "hello", "hello")
    with ubuntu_archive.served(archive) as address:
        text = PROJECT.format(suite=SUITE, archive=address, keyring=archive.keyring)
        write(root, {"kmodpipe.toml": text})
        ran = kmodpipe(root, "test", "--kernel", "ubuntu")
    assert ran.code == 0, ran.text
    assert ran.verdicts == {"unpatched": "pass"}, ran.text
    assert supported(ran) == {"ubuntu": ["yes", "yes", "yes"]}, ran.text
    (cell,) = ran.run["cells"]
    assert cell["properties"]["compiler"].startswith("gcc-12")
    console = next(ran.folder.glob("out/latest/*/console*.log")).read_text(errors="replace")
    assert "Linux version 6.1.0-57" in console
    # What it takes is here now.
    again = kmodpipe(root, "test", "--kernel", "ubuntu")
    assert (again.code, again.verdicts) == (0, {"unpatched": "pass"}), again.text


def test_a_package_that_was_changed_behind_the_signature_is_refused(
    archive: UbuntuArchive, tmp_path: Path
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(archive.folder, folder / "ubuntu", copy_function=shutil.copy)
    (deb,) = (folder / "ubuntu/pool/main").glob("linux-image-6*")
    deb.write_bytes(deb.read_bytes()[:-1] + b"!")
    other = UbuntuArchive(folder / "ubuntu", archive.gnupg)
    with (
        ubuntu_archive.served(other) as address,
        pytest.raises(InfraError, match="cannot be fetched") as caught,
    ):
        packaged.fetch(spec_at(address, archive), tmp_path / "cache", Screen(Mode.QUIET, out=io.StringIO()))
    assert "Hash Sum mismatch" in caught.value.detail
    assert not list((tmp_path / "cache").rglob("*.deb"))


def test_lists_that_another_key_signed_are_refused(archive: UbuntuArchive, tmp_path: Path) -> None:
    spec = spec_at("http://unused.invalid/ubuntu", archive).model_copy(update={"keyring": apt.KEYRING})
    with ubuntu_archive.served(archive) as address, pytest.raises(InfraError) as caught:
        packaged.fetch(
            spec.model_copy(update={"archive": address}), tmp_path / "cache",
            Screen(Mode.QUIET, out=io.StringIO()),
        )  # fmt: skip
    assert "signature" in caught.value.what.lower() or "NO_PUBKEY" in caught.value.what, caught.value
