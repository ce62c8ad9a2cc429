"""Kernels of either kind, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.pipeline import config
from kmodpipe.source import kernels
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.source.tree import TreeSpec
from kmodpipe.util.errors import UserError
from tests.support import REPO

DECLARED = config.load(REPO).kernels


@pytest.mark.parametrize("name", ["debian-11", "debian-12", "debian-13", "debian-unstable"])
def test_debians_kernels_are_ready_to_use(name: str) -> None:
    found = kernels.resolve(name, DECLARED)
    assert isinstance(found, PackagedKernelSpec)
    assert (found.name, found.debian_kernel) == (name, "linux-image-amd64")


def test_a_tree_is_a_kernel_too() -> None:
    assert isinstance(kernels.resolve("debian-6.12", DECLARED), TreeSpec)


def test_either_may_have_another_name() -> None:
    assert kernels.resolve("stock=debian-12", DECLARED).name == "stock"
    assert kernels.resolve("mine=debian-6.1", DECLARED).name == "mine"


def test_an_unknown_one_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        kernels.resolve("debian-14", DECLARED)
    assert "debian-1" in str(caught.value)


def test_a_distributions_kernel_is_looked_for_where_it_would_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "ubuntu-kernel": "linux-image-generic",
        "suites": ["noble"],
        "keyring": str(tmp_path / "keys.gpg"),
    }
    monkeypatch.setenv("KMODPIPE_UBUNTU_MIRROR", "http://127.0.0.1:9/ubuntu")
    reached, why = kernels.check(PackagedKernelSpec.model_validate(given))
    assert not reached and why == f"the key ring {tmp_path}/keys.gpg is not there"
    (tmp_path / "keys.gpg").touch()
    reached, why = kernels.check(PackagedKernelSpec.model_validate(given))
    assert not reached and why == "127.0.0.1 connection refused"
    files = dict.fromkeys(("vmlinuz", "modules", "headers", "config"), str(tmp_path / "none"))
    reached, why = kernels.check(PackagedKernelSpec.model_validate(files))
    assert not reached and why == f"vmlinuz {tmp_path}/none does not exist"
