"""What this machine's apt says of mirrors, and what is carried from it."""

from __future__ import annotations

import pytest

from kmodpipe.source import apt, distribution
from kmodpipe.source.apt import Target


def _target(
    site: str, release: str, component: str = "main", origin: str = "Debian", label: str = "Debian"
) -> Target:
    return Target(site, release, component, origin, label)


def test_another_debian_release_lends_its_mirrors() -> None:
    found = [
        _target("http://m.invalid/debian", "trixie"),
        _target("http://m.invalid/debian", "trixie", "contrib"),
        _target("http://m.invalid/debian", "trixie-updates"),
        _target("http://m.invalid/debian", "trixie-backports"),
        _target("http://s.invalid/security", "trixie-security", label="Debian-Security"),
    ]
    assert apt.debian_sources(found, "bookworm", keyring=None) == (
        "deb http://m.invalid/debian bookworm main",
        "deb http://m.invalid/debian bookworm-updates main",
        "deb http://s.invalid/security bookworm-security main",
    )


def test_a_machine_that_is_no_debian_is_told_of_a_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(apt.MIRROR, "http://m.invalid/debian/")
    found = apt.targets()
    assert apt.debian_sources(found, "bookworm", keyring=None) == (
        "deb http://m.invalid/debian bookworm main",
    )
    assert distribution.mirrors(found, "bookworm") == ["http://m.invalid/debian"]
    assert distribution.mirrors(found, "bookworm-security") == ["http://m.invalid/debian-security"]


def test_what_is_not_released_has_neither_updates_nor_a_security_suite() -> None:
    found = [
        _target("http://m.invalid/debian", "bookworm"),
        _target("http://m.invalid/debian", "bookworm-updates"),
        _target("http://s.invalid/security", "bookworm-security", label="Debian-Security"),
    ]
    assert apt.debian_sources(found, "sid", keyring=None) == ("deb http://m.invalid/debian sid main",)


@pytest.mark.parametrize(
    "target",
    [
        _target("cdrom://Debian 12", "bookworm"),
        _target("file:/srv/mirror", "bookworm"),
        _target("http://m.invalid/tools", "bookworm", origin="Other"),
        _target("http://m.invalid/security", "bookworm-security", label="Debian-Security"),
    ],
)
def test_what_is_no_reachable_debian_archive_is_no_source(target: Target) -> None:
    assert apt.debian_sources([target], "bookworm") == ()


def test_only_how_to_reach_a_mirror_is_carried_into_the_base() -> None:
    dump = "\n".join(
        [
            'Acquire::http::Proxy "http://p.invalid:1";',
            'Acquire::Check-Valid-Until "false";',
            'Acquire::AllowInsecureRepositories "1";',
            'Acquire::https::Verify-Peer "false";',
            'APT::Get::AllowUnauthenticated "1";',
            'Acquire::http::Proxy "";',
        ]
    )
    assert apt.carried_options(dump) == (
        'Acquire::http::Proxy "http://p.invalid:1";',
        'Acquire::Check-Valid-Until "false";',
    )
