"""A tree from Debian's source package."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import source
from kmodpipe.source import TreeSpec, apt, distribution
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Screen


def test_mirrors_come_from_debians_own_entries_only() -> None:
    def target(site: str, origin: str = "Debian", label: str = "Debian") -> apt.Target:
        return apt.Target(site, "bookworm", "main", origin, label)

    found = [
        target("http://mirror.invalid/debian/"),
        target("http://packages.invalid/linux/debian", origin="Docker"),
        target("file:/media/debian"),
    ]
    assert distribution.mirrors(found, "bullseye") == ["http://mirror.invalid/debian"]
    assert distribution.mirrors(found, "bullseye-security") == ["http://mirror.invalid/debian-security"]
    own = [*found, target("http://other.invalid/sec", label="Debian-Security")]
    assert distribution.mirrors(own, "bullseye-security")[0] == "http://other.invalid/sec"


def test_a_machine_without_the_key_ring_says_so(cache: Path, screen: Screen) -> None:
    spec = TreeSpec.model_validate(
        {"debian-package": "linux-source-5.10", "version": "1", "suites": ["x"], "keyring": "/nowhere.gpg"}
    )
    with pytest.raises(InfraError, match=r"/nowhere\.gpg|not on this machine"):
        source.fetch(spec, {}, cache, screen)
    assert source.check_reach(spec)[0] is False
