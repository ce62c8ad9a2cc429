"""Whose release it is, and which archive may serve its suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.source import distribution
from kmodpipe.source.apt import Target
from kmodpipe.source.distribution import DEBIAN, UBUNTU, AptSource
from kmodpipe.util.errors import UserError

SUITES = ("noble-updates", "noble-security", "noble")


def ubuntu(site: str, release: str) -> Target:
    return Target(site, release, "main", "Ubuntu", "Ubuntu")


def test_a_release_is_that_of_a_distribution() -> None:
    assert distribution.of("trixie") is DEBIAN and distribution.of("noble") is UBUNTU
    with pytest.raises(UserError, match="did you mean jammy"):
        distribution.of("jamy")


def test_an_archive_that_is_declared_goes_before_those_of_apt() -> None:
    keys = Path("/keys/ours.gpg")
    found = AptSource(UBUNTU, SUITES, "http://m.invalid/ubuntu/", ("main", "universe"), keys)
    assert found.mirrors() == {one: ["http://m.invalid/ubuntu"] for one in SUITES}
    assert found.sources([("noble", "http://m.invalid/ubuntu")]) == (
        "deb [arch=amd64 signed-by=/keys/ours.gpg] http://m.invalid/ubuntu noble main universe",
    )
    assert AptSource(UBUNTU, SUITES).keys == UBUNTU.keyring


def test_a_variable_names_a_mirror_of_each_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODPIPE_DEBIAN_MIRROR", "http://d.invalid/debian")
    monkeypatch.setenv("KMODPIPE_UBUNTU_MIRROR", "http://u.invalid/ubuntu/")
    assert AptSource(UBUNTU, ("noble",)).mirrors() == {"noble": ["http://u.invalid/ubuntu"]}
    assert AptSource(DEBIAN, ("trixie",)).mirrors() == {"trixie": ["http://d.invalid/debian"]}
    assert AptSource(DEBIAN, ("trixie-security",)).mirrors() == {
        "trixie-security": ["http://d.invalid/debian-security"]
    }


def test_the_address_that_apt_has_for_a_pocket_is_the_first() -> None:
    found = [
        ubuntu("http://a.invalid/ubuntu", "jammy"),
        ubuntu("http://a.invalid/ubuntu", "jammy-updates"),
        ubuntu("http://s.invalid/ubuntu", "jammy-security"),
        Target("http://d.invalid/debian", "bookworm", "main", "Debian", "Debian"),
        ubuntu("cdrom://Ubuntu", "jammy"),
    ]
    assert distribution.mirrors(found, "noble", UBUNTU)[0] == "http://a.invalid/ubuntu"
    assert distribution.mirrors(found, "noble-security", UBUNTU)[0] == "http://s.invalid/ubuntu"
    assert distribution.mirrors(found, "bookworm") == ["http://d.invalid/debian"]
