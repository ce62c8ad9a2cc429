"""How a distribution's kernel is declared, and kept."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from kmodpipe.source.packaged import PackagedKernelSpec, record
from kmodpipe.util.errors import UserError
from tests.support import toy_kernel

DECLARED = """\
[tool.kmodpipe.kernels."debian-11"]
summary = "Debian 11's own kernel"
debian-kernel = "linux-image-amd64"
suites = ["bullseye-security", "bullseye"]

[tool.kmodpipe.kernels."debian-12"]
summary = "Debian 12's own kernel"
debian-kernel = "linux-image-amd64"
suites = ["bookworm-security", "bookworm"]

[tool.kmodpipe.kernels."debian-12.11"]
summary = "the kernel of one point release, as long as the archive has it"
debian-kernel = "linux-image-amd64"
version = "6.1.137-1"
suites = ["bookworm"]

[tool.kmodpipe.kernels."debian-12-backports"]
summary = "the newest 6.12 for Debian 12"
debian-kernel = "linux-image-6.12-amd64"
suites = ["bookworm"]

[tool.kmodpipe.kernels."debian-13"]
summary = "Debian 13's own kernel"
debian-kernel = "linux-image-amd64"
suites = ["trixie-security", "trixie"]

[tool.kmodpipe.kernels."sid"]
summary = "the newest kernel in Debian"
debian-kernel = "linux-image-amd64"
suites = ["sid"]

[tool.kmodpipe.kernels."fedora"]
summary = "another distribution's kernel"
vmlinuz = "/boot/vmlinuz-6.8.5-301.fc40.x86_64"
config = "/boot/config-6.8.5-301.fc40.x86_64"
modules = "/lib/modules/6.8.5-301.fc40.x86_64"
headers = "/usr/src/kernels/6.8.5-301.fc40.x86_64"
"""


def test_kernels_are_declared_as_tables() -> None:
    tables = tomllib.loads(DECLARED)["tool"]["kmodpipe"]["kernels"]
    specs = {
        name: PackagedKernelSpec.model_validate({**table, "name": name}) for name, table in tables.items()
    }
    assert [(name, spec.suite, spec.moves) for name, spec in specs.items()] == [
        ("debian-11", "bullseye", True),
        ("debian-12", "bookworm", True),
        ("debian-12.11", "bookworm", False),
        ("debian-12-backports", "bookworm", True),
        ("debian-13", "trixie", True),
        ("sid", "sid", True),
        ("fedora", "", False),
    ]
    one = {"debian-kernel": "linux-image-6.1.0-57-amd64", "suites": ["bookworm"]}
    assert not PackagedKernelSpec.model_validate(one).moves
    exact = {"ubuntu-kernel": "linux-image-unsigned-6.8.0-50-generic", "suites": ["noble"]}
    assert not PackagedKernelSpec.model_validate(exact).moves
    assert specs["debian-12"].describe() == "linux-image-amd64 (the newest) from bookworm-security, bookworm"
    assert specs["debian-12.11"].describe() == "linux-image-amd64 6.1.137-1 from bookworm"


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, "give debian-kernel or ubuntu-kernel, or all of vmlinuz, modules, headers, config"),
        ({"vmlinuz": "a", "config": "b"}, "lacking: modules, headers"),
        ({"debian-kernel": "linux-image-amd64"}, "needs suites"),
        ({"debian-kernel": "linux-image-amd64", "suites": ["sid"], "config": "b"}, "config does not go with"),
        ({"debian-kernel": "linux-headers-amd64", "suites": ["sid"]}, "debian-kernel"),
        ({"debian-kernel": "linux-image-amd64", "suites": ["sid"], "version": "-o=x"}, "version"),
        (
            {"debian-kernel": "linux-image-amd64", "suites": ["sid", "trixie"]},
            "of one release, not of sid and",
        ),
        ({"vmlinuz": "a", "modules": "b", "headers": "c", "config": "d", "debug": True}, "debug goes with"),
        ({"ubuntu-kernel": "linux-image-generic"}, "ubuntu-kernel needs suites"),
        (
            {"ubuntu-kernel": "linux-image-generic", "debian-kernel": "linux-image-amd64", "suites": ["sid"]},
            "debian-kernel does not go with ubuntu-kernel",
        ),
        ({"ubuntu-kernel": "linux-image-generic", "suites": ["noble"], "debug": True}, "in another archive"),
        ({"ubuntu-kernel": "linux-image-generic", "suites": ["noble"], "archive": "ftp://x/y"}, "archive"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(table: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        PackagedKernelSpec.model_validate(table)


@pytest.mark.parametrize(
    ("config", "compiler"),
    [
        ("CONFIG_CC_IS_GCC=y\nCONFIG_GCC_VERSION=120200\nCONFIG_CLANG_VERSION=0\n", "gcc-12"),
        ("CONFIG_GCC_VERSION=0\nCONFIG_CLANG_VERSION=160006\n", "clang-16"),
        ("CONFIG_X=y\n", ""),
    ],
)
def test_the_configuration_names_the_compiler(config: str, compiler: str) -> None:
    assert record.compiler_of(config) == compiler


FACTS = {"suite": "bookworm"}
IDENTITY = f"deb-kernel:linux-image-6.1.0-57-amd64=6.1.192-3:{'0123456789abcdef' * 4}"


def kernel_in(folder: Path) -> Path:
    for name in ("modules/kernel", "kit"):
        (folder / name).mkdir(parents=True)
    (folder / "vmlinuz").write_bytes(toy_kernel.bzimage())
    (folder / "config").write_text("CONFIG_GCC_VERSION=120200\n")
    return folder


def test_a_kernel_is_kept_and_found_again(tmp_path: Path) -> None:
    made = record.install(
        tmp_path, kernel_in(tmp_path / "work"), IDENTITY, "6.1.192", FACTS, what="the kernel"
    )
    assert made.path == tmp_path / "kernels/deb-6.1.192-3-0123456789abcdef"
    assert (made.compiler, made.release, made.suite, made.kernel_version) == (
        "gcc-12", "6.1.0-57-amd64", "bookworm", "6.1.192",
    )  # fmt: skip
    assert made.vmlinuz.is_file() and made.config.is_file() and made.modules.is_dir() and made.kit.is_dir()
    assert made.vmlinux is None and made.system_map is None
    assert record.known(tmp_path, IDENTITY) == made
    assert record.known(tmp_path, IDENTITY.replace("abc", "cba")) is None
    assert made.named("debian-12").provenance["requested"] == "debian-12"


def test_one_that_was_changed_is_not_used(tmp_path: Path) -> None:
    made = record.install(tmp_path, kernel_in(tmp_path / "one"), IDENTITY, "6.1.192", FACTS, what="it")
    made.config.write_text("CONFIG_GCC_VERSION=130000\n")
    warnings: list[str] = []
    assert record.known(tmp_path, IDENTITY, warnings.append) is None
    assert "config changed" in warnings[0]
    again = record.install(tmp_path, kernel_in(tmp_path / "two"), IDENTITY, "6.1.192", FACTS, what="it")
    assert again == made and record.known(tmp_path, IDENTITY) == made
    assert record.remove_all(tmp_path) == 1 and not (tmp_path / "kernels").exists()
    assert record.known(tmp_path, IDENTITY) is None and record.remove_all(tmp_path) == 0


def test_one_without_all_its_parts_is_refused(tmp_path: Path) -> None:
    made = kernel_in(tmp_path / "work")
    (made / "config").unlink()
    (made / "kit").rmdir()
    with pytest.raises(UserError, match="it has no config, no kit/"):
        record.install(tmp_path, made, IDENTITY, "6.1.192", FACTS, what="it")


def test_headers_of_another_kernel_are_refused(tmp_path: Path) -> None:
    made = kernel_in(tmp_path / "work")
    toy_kernel.write(
        made / "kit", {"include/generated/utsrelease.h": '#define UTS_RELEASE "6.1.0-47-amd64"\n'}
    )
    with pytest.raises(
        UserError, match=r"image is 6.1.0-57-amd64, and the headers are those of 6.1.0-47-amd64"
    ):
        record.install(tmp_path, made, IDENTITY, "6.1.192", FACTS, what="it")


@pytest.mark.parametrize(
    ("table", "name", "keys"),
    [
        ({"debian-kernel": "linux-image-amd64", "suites": ["sid"]}, "Debian", "debian-archive-keyring.gpg"),
        ({"ubuntu-kernel": "linux-image-aws", "suites": ["any"]}, "Ubuntu", "ubuntu-archive-keyring.gpg"),
        ({"ubuntu-kernel": "linux-image-aws", "suites": ["any"], "keyring": "/a/b.gpg"}, "Ubuntu", "b.gpg"),
        (
            {**dict.fromkeys(("vmlinuz", "modules", "headers", "config"), "x"), "suites": ["jammy"]},
            "Ubuntu",
            "",
        ),
    ],
)
def test_a_declaration_says_whose_packages_they_are(table: dict[str, object], name: str, keys: str) -> None:
    found = PackagedKernelSpec.model_validate(table).apt_source
    assert found and found.distribution.name == name
    assert found.keys.name == keys or not keys


def test_a_release_that_is_none_is_a_wrong_declaration() -> None:
    table = {**dict.fromkeys(("vmlinuz", "modules", "headers", "config"), "x"), "suites": ["nobel"]}
    with pytest.raises(UserError, match="did you mean noble"):
        _ = PackagedKernelSpec.model_validate(table).apt_source
